//! The spellings and holes that are known of MLflow and of gateways before it: each row that can
//! be decided without a network is a test here. The rest is tested end to end.

use mlgate_filter::operation::{BodyNeed, Operation, RawHead};
use mlgate_filter::refusal::Refusal;
use mlgate_filter::requirement::{Action, Key, Requirement, ResourceType, Standing};
use mlgate_filter::surface::{Reading, SurfaceSettings, read_head};

const A: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
const B: &str = "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb";

/// What the surface makes of a request: refused, or an operation with what it needs.
fn send(
    method: &str,
    path: &str,
    headers: &[(&str, &[u8])],
    body: Option<&[u8]>,
) -> Result<Operation, Refusal> {
    let headers = headers.iter().copied().collect();
    let head = RawHead {
        method: method.as_bytes(),
        path: path.as_bytes(),
        headers: &headers,
        end_of_stream: body.is_none(),
    };
    match read_head(&SurfaceSettings::default(), head)? {
        Reading::Routed(routed) => {
            let whole = matches!(routed.body_need(), BodyNeed::Whole { .. });
            routed.read(body.filter(|_| whole))
        }
        Reading::Unknown(operation) => Ok(operation),
        other => panic!("{method} {path} is forwarded or answered without a decision: {other:?}"),
    }
}

fn get(path: &str) -> Result<Operation, Refusal> {
    send("GET", path, &[], None)
}

const JSON: (&str, &[u8]) = ("content-type", b"application/json");

fn json(method: &str, path: &str, body: &str) -> Result<Operation, Refusal> {
    send(method, path, &[JSON], Some(body.as_bytes()))
}

fn post(path: &str, body: &str) -> Result<Operation, Refusal> {
    json("POST", path, body)
}

/// Nobody but a super admin gets through.
fn is_closed(result: &Result<Operation, Refusal>) -> bool {
    match result {
        Err(_) => true,
        Ok(operation) => {
            operation.requirements.contains(&Requirement::Standing(Standing::SuperAdmin))
        }
    }
}

fn mentions(requirement: &Requirement, resource: ResourceType, action: Action, id: &str) -> bool {
    match requirement {
        Requirement::Ladder(rungs) | Requirement::ExplicitLadder(rungs) => {
            rungs.iter().any(|rung| {
                let key = match &rung.key {
                    Key::Id(key) => key == id,
                    Key::OwnerOf(reference) => reference.id == id,
                    Key::Every => id == "*",
                };
                rung.resource == resource && rung.action == action && key
            })
        }
        Requirement::AnyOf(items) | Requirement::AllOf(items) => {
            items.iter().any(|item| mentions(item, resource, action, id))
        }
        _ => false,
    }
}

fn needs(operation: &Operation, resource: ResourceType, action: Action, id: &str) -> bool {
    operation.requirements.iter().any(|need| mentions(need, resource, action, id))
}

use Action::{Delete, Manage, Read, Update, Use};
use ResourceType::{
    Assessment, Experiment, GatewayEndpoint, LoggedModel, ModelOrPrompt, Run, Trace,
};

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

// --- holes in MLflow's own checks ----------------------------------------------------------

#[test]
fn pd_03_a_delete_takes_its_ids_from_one_place() {
    for route in [
        "2.0/mlflow/registered-models/delete",
        "2.0/mlflow/registered-models/delete-tag",
        "2.0/mlflow/registered-models/alias",
        "2.0/mlflow/model-versions/delete",
        "2.0/mlflow/model-versions/delete-tag",
        "3.0/mlflow/scorers/delete",
        "3.0/mlflow/label-schemas/delete",
    ] {
        let path = format!("/api/{route}?name=mine&schema_id=ls-1&experiment_id=1");
        let body = r#"{"name":"victim","schema_id":"ls-2","experiment_id":"2"}"#;
        assert!(json("DELETE", &path, body).is_err(), "{route}");
        assert!(send("DELETE", &path, &[], Some(body.as_bytes())).is_err(), "{route}");
        assert!(send("DELETE", &path, &[], None).is_err(), "{route}");
    }
}

#[test]
fn pd_04_path_and_body_must_name_one_model() {
    let path = format!("/api/2.0/mlflow/logged-models/m-{A}");
    assert!(json("PATCH", &path, &format!(r#"{{"model_id":"m-{B}","status":2}}"#)).is_err());
    assert!(json("PATCH", &path, &format!(r#"{{"modelId":"m-{B}"}}"#)).is_err());
    let same = json("PATCH", &path, &format!(r#"{{"model_id":"m-{A}","status":2}}"#)).unwrap();
    assert!(needs(&same, LoggedModel, Update, "*"));
}

#[test]
fn pd_10_a_trace_that_exists_is_not_taken_over() {
    let body = format!(
        r#"{{"trace":{{"trace_info":{{"trace_id":"tr-{A}","trace_location":
        {{"mlflow_experiment":{{"experiment_id":"1"}}}}}}}}}}"#
    );
    let operation = post("/api/3.0/mlflow/traces", &body).unwrap();
    let guarded = operation.requirements.iter().any(|need| {
        matches!(need, Requirement::AnyOf(items)
            if items.iter().any(|item| matches!(item, Requirement::Absent(_)))
                && mentions(need, Trace, Update, "*"))
    });
    assert!(guarded && needs(&operation, Experiment, Update, "1"));
}

#[test]
fn pd_11_spans_and_runs_of_others_are_authorized() {
    let body =
        format!(r#"{{"resourceSpans":[{{"scopeSpans":[{{"spans":[{{"traceId":"{A}"}}]}}]}}]}}"#);
    let headers = [JSON, ("x-mlflow-experiment-id", &b"1"[..]), ("x-mlflow-run-id", B.as_bytes())];
    let operation = send("POST", "/v1/traces", &headers, Some(body.as_bytes())).unwrap();
    assert!(needs(&operation, Run, Update, "*") && needs(&operation, Experiment, Update, B));
    assert!(needs(&operation, Experiment, Update, &format!("tr-{A}")));
    assert!(send("POST", "/v1/traces", &[JSON], Some(body.as_bytes())).is_err());
}

#[test]
fn the_traces_in_a_compressed_export_are_authorized_too() {
    use std::io::Write;

    let body =
        format!(r#"{{"resourceSpans":[{{"scopeSpans":[{{"spans":[{{"traceId":"{A}"}}]}}]}}]}}"#);
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(body.as_bytes()).unwrap();
    let body = encoder.finish().unwrap();
    let export = |coding: &[u8], body: &[u8]| {
        let headers = [JSON, ("x-mlflow-experiment-id", &b"1"[..]), ("content-encoding", coding)];
        send("POST", "/v1/traces", &headers, Some(body))
    };
    let operation = export(b"gzip", &body).unwrap();
    assert!(needs(&operation, Experiment, Update, &format!("tr-{A}")));
    assert_eq!(operation.forward.body, None, "the bytes go on as they came");
    for coding in [&b"deflate"[..], b"zstd", b"gzip, gzip"] {
        assert!(export(coding, &body).is_err());
    }
    let mut bomb = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    bomb.write_all(&vec![b' '; SurfaceSettings::default().body_limit + 1]).unwrap();
    let refusal = export(b"gzip", &bomb.finish().unwrap()).unwrap_err();
    assert!(matches!(refusal, Refusal::TooLarge { .. }));
}

#[test]
fn pd_12_nothing_is_called_star() {
    for (path, body) in [
        ("/api/2.0/mlflow/registered-models/create", r#"{"name":"*"}"#),
        ("/api/2.0/mlflow/registered-models/rename", r#"{"name":"a","new_name":"*"}"#),
        ("/api/2.0/mlflow/registered-models/rename", r#"{"name":"a","newName":"*"}"#),
        ("/api/3.0/mlflow/mcp-servers", r#"{"name":"*"}"#),
    ] {
        assert!(post(path, body).is_err(), "{body}");
    }
}

#[test]
fn pd_13_nobody_submits_jobs_at_will() {
    let job = r#"{"job_name":"invoke_scorer","params":{"experiment_id":"2"}}"#;
    assert!(is_closed(&post("/ajax-api/3.0/jobs/", job)));
}

#[test]
fn cve_2024_4263_deleting_artifacts_takes_manage() {
    let path = format!("/api/2.0/mlflow-artifacts/artifacts/1/{A}/artifacts/x");
    let operation = send("DELETE", &path, &[], None).unwrap();
    assert!(needs(&operation, Run, Manage, "*") && needs(&operation, Experiment, Manage, "1"));
    let root = send("DELETE", "/api/2.0/mlflow-artifacts/artifacts/1", &[], None).unwrap();
    for tier in [Run, Trace, LoggedModel] {
        assert!(needs(&root, tier, Manage, "*"), "{tier:?}");
    }
}

#[test]
fn cve_2025_14297_ajax_routes_need_the_run_or_experiment() {
    let bulk = get(&format!("/ajax-api/2.0/mlflow/metrics/get-history-bulk?run_id={A}&run_id={B}"));
    let bulk = bulk.unwrap();
    assert!(needs(&bulk, Experiment, Read, A) && needs(&bulk, Experiment, Read, B));
    let datasets =
        post("/ajax-api/2.0/mlflow/experiments/search-datasets", r#"{"experiment_ids":["1","2"]}"#)
            .unwrap();
    assert!(needs(&datasets, Experiment, Read, "1") && needs(&datasets, Experiment, Read, "2"));
    let promptlab =
        post("/ajax-api/2.0/mlflow/runs/create-promptlab-run", r#"{"experiment_id":"1"}"#).unwrap();
    assert!(needs(&promptlab, Experiment, Update, "1"));
    let artifact =
        get(&format!("/ajax-api/2.0/mlflow/get-trace-artifact?request_id=tr-{A}")).unwrap();
    assert!(needs(&artifact, Trace, Read, "*"));
}

#[test]
fn cve_2026_8147_every_trace_route_needs_the_trace() {
    let id = format!("tr-{A}");
    let operation = get(&format!("/api/3.0/mlflow/traces/{id}")).unwrap();
    assert!(needs(&operation, Experiment, Read, &id));
    let delete = post(
        "/api/3.0/mlflow/traces/delete-traces",
        &format!(r#"{{"experiment_id":"1","request_ids":["{id}"]}}"#),
    )
    .unwrap();
    assert!(needs(&delete, Trace, Delete, "*") && needs(&delete, Experiment, Delete, "1"));
    let batch =
        get(&format!("/ajax-api/3.0/mlflow/traces/batchGet?trace_ids={id}&trace_ids=tr-{B}"));
    let batch = batch.unwrap();
    assert!(needs(&batch, Experiment, Read, &id));
    assert!(needs(&batch, Experiment, Read, &format!("tr-{B}")));
    assert!(is_closed(&get("/ajax-api/3.0/mlflow/traces/batchGet")));
}

#[test]
fn cve_2026_2651_multipart_uploads_need_update_under_both_prefixes() {
    for prefix in ["/api", "/ajax-api"] {
        for step in ["create", "complete", "abort"] {
            let path = format!("{prefix}/2.0/mlflow-artifacts/mpu/{step}/1/{A}/artifacts");
            let operation = post(&path, r#"{"path":"model.bin"}"#).unwrap();
            assert!(needs(&operation, Run, Update, "*"), "{path}");
        }
    }
}

#[test]
fn cve_2026_2614_a_source_outside_of_what_is_readable_is_not_registered() {
    for source in ["/etc", "file:///etc/passwd", "s3://bucket/other"] {
        let body = format!(
            r#"{{"name":"m","source":"{source}","tags":[{{"key":"mlflow.prompt.is_prompt","value":"true"}}]}}"#
        );
        let operation = post("/api/2.0/mlflow/model-versions/create", &body).unwrap();
        assert!(needs(&operation, Experiment, Read, source), "{source}");
    }
    for source in ["/a/../etc", "s3://b/x#/../y", "file:///a;b", "s3://b/%2e%2e/x"] {
        let body = format!(r#"{{"name":"m","source":"{source}"}}"#);
        assert!(post("/api/2.0/mlflow/model-versions/create", &body).is_err(), "{source}");
    }
}

#[test]
fn references_are_authorized_with_what_refers_to_them() {
    let version = |source: &str| {
        let body = format!(r#"{{"name":"m","source":"{source}"}}"#);
        post("/api/2.0/mlflow/model-versions/create", &body).unwrap()
    };
    assert!(needs(&version(&format!("models:/m-{B}")), LoggedModel, Read, "*"));
    assert!(needs(&version(&format!("runs:/{B}/model")), Experiment, Read, B));
    assert!(needs(&version("models:/other/1"), ModelOrPrompt, Read, "other"));
    let metric = post(
        "/api/2.0/mlflow/runs/log-metric",
        &format!(r#"{{"run_id":"{A}","model_id":"m-{B}","key":"k","value":1.0}}"#),
    )
    .unwrap();
    assert!(needs(&metric, LoggedModel, Update, "*"));
    let issue = post(
        "/api/3.0/mlflow/issues",
        &format!(r#"{{"experiment_id":"1","source_run_id":"{B}"}}"#),
    )
    .unwrap();
    assert!(needs(&issue, Experiment, Read, B));
    let detection = post(
        "/ajax-api/3.0/mlflow/issues/invoke",
        r#"{"experiment_id":"1","endpoint_name":"judge"}"#,
    )
    .unwrap();
    assert!(needs(&detection, GatewayEndpoint, Use, "judge"));
    let linked = post(
        "/api/2.0/mlflow/traces/link-prompts",
        &format!(
            r#"{{"trace_id":"tr-{A}","prompt_versions":[{{"name":"secret","version":"1"}}]}}"#
        ),
    )
    .unwrap();
    assert!(needs(&linked, ModelOrPrompt, Read, "secret"));
}

#[test]
fn a_gateway_call_names_one_endpoint() {
    let call = |path: &str| send("POST", path, &[], Some(b"{}"));
    let invoked = call("/gateway/judge/mlflow/invocations").unwrap();
    assert!(needs(&invoked, GatewayEndpoint, Use, "judge"));
    assert!(call("/gateway/proxy/mlflow/invocations").is_err());
    let gemini = call("/gateway/gemini/v1beta/models/judge:generateContent").unwrap();
    assert!(needs(&gemini, GatewayEndpoint, Use, "judge"));
    assert!(call("/gateway/gemini/v1beta/models/a:b:generateContent").is_err());
    let chat = post("/gateway/openai/v1/chat/completions", r#"{"model":"judge"}"#).unwrap();
    assert!(needs(&chat, GatewayEndpoint, Use, "judge"));
    assert!(post("/gateway/openai/v1/chat/completions", "{}").is_err());
}

#[test]
fn privileged_routes_are_for_super_admins() {
    for (method, path) in [
        ("GET", "/api/2.0/mlflow/webhooks"),
        ("DELETE", "/api/2.0/mlflow/webhooks/w1"),
        ("GET", "/metrics"),
        ("GET", "/build/index.html"),
        ("DELETE", "/api/3.0/mlflow/workspaces/team"),
        ("GET", "/api/3.0/mlflow/prompt-optimization/jobs/j1"),
        ("GET", "/ajax-api/3.0/mlflow/assistant/sessions/s1/stream"),
        ("GET", "/api/3.0/mlflow/gateway/guardrails/list"),
        ("GET", "/api/2.0/mlflow-artifacts/artifacts/skills/@acme"),
        ("GET", "/api/2.0/mlflow-artifacts/artifacts?path=skills"),
        ("POST", "/api/2.0mlflow/experiments/search-datasets"),
        ("GET", "/ajax-api/2.0/mlflow/gateway-proxy?gateway_path=anything"),
        ("OPTIONS", "/api/2.0/mlflow/runs/search"),
    ] {
        assert!(is_closed(&send(method, path, &[], None)), "{method} {path}");
    }
}

#[test]
fn mirror_headers_are_refused() {
    for name in ["x_mlflow_experiment_id", "x_mlflow_workspace", "x_forwarded_for"] {
        assert!(send("GET", "/", &[(name, b"1")], None).is_err(), "{name}");
    }
    for name in ["authorization", "x-mlflow-workspace", "x-mlflow-run-id"] {
        let twice: [(&str, &[u8]); 2] = [(name, A.as_bytes()), (name, A.as_bytes())];
        assert!(send("GET", "/", &twice, None).is_err(), "{name}");
    }
}

/// What a filter or a sort key reaches, it tells one comparison at a time.
#[test]
fn filters_do_not_tell_what_is_denied() {
    let versions = "/api/2.0/mlflow/model-versions/search";
    for query in ["filter=run_id%3D%27x%27", "filter=RUN_ID+IN+(%27x%27)", "order_by=run_id+DESC"] {
        let search = get(&format!("{versions}?{query}")).unwrap();
        assert!(needs(&search, Run, Action::NotDenied, "*"), "{query}");
    }
    let models = "/api/2.0/mlflow/logged-models/search";
    for part in [
        r#""filter":"attributes.source_run_id = 'x'""#,
        r#""order_by":[{"field_name":"source_run_id"}]"#,
        r#""orderBy":[{"fieldName":"attributes.source_run_id"}]"#,
    ] {
        let search = post(models, &format!(r#"{{"experiment_ids":["1"],{part}}}"#)).unwrap();
        assert!(needs(&search, Run, Action::NotDenied, "*"), "{part}");
    }
    let issues = r#"{"experiment_id":"1","filter_string":"source_run_id = 'x'"}"#;
    let search = post("/api/3.0/mlflow/issues/search", issues).unwrap();
    assert!(needs(&search, Run, Action::NotDenied, "*"));
    let plain = get(&format!("{versions}?filter=name%3D%27x%27")).unwrap();
    assert!(!needs(&plain, Run, Action::NotDenied, "*"), "only what is named");
}

#[test]
fn filters_over_traces_need_the_tiers_that_they_name() {
    let location = r#""locations":[{"mlflow_experiment":{"experiment_id":"1"}}]"#;
    let ids = r#""experiment_ids":["1"]"#;
    let (v3, one, two) = (
        "/api/3.0/mlflow/traces/search",
        "/api/3.0/mlflow/traces/calculate-filter-correlation",
        "/api/3.0/mlflow/traces/metrics",
    );
    for (path, body, tier) in [
        (v3, format!(r#"{{{location},"order_by":["run_id DESC"]}}"#), Run),
        (v3, format!(r#"{{{location},"filter":"metadata.`mlflow.sourceRun` = 'x'"}}"#), Run),
        (v3, format!(r#"{{{location},"filter":"metadata.mlflow.modelId = 'x'"}}"#), LoggedModel),
        (v3, format!(r#"{{{location},"filter":"feedback.good = 'true'"}}"#), Assessment),
        (v3, format!(r#"{{{location},"filter":"expectation.right = 'x'"}}"#), Assessment),
        (one, format!(r#"{{{ids},"filter_string1":"run_id = 'x'","filter_string2":"a"}}"#), Run),
        (
            one,
            format!(r#"{{{ids},"filterString1":"a","filterString2":"feedback.x = 'y'"}}"#),
            Assessment,
        ),
        (one, format!(r#"{{{ids},"base_filter":"assessment.x = 'y'"}}"#), Assessment),
        (two, format!(r#"{{{ids},"view_type":"TRACES","filters":["run_id = 'x'"]}}"#), Run),
        (
            two,
            format!(r#"{{{ids},"view_type":"SPANS","dimensions":["assessment_name"]}}"#),
            Assessment,
        ),
        (two, format!(r#"{{{ids},"view_type":"ASSESSMENTS"}}"#), Assessment),
        (two, format!(r#"{{{ids},"view_type":"SOMETHING_NEW"}}"#), Assessment),
        (two, format!("{{{ids}}}"), Assessment),
    ] {
        let search = post(path, &body).unwrap();
        assert!(needs(&search, tier, Read, "*"), "{path} {body}");
    }
    let filter = "experiment_ids=1&filter=request_metadata.%60mlflow.sourceRun%60%3D%27x%27";
    let old = get(&format!("/api/2.0/mlflow/traces?{filter}")).unwrap();
    assert!(needs(&old, Run, Read, "*"));
    let plain = format!(r#"{{{location},"filter":"trace.status = 'OK'"}}"#);
    let plain = post(v3, &plain).unwrap();
    for tier in [Run, LoggedModel, Assessment] {
        assert!(!needs(&plain, tier, Read, "*"), "only what is named");
    }
}
