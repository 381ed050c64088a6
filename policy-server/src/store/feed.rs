//! Noticing changes, also those of other processes.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant, SystemTime};

use sqlx::pool::PoolConnection;
use sqlx::postgres::PgListener;
use sqlx::{Any, AnyPool};
use tokio::sync::watch;

use super::alarm::Alarm;
use super::changes::current;
use super::connect::ACQUIRE_TIMEOUT;
use super::error::{Result, StoreError};
use super::stamp::Stamp;
use super::url::{DatabaseUrl, SqliteMode};
use super::write::NOTIFY_CHANNEL;
use super::{Shared, Store};

/// SQLite has nothing that wakes another process, and looking at its files is cheap. So often where
/// they were written lately, or the kernel does not tell when they are.
const SQLITE_POLL: Duration = Duration::from_millis(25);

/// The same where it does.
pub(super) const SQLITE_REST: Duration = Duration::from_millis(250);

/// The database itself is asked this often, whatever its files look like: the shorter after a write,
/// the longer when the last one is ten times as long ago.
const SQLITE_ASK: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(1));

/// The net below NOTIFY, and the measure of whether the database still answers.
const POSTGRES_POLL: Duration = Duration::from_millis(250);

/// Between attempts to listen again.
const RELISTEN: Duration = Duration::from_secs(1);

/// What is known of the newest revision.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FeedState {
    pub revision: u64,
    /// When the store last said that no newer revision exists. As long as this is not recent,
    /// nobody may be told that they have seen everything.
    pub confirmed_at: Instant,
}

/// Yields revisions as they are committed, by any process. Steps may be skipped: the newest
/// counts.
pub struct ChangeFeed {
    receiver: watch::Receiver<FeedState>,
    seen: u64,
    /// Keeps the store's poller alive.
    _store: Store,
}

impl ChangeFeed {
    /// The state now, without waiting.
    pub fn state(&self) -> FeedState {
        *self.receiver.borrow()
    }

    /// Waits for a revision that this feed has not yielded yet. Safe to cancel.
    pub async fn next(&mut self) -> u64 {
        let seen = self.seen;
        // Fails only when the sender is gone, which lives in the store that this feed holds.
        if let Ok(state) = self.receiver.wait_for(|state| state.revision > seen).await {
            self.seen = state.revision;
        }
        self.seen
    }
}

pub(super) struct Feed {
    sender: watch::Sender<FeedState>,
    polling: AtomicBool,
}

impl Feed {
    pub(super) fn new(revision: u64) -> Self {
        let state = FeedState { revision, confirmed_at: Instant::now() };
        Self { sender: watch::Sender::new(state), polling: AtomicBool::new(false) }
    }

    /// This process has committed the revision.
    pub(super) fn advance(&self, revision: u64) {
        self.sender.send_if_modified(|state| {
            let newer = revision > state.revision;
            state.revision = state.revision.max(revision);
            newer
        });
    }

    /// The store has answered, to a question asked at `asked`, that this is its newest revision.
    fn confirm(&self, revision: u64, asked: Instant) {
        self.sender.send_if_modified(|state| {
            let newer = revision > state.revision;
            state.revision = state.revision.max(revision);
            state.confirmed_at = state.confirmed_at.max(asked);
            newer
        });
    }
}

impl Store {
    /// A feed that starts after the revision which is known now.
    pub fn changes(&self) -> ChangeFeed {
        if !self.shared.feed.polling.swap(true, Ordering::AcqRel) {
            tokio::spawn(poll(Arc::downgrade(&self.shared)));
        }
        let receiver = self.shared.feed.sender.subscribe();
        let seen = receiver.borrow().revision;
        ChangeFeed { receiver, seen, _store: self.clone() }
    }
}

/// Ends when the last handle on the store is gone.
async fn poll(shared: Weak<Shared>) {
    let mut listener = None;
    let mut listen_at = Instant::now();
    let mut seen = Seen::default();
    let mut alarm = Alarm::default();
    loop {
        let Some(strong) = shared.upgrade() else { return };
        if listener.is_none() && Instant::now() >= listen_at {
            listener = listen(&strong.url).await;
            listen_at = Instant::now() + RELISTEN;
        }
        // Before the question: a write after it rings.
        let quiet = strong.url.sqlite_path().is_some_and(|path| alarm.watch(path));
        let asked = Instant::now();
        match seen.revision(&strong, asked).await {
            Ok(revision) => strong.feed.confirm(revision, asked),
            Err(error) => tracing::warn!(%error, "can not read the store's revision"),
        }
        let store = match strong.url {
            DatabaseUrl::Sqlite(_) => None,
            DatabaseUrl::Postgres(_) => Some(POSTGRES_POLL),
        };
        drop(strong);
        match store {
            Some(pause) => {
                if !pause_or_notified(&mut listener, pause).await {
                    listener = None;
                }
            }
            None if quiet && seen.is_settled() => {
                let _ = tokio::time::timeout(SQLITE_REST, alarm.rung()).await;
            }
            // A write rings before what it wrote can be read.
            None => tokio::time::sleep(SQLITE_POLL).await,
        }
    }
}

/// What the store had to say when it was last asked.
#[derive(Default)]
struct Seen {
    /// Of a SQLite file.
    answer: Option<Answer>,
    line: Line,
}

struct Answer {
    stamp: Stamp,
    asked: Instant,
    /// How long it is relied on.
    lasts: Duration,
    revision: u64,
}

impl Seen {
    /// The store's newest revision; asks only where it may have changed.
    async fn revision(&mut self, shared: &Shared, now: Instant) -> Result<u64> {
        // Before the question: what is committed after it changes the next stamp.
        let before = SystemTime::now();
        let stamp = shared.url.sqlite_path().and_then(Stamp::read);
        if let Some(answer) = &self.answer
            && stamp.as_ref() == Some(&answer.stamp)
            && now.duration_since(answer.asked) < answer.lasts
        {
            return Ok(answer.revision);
        }
        let settled = stamp.filter(|stamp| stamp.is_settled(before));
        self.answer = None;
        let revision = self.line.ask(&shared.pool).await?;
        self.answer = settled.map(|stamp| {
            let lasts = (stamp.rested(before) / 10).clamp(SQLITE_ASK.0, SQLITE_ASK.1);
            Answer { stamp, asked: now, lasts, revision }
        });
        Ok(revision)
    }

    /// Whether all that was written could be read: what comes will be told by the next write.
    fn is_settled(&self) -> bool {
        self.answer.is_some()
    }
}

/// A connection for nothing else: one from the pool is asked first whether it still lives, which
/// doubles the price.
#[derive(Default)]
struct Line(Option<PoolConnection<Any>>);

impl Line {
    async fn ask(&mut self, pool: &AnyPool) -> Result<u64> {
        if let Some(kept) = self.0.take()
            && let Ok(revision) = self.ask_on(kept).await
        {
            return Ok(revision);
        }
        // It may have ended with the database or the network: a new one tells.
        let new = pool.acquire().await?;
        self.ask_on(new).await
    }

    /// Keeps the connection where it has answered.
    async fn ask_on(&mut self, mut connection: PoolConnection<Any>) -> Result<u64> {
        let answer = current(&mut *connection);
        let answer = tokio::time::timeout(ACQUIRE_TIMEOUT, answer).await;
        match answer.unwrap_or(Err(StoreError::Unavailable(sqlx::Error::PoolTimedOut))) {
            Ok(revision) => {
                self.0 = Some(connection);
                Ok(revision)
            }
            Err(error) => {
                // Nobody else shall wait for what it was asked.
                drop(connection.detach());
                Err(error)
            }
        }
    }
}

/// None for SQLite, and when Postgres can not be reached; polling goes on either way.
async fn listen(url: &DatabaseUrl) -> Option<PgListener> {
    let DatabaseUrl::Postgres(_) = url else { return None };
    let mut listener = PgListener::connect(&url.for_sqlx(SqliteMode::ReadOnly).ok()?).await.ok()?;
    listener.listen(NOTIFY_CHANNEL).await.ok()?;
    Some(listener)
}

/// False when the listener is broken. What a notification says is not used: the table is the
/// truth.
async fn pause_or_notified(listener: &mut Option<PgListener>, pause: Duration) -> bool {
    let Some(listener) = listener else {
        tokio::time::sleep(pause).await;
        return true;
    };
    match tokio::time::timeout(pause, listener.try_recv()).await {
        Ok(Ok(Some(_))) | Err(_) => true,
        Ok(Ok(None) | Err(_)) => false,
    }
}

#[cfg(test)]
mod tests {
    use sqlx::Executor as _;

    use super::super::{Actor, Channel, NewUser, testing};
    use super::Line;

    #[tokio::test]
    async fn a_connection_that_fails_is_replaced_at_once_and_used_by_nobody_else() {
        let (store, _directory) = testing::temporary().await;
        let mut line = Line::default();
        let revision = line.ask(store.pool()).await.unwrap();
        // Now it sees another table of that name than all others.
        let kept = line.0.as_mut().unwrap();
        kept.execute("CREATE TEMP TABLE revision (id INTEGER)").await.unwrap();
        assert_eq!(line.ask(store.pool()).await.unwrap(), revision);
        assert_eq!(line.ask(store.pool()).await.unwrap(), revision);
        assert_eq!(store.revision().await.unwrap(), revision);
        store.pool().execute("ALTER TABLE revision RENAME TO gone").await.unwrap();
        assert!(line.ask(store.pool()).await.is_err());
        assert!(line.0.is_none(), "what has failed is not kept");
    }

    #[tokio::test]
    async fn a_commit_of_this_process_wakes_the_feed_at_once() {
        let (store, _directory) = testing::temporary().await;
        let mut feed = store.changes();
        let actor = Actor::new("tester", Channel::Cli);
        let created = store.create_user(&actor, &NewUser::service_account("ci")).await.unwrap();
        assert_eq!(feed.next().await, created.revision);
        assert_eq!(feed.state().revision, created.revision);
    }
}
