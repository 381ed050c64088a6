//! Lookups in MLflow's tracking database, read-only.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use sqlx::any::{AnyPoolOptions, AnyRow};
use sqlx::{AnyConnection, AnyPool, AssertSqlSafe, Executor, Row};
use tokio::sync::RwLock;

use super::at_once::AtOnce;
use super::runs::Runs;
use super::schema::Schema;
use super::statement::{Named, Second, Statement, statement, workspace_column};
use super::{LookupError, ModelKind, Place, Reference, scorer_key};
use crate::contract::ReferenceKind;
use crate::store::{DatabaseUrl, SqliteMode};

pub const NAME: &str = "tracking database";

/// An upgraded MLflow has new tables; this is how long they may stay unknown.
const SCHEMA_AGE: Duration = Duration::from_secs(30);

/// Names that one statement looks up.
pub(super) const MAX_NAMES: usize = 256;

/// The tag that makes a registered model a prompt.
pub(super) const PROMPT_TAG: &str = "mlflow.prompt.is_prompt";

/// Belt and braces: the file is opened read-only, and no statement here writes.
const SQLITE_SESSION: &str = "PRAGMA busy_timeout = 500; PRAGMA query_only = 1;";
const POSTGRES_SESSION: &str = "SET default_transaction_read_only = on; \
                                SET application_name = 'mlgate-resolver'; \
                                SET statement_timeout = '2s';";

pub struct Database {
    pool: AnyPool,
    url: DatabaseUrl,
    schema: RwLock<Option<(Arc<Schema>, Instant)>>,
    runs: Runs,
    /// Where it is a file.
    at_once: Option<Box<AtOnce>>,
}

impl Database {
    /// Connects at the first lookup, so that MLflow may be started later.
    ///
    /// # Errors
    /// `Unavailable` when the URL cannot be used.
    pub fn open(url: DatabaseUrl, connections: u32) -> Result<Self, LookupError> {
        sqlx::any::install_default_drivers();
        let session = match url {
            DatabaseUrl::Sqlite(_) => SQLITE_SESSION,
            DatabaseUrl::Postgres(_) => POSTGRES_SESSION,
        };
        let spelled = url.for_sqlx(SqliteMode::ReadOnly).map_err(|error| {
            LookupError::Unavailable { source_name: NAME, why: error.to_string() }
        })?;
        let pool = AnyPoolOptions::new()
            .max_connections(connections)
            .acquire_timeout(Duration::from_secs(1))
            .after_connect(move |connection: &mut AnyConnection, _| {
                Box::pin(async move { connection.execute(session).await.map(drop) })
            })
            .connect_lazy(&spelled)
            .map_err(unavailable)?;
        let at_once = url.sqlite_path().map(|path| Box::new(AtOnce::new(path)));
        Ok(Self { pool, url, schema: RwLock::new(None), runs: Runs::default(), at_once })
    }

    pub(super) const fn pool(&self) -> &AnyPool {
        &self.pool
    }

    pub(super) async fn schema(&self) -> Result<Arc<Schema>, LookupError> {
        if let Some((schema, read_at)) = &*self.schema.read().await
            && read_at.elapsed() < SCHEMA_AGE
        {
            return Ok(Arc::clone(schema));
        }
        let mut slot = self.schema.write().await;
        if let Some((schema, read_at)) = &*slot
            && read_at.elapsed() < SCHEMA_AGE
        {
            return Ok(Arc::clone(schema));
        }
        let schema = Arc::new(Schema::read(&self.pool, &self.url).await?);
        *slot = Some((Arc::clone(&schema), Instant::now()));
        Ok(schema)
    }

    /// Where a run lives, if nothing need be waited for to know.
    pub fn at_once(&self, run: &Reference) -> Option<Vec<Place>> {
        let runs = self.at_once.as_ref()?;
        let known = self.schema.try_read().ok()?;
        let (schema, _) = known.as_ref().filter(|(_, read_at)| read_at.elapsed() < SCHEMA_AGE)?;
        runs.locate(schema, &run.id)
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
        let schema = self.schema().await?;
        if reference.kind == ReferenceKind::RunId {
            return self.runs.locate(&self.pool, schema, &reference.id).await;
        }
        if matches!(reference.kind, ReferenceKind::JobId | ReferenceKind::PromptOptimizationJobId) {
            return self.job(&schema, &reference.id).await;
        }
        let Some(statement) = statement(reference.kind, &schema) else { return Ok(Vec::new()) };
        let id = match reference.kind {
            // MLflow stores the lower-cased name beside the name.
            ReferenceKind::ReviewQueueName => reference.id.to_lowercase(),
            _ => reference.id.clone(),
        };
        let mut query = sqlx::query(AssertSqlSafe(statement.sql.clone())).bind(id);
        query = match statement.second {
            Second::Nothing => query,
            Second::Workspace => query.bind(workspace),
            Second::Parent => {
                // An id that is no number names no experiment; Postgres would fail to cast it.
                let Some(parent) = reference.parent.as_deref().filter(|id| is_decimal(id)) else {
                    return Ok(Vec::new());
                };
                query.bind(parent)
            }
        };
        let rows = query.fetch_all(&self.pool).await.map_err(unavailable)?;
        rows.iter().map(|row| place(row, &statement)).collect()
    }

    /// The experiment is only in the job's parameters, JSON.
    async fn job(&self, schema: &Schema, id: &str) -> Result<Vec<Place>, LookupError> {
        if !schema.has_table("jobs") {
            return Ok(Vec::new());
        }
        let workspace = workspace_column(schema, "jobs", "t");
        let sql = format!("SELECT t.params, {workspace} FROM jobs t WHERE t.id = $1");
        let row = sqlx::query(AssertSqlSafe(sql))
            .bind(id)
            .fetch_optional(&self.pool)
            .await
            .map_err(unavailable)?;
        let Some(row) = row else { return Ok(Vec::new()) };
        let params: Option<String> = row.try_get(0).map_err(unavailable)?;
        let experiment = params
            .and_then(|text| serde_json::from_str::<serde_json::Value>(&text).ok())
            .and_then(|params| match params.get("experiment_id")? {
                serde_json::Value::String(id) => Some(id.clone()),
                serde_json::Value::Number(id) => Some(id.to_string()),
                _ => None,
            })
            .filter(|id| is_decimal(id));
        let workspace = row.try_get(1).map_err(unavailable)?;
        Ok(vec![Place { experiment, workspace, named: None }])
    }

    /// The root of the artifacts of a run or a logged model, as MLflow recorded it.
    ///
    /// # Errors
    /// `LookupError`.
    pub async fn artifact_root(
        &self,
        owner: ReferenceKind,
        id: &str,
    ) -> Result<Option<String>, LookupError> {
        let (table, key, column) = match owner {
            ReferenceKind::RunId => ("runs", "run_uuid", "artifact_uri"),
            ReferenceKind::LoggedModelId => ("logged_models", "model_id", "artifact_location"),
            _ => return Ok(None),
        };
        if !self.schema().await?.has_table(table) {
            return Ok(None);
        }
        let sql = format!("SELECT t.{column} FROM {table} t WHERE t.{key} = $1");
        self.optional_text(sql, &[id]).await
    }

    /// See [`super::Resolver::experiment_workspace`].
    ///
    /// # Errors
    /// `LookupError`.
    pub async fn experiment_workspace(&self, id: &str) -> Result<Option<String>, LookupError> {
        if !is_decimal(id) {
            return Ok(None);
        }
        let schema = self.schema().await?;
        let workspace = workspace_column(&schema, "experiments", "e");
        let sql = format!(
            "SELECT {workspace} FROM experiments e WHERE e.experiment_id = CAST($1 AS BIGINT)"
        );
        self.optional_text(sql, &[id]).await
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
        let schema = self.schema().await?;
        if !schema.has_table("registered_model_tags") {
            return Ok(Some(ModelKind::Model));
        }
        let model = workspace_column(&schema, "registered_models", "m");
        let tag = workspace_column(&schema, "registered_model_tags", "t");
        let sql = format!(
            "SELECT COALESCE(t.value, '') FROM registered_models m \
             LEFT JOIN registered_model_tags t ON t.name = m.name AND t.key = $2 AND {tag} = $3 \
             WHERE m.name = $1 AND {model} = $3"
        );
        let value = self.optional_text(sql, &[name, PROMPT_TAG, workspace]).await?;
        Ok(value.map(|value| match value.eq_ignore_ascii_case("true") {
            true => ModelKind::Prompt,
            false => ModelKind::Model,
        }))
    }

    /// Those of the names that are prompts; at most [`MAX_NAMES`].
    ///
    /// # Errors
    /// `LookupError`.
    pub async fn prompts(
        &self,
        names: &[&str],
        workspace: &str,
    ) -> Result<HashSet<String>, LookupError> {
        let schema = self.schema().await?;
        let (Some(filler), true) = (names.last(), schema.has_table("registered_model_tags")) else {
            return Ok(HashSet::new());
        };
        let column = workspace_column(&schema, "registered_model_tags", "t");
        // Few lengths, so that few statements have to be prepared.
        let slots = names.len().next_power_of_two();
        let places: Vec<String> = (0..slots).map(|slot| format!("${}", slot + 3)).collect();
        let sql = format!(
            "SELECT t.name, t.value FROM registered_model_tags t \
             WHERE t.key = $1 AND {column} = $2 AND t.name IN ({})",
            places.join(", ")
        );
        let mut query = sqlx::query(AssertSqlSafe(sql)).bind(PROMPT_TAG).bind(workspace);
        for name in names.iter().chain(std::iter::repeat(filler)).take(slots) {
            query = query.bind(*name);
        }
        let mut prompts = HashSet::new();
        for row in query.fetch_all(&self.pool).await.map_err(unavailable)? {
            let value: Option<String> = row.try_get(1).map_err(unavailable)?;
            if value.is_some_and(|value| value.eq_ignore_ascii_case("true")) {
                prompts.insert(row.try_get(0).map_err(unavailable)?);
            }
        }
        Ok(prompts)
    }

    /// See [`super::Resolver::workspace_exists`].
    ///
    /// # Errors
    /// `LookupError`.
    pub async fn workspace_exists(&self, name: &str) -> Result<bool, LookupError> {
        if !self.schema().await?.has_table("workspaces") {
            return Ok(false);
        }
        let sql = "SELECT w.name FROM workspaces w WHERE w.name = $1".to_owned();
        Ok(self.optional_text(sql, &[name]).await?.is_some())
    }

    /// See [`super::Resolver::is_assigned`].
    ///
    /// # Errors
    /// `LookupError`.
    pub async fn is_assigned(&self, queue: &str, username: &str) -> Result<bool, LookupError> {
        if !self.schema().await?.has_table("review_queue_users") {
            return Ok(false);
        }
        let sql = "SELECT u.user_id FROM review_queue_users u \
                   WHERE u.queue_id = $1 AND u.user_id = $2";
        Ok(self.optional_text(sql.to_owned(), &[queue, username]).await?.is_some())
    }

    /// See [`super::Resolver::queue_id`].
    ///
    /// # Errors
    /// `LookupError`.
    pub async fn queue_id(&self, named: &Reference) -> Result<Option<String>, LookupError> {
        if !self.schema().await?.has_table("review_queues") {
            return Ok(None);
        }
        let sql = "SELECT q.queue_id FROM review_queues q \
                   WHERE q.name_key = $1 AND q.experiment_id = CAST($2 AS BIGINT)";
        let key = named.id.to_lowercase();
        let Some(experiment) = named.parent.as_deref().filter(|id| is_decimal(id)) else {
            return Ok(None);
        };
        self.optional_text(sql.to_owned(), &[&key, experiment]).await
    }

    async fn optional_text(
        &self,
        sql: String,
        arguments: &[&str],
    ) -> Result<Option<String>, LookupError> {
        let mut query = sqlx::query(AssertSqlSafe(sql));
        for argument in arguments {
            query = query.bind(*argument);
        }
        let row = query.fetch_optional(&self.pool).await.map_err(unavailable)?;
        row.map(|row| row.try_get(0)).transpose().map_err(unavailable).map(Option::flatten)
    }
}

fn place(row: &AnyRow, statement: &Statement) -> Result<Place, LookupError> {
    let experiment: Option<String> = row.try_get(0).map_err(unavailable)?;
    let own: Option<String> = row.try_get(2).map_err(unavailable)?;
    let named = match (statement.named, own, &experiment) {
        (Some(Named::Id(resource)), Some(id), _) => Some((resource, id)),
        (Some(Named::Scorer), Some(name), Some(experiment)) => {
            Some((crate::domain::ResourceType::Scorer, scorer_key(experiment, &name)))
        }
        _ => None,
    };
    Ok(Place { experiment, workspace: row.try_get(1).map_err(unavailable)?, named })
}

/// Canonical digits that fit the column.
pub(super) fn is_decimal(id: &str) -> bool {
    id.parse::<i64>().is_ok_and(|number| number >= 0 && number.to_string() == id)
}

pub(super) fn unavailable(error: sqlx::Error) -> LookupError {
    LookupError::Unavailable { source_name: NAME, why: error.to_string() }
}
