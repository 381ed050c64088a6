//! The write transaction: one revision, one change row, and an audit row for each thing done.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rand::TryRngCore as _;
use rand::rngs::OsRng;
use serde_json::Value;
use sqlx::{Any, AnyConnection, Row, Transaction};

use super::changes;
use super::error::{Result, StoreError, is_contention};
use super::model::{Actor, Committed, Millis, RoleId};
use super::reserved::ReservedPrefixes;
use super::url::DatabaseUrl;
use super::{Store, scope};

/// More scopes than this in one change void everybody's cached decisions instead.
const MAX_SCOPES: usize = 256;

/// How often the start of a write is tried when another process holds the lock for too long.
const ATTEMPTS: u32 = 5;

/// How long a write waits for the others of this process. While the database is away each of them
/// takes its time to fail; those behind must not add it all up.
const TURN_TIMEOUT: Duration = Duration::from_secs(10);

/// The channel on which Postgres wakes the policy servers.
pub(crate) const NOTIFY_CHANNEL: &str = "mlgate_changes";

pub(crate) struct WriteTx<'s> {
    store: &'s Store,
    transaction: Transaction<'static, Any>,
    actor: &'s Actor,
    revision: u64,
    pub(crate) now: Millis,
    scopes: BTreeSet<u64>,
    everyone: bool,
    audited: bool,
    /// Last, so that the next writer starts after this one's connection is back in the pool.
    _turn: tokio::sync::MutexGuard<'s, ()>,
}

impl Store {
    /// Starts a write. It holds the revision row, and with it the order of all writes, from here
    /// until it is committed or dropped; so nothing slow may happen in between.
    pub(crate) async fn begin<'s>(&'s self, actor: &'s Actor) -> Result<WriteTx<'s>> {
        let turn = tokio::time::timeout(TURN_TIMEOUT, self.shared.turn.lock())
            .await
            .map_err(|_| StoreError::Unavailable(sqlx::Error::PoolTimedOut))?;
        let mut attempt = 1;
        let (transaction, revision) = loop {
            match self.lock_revision().await {
                Ok(locked) => break locked,
                Err(error) if attempt < ATTEMPTS && is_contention(&error) => {
                    tokio::time::sleep(Duration::from_millis(20 << attempt)).await;
                    attempt += 1;
                }
                Err(error) => return Err(error.into()),
            }
        };
        Ok(WriteTx {
            store: self,
            transaction,
            actor,
            revision: changes::from_row(revision)?,
            now: now(),
            scopes: BTreeSet::new(),
            everyone: false,
            audited: false,
            _turn: turn,
        })
    }

    /// After this, no other statement of the transaction can run into another writer: every
    /// writer passes through this row first.
    async fn lock_revision(&self) -> sqlx::Result<(Transaction<'static, Any>, i64)> {
        let begin = match self.url() {
            DatabaseUrl::Sqlite(_) => "BEGIN IMMEDIATE",
            // Explicit, because a stricter default of the database would make waiting writers
            // fail instead of going on with what the one before them committed.
            DatabaseUrl::Postgres(_) => "BEGIN ISOLATION LEVEL READ COMMITTED",
        };
        let mut transaction = self.pool().begin_with(begin).await?;
        let revision =
            sqlx::query("UPDATE revision SET value = value + 1 WHERE id = 1 RETURNING value")
                .fetch_one(&mut *transaction)
                .await?
                .try_get(0)?;
        Ok((transaction, revision))
    }
}

impl WriteTx<'_> {
    pub(crate) fn connection(&mut self) -> &mut AnyConnection {
        &mut self.transaction
    }

    pub(super) fn fixed_reserved_prefixes(&self) -> Option<ReservedPrefixes> {
        self.store.shared.overrides.reserved_prefixes.clone()
    }

    /// Decisions about this user are void.
    pub(crate) fn touch_user(&mut self, username: &str) {
        self.scopes.insert(scope::user(username));
    }

    pub(crate) fn touch_role(&mut self, role: RoleId) {
        self.scopes.insert(scope::role(role));
    }

    pub(crate) fn touch_group(&mut self, name: &str) {
        self.scopes.insert(scope::group(name));
    }

    pub(crate) fn touch_everyone(&mut self) {
        self.everyone = true;
    }

    /// Writes the audit row. `before` and `after` never hold hashes.
    pub(crate) async fn audit(
        &mut self,
        action: &str,
        target: &str,
        before: Option<Value>,
        after: Option<Value>,
    ) -> Result<()> {
        self.audited = true;
        sqlx::query(
            "INSERT INTO audit (revision, at, actor, channel, action, target, before, after) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
        )
        .bind(changes::to_row(self.revision)?)
        .bind(self.now)
        .bind(self.actor.name.as_str())
        .bind(self.actor.channel.as_str())
        .bind(action)
        .bind(target)
        .bind(before.map(|value| value.to_string()))
        .bind(after.map(|value| value.to_string()))
        .execute(&mut *self.transaction)
        .await?;
        Ok(())
    }

    /// Commits. A transaction that audited nothing changed nothing, and is undone together with
    /// its revision.
    pub(crate) async fn commit<T>(mut self, value: T) -> Result<Committed<T>> {
        if !self.audited {
            self.transaction.rollback().await?;
            return Ok(Committed { value, revision: self.revision.saturating_sub(1) });
        }
        self.write_change().await?;
        let revision = self.revision;
        if matches!(self.store.url(), DatabaseUrl::Postgres(_)) {
            sqlx::query("SELECT pg_notify($1, $2)")
                .bind(NOTIFY_CHANNEL)
                .bind(revision.to_string())
                .execute(&mut *self.transaction)
                .await?;
        }
        self.transaction.commit().await?;
        self.store.shared.feed.advance(revision);
        Ok(Committed { value, revision })
    }

    async fn write_change(&mut self) -> Result<()> {
        let everyone = self.everyone || self.scopes.len() > MAX_SCOPES;
        let mut scopes = String::new();
        if !everyone {
            for scope in &self.scopes {
                // Writing to a String can not fail.
                let _ = write!(scopes, "{scope:016x}");
            }
        }
        sqlx::query("INSERT INTO changes (revision, scopes, everyone, at) VALUES ($1, $2, $3, $4)")
            .bind(changes::to_row(self.revision)?)
            .bind(scopes)
            .bind(i64::from(everyone))
            .bind(self.now)
            .execute(&mut *self.transaction)
            .await?;
        changes::prune(&mut self.transaction, self.revision).await
    }
}

/// The time, in milliseconds since the epoch.
pub fn now() -> Millis {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |elapsed| i64::try_from(elapsed.as_millis()).unwrap_or(i64::MAX))
}

/// Refuses names that terminals, headers or databases could not carry.
pub(crate) fn check_name(field: &'static str, name: &str, max_bytes: usize) -> Result<()> {
    if name.is_empty() {
        return Err(StoreError::invalid(field, "can not be empty"));
    }
    if name.len() > max_bytes || name.chars().any(char::is_control) {
        return Err(StoreError::invalid(
            field,
            format!("expected at most {max_bytes} bytes without control characters"),
        ));
    }
    Ok(())
}

/// Fills with the operating system's random bytes.
pub(crate) fn fill_random(bytes: &mut [u8]) -> Result<()> {
    OsRng
        .try_fill_bytes(bytes)
        .map_err(|why| StoreError::Unavailable(sqlx::Error::Io(std::io::Error::other(why))))
}
