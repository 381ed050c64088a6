//! The experiments of runs, many in one statement.
//!
//! Nearly every lookup is of a run, and most of its time would go into taking a connection from
//! the pool and giving it back, which asks the database each time whether it is still there. So
//! one task keeps a connection while there is work, and answers all who wait with one statement.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use sqlx::any::Any;
use sqlx::pool::PoolConnection;
use sqlx::{AnyPool, AssertSqlSafe, Row};
use tokio::sync::{OnceCell, mpsc, oneshot};

use super::database::{NAME, unavailable};
use super::schema::Schema;
use super::{LookupError, Place, statement};

/// Runs in one statement. A power of two: few lengths, so that few statements are prepared.
const MOST: usize = 32;

/// How many may wait; more are told at once that it takes too long.
const QUEUE: usize = 4096;

/// A connection that was not used for this long goes back to the pool.
const IDLE: Duration = Duration::from_millis(200);

/// How long one statement may take.
const PATIENCE: Duration = Duration::from_secs(1);

type Answer = Result<Vec<Place>, LookupError>;

struct Ask {
    id: String,
    schema: Arc<Schema>,
    answer: oneshot::Sender<Answer>,
}

/// Starts its task at the first lookup; the task ends with it.
#[derive(Default)]
pub(super) struct Runs {
    asks: OnceCell<mpsc::Sender<Ask>>,
}

impl Runs {
    pub async fn locate(&self, pool: &AnyPool, schema: Arc<Schema>, id: &str) -> Answer {
        let asks = self
            .asks
            .get_or_init(|| async {
                let (sender, receiver) = mpsc::channel(QUEUE);
                tokio::spawn(answer_all(pool.clone(), receiver));
                sender
            })
            .await;
        let (answer, answered) = oneshot::channel();
        asks.try_send(Ask { id: id.to_owned(), schema, answer })
            .map_err(|_| failed("too many lookups wait for it"))?;
        answered.await.unwrap_or_else(|_| Err(failed("a lookup was given up")))
    }
}

async fn answer_all(pool: AnyPool, mut asks: mpsc::Receiver<Ask>) {
    let mut held = None;
    let mut statements = Statements::default();
    loop {
        let first = match tokio::time::timeout(IDLE, asks.recv()).await {
            Ok(first) => first,
            Err(_) => {
                held = None;
                asks.recv().await
            }
        };
        let Some(first) = first else { return };
        let mut batch = vec![first];
        while batch.len() < MOST
            && let Ok(ask) = asks.try_recv()
        {
            batch.push(ask);
        }
        // Who has stopped waiting need not be asked for.
        batch.retain(|ask| !ask.answer.is_closed());
        let found = find(&pool, &mut held, &mut statements, &batch).await;
        for ask in batch {
            let answer = match &found {
                Ok(found) => Ok(found.get(&ask.id).cloned().unwrap_or_default()),
                Err(error) => Err(error.clone()),
            };
            // Nobody may be waiting any more.
            let _ = ask.answer.send(answer);
        }
    }
}

/// The statements for one schema, as texts.
#[derive(Default)]
struct Statements {
    schema: Option<Arc<Schema>>,
    /// By the logarithm of how many runs they are for.
    texts: [Option<Arc<str>>; MOST.trailing_zeros() as usize + 1],
}

impl Statements {
    /// For so many runs or some more; `None` where the schema has no runs.
    fn of_length(&mut self, schema: &Arc<Schema>, runs: usize) -> Option<Arc<str>> {
        if !self.schema.as_ref().is_some_and(|known| Arc::ptr_eq(known, schema)) {
            *self = Self { schema: Some(Arc::clone(schema)), ..Self::default() };
        }
        let slots = runs.next_power_of_two();
        let text = self.texts.get_mut(slots.trailing_zeros() as usize)?;
        if text.is_none() {
            *text = statement::runs(schema, slots).map(Arc::from);
        }
        text.clone()
    }
}

type Found = HashMap<String, Vec<Place>>;

/// Asks on the connection that is held; if that fails, on a new one: the database may have been
/// restarted since.
async fn find(
    pool: &AnyPool,
    held: &mut Option<PoolConnection<Any>>,
    statements: &mut Statements,
    batch: &[Ask],
) -> Result<Found, LookupError> {
    let Some(first) = batch.first() else { return Ok(Found::new()) };
    let ids: Vec<&str> = batch.iter().map(|ask| ask.id.as_str()).collect();
    let Some(sql) = statements.of_length(&first.schema, ids.len()) else {
        return Ok(Found::new());
    };
    let was_held = held.is_some();
    match within(PATIENCE, select(pool, held, &sql, &ids)).await {
        Err(_) if was_held => within(PATIENCE, select(pool, held, &sql, &ids)).await,
        answer => answer,
    }
}

async fn within<T>(
    limit: Duration,
    lookup: impl Future<Output = Result<T, LookupError>>,
) -> Result<T, LookupError> {
    let timeout = tokio::time::timeout(limit, lookup).await;
    timeout.unwrap_or_else(|_| Err(failed("it did not answer in time")))
}

/// Keeps the connection in `held` only where it has answered; one that fails, or is given up in
/// the middle, is closed.
async fn select(
    pool: &AnyPool,
    held: &mut Option<PoolConnection<Any>>,
    sql: &Arc<str>,
    ids: &[&str],
) -> Result<Found, LookupError> {
    let connection = match held.take() {
        Some(connection) => connection,
        None => pool.acquire().await.map_err(unavailable)?,
    };
    let mut connection = CloseOnDrop(Some(connection));
    let Some(open) = connection.0.as_mut() else { return Err(failed("it is not connected")) };
    let slots = ids.len().next_power_of_two();
    let mut query = sqlx::query(AssertSqlSafe(Arc::clone(sql)));
    let filler = ids.last().copied().unwrap_or_default();
    for id in ids.iter().copied().chain(std::iter::repeat(filler)).take(slots) {
        query = query.bind(id);
    }
    let rows = query.fetch_all(&mut **open).await.map_err(unavailable)?;
    let mut found = Found::new();
    for row in rows {
        let place = Place {
            experiment: row.try_get(0).map_err(unavailable)?,
            workspace: row.try_get(1).map_err(unavailable)?,
            named: None,
        };
        found.entry(row.try_get(2).map_err(unavailable)?).or_default().push(place);
    }
    *held = connection.0.take();
    Ok(found)
}

/// A connection whose answer nobody awaited must not be used again.
struct CloseOnDrop(Option<PoolConnection<Any>>);

impl Drop for CloseOnDrop {
    fn drop(&mut self) {
        if let Some(connection) = self.0.take() {
            drop(connection.detach());
        }
    }
}

fn failed(why: &str) -> LookupError {
    LookupError::Unavailable { source_name: NAME, why: why.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::super::database::Database;
    use super::super::{LookupError, Reference};
    use crate::contract::ReferenceKind;
    use crate::store::DatabaseUrl;
    use sqlx::Executor;
    use std::sync::Arc;

    /// 300 runs, the n-th in experiment n % 7, and the file's guard.
    async fn tracking() -> (Arc<Database>, sqlx::AnyPool, tempfile::TempDir) {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("mlflow.db");
        sqlx::any::install_default_drivers();
        let writer =
            sqlx::AnyPool::connect(&format!("sqlite://{}?mode=rwc", file.display())).await.unwrap();
        writer
            .execute(
                "CREATE TABLE experiments (experiment_id INTEGER PRIMARY KEY, name TEXT);
                 CREATE TABLE runs (run_uuid TEXT PRIMARY KEY, experiment_id INTEGER,
                                     artifact_uri TEXT);",
            )
            .await
            .unwrap();
        for n in 0..300 {
            let sql = format!("INSERT INTO runs VALUES ('run-{n}', {}, '')", n % 7);
            writer.execute(sqlx::AssertSqlSafe(sql)).await.unwrap();
        }
        for n in 0..7 {
            let sql = format!("INSERT INTO experiments VALUES ({n}, 'e{n}')");
            writer.execute(sqlx::AssertSqlSafe(sql)).await.unwrap();
        }
        let url = DatabaseUrl::parse("tracking_uri", &format!("sqlite:///{}", file.display()));
        let database = Database::open(url.unwrap(), 4).unwrap();
        (Arc::new(database), writer, directory)
    }

    async fn experiment(database: &Database, run: &str) -> Result<Option<String>, LookupError> {
        let run = Reference { kind: ReferenceKind::RunId, id: run.to_owned(), parent: None };
        let places = database.locate(&run, "default").await?;
        Ok(places.into_iter().next().and_then(|place| place.experiment))
    }

    #[tokio::test]
    async fn of_many_who_ask_at_once_each_is_told_of_the_run_that_was_asked_for() {
        let (database, _, _directory) = tracking().await;
        let asked: Vec<_> = (0..350)
            .map(|n| {
                let database = Arc::clone(&database);
                tokio::spawn(async move { experiment(&database, &format!("run-{n}")).await })
            })
            .collect();
        for (n, asked) in asked.into_iter().enumerate() {
            let expected = (n < 300).then(|| (n % 7).to_string());
            assert_eq!(asked.await.unwrap().unwrap(), expected, "run-{n}");
        }
    }

    #[tokio::test]
    async fn who_gives_up_takes_nobodys_answer_along() {
        let (database, _, _directory) = tracking().await;
        for n in 0..50 {
            let run = format!("run-{n}");
            let given_up = experiment(&database, "run-299");
            let _ = tokio::time::timeout(std::time::Duration::from_micros(50), given_up).await;
            let expected = Some((n % 7).to_string());
            assert_eq!(experiment(&database, &run).await.unwrap(), expected, "{run}");
        }
    }

    #[tokio::test]
    async fn a_statement_that_fails_is_no_answer_and_the_next_one_is_asked_anew() {
        let (database, writer, _directory) = tracking().await;
        assert_eq!(experiment(&database, "run-8").await.unwrap().as_deref(), Some("1"));
        writer.execute("ALTER TABLE runs RENAME TO away").await.unwrap();
        assert!(experiment(&database, "run-8").await.is_err());
        writer.execute("ALTER TABLE away RENAME TO runs").await.unwrap();
        assert_eq!(experiment(&database, "run-8").await.unwrap().as_deref(), Some("1"));
    }
}
