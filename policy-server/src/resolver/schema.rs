//! What the tracking database of this MLflow version has.

use std::collections::{HashMap, HashSet};

use sqlx::{AnyPool, Row};

use super::LookupError;
use super::database::unavailable;
use crate::store::DatabaseUrl;

/// What is read of each table, as far as every version that has the table has it.
const COLUMNS: &[(&str, &[&str])] = &[
    ("experiments", &["experiment_id", "name"]),
    ("runs", &["run_uuid", "experiment_id", "artifact_uri"]),
    ("trace_info", &["request_id", "experiment_id"]),
    ("assessments", &["assessment_id", "trace_id"]),
    ("logged_models", &["model_id", "experiment_id", "artifact_location", "lifecycle_stage"]),
    ("entity_associations", &["source_type", "source_id", "destination_type", "destination_id"]),
    ("scorers", &["scorer_id", "scorer_name", "experiment_id"]),
    ("guardrails", &["guardrail_id", "scorer_id"]),
    ("issues", &["issue_id", "experiment_id"]),
    ("label_schemas", &["schema_id", "name", "experiment_id"]),
    ("review_queues", &["queue_id", "name_key", "experiment_id"]),
    ("review_queue_users", &["queue_id", "user_id"]),
    ("jobs", &["id", "params"]),
    ("secrets", &["secret_id", "secret_name"]),
    ("endpoints", &["endpoint_id", "name"]),
    ("model_definitions", &["model_definition_id", "name"]),
    ("mcp_access_endpoints", &["id", "server_name"]),
    ("registered_models", &["name"]),
    ("registered_model_tags", &["name", "key", "value"]),
    ("skills", &["workspace", "organization", "name", "created_at"]),
    ("workspaces", &["name"]),
];

/// Tables and their columns. 2.x has no workspace columns and few of the tables (semantics §18).
#[derive(Debug, Clone, Default)]
pub struct Schema {
    tables: HashMap<String, HashSet<String>>,
}

impl Schema {
    /// Reads the catalogue of the database.
    ///
    /// # Errors
    /// `Unavailable`, also when this is not a tracking database.
    pub async fn read(pool: &AnyPool, url: &DatabaseUrl) -> Result<Self, LookupError> {
        let columns = match url {
            DatabaseUrl::Sqlite(_) => {
                "SELECT CAST(m.name AS TEXT), CAST(c.name AS TEXT) FROM sqlite_master m \
                 JOIN pragma_table_info(m.name) c WHERE m.type = 'table'"
            }
            DatabaseUrl::Postgres(_) => {
                "SELECT CAST(table_name AS TEXT), CAST(column_name AS TEXT) \
                 FROM information_schema.columns \
                 WHERE table_schema = ANY (current_schemas(false))"
            }
        };
        let mut schema = Self::default();
        for row in sqlx::query(columns).fetch_all(pool).await.map_err(unavailable)? {
            let table: String = row.try_get(0).map_err(unavailable)?;
            let column = row.try_get(1).map_err(unavailable)?;
            schema.tables.entry(table).or_default().insert(column);
        }
        schema.check_columns(url)?;
        for required in ["experiments", "runs"] {
            if !schema.has_table(required) {
                return Err(LookupError::Unavailable {
                    source_name: super::database::NAME,
                    why: format!(
                        "{url} has no table {required}: not a tracking database, or MLflow has \
                         not created it yet"
                    ),
                });
            }
        }
        Ok(schema)
    }

    /// A table of ours without a column that every version of it has had is half an upgrade, or
    /// somebody else's.
    fn check_columns(&self, url: &DatabaseUrl) -> Result<(), LookupError> {
        for (table, columns) in COLUMNS {
            let Some(found) = self.tables.get(*table) else { continue };
            let missing = columns.iter().find(|&&column| !found.contains(column));
            if let Some(column) = missing {
                return Err(LookupError::Unavailable {
                    source_name: super::database::NAME,
                    why: format!(
                        "{url}: table {table} has no column {column}: its schema is older than \
                         MLflow 2.10, or half upgraded; run `mlflow db upgrade`"
                    ),
                });
            }
        }
        Ok(())
    }

    pub fn has_table(&self, table: &str) -> bool {
        self.tables.contains_key(table)
    }

    pub fn has_column(&self, table: &str, column: &str) -> bool {
        self.tables.get(table).is_some_and(|columns| columns.contains(column))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn read(tables: &[&str]) -> Result<Schema, String> {
        sqlx::any::install_default_drivers();
        let directory = tempfile::tempdir().unwrap();
        let file = format!("sqlite://{}?mode=rwc", directory.path().join("mlflow.db").display());
        let pool = AnyPool::connect(&file).await.unwrap();
        for table in tables {
            let statement = sqlx::AssertSqlSafe(format!("CREATE TABLE {table}"));
            sqlx::query(statement).execute(&pool).await.unwrap();
        }
        let url = DatabaseUrl::parse_sqlalchemy("tracking_uri", "sqlite:///mlflow.db").unwrap();
        Schema::read(&pool, &url).await.map_err(|error| error.to_string())
    }

    const EXPERIMENTS: &str = "experiments (experiment_id INTEGER, name VARCHAR(256))";
    const RUNS: &str = "runs (run_uuid VARCHAR(32), experiment_id INTEGER, artifact_uri TEXT)";

    #[tokio::test]
    async fn an_mlflow_of_the_2_line_has_fewer_tables() {
        let schema = read(&[EXPERIMENTS, RUNS]).await.unwrap();
        assert!(schema.has_table("runs") && !schema.has_table("logged_models"));
        assert!(!schema.has_column("experiments", "workspace"));
    }

    #[tokio::test]
    async fn a_schema_that_is_too_old_or_of_something_else_is_named_with_what_it_lacks() {
        let old_runs = "runs (run_uuid VARCHAR(32), experiment_id INTEGER)";
        let old_models = "logged_models (model_id TEXT, experiment_id INTEGER)";
        for (tables, lacks) in [
            (&[EXPERIMENTS][..], "has no table runs"),
            (&[EXPERIMENTS, old_runs], "table runs has no column artifact_uri"),
            (&[EXPERIMENTS, RUNS, old_models], "table logged_models has no column artifact_loc"),
        ] {
            let error = read(tables).await.unwrap_err();
            assert!(error.contains(lacks), "{error}");
            assert!(error.contains("mlflow.db"), "{error}");
        }
    }
}
