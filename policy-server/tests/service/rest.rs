//! Lookups through MLflow's REST API instead of its database.

use mlgate_policy_server::contract::{Action, Outcome, ReferenceKind as K};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use crate::on_both_stores;
use crate::support::*;

/// Answers as MLflow does for run 1, and with whatever `broken` says otherwise.
async fn mlflow(broken: Option<&'static str>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut request = vec![0; 8192];
            let read = stream.read(&mut request).await.unwrap_or(0);
            let request = String::from_utf8_lossy(&request[..read]).into_owned();
            let line = request.lines().next().unwrap_or_default();
            let (status, body) = match (broken, line) {
                (Some(status), _) => (status, String::new()),
                (None, line) => answer(line),
            };
            let response = format!(
                "HTTP/1.1 {status}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
                body.len()
            );
            let _ = stream.write_all(response.as_bytes()).await;
        }
    });
    format!("http://{address}")
}

fn answer(line: &str) -> (&'static str, String) {
    let run = format!("GET /api/2.0/mlflow/runs/get?run_id={RUN_1} HTTP/1.1");
    let found = match line {
        line if line == run => r#"{"run": {"info": {"experiment_id": "1"}}}"#,
        "GET /api/3.0/mlflow/traces/tr-1 HTTP/1.1" => {
            r#"{"trace": {"trace_info": {"trace_location": {"mlflow_experiment":
                {"experiment_id": "1"}}}}}"#
        }
        "GET /api/3.0/mlflow/datasets/d-both/experiment-ids HTTP/1.1" => {
            r#"{"experiment_ids": ["1", "2"]}"#
        }
        "GET /api/3.0/mlflow/datasets/d-1/experiment-ids HTTP/1.1" => {
            r#"{"experiment_ids": ["1"]}"#
        }
        _ => return ("404 Not Found", r#"{"error_code": "RESOURCE_DOES_NOT_EXIST"}"#.to_owned()),
    };
    ("200 OK", found.to_owned())
}

on_both_stores! {
async fn ids_lead_to_experiments_through_mlflows_own_api(place: On) {
    let url = mlflow(None).await;
    let server = fixture(place, &[("tracking_uri", &url)]).await;
    for (kind, id, expected) in [
        (K::RunId, RUN_1, Outcome::Allowed),
        (K::RunId, RUN_2, Outcome::Denied),
        (K::TraceId, "tr-1", Outcome::Allowed),
        (K::TraceId, "tr-2", Outcome::Denied),
        (K::EvaluationDatasetId, "d-1", Outcome::Allowed),
        (K::EvaluationDatasetId, "d-both", Outcome::Denied),
        // An id must not become another route.
        (K::TraceId, "../traces/tr-1", Outcome::Denied),
        (K::TraceId, "tr-1?x=", Outcome::Denied),
        (K::TraceId, "..", Outcome::Denied),
        (K::ExperimentName, "no such", Outcome::NotFound),
        // What the API does not tell is unknown, not absent.
        (K::GuardrailId, "g-1", Outcome::Unavailable),
    ] {
        let outcome = server.outcome("reader", of(kind, id, Action::Read)).await;
        assert_eq!(outcome, expected, "{kind:?} {id}");
    }
}
}

on_both_stores! {
async fn an_mlflow_that_does_not_answer_properly_is_unavailable(place: On) {
    for broken in ["500 Internal Server Error", "401 Unauthorized", "302 Found", "200 OK"] {
        let url = mlflow(Some(broken)).await;
        let server = fixture(place, &[("tracking_uri", &url)]).await;
        let outcome = server.outcome("reader", of(K::RunId, RUN_1, Action::Read)).await;
        assert_eq!(outcome, Outcome::Unavailable, "{broken}");
        let outcome = server.outcome("reader", experiment("1", Action::Read)).await;
        assert_eq!(outcome, Outcome::Allowed, "{broken}");
    }
}
}
