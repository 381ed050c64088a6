//! Names that MLflow takes out of URIs: the gate asks about the name that MLflow uses, or refuses.

#[expect(dead_code, reason = "other tests ask for more")]
mod asking;

use asking::{A, B, needs, post};
use mlgate_filter::requirement::Action::{NotDenied, Read};
use mlgate_filter::requirement::ResourceType::{
    Experiment, LoggedModel, ModelOrPrompt, ModelOrPromptVersion, Prompt,
};

const VERSIONS: &str = "/api/2.0/mlflow/model-versions/create";
const OPTIMIZATION: &str = "/api/3.0/mlflow/prompt-optimization/jobs";

fn version(source: &str, further: &str) -> String {
    format!(r#"{{"name":"mine","source":"{source}"{further}}}"#)
}

fn optimization(prompt: &str) -> String {
    format!(r#"{{"experiment_id":"1","source_prompt_uri":"{prompt}","config":{{}}}}"#)
}

/// MLflow reads `secret` and the run `B`; anybody may own a model called `secret@latest?`.
#[test]
fn a_source_in_which_urlparse_finds_another_name_is_refused() {
    for source in [
        "models:/secret@latest?@x",
        "models:/secret/1?/2",
        "models:/secret@latest#@x",
        "models:/secret/1;x@y",
        "models:/secret%40latest@x",
        "models:///secret/1",
        "models://mine/secret/1",
        "models:/a@secret@x",
        "models:/mine@x/1",
        "models:/mine/1@x",
        &format!("models:/m-{B}?@x"),
        &format!("models://m-{B}"),
        &format!("runs://{A}/{B}/m"),
        &format!("runs:///{B}/m"),
        &format!("runs:/{A}?/{B}"),
        &format!(" runs:/{A}/m"),
    ] {
        assert!(post(VERSIONS, &version(source, "")).is_err(), "{source}");
    }
}

#[test]
fn a_logged_model_is_asked_about_however_the_source_spells_it() {
    let victim = format!(r#","model_id":"m-{B}","run_id":"{A}""#);
    let tricked = version(&format!("models:/m-{B}?@x"), &victim);
    assert!(post(VERSIONS, &tricked).is_err());
    let plain = post(VERSIONS, &version(&format!("models:/m-{B}"), &victim)).unwrap();
    assert!(needs(&plain, LoggedModel, Read, "*") && needs(&plain, Experiment, Read, A));
    assert!(needs(&plain, Experiment, Read, &format!("m-{B}")));
}

#[test]
fn a_version_or_alias_is_read_on_its_model() {
    for source in ["models:/other/1", "models:/other@champion", "models:/other/Production"] {
        let copy = post(VERSIONS, &version(source, "")).unwrap();
        assert!(needs(&copy, ModelOrPrompt, Read, "other"), "{source}");
        assert!(needs(&copy, ModelOrPromptVersion, NotDenied, "*"), "{source}");
    }
}

#[test]
fn a_prompt_in_which_urlparse_finds_another_name_is_refused() {
    for prompt in [
        "prompts:/secret/1?/2",
        "prompts:/secret@prod?@x",
        "prompts:/a@secret@x",
        "prompts://mine/secret/1",
        "secret/1?",
        "secret@prod?",
        "PROMPTS:/secret/1",
    ] {
        assert!(post(OPTIMIZATION, &optimization(prompt)).is_err(), "{prompt}");
    }
}

/// A name that nothing has yet is asked about as a model's.
#[test]
fn a_prompt_to_optimize_is_not_denied_as_a_prompt() {
    for prompt in ["prompts:/secret/1", "prompts:/secret@prod", "secret"] {
        let job = post(OPTIMIZATION, &optimization(prompt)).unwrap();
        assert!(needs(&job, ModelOrPrompt, Read, "secret"), "{prompt}");
        assert!(needs(&job, Prompt, NotDenied, "secret"), "{prompt}");
    }
}
