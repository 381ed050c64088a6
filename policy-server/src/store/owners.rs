//! Recorded creators of objects that have no grants.

use serde_json::json;
use sqlx::Row;

use super::Store;
use super::error::Result;
use super::model::{Actor, Committed, Millis};
use super::write::WriteTx;
use crate::contract::ReferenceKind;

/// Who created an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owner {
    pub username: String,
    pub created_at: Millis,
}

impl Store {
    /// The recorded creator of the object.
    ///
    /// # Errors
    /// `Unavailable`.
    pub async fn owner_of(&self, kind: ReferenceKind, id: &str) -> Result<Option<Owner>> {
        sqlx::query("SELECT username, created_at FROM owners WHERE kind = $1 AND object_id = $2")
            .bind(kind.as_str_name())
            .bind(id)
            .fetch_optional(self.pool())
            .await?
            .map(|row| Ok(Owner { username: row.try_get(0)?, created_at: row.try_get(1)? }))
            .transpose()
    }

    /// Records the creator. The first record of an object stands: ids are not made twice, so a
    /// second creator is somebody who wants to become one.
    ///
    /// # Errors
    /// `Unavailable`.
    pub async fn set_owner(
        &self,
        actor: &Actor,
        kind: ReferenceKind,
        id: &str,
        username: &str,
    ) -> Result<Committed<()>> {
        let mut tx = self.begin(actor).await?;
        tx.record_owner(kind, id, username).await?;
        tx.commit(()).await
    }
}

impl WriteTx<'_> {
    pub(super) async fn record_owner(
        &mut self,
        kind: ReferenceKind,
        id: &str,
        username: &str,
    ) -> Result<()> {
        let now = self.now;
        let inserted = sqlx::query(
            "INSERT INTO owners (kind, object_id, username, created_at) VALUES ($1, $2, $3, $4) \
             ON CONFLICT (kind, object_id) DO NOTHING",
        )
        .bind(kind.as_str_name())
        .bind(id)
        .bind(username)
        .bind(now)
        .execute(self.connection())
        .await?;
        if inserted.rows_affected() == 0 {
            return Ok(());
        }
        self.touch_user(username);
        let target = format!("{} {id}", kind.as_str_name());
        self.audit("owner.record", &target, None, Some(json!(username))).await
    }
}
