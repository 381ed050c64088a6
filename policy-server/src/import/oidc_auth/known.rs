//! What MLflow's tracking database knows of the objects.

use std::collections::HashMap;

use sqlx::{AnyConnection, AssertSqlSafe, Row};

use super::Left;
use crate::domain::{DEFAULT_WORKSPACE, ResourceType};
use crate::import::ImportError;
use crate::import::mlflow::Tables;
use crate::import::prompts::Prompts;
use crate::store::{DatabaseUrl, SqliteMode, pool};

/// The gateway's tables: the plugin names their objects by name, MLflow's grants by id.
const GATEWAY: &[(ResourceType, &str, &str, &str)] = &[
    (ResourceType::GatewaySecret, "secrets", "secret_id", "secret_name"),
    (ResourceType::GatewayEndpoint, "endpoints", "endpoint_id", "name"),
    (ResourceType::GatewayModelDefinition, "model_definitions", "model_definition_id", "name"),
];

/// Nothing, or everything at one moment.
pub(super) struct Known {
    /// The workspace of each experiment.
    experiments: Option<HashMap<String, String>>,
    /// By type, workspace and name.
    gateway: Option<HashMap<(ResourceType, String, String), String>>,
    prompts: Prompts,
}

impl Known {
    pub(super) async fn read(url: Option<&DatabaseUrl>) -> Result<Self, ImportError> {
        let Some(url) = url else {
            return Ok(Self { experiments: None, gateway: None, prompts: Prompts::Unknown });
        };
        let pool = pool(url, SqliteMode::ReadOnly, 1).await?;
        let mut connection = pool.acquire().await?;
        let tables = Tables::read(&mut connection, url).await?;
        if !tables.has("experiments") {
            let what = format!("--tracking-uri: {url}");
            return Err(ImportError::unclear(what, "has no table experiments"));
        }
        let mut experiments = HashMap::new();
        for [id, _, workspace] in
            named(&mut connection, &tables, "experiments", "experiment_id", "name").await?
        {
            experiments.insert(id, workspace);
        }
        let mut gateway = HashMap::new();
        for &(resource, table, id, name) in GATEWAY.iter().filter(|kind| tables.has(kind.1)) {
            for [id, name, workspace] in named(&mut connection, &tables, table, id, name).await? {
                gateway.insert((resource, workspace, name), id);
            }
        }
        let prompts = Prompts::read(&mut connection, &tables).await?.unwrap_or(Prompts::Unknown);
        Ok(Self { experiments: Some(experiments), gateway: Some(gateway), prompts })
    }

    pub(super) fn prompts(&self) -> &Prompts {
        &self.prompts
    }

    /// The experiment's workspace; `otherwise` where nobody can say.
    pub(super) fn workspace_of(&self, id: &str, otherwise: String) -> Result<String, Left> {
        match &self.experiments {
            None => Ok(otherwise),
            Some(known) => known.get(id).cloned().ok_or(Left::Void("there is no such experiment")),
        }
    }

    pub(super) fn is_named_by_id(resource: ResourceType) -> bool {
        GATEWAY.iter().any(|kind| kind.0 == resource)
    }

    pub(super) fn id_of(
        &self,
        resource: ResourceType,
        workspace: &str,
        name: &str,
    ) -> Result<String, Left> {
        let Some(known) = &self.gateway else {
            return Err(Left::Inexpressible(
                "it is granted by id here, which --tracking-uri would tell",
            ));
        };
        let key = (resource, workspace.to_owned(), name.to_owned());
        known.get(&key).cloned().ok_or(Left::Void("there is nothing of this name"))
    }
}

/// Id, name and workspace of all rows.
async fn named(
    connection: &mut AnyConnection,
    tables: &Tables,
    table: &str,
    id: &str,
    name: &str,
) -> Result<Vec<[String; 3]>, ImportError> {
    let workspace = match tables.has_column(table, "workspace") {
        true => "workspace".to_owned(),
        false => format!("'{DEFAULT_WORKSPACE}'"),
    };
    let statement = format!(
        "SELECT CAST({id} AS TEXT), CAST({name} AS TEXT), CAST({workspace} AS TEXT) FROM {table}"
    );
    let rows = sqlx::query(AssertSqlSafe(statement)).fetch_all(connection).await?;
    let text = |row: &sqlx::any::AnyRow, column: usize| {
        Ok::<_, sqlx::Error>(row.try_get::<Option<String>, _>(column)?.unwrap_or_default())
    };
    rows.iter().map(|row| Ok([text(row, 0)?, text(row, 1)?, text(row, 2)?])).collect()
}
