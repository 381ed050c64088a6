//! A DENY on a scorer, or on what it is made of, holds wherever the scorer is run or configured.

#[expect(dead_code, reason = "other tests ask for more")]
mod asking;

use asking::{get, json, needs, post};
use mlgate_filter::requirement::Action::{NotDenied, Read, Update};
use mlgate_filter::requirement::ResourceType::{Experiment, Scorer, ScorerVersion};

const EVALUATION: &str = "/ajax-api/3.0/mlflow/genai/evaluate/invoke";

#[test]
fn a_denied_scorer_is_not_switched_on_or_off() {
    let path = "/api/3.0/mlflow/scorers/online-config";
    let put = |body: &str| json("PUT", path, body);
    let config = put(r#"{"experiment_id":"1","name":"a b","sample_rate":0.5}"#).unwrap();
    assert!(needs(&config, Experiment, Update, "1"));
    assert!(needs(&config, Scorer, NotDenied, "1/a%20b"));
    assert!(needs(&config, ScorerVersion, NotDenied, "*"));
    assert!(put(r#"{"experiment_id":"1","sample_rate":0.5}"#).is_err(), "names no scorer");
}

#[test]
fn a_denied_scorers_configuration_is_not_read() {
    let configs =
        get("/api/3.0/mlflow/scorers/online-configs?scorer_ids=s-1&scorer_ids=s-2").unwrap();
    for id in ["s-1", "s-2"] {
        assert!(needs(&configs, Experiment, Read, id), "{id}");
        assert!(needs(&configs, Scorer, NotDenied, id), "{id}");
    }
    assert!(needs(&configs, ScorerVersion, NotDenied, "*"));
}

fn evaluation(scorers: &str, versions: &str) -> String {
    format!(
        r#"{{"experiment_id":"1","trace_ids":[],"serialized_scorers":{scorers},"scorer_versions":{versions}}}"#
    )
}

#[test]
fn an_evaluation_names_no_denied_scorer() {
    let scorers = r#"["{\"name\":\"stored\"}","{\"name\":\"inline\"}"]"#;
    let job = post(EVALUATION, &evaluation(scorers, "[1,null]")).unwrap();
    assert!(needs(&job, Scorer, NotDenied, "1/stored"));
    assert!(!needs(&job, Scorer, NotDenied, "1/inline"), "it comes with the request");
    assert!(needs(&job, ScorerVersion, NotDenied, "*"));
    for versions in ["null", "[null,null]"] {
        let inline = post(EVALUATION, &evaluation(scorers, versions)).unwrap();
        assert!(!needs(&inline, Scorer, NotDenied, "1/stored"), "{versions}");
    }
}

#[test]
fn an_evaluation_whose_stored_scorers_cannot_be_told_is_refused() {
    let one = r#"["{\"name\":\"a\"}"]"#;
    for (scorers, versions) in [
        (one, "[]"),
        (one, "[1,2]"),
        (one, "1"),
        ("null", "[1]"),
        (r#"{"name":"a"}"#, "[1]"),
        (r#"[{"name":"a"}]"#, "[1]"),
        (r#"["{}"]"#, "[1]"),
        (r#"["{\"name\":1}"]"#, "[1]"),
        (r#"["{\"name\":\"\"}"]"#, "[1]"),
        (r#"["{\"name\":\"a\",\"name\":\"b\"}"]"#, "[1]"),
        (r#"["a"]"#, "[true]"),
    ] {
        assert!(post(EVALUATION, &evaluation(scorers, versions)).is_err(), "{scorers} {versions}");
    }
}
