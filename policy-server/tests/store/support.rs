//! Fresh stores on both databases.

use std::sync::atomic::{AtomicU32, Ordering};

use mlgate_policy_server::store::{Actor, Channel, NewUser, Store, User};

/// Runs the test once for each database, each time on a store of its own.
#[macro_export]
macro_rules! on_both_stores {
    ($(#[$meta:meta])* async fn $name:ident($database:ident: &Database) $body:block) => {
        mod $name {
            use super::*;

            async fn case($database: &Database) $body

            #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
            async fn on_sqlite() {
                case(&Database::sqlite()).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
            async fn on_postgres() {
                if let Some(database) = Database::postgres().await {
                    case(&database).await;
                }
            }
        }
    };
}

/// An empty database that a store can be opened on, several times.
pub struct Database {
    pub url: String,
    _directory: Option<tempfile::TempDir>,
}

impl Database {
    pub fn sqlite() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let url = format!("sqlite://{}", directory.path().join("policy.db").display());
        Self { url, _directory: Some(directory) }
    }

    /// None, said plainly, without a server.
    pub async fn postgres() -> Option<Self> {
        static SEQUENCE: AtomicU32 = AtomicU32::new(0);
        let Ok(server) = std::env::var("MLGATE_TEST_POSTGRES") else {
            eprintln!("SKIPPED on Postgres: MLGATE_TEST_POSTGRES is not set");
            return None;
        };
        let sequence = SEQUENCE.fetch_add(1, Ordering::Relaxed);
        let name = format!("mlgate_store_{}_{sequence}", std::process::id());
        sqlx::any::install_default_drivers();
        let pool = sqlx::AnyPool::connect(&server).await.expect("MLGATE_TEST_POSTGRES");
        for statement in
            [format!("DROP DATABASE IF EXISTS {name}"), format!("CREATE DATABASE {name}")]
        {
            sqlx::query(sqlx::AssertSqlSafe(statement)).execute(&pool).await.unwrap();
        }
        pool.close().await;
        let mut url = url::Url::parse(&server).unwrap();
        url.set_path(&name);
        Some(Self { url: url.to_string(), _directory: None })
    }

    pub async fn open(&self) -> Store {
        Store::connect(&self.url).await.unwrap()
    }

    /// A connection past the store, for looking and for breaking things.
    pub async fn raw(&self) -> sqlx::AnyPool {
        sqlx::any::install_default_drivers();
        sqlx::AnyPool::connect(&self.url).await.unwrap()
    }
}

pub fn actor() -> Actor {
    Actor::new("tester", Channel::Cli)
}

pub async fn new_user(store: &Store, name: &str) -> User {
    let new = NewUser::with_password_hash(name, "hash".into());
    store.create_user(&actor(), &new).await.unwrap().value
}
