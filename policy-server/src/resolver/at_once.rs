//! The experiments of runs, read from a SQLite file by the thread that asks.
//!
//! sqlx reads SQLite on a thread of its own, and to hand a lookup over and back takes several times
//! as long as the lookup, which is of one row by its primary key. Here nothing is waited for: a
//! file that MLflow is writing is left to those who may wait.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rusqlite::{Connection, ErrorCode, OpenFlags, Row};

use super::schema::Schema;
use super::{Place, statement};

pub(super) struct AtOnce {
    path: PathBuf,
    open: Mutex<Option<Open>>,
}

/// As long as the schema is that of the file: one that was put in its place is opened anew.
struct Open {
    schema: Arc<Schema>,
    sql: String,
    connection: Connection,
}

impl AtOnce {
    pub fn new(path: &Path) -> Self {
        Self { path: path.to_owned(), open: Mutex::new(None) }
    }

    /// `None` where that could not be read without waiting, for whatever reason.
    pub fn locate(&self, schema: &Arc<Schema>, run: &str) -> Option<Vec<Place>> {
        let mut slot = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let kept = slot.take().filter(|open| Arc::ptr_eq(&open.schema, schema));
        let open = match kept {
            Some(open) => open,
            None => Open::new(&self.path, schema)?,
        };
        let found = open.locate(run);
        if found.as_ref().err().is_none_or(is_busy) {
            *slot = Some(open);
        }
        found.ok()
    }
}

impl Open {
    fn new(path: &Path, schema: &Arc<Schema>) -> Option<Self> {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(path, flags).ok()?;
        connection.busy_timeout(Duration::ZERO).ok()?;
        let sql = statement::runs(schema, 1)?;
        Some(Self { schema: Arc::clone(schema), sql, connection })
    }

    fn locate(&self, run: &str) -> rusqlite::Result<Vec<Place>> {
        let mut statement = self.connection.prepare_cached(&self.sql)?;
        statement.query_map([run], place)?.collect()
    }
}

/// Whether somebody is writing the file, so that it is still the same.
fn is_busy(error: &rusqlite::Error) -> bool {
    let code = error.sqlite_error_code();
    code.is_some_and(|code| matches!(code, ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked))
}

fn place(row: &Row<'_>) -> rusqlite::Result<Place> {
    Ok(Place { experiment: row.get(0)?, workspace: row.get(1)?, named: None })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::DatabaseUrl;

    /// A tracking database with one run, in the experiment of that number.
    fn tracking(path: &Path, experiment: u32) -> Connection {
        let writer = Connection::open(path).unwrap();
        writer
            .execute_batch(&format!(
                "CREATE TABLE experiments (experiment_id INTEGER PRIMARY KEY, name TEXT);
                 CREATE TABLE runs (run_uuid TEXT PRIMARY KEY, experiment_id INTEGER,
                                     artifact_uri TEXT);
                 INSERT INTO experiments VALUES ({experiment}, 'e');
                 INSERT INTO runs VALUES ('a', {experiment}, '');"
            ))
            .unwrap();
        writer
    }

    async fn schema(path: &Path) -> Arc<Schema> {
        sqlx::any::install_default_drivers();
        let spelled = format!("sqlite://{}", path.display());
        let pool = sqlx::AnyPool::connect(&spelled).await.unwrap();
        let url = DatabaseUrl::parse("tracking_uri", &format!("sqlite:///{}", path.display()));
        Arc::new(Schema::read(&pool, &url.unwrap()).await.unwrap())
    }

    fn in_experiment(number: &str) -> Option<Vec<Place>> {
        let (experiment, workspace) = (Some(number.to_owned()), Some("default".to_owned()));
        Some(vec![Place { experiment, workspace, named: None }])
    }

    #[tokio::test]
    async fn a_run_is_found_and_what_is_no_run_is_nowhere() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("mlflow.db");
        let _writer = tracking(&path, 7);
        let (runs, schema) = (AtOnce::new(&path), schema(&path).await);
        assert_eq!(runs.locate(&schema, "a"), in_experiment("7"));
        assert_eq!(runs.locate(&schema, "b"), Some(vec![]));
    }

    #[tokio::test]
    async fn a_file_that_is_being_written_is_not_waited_for_and_is_read_again_afterwards() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("mlflow.db");
        let writer = tracking(&path, 7);
        let (runs, schema) = (AtOnce::new(&path), schema(&path).await);
        let moved = "UPDATE experiments SET experiment_id = 8; UPDATE runs SET experiment_id = 8;";
        writer.execute_batch(&format!("BEGIN EXCLUSIVE; {moved}")).unwrap();
        assert_eq!(runs.locate(&schema, "a"), None);
        writer.execute_batch("COMMIT").unwrap();
        assert_eq!(runs.locate(&schema, "a"), in_experiment("8"));
    }

    #[tokio::test]
    async fn a_file_that_was_put_in_its_place_is_read_once_its_schema_is() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("mlflow.db");
        drop(tracking(&path, 7));
        let runs = AtOnce::new(&path);
        assert_eq!(runs.locate(&schema(&path).await, "a"), in_experiment("7"));
        let other = directory.path().join("other.db");
        drop(tracking(&other, 9));
        std::fs::rename(&other, &path).unwrap();
        assert_eq!(runs.locate(&schema(&path).await, "a"), in_experiment("9"));
    }

    #[tokio::test]
    async fn a_file_that_is_gone_says_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("mlflow.db");
        drop(tracking(&path, 7));
        let schema = schema(&path).await;
        std::fs::remove_file(&path).unwrap();
        assert_eq!(AtOnce::new(&path).locate(&schema, "a"), None);
        assert!(!path.exists(), "a lookup makes no file");
    }
}
