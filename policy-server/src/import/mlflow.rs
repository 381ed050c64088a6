//! MLflow's own auth database (`basic_auth.db`), of any version from 2.5 on.

use std::collections::{HashMap, HashSet};
use std::str::FromStr as _;

use sqlx::{AnyConnection, AssertSqlSafe, Row};

use super::prompts::Prompts;
use super::{ImportError, Source, SourceRole, SourceUser, at_one_moment, legacy};
use crate::credentials::PasswordHash;
use crate::domain::{
    LEGACY_DEFAULT_PASSWORD, Level, Pattern, ResourceType, UnknownWord, validate_grant,
};
use crate::store::{DatabaseUrl, SqliteMode, pool};

/// Which tables the MLflow that wrote the database goes by (semantics §18).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Era {
    /// Up to 3.11: one table for each kind of resource.
    Tables,
    /// 3.12 and 3.13: those, and roles.
    Both,
    /// 3.14 on: roles. The old tables are still there, and nobody reads them.
    Roles { prompts_separate: bool },
}

/// The tables of a database and their columns.
pub(super) struct Tables {
    columns: HashMap<String, HashSet<String>>,
}

impl Tables {
    pub(super) fn has(&self, table: &str) -> bool {
        self.columns.contains_key(table)
    }

    pub(super) fn has_column(&self, table: &str, column: &str) -> bool {
        self.columns.get(table).is_some_and(|columns| columns.contains(column))
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.columns.keys().map(String::as_str)
    }

    pub(super) async fn read(
        connection: &mut AnyConnection,
        url: &DatabaseUrl,
    ) -> sqlx::Result<Self> {
        let statement = match url {
            DatabaseUrl::Sqlite(_) => {
                "SELECT CAST(m.name AS TEXT), CAST(c.name AS TEXT) \
                 FROM sqlite_master m JOIN pragma_table_info(m.name) c WHERE m.type = 'table'"
            }
            DatabaseUrl::Postgres(_) => {
                "SELECT CAST(table_name AS TEXT), CAST(column_name AS TEXT) \
                 FROM information_schema.columns WHERE table_schema = current_schema()"
            }
        };
        let mut columns: HashMap<String, HashSet<String>> = HashMap::new();
        for row in sqlx::query(statement).fetch_all(connection).await? {
            columns.entry(row.try_get(0)?).or_default().insert(row.try_get(1)?);
        }
        Ok(Self { columns })
    }
}

/// Reads the database at one moment. `tracking` tells prompts from models where the database
/// itself can not.
///
/// # Errors
/// `Database`, or `Unclear` where a row could be a restriction that is not understood.
pub async fn read(
    url: &DatabaseUrl,
    tracking: Option<&DatabaseUrl>,
) -> Result<Source, ImportError> {
    let mut transaction = at_one_moment(url).await?;
    let tables = Tables::read(&mut transaction, url).await?;
    if !tables.has_column("users", "password_hash") {
        return Err(ImportError::unclear(
            url.to_string(),
            "has no table users as MLflow's auth app makes it",
        ));
    }
    if tables.has_column("users", "display_name") {
        return Err(ImportError::unclear(
            url.to_string(),
            "is mlflow-oidc-auth's; `mlgate import mlflow-oidc-auth` reads it",
        ));
    }
    let era = era(&mut transaction, &tables).await?;
    let prompts = match era {
        Era::Roles { prompts_separate: true } => Prompts::Separate,
        _ => match Prompts::read(&mut transaction, &tables).await? {
            Some(known) => known,
            None => tracked_prompts(tracking).await?,
        },
    };
    let mut source = Source::default();
    let names = users(&mut transaction, &mut source).await?;
    if era != Era::Tables {
        roles(&mut transaction, &names, &prompts, &mut source).await?;
    }
    match era {
        Era::Roles { .. } => forgotten_denials(&mut transaction, &tables, &mut source).await?,
        _ => legacy::read(&mut transaction, &tables, &names, &prompts, &mut source).await?,
    }
    Ok(source)
}

async fn tracked_prompts(tracking: Option<&DatabaseUrl>) -> Result<Prompts, ImportError> {
    let Some(url) = tracking else { return Ok(Prompts::Unknown) };
    let pool = pool(url, SqliteMode::ReadOnly, 1).await?;
    let mut connection = pool.acquire().await?;
    let tables = Tables::read(&mut connection, url).await?;
    Ok(Prompts::read(&mut connection, &tables).await?.unwrap_or(Prompts::Unknown))
}

async fn era(connection: &mut AnyConnection, tables: &Tables) -> Result<Era, ImportError> {
    if !tables.has("role_permissions") {
        return Ok(Era::Tables);
    }
    let version: Option<String> = match tables.has("alembic_version_auth") {
        true => {
            sqlx::query_scalar("SELECT version_num FROM alembic_version_auth")
                .fetch_optional(connection)
                .await?
        }
        false => None,
    };
    match version.as_deref() {
        Some("c3d4e5f6a7b8") => Ok(Era::Both),
        Some("e5f6a7b8c9d0") => Ok(Era::Roles { prompts_separate: false }),
        // f1a2b3c4d5e6, and whatever comes after it.
        Some(_) => Ok(Era::Roles { prompts_separate: true }),
        None => Err(ImportError::unclear(
            "alembic_version_auth",
            "is missing, so it is not known whether roles or the older tables count",
        )),
    }
}

async fn users(
    connection: &mut AnyConnection,
    source: &mut Source,
) -> Result<HashMap<i64, String>, ImportError> {
    let rows = sqlx::query(
        "SELECT id, username, password_hash, CAST(is_admin AS INTEGER) FROM users ORDER BY id",
    )
    .fetch_all(connection)
    .await?;
    let mut names = HashMap::new();
    for row in rows {
        let id: i64 = row.try_get(0)?;
        let Some(username) = row.try_get::<Option<String>, _>(1)?.filter(|name| !name.is_empty())
        else {
            source.note(format!("user with id {id}"), "has no name");
            continue;
        };
        let is_admin = row.try_get::<Option<i64>, _>(3)?.unwrap_or(0) != 0;
        let hash = row.try_get::<Option<String>, _>(2)?.unwrap_or_default();
        let password_hash = match usable(&hash, is_admin) {
            Ok(()) => Some(hash.into()),
            Err(why) => {
                source.note(
                    format!("the password of {username}"),
                    format!("{why}; set one with `mlgate user set-password {username}`"),
                );
                None
            }
        };
        source.users.insert(
            username.clone(),
            SourceUser { password_hash, is_admin, ..SourceUser::default() },
        );
        names.insert(id, username);
    }
    Ok(names)
}

/// Administrators do not keep the password that everybody knows: MLflow itself does not let them
/// in with it (semantics §2).
fn usable(hash: &str, is_admin: bool) -> Result<(), String> {
    let parsed = PasswordHash::from_str(hash).map_err(|why| why.to_string())?;
    if is_admin && parsed.verify(LEGACY_DEFAULT_PASSWORD.as_bytes()) {
        return Err("is MLflow's old shipped default, which everybody knows".to_owned());
    }
    Ok(())
}

struct FoundRole {
    id: i64,
    name: String,
    workspace: String,
    /// The user whose hidden role it is.
    hidden_of: Option<i64>,
}

async fn roles(
    connection: &mut AnyConnection,
    names: &HashMap<i64, String>,
    prompts: &Prompts,
    source: &mut Source,
) -> Result<(), ImportError> {
    let mut found: HashMap<i64, FoundRole> = HashMap::new();
    for row in sqlx::query("SELECT id, name, workspace, description FROM roles ORDER BY id")
        .fetch_all(&mut *connection)
        .await?
    {
        let role = FoundRole {
            id: row.try_get(0)?,
            hidden_of: hidden_of(row.try_get(1)?)?,
            name: row.try_get(1)?,
            workspace: row.try_get(2)?,
        };
        if role.hidden_of.is_none() {
            let key = (role.workspace.clone(), role.name.clone());
            let description = row.try_get(3)?;
            source.roles.insert(key, SourceRole { description, ..SourceRole::default() });
        }
        found.insert(role.id, role);
    }
    assignments(connection, names, &found, source).await?;
    permissions(connection, names, &found, prompts, source).await
}

/// The user id in `__user_<id>__`. Other names with that beginning are reserved, and nobody can
/// say what such a role is.
fn hidden_of(name: &str) -> Result<Option<i64>, ImportError> {
    let Some(rest) = name.strip_prefix("__user_") else { return Ok(None) };
    match rest.strip_suffix("__").and_then(|id| id.parse().ok()) {
        Some(id) => Ok(Some(id)),
        None => Err(ImportError::unclear(
            format!("role {name:?}"),
            "has a name that is reserved; rename it in MLflow first",
        )),
    }
}

async fn assignments(
    connection: &mut AnyConnection,
    names: &HashMap<i64, String>,
    roles: &HashMap<i64, FoundRole>,
    source: &mut Source,
) -> Result<(), ImportError> {
    for row in sqlx::query("SELECT user_id, role_id FROM user_role_assignments")
        .fetch_all(connection)
        .await?
    {
        let (user, role): (i64, i64) = (row.try_get(0)?, row.try_get(1)?);
        let (Some(username), Some(role)) = (names.get(&user), roles.get(&role)) else {
            let what = format!("the assignment of role {role} to user {user}");
            source.note(what, "one of them is missing");
            continue;
        };
        match role.hidden_of {
            None => {
                let key = (role.workspace.clone(), role.name.clone());
                source.roles.entry(key).or_default().assigned.insert(username.clone());
            }
            Some(own) if own == user => {}
            // As MLflow does: taken over, it would hand one user's grants to another.
            Some(_) => {
                return Err(ImportError::unclear(
                    format!("role {}", role.name),
                    format!("is also assigned to {username}; rename it in MLflow first"),
                ));
            }
        }
    }
    Ok(())
}

async fn permissions(
    connection: &mut AnyConnection,
    names: &HashMap<i64, String>,
    roles: &HashMap<i64, FoundRole>,
    prompts: &Prompts,
    source: &mut Source,
) -> Result<(), ImportError> {
    for row in sqlx::query(
        "SELECT id, role_id, resource_type, resource_pattern, permission FROM role_permissions \
         ORDER BY id",
    )
    .fetch_all(connection)
    .await?
    {
        let (id, role): (i64, i64) = (row.try_get(0)?, row.try_get(1)?);
        let (kind, text, level): (&str, &str, &str) =
            (row.try_get(2)?, row.try_get(3)?, row.try_get(4)?);
        let what = format!("role permission {id} ({level} on {kind} {text})");
        let Some(role) = roles.get(&role) else {
            source.note(what, "its role is missing");
            continue;
        };
        let Ok(resource) = kind.parse::<ResourceType>() else {
            // Requests for such a type are denied, so there is nothing that the row could open.
            source.note(what, format!("the gate does not know the type {kind}"));
            continue;
        };
        let level = match level.parse() {
            Ok(Level::NoPermissions) => Level::Deny,
            Ok(level) => level,
            Err(UnknownWord { .. }) => {
                return Err(ImportError::unclear(what, "its permission is not known"));
            }
        };
        let pattern = Pattern::literal(text);
        if let Err(why) = validate_grant(resource, &pattern, level) {
            source.note(what, format!("{why}; MLflow ignores it, too"));
            continue;
        }
        let types = match resource {
            ResourceType::RegisteredModel => prompts.types(&role.workspace, &pattern, level),
            ref other => std::slice::from_ref(other),
        };
        for resource in types {
            add(source, names, role, *resource, &pattern, level, &what);
        }
    }
    Ok(())
}

fn add(
    source: &mut Source,
    names: &HashMap<i64, String>,
    role: &FoundRole,
    resource: ResourceType,
    pattern: &Pattern,
    level: Level,
    what: &str,
) {
    match role.hidden_of {
        None => {
            let key = (role.workspace.clone(), role.name.clone());
            let role = source.roles.entry(key).or_default();
            role.permissions.insert((resource, pattern.clone()), level);
        }
        Some(user) => match names.get(&user) {
            Some(username) => {
                let key = (username.clone(), role.workspace.clone(), resource, pattern.clone());
                source.add_grant(key, level);
            }
            None => source.note(what, format!("it is for user {user}, who is missing")),
        },
    }
}

/// MLflow's upgrade to 3.14 dropped explicit denials without a word; the rows are still there.
/// They are not taken over, because permissions given since might contradict them.
async fn forgotten_denials(
    connection: &mut AnyConnection,
    tables: &Tables,
    source: &mut Source,
) -> Result<(), ImportError> {
    for table in ["experiment_permissions", "registered_model_permissions", "scorer_permissions"] {
        if !tables.has(table) {
            continue;
        }
        let statement = format!("SELECT COUNT(*) FROM {table} WHERE permission = 'NO_PERMISSIONS'");
        let count: i64 =
            sqlx::query_scalar(AssertSqlSafe(statement)).fetch_one(&mut *connection).await?;
        if count > 0 {
            source.note(
                format!("{count} NO_PERMISSIONS rows of {table}"),
                "MLflow dropped these denials when it was upgraded to 3.14; where they are still \
                 wanted, grant DENY",
            );
        }
    }
    Ok(())
}
