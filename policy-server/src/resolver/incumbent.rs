//! What MLflow has under a name right now, and since when. Never from memory: it tells whether
//! something was made, deleted or renamed in between.

use percent_encoding::percent_decode_str;
use serde_json::Value;
use sqlx::{AssertSqlSafe, Row};

use super::database::{is_decimal, unavailable};
use super::statement::workspace_column;
use super::{Backend, Database, LookupError, Resolver, Rest, rest};
use crate::domain::{Incumbent, ResourceType, skill_of_id};

/// How an object is looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wanted<'a> {
    /// By the name that its creator gives; of a scorer as grants name it.
    Named(&'a str),
    /// By the id that grants name.
    Id(&'a str),
}

impl<'a> Wanted<'a> {
    const fn text(self) -> &'a str {
        match self {
            Self::Named(text) | Self::Id(text) => text,
        }
    }
}

/// Whether it is the same object and not a namesake. Names come back; ids that MLflow makes up
/// do not.
pub fn same(resource: ResourceType, one: &Incumbent, other: &Incumbent) -> bool {
    let by_name = matches!(
        resource,
        ResourceType::RegisteredModel
            | ResourceType::Prompt
            | ResourceType::McpServer
            | ResourceType::Skill
            | ResourceType::Workspace
    );
    one.id == other.id && (!by_name || one.born == other.born)
}

impl Resolver {
    /// What is there; `None` for nothing.
    ///
    /// # Errors
    /// `LookupError` when that could not be found out.
    pub async fn incumbent(
        &self,
        resource: ResourceType,
        wanted: Wanted<'_>,
        workspace: &str,
    ) -> Result<Option<Incumbent>, LookupError> {
        self.within_time(async {
            match &self.backend {
                Backend::Database(database) => {
                    database.incumbent(resource, wanted, workspace).await
                }
                Backend::Rest(rest) => rest.incumbent(resource, wanted, workspace).await,
                Backend::None => Err(LookupError::Unconfigured),
            }
        })
        .await
    }
}

/// A scorer's experiment and name, from its key.
fn scorer(key: &str) -> Option<(&str, String)> {
    let (experiment, name) = key.split_once('/')?;
    let name = percent_decode_str(name).decode_utf8().ok()?.into_owned();
    is_decimal(experiment).then_some((experiment, name))
}

impl Database {
    async fn incumbent(
        &self,
        resource: ResourceType,
        wanted: Wanted<'_>,
        workspace: &str,
    ) -> Result<Option<Incumbent>, LookupError> {
        use ResourceType as R;
        let by_id = matches!(wanted, Wanted::Id(_));
        let (table, id, name, born) = match resource {
            R::Experiment => {
                ("experiments", "CAST(t.experiment_id AS TEXT)", "name", "creation_time")
            }
            R::RegisteredModel | R::Prompt => {
                ("registered_models", "t.name", "name", "creation_time")
            }
            R::GatewaySecret => ("secrets", "t.secret_id", "secret_name", "created_at"),
            R::GatewayEndpoint => ("endpoints", "t.endpoint_id", "name", "created_at"),
            R::GatewayModelDefinition => {
                ("model_definitions", "t.model_definition_id", "name", "created_at")
            }
            R::McpServer => ("mcp_servers", "t.name", "name", "created_at"),
            R::Workspace => ("workspaces", "t.name", "name", ""),
            R::Scorer => return self.scorer(wanted.text()).await,
            R::Skill => return self.skill(wanted.text(), workspace).await,
            _ => return Err(untold(resource)),
        };
        let schema = self.schema().await?;
        if !schema.has_table(table) {
            return Ok(None);
        }
        let born = match schema.has_column(table, born) {
            true => format!("t.{born}"),
            false => "CAST(NULL AS BIGINT)".to_owned(),
        };
        let key = if by_id { id.to_owned() } else { format!("t.{name}") };
        let mut sql = format!("SELECT {id}, {born} FROM {table} t WHERE {key} = $1");
        // Names are unique within a workspace, and so are ids that are names.
        let scoped = resource != R::Workspace;
        if scoped {
            sql.push_str(&format!(" AND {} = $2", workspace_column(&schema, table, "t")));
        }
        let mut query = sqlx::query(AssertSqlSafe(sql)).bind(wanted.text().to_owned());
        if scoped {
            query = query.bind(workspace.to_owned());
        }
        let row = query.fetch_optional(self.pool()).await.map_err(unavailable)?;
        row.as_ref().map(incumbent).transpose()
    }

    async fn scorer(&self, key: &str) -> Result<Option<Incumbent>, LookupError> {
        let schema = self.schema().await?;
        let tables = schema.has_table("scorers") && schema.has_table("scorer_versions");
        let (Some((experiment, name)), true) = (scorer(key), tables) else { return Ok(None) };
        let sql = "SELECT t.scorer_id, MIN(v.creation_time) FROM scorers t \
                   LEFT JOIN scorer_versions v ON v.scorer_id = t.scorer_id \
                   WHERE t.experiment_id = CAST($1 AS BIGINT) AND t.scorer_name = $2 \
                   GROUP BY t.scorer_id";
        let query = sqlx::query(sql).bind(experiment.to_owned()).bind(name);
        let row = query.fetch_optional(self.pool()).await.map_err(unavailable)?;
        row.as_ref().map(incumbent).transpose()
    }
}

impl Database {
    async fn skill(&self, key: &str, workspace: &str) -> Result<Option<Incumbent>, LookupError> {
        let schema = self.schema().await?;
        let (Some((organization, name)), true) = (skill_of_id(key), schema.has_table("skills"))
        else {
            return Ok(None);
        };
        let sql = "SELECT CAST($1 AS TEXT), t.created_at FROM skills t \
                   WHERE t.organization = $2 AND t.name = $3 AND t.workspace = $4";
        let query = sqlx::query(sql)
            .bind(key.to_owned())
            .bind(organization.unwrap_or_default().to_owned())
            .bind(name.to_owned())
            .bind(workspace.to_owned());
        let row = query.fetch_optional(self.pool()).await.map_err(unavailable)?;
        row.as_ref().map(incumbent).transpose()
    }
}

fn incumbent(row: &sqlx::any::AnyRow) -> Result<Incumbent, LookupError> {
    let id = row.try_get(0).map_err(unavailable)?;
    Ok(Incumbent { id, born: row.try_get(1).map_err(unavailable)? })
}

impl Rest {
    async fn incumbent(
        &self,
        resource: ResourceType,
        wanted: Wanted<'_>,
        workspace: &str,
    ) -> Result<Option<Incumbent>, LookupError> {
        use ResourceType as R;
        let text = wanted.text();
        let by_id = matches!(wanted, Wanted::Id(_));
        let (path, key, id, born): (&[&str], _, _, _) = match resource {
            R::Experiment if !by_id => (
                &["2.0", "mlflow", "experiments", "get-by-name"],
                "experiment_name",
                "/experiment/experiment_id",
                "/experiment/creation_time",
            ),
            R::RegisteredModel | R::Prompt => (
                &["2.0", "mlflow", "registered-models", "get"],
                "name",
                "/registered_model/name",
                "/registered_model/creation_timestamp",
            ),
            R::GatewaySecret if by_id => (
                &["3.0", "mlflow", "gateway", "secrets", "get"],
                "secret_id",
                "/secret/secret_id",
                "/secret/created_at",
            ),
            R::GatewayEndpoint => (
                &["3.0", "mlflow", "gateway", "endpoints", "get"],
                if by_id { "endpoint_id" } else { "name" },
                "/endpoint/endpoint_id",
                "/endpoint/created_at",
            ),
            R::McpServer => {
                let Some((namespace, slug)) = text.split_once('/') else { return Ok(None) };
                let path = ["3.0", "mlflow", "mcp-servers", namespace, slug];
                let answer = self.get(&path, &[], workspace).await?;
                return Ok(answer.and_then(|answer| read(&answer, "/name", "/creation_timestamp")));
            }
            R::Skill => {
                let Some((organization, name)) = skill_of_id(text) else { return Ok(None) };
                let organization = organization.map(|organization| format!("@{organization}"));
                let mut path = vec!["3.0", "mlflow", "skills"];
                path.extend(organization.as_deref());
                path.push(name);
                let Some(answer) = self.get(&path, &[], workspace).await? else { return Ok(None) };
                let born = read(&answer, "/name", "/creation_timestamp").and_then(|it| it.born);
                return Ok(Some(Incumbent { id: text.to_owned(), born }));
            }
            R::Workspace => {
                let path = ["3.0", "mlflow", "workspaces", text];
                let answer = self.get(&path, &[], crate::domain::DEFAULT_WORKSPACE).await?;
                return Ok(answer.map(|_| Incumbent { id: text.to_owned(), born: None }));
            }
            _ => return Err(untold(resource)),
        };
        let answer = self.get(path, &[(key, text)], workspace).await?;
        Ok(answer.and_then(|answer| read(&answer, id, born)))
    }
}

fn read(answer: &Value, id: &str, born: &str) -> Option<Incumbent> {
    let id = rest::text(answer.pointer(id))?;
    let born = rest::text(answer.pointer(born)).and_then(|born| born.parse().ok());
    Some(Incumbent { id, born })
}

fn untold(resource: ResourceType) -> LookupError {
    LookupError::Unavailable {
        source_name: rest::NAME,
        why: format!("it does not tell which {resource} has a name"),
    }
}
