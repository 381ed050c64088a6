//! The history of changes, and the audit log.

use sqlx::any::AnyRow;
use sqlx::{Any, AnyConnection, Executor, Row};

use super::Store;
use super::error::{Result, StoreError};
use super::model::{AuditEntry, Change, ChangesSince};

/// How many changes are kept. A filter that was away for longer starts afresh.
const KEPT: i64 = 10_000;

/// Old changes are removed once in this many revisions.
const PRUNE_EVERY: u64 = 256;

impl Store {
    /// The newest committed revision; 1 for a new store.
    ///
    /// # Errors
    /// `Unavailable`.
    pub async fn revision(&self) -> Result<u64> {
        current(self.pool()).await
    }

    /// At most `limit` (at least 1) changes after the revision.
    ///
    /// # Errors
    /// `Unavailable`, or `Unreadable`.
    pub async fn changes_since(&self, revision: u64, limit: u32) -> Result<ChangesSince> {
        let rows = sqlx::query(
            "SELECT v.value, c.revision, c.scopes, c.everyone FROM revision v \
             LEFT JOIN changes c ON c.revision > $1 ORDER BY c.revision LIMIT $2",
        )
        .bind(to_row(revision)?)
        .bind(i64::from(limit.max(1)))
        .fetch_all(self.pool())
        .await?;
        let mut events = Vec::with_capacity(rows.len());
        for row in &rows {
            let newest = from_row(row.try_get(0)?)?;
            let Some(found) = row.try_get::<Option<i64>, _>(1)? else {
                return Ok(if newest == revision {
                    ChangesSince::Events(events)
                } else {
                    ChangesSince::Gone
                });
            };
            let change = change(from_row(found)?, row)?;
            if change.revision != events.last().map_or(revision, |last: &Change| last.revision) + 1
            {
                return Ok(ChangesSince::Gone);
            }
            events.push(change);
        }
        Ok(ChangesSince::Events(events))
    }

    /// The audit log, newest first; `before` continues from the id of an earlier answer.
    ///
    /// # Errors
    /// `Unavailable`, or `Unreadable`.
    pub async fn audit_log(&self, before: Option<i64>, limit: u32) -> Result<Vec<AuditEntry>> {
        sqlx::query(
            "SELECT id, revision, at, actor, channel, action, target, before, after FROM audit \
             WHERE id < $1 ORDER BY id DESC LIMIT $2",
        )
        .bind(before.unwrap_or(i64::MAX))
        .bind(i64::from(limit))
        .fetch_all(self.pool())
        .await?
        .iter()
        .map(audit_entry)
        .collect()
    }
}

pub(super) async fn current<'e>(executor: impl Executor<'e, Database = Any>) -> Result<u64> {
    let read = sqlx::query("SELECT value FROM revision WHERE id = 1");
    from_row(read.fetch_one(executor).await?.try_get(0)?)
}

pub(super) async fn prune(connection: &mut AnyConnection, revision: u64) -> Result<()> {
    if revision.is_multiple_of(PRUNE_EVERY) {
        sqlx::query("DELETE FROM changes WHERE revision <= $1")
            .bind(to_row(revision)?.saturating_sub(KEPT))
            .execute(connection)
            .await?;
    }
    Ok(())
}

pub(super) fn from_row(revision: i64) -> Result<u64> {
    u64::try_from(revision).map_err(|why| StoreError::unreadable("revision", why))
}

pub(super) fn to_row(revision: u64) -> Result<i64> {
    i64::try_from(revision).map_err(|_| StoreError::invalid("revision", "out of range"))
}

fn change(revision: u64, row: &AnyRow) -> Result<Change> {
    let scopes: String = row.try_get(2)?;
    let scopes = hex::decode(scopes)
        .ok()
        .filter(|bytes| bytes.len().is_multiple_of(8))
        .ok_or_else(|| StoreError::unreadable("change", "its scopes are not hexadecimal"))?
        .chunks_exact(8)
        .map(|chunk| chunk.iter().fold(0, |scope, byte| (scope << 8) | u64::from(*byte)))
        .collect();
    Ok(Change { revision, scopes, everyone: row.try_get::<i64, _>(3)? != 0 })
}

fn audit_entry(row: &AnyRow) -> Result<AuditEntry> {
    let json = |column| -> Result<Option<serde_json::Value>> {
        row.try_get::<Option<String>, _>(column)?
            .map(|text| serde_json::from_str(&text))
            .transpose()
            .map_err(|why| StoreError::unreadable("audit entry", why))
    };
    Ok(AuditEntry {
        id: row.try_get(0)?,
        revision: from_row(row.try_get(1)?)?,
        at: row.try_get(2)?,
        actor: row.try_get(3)?,
        channel: row.try_get(4)?,
        action: row.try_get(5)?,
        target: row.try_get(6)?,
        before: json(7)?,
        after: json(8)?,
    })
}
