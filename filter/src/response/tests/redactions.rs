use super::*;
use crate::catalogue::rows;
use crate::response::is_rewritable;

fn redacted(work: ResponseWork, denied: &[ResourceType], body: &str) -> String {
    rewrite(work, denied, body, &|_, _| true).unwrap()
}

#[test]
fn nothing_is_read_where_no_tier_is_denied() {
    let operation = operation(rows::RUNS, get("/x"));
    assert!(Rewriting::plan(&operation, &decision(&[])).is_none());
    assert!(Rewriting::plan(&operation, &decision(&[ResourceType::Run])).is_none());
    assert!(Rewriting::plan(&operation, &decision(&[ResourceType::LoggedModel])).is_some());
}

#[test]
fn a_run_names_no_logged_model_to_whom_logged_models_are_denied() {
    let body = r#"{"run":{"inputs":{"model_inputs":[{"model_id":"m"}],"dataset_inputs":[]},"outputs":{"model_outputs":[]},"data":{"metrics":[{"key":"a","value":0.1,"model_id":"m"}]}}}"#;
    assert_eq!(
        redacted(rows::RUN, &[ResourceType::LoggedModel], body),
        r#"{"run":{"inputs":{"dataset_inputs":[]},"outputs":{},"data":{"metrics":[{"key":"a","value":0.1}]}}}"#
    );
}

#[test]
fn a_logged_model_names_no_run_to_whom_runs_are_denied() {
    let body = r#"{"models":[{"info":{"model_id":"m","source_run_id":"r"},"data":{"metrics":[{"key":"k","run_id":"r"}]}}]}"#;
    assert_eq!(
        redacted(rows::LOGGED_MODELS, &[ResourceType::Run], body),
        r#"{"models":[{"info":{"model_id":"m"},"data":{"metrics":[{"key":"k"}]}}]}"#
    );
}

#[test]
fn trace_metadata_is_cut_in_both_of_its_forms() {
    let v2 = r#"{"traces":[{"request_metadata":[{"key":"mlflow.sourceRun","value":"r"},{"key":"mlflow.modelId","value":"m"},{"key":"k","value":"v"}]}]}"#;
    assert_eq!(
        redacted(rows::TRACES_V2, &[ResourceType::Run], v2),
        r#"{"traces":[{"request_metadata":[{"key":"mlflow.modelId","value":"m"},{"key":"k","value":"v"}]}]}"#
    );
    let v3 = r#"{"trace":{"trace_info":{"trace_metadata":{"mlflow.sourceRun":"r","mlflow.modelId":"m"},"assessments":[{}]}}}"#;
    assert_eq!(
        redacted(rows::TRACE, &[ResourceType::LoggedModel, ResourceType::Assessment], v3),
        r#"{"trace":{"trace_info":{"trace_metadata":{"mlflow.sourceRun":"r"}}}}"#
    );
}

#[test]
fn embedded_versions_go_by_the_kind_of_their_parent() {
    let body = r#"{"registered_models":[{"name":"a","latest_versions":[{"version":"1","run_id":"r"}]},{"name":"p","tags":[{"key":"mlflow.prompt.is_prompt","value":"true"}],"latest_versions":[{"version":"2","run_id":"r"}]}]}"#;
    let of = |denied: &[ResourceType]| redacted(rows::REGISTERED_MODELS, denied, body);
    assert_eq!(
        of(&[ResourceType::PromptVersion]),
        r#"{"registered_models":[{"name":"a","latest_versions":[{"version":"1","run_id":"r"}]},{"name":"p","tags":[{"key":"mlflow.prompt.is_prompt","value":"true"}]}]}"#
    );
    assert_eq!(
        of(&[ResourceType::RegisteredModelVersion, ResourceType::Run]),
        r#"{"registered_models":[{"name":"a"},{"name":"p","tags":[{"key":"mlflow.prompt.is_prompt","value":"true"}],"latest_versions":[{"version":"2"}]}]}"#
    );
}

#[test]
fn the_passphrase_warning_is_for_admins_only() {
    let body = r#"{"secrets_available":true,"using_default_passphrase":true}"#;
    assert_eq!(redacted(rows::GATEWAY_SECRETS_CONFIG, &[], body), r#"{"secrets_available":true}"#);
}

#[test]
fn mcp_endpoints_do_not_tell_of_denied_versions() {
    let body = r#"{"mcp_access_endpoints":[{"server_name":"a/b","resolved_version":"1","tools":[],"server_version":"1","server_alias":"x","url":"u"}]}"#;
    assert_eq!(
        redacted(rows::MCP_ENDPOINTS, &[ResourceType::McpServerVersion], body),
        r#"{"mcp_access_endpoints":[{"server_name":"a/b","url":"u"}]}"#
    );
}

#[test]
fn a_metric_of_not_a_number_is_refused_rather_than_passed_on() {
    let denied = &[ResourceType::LoggedModel];
    let body = r#"{"metrics":[{"value":NaN,"model_id":"m"}]}"#;
    assert_eq!(rewrite(rows::METRICS, denied, body, &|_, _| true), Err(ResponseError::Malformed));
}

#[test]
fn only_plain_json_successes_are_rewritten() {
    let json = Some(&b"application/json"[..]);
    assert_eq!(is_rewritable(200, None, json), Ok(true));
    assert_eq!(
        is_rewritable(200, Some(b"identity"), Some(b"Application/JSON; charset=utf-8")),
        Ok(true)
    );
    for status in [199, 304, 400, 403, 404, 500] {
        assert_eq!(is_rewritable(status, Some(b"gzip"), Some(b"text/html")), Ok(false));
    }
    for coding in [&b"gzip"[..], b"br", b"deflate", b"identity, gzip", b"zstd", b"\xff"] {
        assert_eq!(is_rewritable(200, Some(coding), json), Err(ResponseError::Encoded));
    }
    for kind in [None, Some(&b"text/html"[..]), Some(b""), Some(b"application/jsonp")] {
        assert_eq!(is_rewritable(200, None, kind), Err(ResponseError::NotJson));
    }
}
