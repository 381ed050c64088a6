//! Auth databases of several versions of MLflow, on SQLite or Postgres.

use mlgate_policy_server::import::{self, ImportError, Plan, Source};
use mlgate_policy_server::store::{Actor, Channel, DatabaseUrl, Store};

use crate::support::Database;

/// `alice-password-1`, by werkzeug with few rounds.
pub const ALICE_HASH: &str = "pbkdf2:sha256:1000$abcdefghijklmnop$f52d7226a7c5e64b4d8c3a1175f57465ccf55ce8ef65e623a2d2101ee6b9b696";

/// `password1234`, likewise.
pub const DEFAULT_HASH: &str = "pbkdf2:sha256:1000$abcdefghijklmnop$3417dfe21fef2ab241eeca09b8ddf2d3c2cfea4cb97ba8e5fd39aabd39087220";

/// MLflow 2.5 to 3.5.
pub const FIRST: &[&str] = &[
    "CREATE TABLE users (id INTEGER PRIMARY KEY, username VARCHAR(255) UNIQUE, \
     password_hash VARCHAR(255), is_admin BOOLEAN)",
    "CREATE TABLE experiment_permissions (id INTEGER PRIMARY KEY, \
     experiment_id VARCHAR(255) NOT NULL, user_id INTEGER NOT NULL, permission VARCHAR(255))",
    "CREATE TABLE registered_model_permissions (id INTEGER PRIMARY KEY, \
     name VARCHAR(255) NOT NULL, user_id INTEGER NOT NULL, permission VARCHAR(255))",
];

/// Up to MLflow 3.11.
pub const TABLES: &[&str] = &[
    "ALTER TABLE registered_model_permissions ADD COLUMN workspace VARCHAR(63) NOT NULL \
     DEFAULT 'default'",
    "CREATE TABLE scorer_permissions (id INTEGER PRIMARY KEY, experiment_id VARCHAR(255), \
     scorer_name VARCHAR(256), user_id INTEGER, permission VARCHAR(255))",
    "CREATE TABLE gateway_secret_permissions (id INTEGER PRIMARY KEY, secret_id VARCHAR(255), \
     user_id INTEGER, permission VARCHAR(255))",
    "CREATE TABLE gateway_endpoint_permissions (id INTEGER PRIMARY KEY, \
     endpoint_id VARCHAR(255), user_id INTEGER, permission VARCHAR(255))",
    "CREATE TABLE gateway_model_definition_permissions (id INTEGER PRIMARY KEY, \
     model_definition_id VARCHAR(255), user_id INTEGER, permission VARCHAR(255))",
    "CREATE TABLE workspace_permissions (workspace VARCHAR(63), user_id INTEGER, \
     permission VARCHAR(32))",
    "CREATE TABLE alembic_version_auth (version_num VARCHAR(32))",
    "INSERT INTO alembic_version_auth VALUES ('2ed73881770d')",
];

/// From MLflow 3.12 on.
pub const ROLES: &[&str] = &[
    "CREATE TABLE roles (id INTEGER PRIMARY KEY, name VARCHAR(255) NOT NULL, \
     workspace VARCHAR(63) NOT NULL, description VARCHAR(1024))",
    "CREATE TABLE role_permissions (id INTEGER PRIMARY KEY, role_id INTEGER NOT NULL, \
     resource_type VARCHAR(64), resource_pattern VARCHAR(255), permission VARCHAR(255))",
    "CREATE TABLE user_role_assignments (id INTEGER PRIMARY KEY, user_id INTEGER, \
     role_id INTEGER)",
];

/// MLflow's tracking database, as far as prompts are concerned.
pub const REGISTRY: &[&str] = &[
    "CREATE TABLE registered_model_tags (workspace VARCHAR(63), key VARCHAR(100), \
     value VARCHAR(5000), name VARCHAR(256))",
    "INSERT INTO registered_model_tags VALUES ('default', 'mlflow.prompt.is_prompt', 'True', 'q')",
    "INSERT INTO registered_model_tags VALUES ('default', 'mlflow.prompt.is_prompt', 'false', 'm')",
];

pub async fn run(database: &Database, statements: &[&str]) {
    let raw = sqlx_pool(database).await;
    for statement in statements {
        sqlx::query(sqlx::AssertSqlSafe((*statement).to_owned())).execute(&raw).await.unwrap();
    }
    raw.close().await;
}

async fn sqlx_pool(database: &Database) -> sqlx::AnyPool {
    sqlx::any::install_default_drivers();
    let url = match database.url.starts_with("sqlite:") {
        true => format!("{}?mode=rwc", database.url),
        false => database.url.clone(),
    };
    sqlx::AnyPool::connect(&url).await.unwrap()
}

pub async fn add_user(database: &Database, id: i64, name: &str, hash: &str, admin: bool) {
    let raw = sqlx_pool(database).await;
    sqlx::query("INSERT INTO users VALUES ($1, $2, $3, $4)")
        .bind(id)
        .bind(name)
        .bind(hash)
        .bind(admin)
        .execute(&raw)
        .await
        .unwrap();
    raw.close().await;
}

pub async fn read(database: &Database, tracking: Option<&Database>) -> Result<Source, ImportError> {
    let url = |database: &Database| DatabaseUrl::parse("from", &database.url).unwrap();
    import::mlflow::read(&url(database), tracking.map(url).as_ref()).await
}

/// Reads and plans against the store.
pub async fn plan(store: &Store, from: &Database) -> Plan {
    import::plan(store, read(from, None).await.unwrap(), None).await.unwrap()
}

pub async fn apply(store: &Store, plan: Plan) -> u64 {
    let actor = Actor::new("tester", Channel::Import);
    import::apply(store, &actor, plan).await.unwrap().revision
}

pub fn steps(plan: &Plan) -> Vec<String> {
    plan.steps.iter().map(ToString::to_string).collect()
}
