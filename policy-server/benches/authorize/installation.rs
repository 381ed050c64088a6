//! A large policy store and a large tracking database, written past the server for speed.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use mlgate_policy_server::config::Layers;
use mlgate_policy_server::credentials::hash_new;
use mlgate_policy_server::service::serve_on;
use mlgate_policy_server::store::Store;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous};
use sqlx::{AssertSqlSafe, ConnectOptions, SqliteConnection};

use crate::Arguments;

pub const GRANTS_EACH: u64 = 10;

pub const PASSWORD: &str = "a long enough password";

pub struct Installation {
    store: PathBuf,
    tracking: PathBuf,
}

/// The experiment of a user's grant, from 1.
pub fn granted(arguments: &Arguments, user: u64, grant: u64) -> u64 {
    (user * GRANTS_EACH + grant) % arguments.experiments + 1
}

/// The experiment that a run is in, from 1.
pub fn experiment_of(arguments: &Arguments, run: u64) -> u64 {
    run % arguments.experiments + 1
}

/// Scattered over the index, as random ids are.
pub fn run_id(run: u64) -> String {
    let scattered = |factor: u64| (run * factor) % (1 << 32);
    format!("{:08x}{:08x}{:016x}", scattered(2_654_435_761), scattered(2_246_822_519), run)
}

pub async fn prepare(arguments: &Arguments, directory: &Path) -> Installation {
    std::fs::create_dir_all(directory).unwrap();
    let installation =
        Installation { store: directory.join("policy.db"), tracking: directory.join("mlflow.db") };
    let done = directory.join("done");
    if !done.exists() {
        fill_store(arguments, &installation.store).await;
        fill_tracking(arguments, &installation.tracking).await;
        std::fs::write(&done, "").unwrap();
    }
    installation
}

async fn connect(path: &Path) -> SqliteConnection {
    SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Off)
        .connect()
        .await
        .unwrap()
}

async fn execute(connection: &mut SqliteConnection, statements: &[String]) {
    for statement in statements {
        sqlx::query(AssertSqlSafe(statement.clone())).execute(&mut *connection).await.unwrap();
    }
}

/// `WITH n` of the numbers from 0 below `count`.
fn numbers(count: u64) -> String {
    format!("WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i + 1 < {count})")
}

async fn fill_store(arguments: &Arguments, path: &Path) {
    // Its schema comes from the migrations.
    drop(Store::connect(&format!("sqlite:{}", path.display())).await.unwrap());
    let mut store = connect(path).await;
    let (users, experiments) = (numbers(arguments.users), arguments.experiments);
    let (hash, password_users) = (hash_new(PASSWORD).unwrap(), arguments.password_users);
    execute(
        &mut store,
        &[
            "BEGIN".to_owned(),
            format!(
                "{users} INSERT INTO users (id, username, password_hash, created_at, updated_at) \
                 SELECT i + 1, 'user' || i, \
                 CASE WHEN i < {password_users} THEN '{hash}' END, 0, 0 FROM n"
            ),
            format!(
                "{users} INSERT INTO roles (id, name, workspace, user_id) \
                 SELECT i + 1, '__user_' || (i + 1) || '__', 'default', i + 1 FROM n"
            ),
            format!(
                "{users} INSERT INTO user_role_assignments (user_id, role_id) \
                 SELECT i + 1, i + 1 FROM n"
            ),
            format!(
                "{users}, m(j) AS (SELECT i FROM n WHERE i < {GRANTS_EACH}) \
                 INSERT INTO role_permissions \
                 (role_id, resource_type, resource_pattern, pattern_kind, permission) \
                 SELECT i + 1, 'experiment', \
                 CAST((i * {GRANTS_EACH} + j) % {experiments} + 1 AS TEXT), 'exact', 'EDIT' \
                 FROM n CROSS JOIN m"
            ),
            "COMMIT".to_owned(),
            "ANALYZE".to_owned(),
        ],
    )
    .await;
}

async fn fill_tracking(arguments: &Arguments, path: &Path) {
    let mut tracking = connect(path).await;
    let experiments = arguments.experiments;
    execute(
        &mut tracking,
        &[
            // The columns that are read, with MLflow's keys.
            "CREATE TABLE experiments (experiment_id INTEGER PRIMARY KEY, name VARCHAR(256), \
             artifact_location VARCHAR(256), lifecycle_stage VARCHAR(32), workspace VARCHAR(63))"
                .to_owned(),
            "CREATE TABLE runs (run_uuid VARCHAR(32), artifact_uri VARCHAR(200), \
             experiment_id INTEGER, lifecycle_stage VARCHAR(20))"
                .to_owned(),
            "BEGIN".to_owned(),
            format!(
                "{} INSERT INTO experiments SELECT i + 1, 'experiment ' || i, NULL, 'active', \
                 'default' FROM n",
                numbers(experiments)
            ),
            format!(
                "{} INSERT INTO runs SELECT printf('%08x%08x%016x', (i * 2654435761) % 4294967296, \
                 (i * 2246822519) % 4294967296, i), NULL, i % {experiments} + 1, 'active' FROM n",
                numbers(arguments.runs)
            ),
            "COMMIT".to_owned(),
            // After the rows, which is much faster than with them, and the same index.
            "CREATE UNIQUE INDEX runs_key ON runs (run_uuid)".to_owned(),
            "PRAGMA wal_checkpoint(TRUNCATE)".to_owned(),
        ],
    )
    .await;
}

/// Starts a server on threads of its own, which end with the process.
pub fn serve(installation: &Installation) -> SocketAddr {
    let mut layers = Layers::default();
    layers.set_flag("store", format!("sqlite:{}", installation.store.display()));
    layers.set_flag("tracking_uri", format!("sqlite:///{}", installation.tracking.display()));
    // Longer than the run: passwords are verified while warming up.
    layers.set_flag("credential_ttl", "1h".to_owned());
    let config = layers.resolve().unwrap();
    let (told, address) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        tokio::runtime::Runtime::new().unwrap().block_on(async {
            let store = Store::open(config.store.clone(), config.settings.clone()).await.unwrap();
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
            told.send(listener.local_addr().unwrap()).unwrap();
            serve_on(config, store, listener, std::future::pending()).await.unwrap();
        });
    });
    address.recv().unwrap()
}
