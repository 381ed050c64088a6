//! Noticing changes, also those of other processes.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant, SystemTime};

use sqlx::postgres::PgListener;
use tokio::sync::watch;

use super::error::Result;
use super::stamp::Stamp;
use super::url::{DatabaseUrl, SqliteMode};
use super::write::NOTIFY_CHANNEL;
use super::{Shared, Store};

/// SQLite has nothing that wakes another process, and looking at its files is cheap.
const SQLITE_POLL: Duration = Duration::from_millis(25);

/// The database itself is asked this often, whatever its files look like.
const SQLITE_ASK: Duration = Duration::from_millis(250);

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
    loop {
        let Some(strong) = shared.upgrade() else { return };
        if listener.is_none() && Instant::now() >= listen_at {
            listener = listen(&strong.url).await;
            listen_at = Instant::now() + RELISTEN;
        }
        let asked = Instant::now();
        match seen.revision(&strong, asked).await {
            Ok(revision) => strong.feed.confirm(revision, asked),
            Err(error) => tracing::warn!(%error, "can not read the store's revision"),
        }
        let pause = match strong.url {
            DatabaseUrl::Sqlite(_) => SQLITE_POLL,
            DatabaseUrl::Postgres(_) => POSTGRES_POLL,
        };
        drop(strong);
        if !pause_or_notified(&mut listener, pause).await {
            listener = None;
        }
    }
}

/// What a SQLite file had to say when it was last asked.
#[derive(Default)]
struct Seen(Option<(Stamp, Instant, u64)>);

impl Seen {
    /// The store's newest revision; asks only where it may have changed.
    async fn revision(&mut self, shared: &Shared, now: Instant) -> Result<u64> {
        // Before the question: what is committed after it changes the next stamp.
        let before = SystemTime::now();
        let stamp = shared.url.sqlite_path().and_then(Stamp::read);
        if let Some((known, asked, revision)) = &self.0
            && stamp.as_ref() == Some(known)
            && now.duration_since(*asked) < SQLITE_ASK
        {
            return Ok(*revision);
        }
        let settled = stamp.filter(|stamp| stamp.is_settled(before));
        self.0 = None;
        let revision = super::changes::current(&shared.pool).await?;
        self.0 = settled.map(|stamp| (stamp, now, revision));
        Ok(revision)
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
    use super::super::{Actor, Channel, NewUser, testing};

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
