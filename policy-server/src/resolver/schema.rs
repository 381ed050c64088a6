//! What the tracking database of this MLflow version has.

use std::collections::{HashMap, HashSet};

use sqlx::{AnyPool, Row};

use super::LookupError;
use super::database::unavailable;
use crate::store::DatabaseUrl;

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

    pub fn has_table(&self, table: &str) -> bool {
        self.tables.contains_key(table)
    }

    pub fn has_column(&self, table: &str, column: &str) -> bool {
        self.tables.get(table).is_some_and(|columns| columns.contains(column))
    }
}
