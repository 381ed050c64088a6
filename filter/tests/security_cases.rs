//! The spellings that are known of MLflow and of gateways before it: each row that can be decided
//! without a network is a test here. The rest is tested end to end.

mod asking;

use asking::{A, B, JSON, get, is_closed, needs, post, send};
use mlgate_filter::requirement::Action::{Read, Update};
use mlgate_filter::requirement::ResourceType::{Experiment, Run};

// --- spellings that MLflow 3.17.2 was seen to accept ---------------------------------------

#[test]
fn every_spelling_of_a_path_is_refused_or_means_what_is_authorized() {
    for path in [
        "/api/2.0/mlflow%2Fexperiments%2Fget?experiment_id=1",
        "//api/2.0/mlflow/experiments/get?experiment_id=1",
        "/api/2.0//mlflow/experiments/get?experiment_id=1",
        "/api/2.0/mlflow/./experiments/get?experiment_id=1",
        "/api/2.0/mlflow/x/../experiments/get?experiment_id=1",
        "/api/2.0/mlflow/experiments/get/?experiment_id=1",
        "/api/2.0/mlflow/experiments/get;x=1?experiment_id=1",
        "/API/2.0/mlflow/experiments/get?experiment_id=1",
        "/api/2.0/mlflow%252Fexperiments/get?experiment_id=1",
        "/static-files/../api/2.0/mlflow/experiments/get?experiment_id=1",
        "http://127.0.0.1/api/2.0/mlflow/experiments/get?experiment_id=1",
    ] {
        assert!(is_closed(&get(path)), "{path}");
    }
    let encoded = get("/api/2.0/mlflow/%65xperiments/get?experiment%5Fid=1").unwrap();
    assert_eq!(encoded.forward.path, "/api/2.0/mlflow/experiments/get?experiment_id=1");
    assert!(needs(&encoded, Experiment, Read, "1"));
    let artifact = get(&format!("/%67et-artifact?run_id={A}&path=x")).unwrap();
    assert!(needs(&artifact, Run, Read, "*") && needs(&artifact, Experiment, Read, A));
}

#[test]
fn an_experiment_id_in_another_spelling_is_refused() {
    for id in ["%201", "01", "%2B1", "0_1", "%D9%A1", "1%20", "", "-1", "1.0"] {
        let path = format!("/api/2.0/mlflow/experiments/get?experiment_id={id}");
        assert!(get(&path).is_err(), "{id}");
        let list = format!("/api/2.0/mlflow/traces?experiment_ids=1&experiment_ids={id}");
        assert!(get(&list).is_err(), "{id}");
    }
    assert!(post("/api/2.0/mlflow/runs/search", r#"{"experiment_ids":["01"," 1"]}"#).is_err());
}

#[test]
fn a_repeated_selector_is_refused() {
    for path in [
        "/api/2.0/mlflow/experiments/get?experiment_id=0&experiment_id=1",
        "/api/2.0/mlflow/experiments/get?experiment_id=0&experiment%5Fid=1",
        "/api/2.0/mlflow-artifacts/artifacts?path=0&path=1/x",
    ] {
        assert!(get(path).is_err(), "{path}");
    }
}

#[test]
fn a_get_with_a_body_is_refused() {
    for path in [
        "/api/2.0/mlflow/experiments/get",
        "/api/2.0/mlflow/experiments/get?experiment_id=0",
        "/api/2.0/mlflow-artifacts/artifacts",
        "/graphql",
        "/unknown",
    ] {
        for method in ["GET", "HEAD"] {
            let body = br#"{"experiment_id":"1","path":"2/x"}"#;
            assert!(send(method, path, &[JSON], Some(body)).is_err(), "{method} {path}");
        }
    }
}

#[test]
fn head_reveals_nothing() {
    for path in [format!("/get-artifact?run_id={A}"), "/".to_owned(), "/graphql".to_owned()] {
        assert!(is_closed(&send("HEAD", &path, &[], None)), "{path}");
    }
}

#[test]
fn ids_in_query_and_body_are_refused() {
    for query in ["experiment_id=0", "experimentId=0"] {
        let path = format!("/api/2.0/mlflow/experiments/update?{query}");
        assert!(post(&path, r#"{"experiment_id":"1"}"#).is_err(), "{query}");
    }
    // PD-08.
    let both =
        post("/api/3.0/mlflow/datasets/search?experiment_ids=2", r#"{"experiment_ids":["1"]}"#);
    assert!(both.is_err());
}

#[test]
fn a_body_that_reads_in_two_ways_is_refused() {
    for body in [
        &br#"{"experiment_id":"0","experiment_id":"1"}"#[..],
        br#"{"experiment_id":"0","experimentId":"1"}"#,
        br#""{\"experiment_id\":\"1\"}""#,
        b"\xef\xbb\xbf{\"experiment_id\":\"1\"}",
        b"\xff\xfe{\x00}\x00",
        br#"{"experiment_id":"1","x":NaN}"#,
        br#"{"experiment_id":1}"#,
        br#"["experiment_id"]"#,
        b"{\"experiment_id\":\"1\"} trailing",
    ] {
        let result = send("POST", "/api/2.0/mlflow/experiments/update", &[JSON], Some(body));
        assert!(result.is_err(), "{}", String::from_utf8_lossy(body));
    }
    let escaped =
        post("/api/2.0/mlflow/experiments/update", r#"{"experiment\u005fid":"1"}"#).unwrap();
    assert!(needs(&escaped, Experiment, Update, "1"));
    assert_eq!(escaped.forward.body.as_deref(), Some(&br#"{"experiment_id": "1"}"#[..]));
}

#[test]
fn a_body_in_another_type_or_coding_is_refused() {
    let body: &[u8] = br#"{"experiment_id":"1"}"#;
    for headers in [
        &[("content-type", &b"text/plain"[..])][..],
        &[("content-type", b"application/x-www-form-urlencoded")],
        &[("content-type", b"application/vnd.x+json")],
        &[("content-type", b"application/json; charset=utf-16")],
        &[JSON, ("content-encoding", b"gzip")],
        &[],
    ] {
        let result = send("POST", "/api/2.0/mlflow/experiments/update", headers, Some(body));
        assert!(result.is_err(), "{headers:?}");
    }
}

#[test]
fn artifact_paths_that_reach_another_experiment_are_refused() {
    let base = "/api/2.0/mlflow-artifacts/artifacts";
    for path in [
        "./1/x",
        "%2e/1/x",
        "%252e/1/x",
        "%25252e%25252f1/x",
        "a.txt%3F",
        "a.txt%23",
        "/1/x",
        "0/../1/x",
        "0/%2e%2e/1/x",
        "file:1/x",
        "%252e%252e/x",
        "..%5c..%5cx",
        "..;/x",
        "%23/../x",
        "%00",
        "WORKSPACES/../1/x",
    ] {
        let read = get(&format!("{base}/{path}"));
        assert!(read.is_err(), "{path}");
        let listed = get(&format!("{base}?path={path}"));
        assert!(listed.is_err() || !path.contains('.'), "{path}");
    }
    for path in ["%31/x", "%2531/x", "1%2Fx"] {
        let operation = get(&format!("{base}/{path}")).unwrap();
        assert!(needs(&operation, Experiment, Read, "1"), "{path}");
        assert_eq!(operation.forward.path, format!("{base}/1/x"));
    }
    assert!(needs(&get(&format!("{base}?path=%2531/x")).unwrap(), Experiment, Read, "1"));
}

#[test]
fn a_run_named_twice_must_be_one_run() {
    for path in [
        format!("/api/2.0/mlflow/runs/get?run_uuid={A}&run_id={B}"),
        format!("/get-artifact?run_id={A}&run_uuid={B}&path=x"),
    ] {
        assert!(get(&path).is_err(), "{path}");
    }
    // PD-01, on every route that it was seen on.
    for route in [
        "runs/set-tag",
        "runs/delete-tag",
        "runs/log-metric",
        "runs/log-parameter",
        "runs/log-batch",
        "runs/log-inputs",
        "runs/outputs",
        "runs/log-model",
        "runs/update",
        "runs/delete",
        "runs/restore",
        "traces/link-to-run",
        "artifacts/presigned-download-url",
    ] {
        let path = format!("/api/2.0/mlflow/{route}");
        for body in [
            format!(r#"{{"run_uuid":"{A}","runId":"{B}"}}"#),
            format!(r#"{{"run_id":"{A}","runId":"{B}"}}"#),
            format!(r#"{{"run_id":"{A}","runUuid":"{B}"}}"#),
        ] {
            assert!(post(&path, &body).is_err(), "{route} {body}");
        }
    }
    // PD-02.
    let upload = format!("/ajax-api/2.0/mlflow/upload-artifact?run_id={A}&run_uuid={B}&path=x");
    assert!(send("POST", &upload, &[], Some(b"x")).is_err());
}

#[test]
fn graphql_aliases_fragments_and_variables_hide_nothing() {
    let ask = |query: &str, variables: &str| {
        let query = serde_json::to_string(query).unwrap();
        post("/graphql", &format!(r#"{{"query":{query},"variables":{variables}}}"#))
    };
    let found = ask(
        "query($e: String) { ...F a: mlflowGetExperiment(input: {experimentId: $e}) { apiError { code } } }
         fragment F on Query { mlflowGetExperiment(input: {experimentId: \"1\"}) { apiError { code } } }",
        r#"{"e":"2"}"#,
    )
    .unwrap();
    assert!(needs(&found, Experiment, Read, "1") && needs(&found, Experiment, Read, "2"));
    // PD-09, CVE-2025-0453.
    for query in [
        "{ mlflowGetExperiment(input: {}) { apiError { code } } }".to_owned(),
        "{ mlflowGetExperiment(input: {experimentId: \"\"}) { apiError { code } } }".to_owned(),
        format!(
            "{{ {} }}",
            (0..200)
                .map(|n| format!("a{n}: mlflowSearchRuns(input: {{experimentIds: [\"1\"]}}) {{ apiError {{ code }} }} "))
                .collect::<String>()
        ),
    ] {
        assert!(ask(&query, "{}").is_err());
    }
    assert!(is_closed(&get("/graphql?query=%7Btest%7D")));
}
