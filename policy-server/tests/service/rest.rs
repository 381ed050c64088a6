//! Lookups through MLflow's REST API instead of its database.

use mlgate_policy_server::contract as pb;
use mlgate_policy_server::contract::{Action, Outcome, ReferenceKind as K, ResourceType as R};
use mlgate_policy_server::domain::{Level, ResourceType as Domain};
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
        "GET /api/3.0/mlflow/gateway/guardrails/get?guardrail_id=g-1 HTTP/1.1" => {
            r#"{"guardrail": {"guardrail_id": "g-1", "scorer": {"experiment_id": 1,
                "scorer_name": "is it/short", "scorer_version": 2, "scorer_id": "s-1"}}}"#
        }
        "GET /api/3.0/mlflow/scorers/online-configs?scorer_ids=s-1 HTTP/1.1" => {
            r#"{"configs": [{"scorer_id": "s-0", "experiment_id": "2"},
                {"scorer_id": "s-1", "experiment_id": "1", "sample_rate": 0.1}]}"#
        }
        "GET /api/3.0/mlflow/scorers/online-configs?scorer_ids=s-2 HTTP/1.1" => {
            r#"{"configs": []}"#
        }
        "GET /api/3.0/mlflow/gateway/model-definitions/list HTTP/1.1" => {
            r#"{"model_definitions": [{"model_definition_id": "md-0", "name": "gpt-0"},
                {"model_definition_id": "md-1", "name": "gpt-1"}]}"#
        }
        "GET /api/3.0/mlflow/mcp-servers/endpoints?max_results=1000 HTTP/1.1" => {
            r#"{"mcp_access_endpoints": [{"id": "e-0", "server_name": "x/y"}],
                "next_page_token": "a/b"}"#
        }
        "GET /api/3.0/mlflow/mcp-servers/endpoints?max_results=1000&page_token=a%2Fb HTTP/1.1" => {
            r#"{"mcp_access_endpoints": [{"id": "e-1", "server_name": "com.x/tools"}],
                "next_page_token": null}"#
        }
        "GET /api/2.0/mlflow/registered-models/get?name=secret HTTP/1.1"
        | "GET /api/2.0/mlflow/registered-models/get?name=Secret HTTP/1.1"
        | "GET /api/2.0/mlflow/registered-models/get?name=Secret+ HTTP/1.1" => {
            r#"{"registered_model": {"name": "Secret"}}"#
        }
        "GET /ajax-api/3.0/jobs/j-1 HTTP/1.1" => {
            r#"{"job_id": "j-1", "params": {"experiment_id": "1"}}"#
        }
        "GET /api/3.0/mlflow/prompt-optimization/jobs/p-1 HTTP/1.1" => {
            r#"{"job": {"job_id": "p-1", "experiment_id": "1"}}"#
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
        (K::GuardrailId, "g-1", Outcome::Allowed),
        (K::GuardrailId, "g-2", Outcome::Denied),
        (K::OnlineScoringConfig, "s-1", Outcome::Allowed),
        (K::OnlineScoringConfig, "s-2", Outcome::Denied),
        (K::JobId, "j-1", Outcome::Allowed),
        (K::JobId, "j-2", Outcome::Denied),
        (K::PromptOptimizationJobId, "p-1", Outcome::Allowed),
    ] {
        let outcome = server.outcome("reader", of(kind, id, Action::Read)).await;
        assert_eq!(outcome, expected, "{kind:?} {id}");
    }
}
}

on_both_stores! {
async fn ids_lead_to_what_is_granted_by_itself_through_mlflows_own_api(place: On) {
    let url = mlflow(None).await;
    let server = fixture(place, &[("tracking_uri", &url)]).await;
    for (granted, kind, own, id, other) in [
        (Domain::Scorer, K::GuardrailId, "1/is%20it%2Fshort", "g-1", "g-2"),
        (Domain::GatewayModelDefinition, K::GatewayModelDefinitionName, "md-1", "gpt-1", "gpt-0"),
        (Domain::McpServer, K::McpEndpointId, "com.x/tools", "e-1", "e-0"),
    ] {
        let asked = |id| {
            let resource = R::from_str_name(&granted.as_str().to_uppercase()).unwrap();
            owner(resource, reference(kind, id), Action::Read)
        };
        assert_eq!(server.outcome("stranger", asked(id)).await, Outcome::Denied, "{id}");
        server.grant("stranger", granted, own, Level::Read).await;
        assert_eq!(server.outcome("stranger", asked(id)).await, Outcome::Allowed, "{id}");
        assert_eq!(server.outcome("stranger", asked(other)).await, Outcome::Denied, "{other}");
        assert_eq!(server.outcome("stranger", asked("none")).await, Outcome::Denied);
    }
}
}

on_both_stores! {
/// PD-22: on MySQL, MLflow finds `Secret` for whoever asks for `secret`, which nobody is denied.
async fn a_name_that_mlflow_has_in_another_spelling_is_denied(place: On) {
    let url = mlflow(None).await;
    let server = fixture(place, &[("tracking_uri", &url)]).await;
    server.grant("reader", Domain::RegisteredModel, "*", Level::Read).await;
    let read = |name| on(R::ModelOrPrompt, name, Action::Read);
    assert_eq!(server.outcome("reader", read("Secret")).await, Outcome::Allowed);
    assert_eq!(server.outcome("reader", read("another")).await, Outcome::Allowed);
    for name in ["secret", "Secret "] {
        assert_eq!(server.outcome("reader", read(name)).await, Outcome::Denied, "{name:?}");
    }
}
}

on_both_stores! {
async fn what_the_api_does_not_tell_is_denied_and_counts_as_present(place: On) {
    let url = mlflow(None).await;
    let server = fixture(place, &[("tracking_uri", &url)]).await;
    for kind in [K::AssessmentId, K::ScorerId] {
        let answer = server.ask("owner", vec![of(kind, "a-1", Action::Read)]).await;
        assert_eq!(answer.outcome(), Outcome::Denied, "{kind:?}");
        assert_eq!(answer.reason, "needs_tracking_database");
        let absent = pb::requirement::Condition::Absent(reference(kind, "a-1"));
        let answer = server.ask("root", vec![requirement(absent)]).await;
        assert_eq!(answer.outcome(), Outcome::Denied, "not known to be absent");
        let answer = server.ask("root", vec![of(kind, "a-1", Action::Read)]).await;
        assert_eq!(answer.outcome(), Outcome::Allowed);
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
