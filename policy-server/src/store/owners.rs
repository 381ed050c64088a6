//! Recorded creators of objects that have no grants, and creations that are under way.

use serde_json::json;
use sqlx::Row;
use sqlx::any::AnyRow;

use super::error::Result;
use super::model::{Actor, Committed, Millis};
use super::write::{WriteTx, fill_random, now};
use super::{Store, rows};
use crate::contract::ReferenceKind;
use crate::domain::ResourceType;

/// Who created an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owner {
    pub username: String,
    pub created_at: Millis,
}

/// A creation that was allowed, so that its grant can be made up when the answer was lost.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CreationIntent {
    /// Random, 32 hexadecimal digits.
    pub id: String,
    pub username: String,
    pub workspace: String,
    pub resource: ResourceType,
    /// The name that the client gave; empty when there was none.
    pub name: String,
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

    /// Notes that a creation is about to be forwarded. No change of the policy, so no revision.
    ///
    /// # Errors
    /// `Unavailable`.
    pub async fn create_intent(
        &self,
        username: &str,
        workspace: &str,
        resource: ResourceType,
        name: &str,
    ) -> Result<CreationIntent> {
        let mut random = [0; 16];
        fill_random(&mut random)?;
        let intent = CreationIntent {
            id: hex::encode(random),
            username: username.to_owned(),
            workspace: workspace.to_owned(),
            resource,
            name: name.to_owned(),
            created_at: now(),
        };
        sqlx::query(
            "INSERT INTO creation_intents (id, username, workspace, resource_type, name, \
             created_at) VALUES ($1, $2, $3, $4, $5, $6)",
        )
        .bind(intent.id.as_str())
        .bind(username)
        .bind(workspace)
        .bind(resource.as_str())
        .bind(name)
        .bind(intent.created_at)
        .execute(self.pool())
        .await?;
        Ok(intent)
    }

    /// # Errors
    /// `Unavailable`, or `Unreadable`.
    pub async fn intent(&self, id: &str) -> Result<Option<CreationIntent>> {
        sqlx::query(
            "SELECT id, username, workspace, resource_type, name, created_at \
             FROM creation_intents WHERE id = $1",
        )
        .bind(id)
        .fetch_optional(self.pool())
        .await?
        .map(|row| intent(&row))
        .transpose()
    }

    /// The oldest intents from before a time; what they announced was not recorded.
    ///
    /// # Errors
    /// `Unavailable`, or `Unreadable`.
    pub async fn intents_before(&self, before: Millis, limit: u32) -> Result<Vec<CreationIntent>> {
        sqlx::query(
            "SELECT id, username, workspace, resource_type, name, created_at \
             FROM creation_intents WHERE created_at < $1 ORDER BY created_at LIMIT $2",
        )
        .bind(before)
        .bind(i64::from(limit))
        .fetch_all(self.pool())
        .await?
        .iter()
        .map(intent)
        .collect()
    }

    /// Forgets an intent that is done, or after which nothing was created. Does nothing for one
    /// that is not there.
    ///
    /// # Errors
    /// `Unavailable`.
    pub async fn forget_intent(&self, id: &str) -> Result<()> {
        sqlx::query("DELETE FROM creation_intents WHERE id = $1")
            .bind(id)
            .execute(self.pool())
            .await?;
        Ok(())
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

fn intent(row: &AnyRow) -> Result<CreationIntent> {
    Ok(CreationIntent {
        id: row.try_get(0)?,
        username: row.try_get(1)?,
        workspace: row.try_get(2)?,
        resource: rows::word(row.try_get(3)?)?,
        name: row.try_get(4)?,
        created_at: row.try_get(5)?,
    })
}
