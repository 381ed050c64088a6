//! Lookups through MLflow's REST API, where its database cannot be reached.
//!
//! MLflow answers for the workspace in the header and for no other, so what is found is there.

use std::time::Duration;

use reqwest::{Client, StatusCode, redirect};
use serde_json::Value;
use url::Url;

use super::{LookupError, ModelKind, Place, Reference};
use crate::contract::ReferenceKind;
use crate::domain::{DEFAULT_WORKSPACE, ResourceType};

pub const NAME: &str = "REST API";

/// Longest answer that is read.
const MAX_ANSWER_BYTES: usize = 8 * 1024 * 1024;

const CONNECT_TIMEOUT: Duration = Duration::from_millis(500);
const TIMEOUT: Duration = Duration::from_secs(2);

/// Idle connections kept to MLflow.
const IDLE_CONNECTIONS: usize = 16;

pub struct Rest {
    root: Url,
    client: Client,
}

impl Rest {
    /// `root` is MLflow's own URL, not the gate's. Nothing is sent yet.
    ///
    /// # Errors
    /// `Unavailable` when no client can be made.
    pub fn open(root: Url) -> Result<Self, LookupError> {
        // Fails when a provider is installed already, which is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = Client::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(TIMEOUT)
            .pool_max_idle_per_host(IDLE_CONNECTIONS)
            // An answer from elsewhere is nobody's word.
            .redirect(redirect::Policy::none())
            .build()
            .map_err(unavailable)?;
        Ok(Self { root, client })
    }

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
            kind => return Err(untold(kind)),
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

    async fn queue(&self, id: &str, workspace: &str) -> Result<Option<Value>, LookupError> {
        let path = ["3.0", "mlflow", "review-queues", "get"];
        self.get(&path, &[("queue_id", id)], workspace).await
    }

    /// See [`super::Resolver::artifact_root`].
    ///
    /// # Errors
    /// `LookupError`.
    pub async fn artifact_root(
        &self,
        owner: ReferenceKind,
        id: &str,
        workspace: &str,
    ) -> Result<Option<String>, LookupError> {
        let (path, query, pointer) = match owner {
            ReferenceKind::RunId => {
                (["2.0", "mlflow", "runs", "get"], vec![("run_id", id)], "/run/info/artifact_uri")
            }
            ReferenceKind::LoggedModelId => {
                (["2.0", "mlflow", "logged-models", id], vec![], "/model/info/artifact_uri")
            }
            _ => return Ok(None),
        };
        let answer = self.get(&path, &query, workspace).await?;
        Ok(answer.and_then(|answer| text(answer.pointer(pointer))))
    }

    /// See [`super::Resolver::experiment_workspace`].
    ///
    /// # Errors
    /// `LookupError`.
    pub async fn experiment_workspace(
        &self,
        id: &str,
        workspace: &str,
    ) -> Result<Option<String>, LookupError> {
        let path = ["2.0", "mlflow", "experiments", "get"];
        let answer = self.get(&path, &[("experiment_id", id)], workspace).await?;
        Ok(answer.map(|_| workspace.to_owned()))
    }

    /// See [`super::Resolver::model_kind`].
    ///
    /// # Errors
    /// `LookupError`.
    pub async fn model_kind(
        &self,
        name: &str,
        workspace: &str,
    ) -> Result<Option<ModelKind>, LookupError> {
        let path = ["2.0", "mlflow", "registered-models", "get"];
        let Some(answer) = self.get(&path, &[("name", name)], workspace).await? else {
            return Ok(None);
        };
        let tags = answer.pointer("/registered_model/tags");
        let prompt = tags.and_then(Value::as_array).into_iter().flatten().any(|tag| {
            tag.get("key").and_then(Value::as_str) == Some(super::database::PROMPT_TAG)
                && tag
                    .get("value")
                    .and_then(Value::as_str)
                    .is_some_and(|value| value.eq_ignore_ascii_case("true"))
        });
        Ok(Some(if prompt { ModelKind::Prompt } else { ModelKind::Model }))
    }

    /// See [`super::Resolver::workspace_exists`].
    ///
    /// # Errors
    /// `LookupError`.
    pub async fn workspace_exists(&self, name: &str) -> Result<bool, LookupError> {
        let path = ["3.0", "mlflow", "workspaces", name];
        Ok(self.get(&path, &[], DEFAULT_WORKSPACE).await?.is_some())
    }

    /// See [`super::Resolver::is_assigned`].
    ///
    /// # Errors
    /// `LookupError`.
    pub async fn is_assigned(
        &self,
        queue: &str,
        username: &str,
        workspace: &str,
    ) -> Result<bool, LookupError> {
        let answer = self.queue(queue, workspace).await?;
        let users = answer.as_ref().and_then(|answer| answer.pointer("/review_queue/users"));
        let users = users.and_then(Value::as_array);
        Ok(users.into_iter().flatten().any(|user| user.as_str() == Some(username)))
    }

    /// See [`super::Resolver::queue_id`].
    ///
    /// # Errors
    /// `LookupError`.
    pub async fn queue_id(
        &self,
        named: &Reference,
        workspace: &str,
    ) -> Result<Option<String>, LookupError> {
        let path = ["3.0", "mlflow", "review-queues", "get-by-name"];
        let experiment = named.parent.as_deref().unwrap_or_default();
        let query = [("experiment_id", experiment), ("name", named.id.as_str())];
        let answer = self.get(&path, &query, workspace).await?;
        let id = answer.as_ref().and_then(|answer| answer.pointer("/review_queue/queue_id"));
        Ok(id.and_then(Value::as_str).map(str::to_owned))
    }

    /// `None` for what MLflow says does not exist, or that it cannot be an id.
    pub(super) async fn get(
        &self,
        path: &[&str],
        query: &[(&str, &str)],
        workspace: &str,
    ) -> Result<Option<Value>, LookupError> {
        // As one segment each: an id with a slash or a dot must not reach another route.
        if path.iter().any(|segment| matches!(*segment, "" | "." | "..") || segment.contains('/')) {
            return Ok(None);
        }
        let mut url = self.root.clone();
        url.path_segments_mut()
            .map_err(|()| failed("tracking_uri can have no path".to_owned()))?
            .pop_if_empty()
            .push("api")
            .extend(path);
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        let mut request = self.client.get(url);
        // A server without workspaces answers the header with an error.
        if workspace != DEFAULT_WORKSPACE {
            request = request.header("X-MLFLOW-WORKSPACE", workspace);
        }
        let response = request.send().await.map_err(unavailable)?;
        match response.status() {
            StatusCode::OK => body(response).await.map(Some),
            StatusCode::NOT_FOUND | StatusCode::BAD_REQUEST => Ok(None),
            status => Err(failed(format!("it answered {status}"))),
        }
    }
}

async fn body(mut response: reqwest::Response) -> Result<Value, LookupError> {
    let mut bytes = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(unavailable)? {
        if bytes.len() + chunk.len() > MAX_ANSWER_BYTES {
            return Err(failed("its answer is too long".to_owned()));
        }
        bytes.extend_from_slice(&chunk);
    }
    serde_json::from_slice(&bytes).map_err(|_| failed("its answer is not JSON".to_owned()))
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
    let experiment = experiment.filter(|id| super::database::is_decimal(id));
    Place { experiment, workspace: Some(workspace.to_owned()), named: None }
}

pub(super) fn text(value: Option<&Value>) -> Option<String> {
    match value? {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

fn untold(kind: ReferenceKind) -> LookupError {
    failed(format!(
        "it does not tell what {} belongs to; set tracking_uri to the database",
        kind.as_str_name()
    ))
}

fn failed(why: String) -> LookupError {
    LookupError::Unavailable { source_name: NAME, why }
}

fn unavailable(error: reqwest::Error) -> LookupError {
    // Without its URL, which may hold a password.
    failed(error.without_url().to_string())
}
