//! MLflow reads a trace's files with its own credentials from where tags of the trace say. Whoever
//! could set them would read any location through a trace of their own.

#[allow(dead_code, reason = "shared with tests that use all of it")]
mod asking;

use asking::{A, JSON, is_closed, json, send};
use mlgate_filter::operation::Operation;
use mlgate_filter::refusal::Refusal;

const ARTIFACTS: &str = "mlflow.artifactLocation";
const ARCHIVE: &str = "mlflow.trace.archiveLocation";

fn started(tag: &str) -> Result<Operation, Refusal> {
    let body = format!(
        r#"{{"trace":{{"trace_info":{{"trace_id":"tr-{A}","tags":{{"mine":"1","{tag}":"s3://b"}},
        "trace_location":{{"mlflow_experiment":{{"experiment_id":"1"}}}}}}}}}}"#
    );
    json("POST", "/api/3.0/mlflow/traces", &body)
}

#[test]
fn a_trace_is_told_where_its_files_are_by_super_admins_only() {
    for tag in [ARTIFACTS, ARCHIVE, "MLflow.ArtifactLocation", "mlflow.artifactLocation "] {
        for path in ["/api/2.0/mlflow/traces/tr-{}/tags", "/ajax-api/3.0/mlflow/traces/tr-{}/tags"]
        {
            let body = format!(r#"{{"key":"{tag}","value":"/etc"}}"#);
            assert!(is_closed(&json("PATCH", &path.replace("{}", A), &body)), "{path} {tag}");
        }
        let tags = format!(r#""tags":[{{"key":"mine"}},{{"key":"{tag}","value":"/etc"}}]"#);
        let body = format!(r#"{{"experiment_id":"1",{tags}}}"#);
        assert!(is_closed(&json("POST", "/api/2.0/mlflow/traces", &body)), "{tag}");
        let body = format!("{{{tags}}}");
        let path = format!("/api/2.0/mlflow/traces/tr-{A}");
        assert!(is_closed(&json("PATCH", &path, &body)), "{tag}");
    }
    assert!(is_closed(&started(ARCHIVE)));
}

#[test]
fn what_clients_send_goes_on_working() {
    // A copied trace comes with the location of the first, which MLflow replaces by its own.
    assert!(!is_closed(&started(ARTIFACTS)));
    assert!(!is_closed(&started("mlflow.trace.spansLocation")));
    let tagged = json(
        "PATCH",
        &format!("/api/3.0/mlflow/traces/tr-{A}/tags"),
        r#"{"key":"mlflow.traceName","value":"x"}"#,
    );
    assert!(!is_closed(&tagged));
    let ended = r#"{"status":"OK","tags":[{"key":"mlflow.traceName","value":"x"}]}"#;
    assert!(!is_closed(&json("PATCH", &format!("/api/2.0/mlflow/traces/tr-{A}"), ended)));
}

#[test]
fn an_export_that_says_so_is_refused() {
    let send_with = |key: &str| {
        let body = format!(
            r#"{{"resourceSpans":[{{"scopeSpans":[{{"spans":[{{"traceId":"{A}",
            "attributes":[{{"key":"{key}","value":{{"stringValue":"/etc"}}}}]}}]}}]}}]}}"#
        );
        let headers = [JSON, ("x-mlflow-experiment-id", &b"1"[..])];
        send("POST", "/v1/traces", &headers, Some(body.as_bytes()))
    };
    for tag in [ARTIFACTS, ARCHIVE] {
        assert!(send_with(&format!("mlflow.traceTag.{tag}")).is_err(), "{tag}");
    }
    assert!(send_with("mlflow.traceTag.mine").is_ok());
}
