//! Principals and settings in memory, as fresh as the change feed.

use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};
use std::time::{Duration, Instant};

use moka::future::Cache;
use tokio::sync::{Mutex, watch};

use super::history::History;
use crate::config::AdminGroups;
use crate::metrics::{Metrics, Reuse};
use crate::policy::{Grants, Settings};
use crate::store::{
    Change, ChangesSince, ReservedPrefixes, Store, StoreError, StoredToken, User, scope,
};

/// Without a word from the store for this long, it is asked before anything is answered.
const FRESH: Duration = Duration::from_secs(1);

/// Without a word from the store for this long, watchers are no longer told how old what they know is.
const MAX_SILENCE: Duration = Duration::from_secs(5);

/// Changes that are read at a time.
const BATCH: u32 = 512;

const PRINCIPALS: u64 = 50_000;
const TOKENS: u64 = 50_000;

/// One principal's roles and grants, as of a revision.
#[derive(Debug)]
pub struct PrincipalSnapshot {
    pub revision: u64,
    pub user: Option<User>,
    pub grants: Grants,
    standing: Standing,
    /// Hashes of the user, the roles and the groups.
    pub scopes: Vec<u64>,
}

/// What makes somebody a super admin, if anything does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standing {
    Ordinary,
    SuperAdmin,
}

impl PrincipalSnapshot {
    pub fn super_admin(&self) -> bool {
        self.standing == Standing::SuperAdmin
    }

    pub fn disabled(&self) -> bool {
        self.user.as_ref().is_some_and(|user| user.disabled)
    }
}

/// A revision that is in force, and how long ago it was the newest that existed.
#[derive(Debug, Clone, Copy)]
pub struct Standpoint {
    pub revision: u64,
    pub age: Duration,
}

#[derive(Debug)]
struct TokenSnapshot {
    revision: u64,
    token: StoredToken,
    scopes: [u64; 1],
}

#[derive(Debug, Clone)]
struct SettingsSnapshot {
    revision: u64,
    settings: Settings,
    reserved: ReservedPrefixes,
}

type PrincipalKey = (String, Vec<String>);

/// The store, with what was read from it lately.
pub struct Snapshots {
    store: Store,
    history: RwLock<History>,
    applied: watch::Sender<u64>,
    catching_up: Mutex<()>,
    principals: Cache<PrincipalKey, Arc<PrincipalSnapshot>>,
    tokens: Cache<[u8; 32], Arc<TokenSnapshot>>,
    settings: RwLock<Option<SettingsSnapshot>>,
    feed: crate::store::ChangeFeed,
    admin_groups: AdminGroups,
    metrics: Metrics,
    reuse: Reuse,
    token_reuse: Reuse,
}

impl Snapshots {
    /// Must be called within a runtime; the returned value is kept up to date by [`follow`].
    ///
    /// # Errors
    /// `Unavailable`.
    pub async fn new(
        store: Store,
        metrics: Metrics,
        admin_groups: AdminGroups,
    ) -> Result<Self, StoreError> {
        let revision = store.revision().await?;
        metrics.set_revision(revision);
        let feed = store.changes();
        Ok(Self {
            store,
            history: RwLock::new(History::new(revision)),
            applied: watch::Sender::new(revision),
            catching_up: Mutex::new(()),
            principals: Cache::new(PRINCIPALS),
            tokens: Cache::new(TOKENS),
            settings: RwLock::new(None),
            feed,
            admin_groups,
            reuse: metrics.reuse("principal"),
            token_reuse: metrics.reuse("token"),
            metrics,
        })
    }

    pub fn store(&self) -> &Store {
        &self.store
    }

    /// The newest revision that is in force here.
    pub fn applied(&self) -> u64 {
        self.history().applied()
    }

    /// Sees each new value of [`Snapshots::applied`]; steps may be skipped.
    pub fn subscribe(&self) -> watch::Receiver<u64> {
        self.applied.subscribe()
    }

    /// When the store last said that nothing newer exists than what is applied, if that was lately.
    pub fn current_at(&self) -> Option<Instant> {
        let state = self.feed.state();
        let lately = state.confirmed_at.elapsed() < MAX_SILENCE;
        (lately && state.revision <= self.applied()).then_some(state.confirmed_at)
    }

    /// Changes after the revision; `None` when the history does not reach back.
    ///
    /// # Errors
    /// `Unavailable`.
    pub async fn changes_after(
        &self,
        revision: u64,
        limit: u32,
    ) -> Result<Option<Vec<Change>>, StoreError> {
        let limit_here = usize::try_from(limit).unwrap_or(usize::MAX);
        if let Some(changes) = self.history().after(revision, limit_here) {
            return Ok(Some(changes));
        }
        if revision > self.applied() {
            return Ok(None);
        }
        Ok(match self.store.changes_since(revision, limit).await? {
            ChangesSince::Events(changes) => Some(changes),
            ChangesSince::Gone => None,
        })
    }

    /// Makes sure that everything up to the revision is in force here, and that the store was
    /// heard of lately. Returns the applied revision, which is at least that.
    ///
    /// # Errors
    /// `Unavailable`, also when the store has no such revision yet: then this server would answer
    /// from an older state than the one asked for.
    pub async fn at_least(&self, revision: u64) -> Result<u64, StoreError> {
        self.standpoint(revision).await.map(|standpoint| standpoint.revision)
    }

    /// The same, with how long ago nothing newer existed.
    ///
    /// # Errors
    /// As of [`Snapshots::at_least`].
    pub async fn standpoint(&self, revision: u64) -> Result<Standpoint, StoreError> {
        let applied = self.applied();
        if applied >= revision
            && let Some(at) = self.current_at()
            && at.elapsed() < FRESH
        {
            return Ok(Standpoint { revision: applied, age: at.elapsed() });
        }
        let asked = Instant::now();
        let applied = Box::pin(self.catch_up()).await?;
        if applied < revision {
            return Err(StoreError::Unavailable(sqlx::Error::Protocol(format!(
                "the store is at revision {applied}, but {revision} was asked for"
            ))));
        }
        Ok(Standpoint { revision: applied, age: asked.elapsed() })
    }

    /// Applies every change that the store has by now.
    ///
    /// # Errors
    /// `Unavailable`, or `Unreadable`.
    pub async fn catch_up(&self) -> Result<u64, StoreError> {
        let _turn = self.catching_up.lock().await;
        loop {
            let applied = self.applied();
            let changes = self.store.changes_since(applied, BATCH).await?;
            let count = match changes {
                ChangesSince::Events(changes) => {
                    let count = changes.len();
                    let mut history = self.history_mut();
                    changes.into_iter().for_each(|change| history.apply(change));
                    count
                }
                ChangesSince::Gone => {
                    let revision = self.store.revision().await?;
                    tracing::warn!(applied, revision, "the history of changes has a gap");
                    self.history_mut().restart(revision);
                    0
                }
            };
            let applied = self.applied();
            self.metrics.set_revision(applied);
            self.applied.send_if_modified(|known| std::mem::replace(known, applied) != applied);
            if count < BATCH as usize {
                return Ok(applied);
            }
        }
    }

    /// The principal of that name with the groups' grants; from memory if nothing has changed.
    ///
    /// # Errors
    /// `Unavailable`, `Unreadable`, or `Invalid` for too many groups.
    pub async fn principal(
        &self,
        username: &str,
        groups: &[String],
    ) -> Result<Arc<PrincipalSnapshot>, StoreError> {
        let mut sorted = groups.to_vec();
        sorted.sort_unstable();
        sorted.dedup();
        let key = (username.to_owned(), sorted);
        if let Some(found) = self.principals.get(&key).await {
            if self.history().holds(found.revision, &found.scopes) {
                self.reuse.count(true);
                return Ok(found);
            }
            self.principals.invalidate(&key).await;
        }
        self.reuse.count(false);
        Box::pin(self.read_again(key, username, groups)).await
    }

    async fn read_again(
        &self,
        key: PrincipalKey,
        username: &str,
        groups: &[String],
    ) -> Result<Arc<PrincipalSnapshot>, StoreError> {
        let read = self.read_principal(username, groups);
        let snapshot = self.principals.try_get_with(key.clone(), read).await.map_err(again)?;
        if self.history().holds(snapshot.revision, &snapshot.scopes) {
            return Ok(snapshot);
        }
        // Somebody else's read, begun before the change that voids it.
        self.principals.invalidate(&key).await;
        self.read_principal(username, groups).await
    }

    async fn read_principal(
        &self,
        username: &str,
        groups: &[String],
    ) -> Result<Arc<PrincipalSnapshot>, StoreError> {
        let read = self.store.principal(username, groups).await?;
        let scopes = std::iter::once(scope::user(username))
            .chain(read.roles.iter().map(|&role| scope::role(role)))
            .chain(read.groups.iter().map(|group| scope::group(group)))
            .collect();
        // Groups that are kept here give roles only: these come from an identity provider.
        let is_admin = read.user.as_ref().is_some_and(|user| user.is_admin)
            || self.admin_groups.contain_any(groups);
        Ok(Arc::new(PrincipalSnapshot {
            revision: read.revision,
            standing: if is_admin { Standing::SuperAdmin } else { Standing::Ordinary },
            user: read.user,
            grants: Grants::new(&read.grants),
            scopes,
        }))
    }

    /// The token with this SHA-256 if it is in memory.
    pub async fn known_token(&self, hash: &[u8; 32]) -> Option<StoredToken> {
        let found = self.tokens.get(hash).await?;
        if !self.history().holds(found.revision, &found.scopes) {
            self.tokens.invalidate(hash).await;
            return None;
        }
        self.token_reuse.count(true);
        Some(found.token.clone())
    }

    /// The token with this hash, whether valid or not.
    ///
    /// # Errors
    /// `Unavailable`, or `Unreadable`.
    pub async fn token(&self, hash: &[u8; 32]) -> Result<Option<StoredToken>, StoreError> {
        if let Some(known) = self.known_token(hash).await {
            return Ok(Some(known));
        }
        self.token_reuse.count(false);
        // Before the read: a change that comes in between voids the entry.
        let revision = self.applied();
        let Some(token) = self.store.token_by_hash(hash).await? else { return Ok(None) };
        let scopes = [scope::user(&token.username)];
        let entry = TokenSnapshot { revision, token: token.clone(), scopes };
        self.tokens.insert(*hash, Arc::new(entry)).await;
        Ok(Some(token))
    }

    /// The policy's settings.
    ///
    /// # Errors
    /// `Unavailable`, or `Unreadable`.
    pub async fn settings(&self) -> Result<Settings, StoreError> {
        Ok(self.all_settings().await?.settings)
    }

    /// Prefixes of usernames that never log in with a password.
    ///
    /// # Errors
    /// `Unavailable`, or `Unreadable`.
    pub async fn reserved_prefixes(&self) -> Result<ReservedPrefixes, StoreError> {
        Ok(self.all_settings().await?.reserved)
    }

    async fn all_settings(&self) -> Result<SettingsSnapshot, StoreError> {
        let known = self.settings.read().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(known) = known
            && self.history().holds_for_everyone(known.revision)
        {
            return Ok(known);
        }
        Box::pin(self.read_settings()).await
    }

    async fn read_settings(&self) -> Result<SettingsSnapshot, StoreError> {
        let revision = self.applied();
        let settings = self.store.settings().await?;
        let reserved = self.store.reserved_prefixes().await?;
        let read = SettingsSnapshot { revision, settings, reserved };
        let mut slot = self.settings.write().unwrap_or_else(PoisonError::into_inner);
        if slot.as_ref().is_none_or(|known| known.revision <= revision) {
            *slot = Some(read.clone());
        }
        Ok(read)
    }

    fn history(&self) -> RwLockReadGuard<'_, History> {
        self.history.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn history_mut(&self) -> std::sync::RwLockWriteGuard<'_, History> {
        self.history.write().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Applies changes as they are committed, until dropped.
pub async fn follow(snapshots: Arc<Snapshots>) {
    let mut feed = snapshots.store.changes();
    loop {
        if let Err(error) = snapshots.catch_up().await {
            tracing::warn!(%error, "cannot read the store's changes");
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        }
        if snapshots.applied() < feed.state().revision {
            continue;
        }
        feed.next().await;
    }
}

/// Errors of a shared read belong to all who waited for it.
fn again(error: Arc<StoreError>) -> StoreError {
    match Arc::try_unwrap(error) {
        Ok(error) => error,
        Err(shared) => match &*shared {
            StoreError::Invalid { field, why } => StoreError::Invalid { field, why: why.clone() },
            StoreError::Unreadable { what, why } => {
                StoreError::Unreadable { what, why: why.clone() }
            }
            other => StoreError::Unavailable(sqlx::Error::Protocol(other.to_string())),
        },
    }
}
