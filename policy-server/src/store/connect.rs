//! Opening the store, and bringing its schema up to date.

use std::sync::{Arc, Once};
use std::time::Duration;

use sqlx::any::AnyPoolOptions;
use sqlx::{AnyConnection, AnyPool, Connection as _, Executor};

use super::error::{Result, StoreError};
use super::feed::Feed;
use super::settings::SettingOverrides;
use super::url::{DatabaseUrl, SqliteMode};
use super::{Shared, Store};

/// How long a request waits for a connection before the store counts as unavailable.
pub(super) const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(3);

/// WAL lets readers go on while one writes; FULL makes a commit survive a power cut.
const SQLITE_SESSION: &str = "PRAGMA busy_timeout = 5000; PRAGMA journal_mode = WAL; \
                              PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON;";

/// The timeouts keep a replica that hangs within a write from blocking the writes of all others.
const POSTGRES_SESSION: &str = "SET application_name = 'mlgate'; SET statement_timeout = '10s'; \
                                SET idle_in_transaction_session_timeout = '15s';";

impl Store {
    /// Opens the store, creating a SQLite file that is not there, and applies migrations.
    ///
    /// # Errors
    /// `Invalid` for a URL that is none, `Migration`, or `Unavailable`.
    pub async fn connect(url: &str) -> Result<Self> {
        let url = DatabaseUrl::parse("store", url)?;
        Self::open(url, SettingOverrides::default()).await
    }

    /// As [`Store::connect`]; the overrides win over the settings that are stored.
    ///
    /// # Errors
    /// `Migration`, or `Unavailable`.
    pub async fn open(url: DatabaseUrl, overrides: SettingOverrides) -> Result<Self> {
        if let Some(path) = url.sqlite_path() {
            create_private_file(path)?;
        }
        let pool = pool(&url, SqliteMode::ReadWriteCreate, 16).await?;
        migrate(&pool, &url).await?;
        let revision = super::changes::current(&pool).await?;
        Ok(Self {
            shared: Arc::new(Shared {
                pool,
                url,
                overrides,
                turn: tokio::sync::Mutex::new(()),
                feed: Feed::new(revision),
            }),
        })
    }
}

/// Opens a pool on any of the databases that we read.
///
/// # Errors
/// `Unavailable` when no connection can be made.
pub(crate) async fn pool(url: &DatabaseUrl, mode: SqliteMode, size: u32) -> Result<AnyPool> {
    static DRIVERS: Once = Once::new();
    DRIVERS.call_once(sqlx::any::install_default_drivers);

    let session = match (url, mode) {
        (DatabaseUrl::Postgres(_), _) => POSTGRES_SESSION,
        (DatabaseUrl::Sqlite(_), SqliteMode::ReadWriteCreate) => SQLITE_SESSION,
        // A file that belongs to another program keeps its journal mode.
        (DatabaseUrl::Sqlite(_), SqliteMode::ReadOnly) => "PRAGMA busy_timeout = 5000;",
    };
    let spelled = url.for_sqlx(mode)?;
    let opened = AnyPoolOptions::new()
        .max_connections(size)
        .acquire_timeout(ACQUIRE_TIMEOUT)
        .after_connect(move |connection: &mut AnyConnection, _| {
            Box::pin(async move { connection.execute(session).await.map(drop) })
        })
        .connect(&spelled)
        .await;
    match opened {
        Err(sqlx::Error::PoolTimedOut) => Err(StoreError::Unavailable(why_not(&spelled).await)),
        opened => Ok(opened?),
    }
}

/// A pool tries until its time is over and then says only that. One more try says why.
async fn why_not(url: &str) -> sqlx::Error {
    match tokio::time::timeout(ACQUIRE_TIMEOUT, AnyConnection::connect(url)).await {
        Ok(Err(why)) => why,
        Ok(Ok(_)) | Err(_) => sqlx::Error::PoolTimedOut,
    }
}

async fn migrate(pool: &AnyPool, url: &DatabaseUrl) -> Result<()> {
    match url {
        DatabaseUrl::Sqlite(_) => {
            // sqlx locks out other migrators on Postgres only.
            let mut transaction = pool.begin_with("BEGIN IMMEDIATE").await?;
            let connection: &mut AnyConnection = &mut transaction;
            sqlx::migrate!("migrations/sqlite").run_direct(None, connection, false).await?;
            transaction.commit().await?;
        }
        DatabaseUrl::Postgres(_) => sqlx::migrate!("migrations/postgres").run(pool).await?,
    }
    Ok(())
}

/// The file holds password hashes: nobody but the server's user may read it.
fn create_private_file(path: &std::path::Path) -> Result<()> {
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    match options.open(path) {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(StoreError::invalid("store", format!("{}: {error}", path.display()))),
    }
}

#[cfg(test)]
pub(crate) mod testing {
    use super::*;

    /// A store on a new SQLite file that is removed with the guard.
    pub async fn temporary() -> (Store, tempfile::TempDir) {
        let directory = tempfile::tempdir().unwrap();
        let url = format!("sqlite://{}", directory.path().join("policy.db").display());
        (Store::connect(&url).await.unwrap(), directory)
    }
}
