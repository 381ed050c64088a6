//! Where each kind of reference lives, from the answer that tells it.

use serde_json::Value;

use super::super::{LookupError, Place, Reference, scorer_key};
use super::{Rest, failed, text};
use crate::contract::ReferenceKind;
use crate::domain::ResourceType;

/// Pages of a list that are looked through for one id; each has [`PAGE`] rows.
const MAX_PAGES: usize = 20;
const PAGE: &str = "1000";

impl Rest {
    /// See [`super::Resolver::locate`].
    ///
    /// # Errors
    /// `LookupError`.
    pub async fn locate(
        &self,
        reference: &Reference,
        workspace: &str,
    ) -> Result<Vec<Place>, LookupError> {
        use ReferenceKind as K;
        let id = reference.id.as_str();
        let parent = reference.parent.as_deref().unwrap_or_default();
        let (path, query, pointer): (&[&str], &[(&str, &str)], _) = match reference.kind {
            K::TraceId => return self.trace(id, workspace).await,
            K::EvaluationDatasetId => return self.dataset(id, workspace).await,
            K::GatewayEndpointName => {
                let path = ["3.0", "mlflow", "gateway", "endpoints", "get"];
                let answer = self.get(&path, &[("name", id)], workspace).await?;
                let of = ResourceType::GatewayEndpoint;
                return Ok(named(answer, "/endpoint/endpoint_id", of, workspace));
            }
            K::GatewaySecretName => {
                let path = ["3.0", "mlflow", "gateway", "secrets", "get"];
                let answer = self.get(&path, &[("secret_name", id)], workspace).await?;
                let of = ResourceType::GatewaySecret;
                return Ok(named(answer, "/secret/secret_id", of, workspace));
            }
            K::RunId => {
                (&["2.0", "mlflow", "runs", "get"], &[("run_id", id)], "/run/info/experiment_id")
            }
            K::LoggedModelId => {
                (&["2.0", "mlflow", "logged-models", id], &[], "/model/info/experiment_id")
            }
            K::ExperimentName => (
                &["2.0", "mlflow", "experiments", "get-by-name"],
                &[("experiment_name", id)],
                "/experiment/experiment_id",
            ),
            K::IssueId => (&["3.0", "mlflow", "issues", id], &[], "/issue/experiment_id"),
            K::LabelSchemaId => (
                &["3.0", "mlflow", "label-schemas", "get"],
                &[("schema_id", id)],
                "/label_schema/experiment_id",
            ),
            K::LabelSchemaName => (
                &["3.0", "mlflow", "label-schemas", "get-by-name"],
                &[("experiment_id", parent), ("name", id)],
                "/label_schema/experiment_id",
            ),
            K::ReviewQueueId => (
                &["3.0", "mlflow", "review-queues", "get"],
                &[("queue_id", id)],
                "/review_queue/experiment_id",
            ),
            K::ReviewQueueName => (
                &["3.0", "mlflow", "review-queues", "get-by-name"],
                &[("experiment_id", parent), ("name", id)],
                "/review_queue/experiment_id",
            ),
            K::GuardrailId => return self.guardrail(id, workspace).await,
            K::OnlineScoringConfig => return self.scoring_config(id, workspace).await,
            K::GatewayModelDefinitionName => return self.model_definition(id, workspace).await,
            K::McpEndpointId => return self.mcp_endpoint(id, workspace).await,
            K::JobId => {
                let path = ["3.0", "jobs", id];
                let answer = self.get_below("ajax-api", &path, &[], workspace).await?;
                let job = answer.map(|job| place(&job, "/params/experiment_id", workspace));
                return Ok(job.into_iter().collect());
            }
            K::PromptOptimizationJobId => {
                (&["3.0", "mlflow", "prompt-optimization", "jobs", id], &[], "/job/experiment_id")
            }
            // An assessment is only found through its trace, a scorer only by its name.
            K::AssessmentId | K::ScorerId | K::ArtifactUri | K::Unspecified => {
                return Err(LookupError::Untold { kind: reference.kind.as_str_name() });
            }
        };
        let answer = self.get(path, query, workspace).await?;
        Ok(answer.map(|answer| place(&answer, pointer, workspace)).into_iter().collect())
    }

    async fn trace(&self, id: &str, workspace: &str) -> Result<Vec<Place>, LookupError> {
        const POINTER: &str = "/trace/trace_info/trace_location/mlflow_experiment/experiment_id";
        let path = ["3.0", "mlflow", "traces", id];
        if let Some(answer) = self.get(&path, &[], workspace).await? {
            return Ok(vec![place(&answer, POINTER, workspace)]);
        }
        // MLflow 2.14 to 2.x.
        let path = ["2.0", "mlflow", "traces", id, "info"];
        let answer = self.get(&path, &[], workspace).await?;
        Ok(answer
            .map(|answer| place(&answer, "/trace_info/experiment_id", workspace))
            .into_iter()
            .collect())
    }

    async fn dataset(&self, id: &str, workspace: &str) -> Result<Vec<Place>, LookupError> {
        let path = ["3.0", "mlflow", "datasets", id, "experiment-ids"];
        let Some(answer) = self.get(&path, &[], workspace).await? else { return Ok(Vec::new()) };
        let ids = answer.get("experiment_ids").and_then(Value::as_array);
        Ok(ids.into_iter().flatten().map(|id| in_experiment(text(Some(id)), workspace)).collect())
    }

    /// Grants are about the scorer that a guardrail runs.
    async fn guardrail(&self, id: &str, workspace: &str) -> Result<Vec<Place>, LookupError> {
        let path = ["3.0", "mlflow", "gateway", "guardrails", "get"];
        let answer = self.get(&path, &[("guardrail_id", id)], workspace).await?;
        let Some(answer) = answer else { return Ok(Vec::new()) };
        let mut place = place(&answer, "/guardrail/scorer/experiment_id", workspace);
        let name = text(answer.pointer("/guardrail/scorer/scorer_name"));
        place.named = match (&place.experiment, name) {
            (Some(experiment), Some(name)) => {
                Some((ResourceType::Scorer, scorer_key(experiment, &name)))
            }
            _ => None,
        };
        Ok(vec![place])
    }

    /// A scorer without a configuration is not in the list, as if it did not exist.
    async fn scoring_config(
        &self,
        scorer: &str,
        workspace: &str,
    ) -> Result<Vec<Place>, LookupError> {
        let path = ["3.0", "mlflow", "scorers", "online-configs"];
        let answer = self.get(&path, &[("scorer_ids", scorer)], workspace).await?;
        let configs = answer.as_ref().and_then(|answer| answer.get("configs"));
        let found = rows(configs).find(|config| is(config, "scorer_id", scorer));
        Ok(found.map(|config| place(config, "/experiment_id", workspace)).into_iter().collect())
    }

    async fn model_definition(
        &self,
        name: &str,
        workspace: &str,
    ) -> Result<Vec<Place>, LookupError> {
        let path = ["3.0", "mlflow", "gateway", "model-definitions", "list"];
        let answer = self.get(&path, &[], workspace).await?;
        let definitions = answer.as_ref().and_then(|answer| answer.get("model_definitions"));
        let found = rows(definitions).find(|definition| is(definition, "name", name));
        let of = ResourceType::GatewayModelDefinition;
        Ok(named(found.cloned(), "/model_definition_id", of, workspace))
    }

    async fn mcp_endpoint(&self, id: &str, workspace: &str) -> Result<Vec<Place>, LookupError> {
        let path = ["3.0", "mlflow", "mcp-servers", "endpoints"];
        let mut token: Option<String> = None;
        for _ in 0..MAX_PAGES {
            let mut query = vec![("max_results", PAGE)];
            query.extend(token.as_deref().map(|token| ("page_token", token)));
            let Some(answer) = self.get(&path, &query, workspace).await? else {
                return Ok(Vec::new());
            };
            let endpoints = answer.get("mcp_access_endpoints");
            let found = rows(endpoints).find(|endpoint| is(endpoint, "id", id)).cloned();
            token = text(answer.get("next_page_token")).filter(|token| !token.is_empty());
            if found.is_some() || token.is_none() {
                return Ok(named(found, "/server_name", ResourceType::McpServer, workspace));
            }
        }
        Err(failed(format!("it has more than {MAX_PAGES} pages of MCP endpoints")))
    }
}

fn rows(list: Option<&Value>) -> impl Iterator<Item = &Value> {
    list.and_then(Value::as_array).into_iter().flatten()
}

fn is(row: &Value, field: &str, value: &str) -> bool {
    row.get(field).and_then(Value::as_str) == Some(value)
}

fn named(
    answer: Option<Value>,
    pointer: &str,
    resource: ResourceType,
    workspace: &str,
) -> Vec<Place> {
    let id = answer.and_then(|answer| text(answer.pointer(pointer)));
    id.map(|id| Place {
        experiment: None,
        workspace: Some(workspace.to_owned()),
        named: Some((resource, id)),
    })
    .into_iter()
    .collect()
}

fn place(answer: &Value, pointer: &str, workspace: &str) -> Place {
    in_experiment(text(answer.pointer(pointer)), workspace)
}

fn in_experiment(experiment: Option<String>, workspace: &str) -> Place {
    // MLflow's own id; anything else names no experiment that a grant could be about.
    let experiment = experiment.filter(|id| super::super::database::is_decimal(id));
    Place { experiment, workspace: Some(workspace.to_owned()), named: None }
}
