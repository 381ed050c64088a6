//! The per-resource permission tables of MLflow 2.5 to 3.13.

use std::collections::HashMap;

use sqlx::{AnyConnection, AssertSqlSafe, Row};

use super::mlflow::Tables;
use super::prompts::Prompts;
use super::{ImportError, Source};
use crate::domain::{Level, Pattern, ResourceType};

/// A table, and how its rows name the object. `{workspace}` is its workspace column, or
/// `'default'`.
struct Table {
    name: &'static str,
    resource: ResourceType,
    /// Two columns: the id, and for scorers the name.
    id: &'static str,
}

const TABLES: &[Table] = &[
    Table {
        name: "experiment_permissions",
        resource: ResourceType::Experiment,
        id: "experiment_id, ''",
    },
    Table {
        name: "registered_model_permissions",
        resource: ResourceType::RegisteredModel,
        id: "name, ''",
    },
    Table {
        name: "scorer_permissions",
        resource: ResourceType::Scorer,
        id: "experiment_id, scorer_name",
    },
    Table {
        name: "gateway_secret_permissions",
        resource: ResourceType::GatewaySecret,
        id: "secret_id, ''",
    },
    Table {
        name: "gateway_endpoint_permissions",
        resource: ResourceType::GatewayEndpoint,
        id: "endpoint_id, ''",
    },
    Table {
        name: "gateway_model_definition_permissions",
        resource: ResourceType::GatewayModelDefinition,
        id: "model_definition_id, ''",
    },
];

/// What `workspace_permissions(EDIT)` gave, for which workspaces have no level any more
/// (MLflow's migration e5f6a7b8c9d0).
const FANNED_OUT: &[ResourceType] = &[
    ResourceType::Experiment,
    ResourceType::RegisteredModel,
    ResourceType::Scorer,
    ResourceType::GatewaySecret,
    ResourceType::GatewayEndpoint,
    ResourceType::GatewayModelDefinition,
];

/// One row of any of the tables.
struct LegacyRow {
    username: String,
    workspace: String,
    id: String,
    second: String,
    permission: String,
}

/// Adds the grants of all tables that are there.
pub(super) async fn read(
    connection: &mut AnyConnection,
    tables: &Tables,
    names: &HashMap<i64, String>,
    prompts: &Prompts,
    source: &mut Source,
) -> Result<(), ImportError> {
    let mut in_doubt = 0_usize;
    for table in TABLES.iter().filter(|table| tables.has(table.name)) {
        for row in rows(connection, tables, table.name, table.id, names, source).await? {
            let level = level(table.name, &row)?;
            let id = match table.resource {
                ResourceType::Scorer => format!("{}/{}", row.id, quoted(&row.second)),
                _ => row.id,
            };
            let pattern = Pattern::Exact(id);
            let types = match table.resource {
                ResourceType::RegisteredModel => {
                    in_doubt += usize::from(prompts.is_in_doubt(&pattern, level));
                    prompts.types(&row.workspace, &pattern, level)
                }
                ref resource => std::slice::from_ref(resource),
            };
            for resource in types {
                let key = (row.username.clone(), row.workspace.clone(), *resource, pattern.clone());
                source.add_grant(key, level);
            }
        }
    }
    if in_doubt > 0 {
        source.note(
            format!("{in_doubt} permissions on registered models"),
            "are taken over for models only; with --tracking-uri, those on prompts are told apart",
        );
    }
    read_workspaces(connection, tables, names, source).await
}

async fn read_workspaces(
    connection: &mut AnyConnection,
    tables: &Tables,
    names: &HashMap<i64, String>,
    source: &mut Source,
) -> Result<(), ImportError> {
    const TABLE: &str = "workspace_permissions";
    if !tables.has(TABLE) {
        return Ok(());
    }
    for row in rows(connection, tables, TABLE, "'', ''", names, source).await? {
        let what = format!("{} of {} on workspace {}", row.permission, row.username, row.workspace);
        let granted = match level(TABLE, &row)? {
            Level::Deny => {
                source.note(what, "workspaces know no denial, here as in MLflow since 3.14");
                continue;
            }
            Level::Read => {
                source.note(what, "becomes USE, as in MLflow's own upgrade");
                Level::Use
            }
            Level::Edit => {
                source.note(what, "becomes USE and EDIT on every type, as in MLflow's upgrade");
                for resource in FANNED_OUT {
                    let key =
                        (row.username.clone(), row.workspace.clone(), *resource, Pattern::Every);
                    source.add_grant(key, Level::Edit);
                }
                Level::Use
            }
            level => level,
        };
        let key = (row.username, row.workspace, ResourceType::Workspace, Pattern::Every);
        source.add_grant(key, granted);
    }
    Ok(())
}

async fn rows(
    connection: &mut AnyConnection,
    tables: &Tables,
    table: &str,
    id: &str,
    names: &HashMap<i64, String>,
    source: &mut Source,
) -> Result<Vec<LegacyRow>, ImportError> {
    let workspace = if tables.has_column(table, "workspace") { "workspace" } else { "'default'" };
    let (first, second) = id.split_once(", ").unwrap_or((id, "''"));
    let statement = format!(
        "SELECT user_id, CAST({workspace} AS TEXT), CAST({first} AS TEXT), \
         CAST({second} AS TEXT), permission FROM {table}"
    );
    let mut found = Vec::new();
    for row in sqlx::query(AssertSqlSafe(statement)).fetch_all(connection).await? {
        let user: i64 = row.try_get(0)?;
        let Some(username) = names.get(&user) else {
            source.note(format!("a row of {table}"), format!("there is no user with id {user}"));
            continue;
        };
        found.push(LegacyRow {
            username: username.clone(),
            workspace: row.try_get(1)?,
            id: row.try_get(2)?,
            second: row.try_get(3)?,
            permission: row.try_get::<Option<String>, _>(4)?.unwrap_or_default(),
        });
    }
    Ok(found)
}

/// NO_PERMISSIONS was an explicit denial (semantics §18). What is unknown might be one too.
fn level(table: &str, row: &LegacyRow) -> Result<Level, ImportError> {
    match row.permission.parse() {
        Ok(Level::NoPermissions) => Ok(Level::Deny),
        Ok(level) => Ok(level),
        Err(why) => Err(ImportError::unclear(
            format!("{table}: the row of {} on {:?}", row.username, row.id),
            why.to_string(),
        )),
    }
}

/// Python's `urllib.parse.quote(name, safe='')`, with which MLflow makes scorers' keys.
pub(super) fn quoted(name: &str) -> String {
    use std::fmt::Write as _;
    let mut quoted = String::with_capacity(name.len());
    for byte in name.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'_' | b'.' | b'-' | b'~' => {
                quoted.push(char::from(byte));
            }
            // Writing to a String can not fail.
            _ => drop(write!(quoted, "%{byte:02X}")),
        }
    }
    quoted
}

#[cfg(test)]
mod tests {
    #[test]
    fn scorer_names_are_quoted_as_python_does() {
        // python3 -c "from urllib.parse import quote; print(quote('a/b c~é%', safe=''))"
        assert_eq!(super::quoted("a/b c~é%"), "a%2Fb%20c~%C3%A9%25");
    }
}
