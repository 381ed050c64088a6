//! Lookups through MLflow's REST API, where its database cannot be reached.
//!
//! MLflow answers for the workspace in the header and for no other, so what is found is there.

mod places;

use std::time::Duration;

use reqwest::{Client, StatusCode, redirect};
use serde_json::Value;
use url::Url;

use super::{LookupError, ModelKind, Reference};
use crate::contract::ReferenceKind;
use crate::domain::DEFAULT_WORKSPACE;

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
        let stored = answer.pointer("/registered_model/name").and_then(Value::as_str);
        if stored.is_some_and(|stored| stored != name) {
            return Err(LookupError::Misspelt);
        }
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
        self.get_below("api", path, query, workspace).await
    }

    /// As [`Rest::get`]: some routes are only below the interface's prefix.
    async fn get_below(
        &self,
        prefix: &str,
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
            .push(prefix)
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

pub(super) fn text(value: Option<&Value>) -> Option<String> {
    match value? {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

fn failed(why: String) -> LookupError {
    LookupError::Unavailable { source_name: NAME, why }
}

fn unavailable(error: reqwest::Error) -> LookupError {
    // Without its URL, which may hold a password.
    failed(error.without_url().to_string())
}
