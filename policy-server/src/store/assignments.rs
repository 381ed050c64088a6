//! Which users have which roles.

use serde_json::json;
use sqlx::Row;
use sqlx::any::AnyRow;

use super::Store;
use super::error::{Entity, Result, StoreError};
use super::model::{Actor, Assignment, AssignmentId, Committed, Role, RoleId, User, UserId};
use super::roles::refuse_hidden;
use super::write::WriteTx;

impl Store {
    /// All assignments, or those of one role; hidden roles' too.
    ///
    /// # Errors
    /// `NotFound` for the role, `Unavailable`.
    pub async fn assignments(&self, role: Option<RoleId>) -> Result<Vec<Assignment>> {
        if let Some(id) = role {
            self.role(id).await?;
        }
        sqlx::query(
            "SELECT id, user_id, role_id FROM user_role_assignments \
             WHERE $1 = 0 OR role_id = $1 ORDER BY id",
        )
        // Ids start at 1.
        .bind(role.map_or(0, |id| id.0))
        .fetch_all(self.pool())
        .await?
        .iter()
        .map(assignment)
        .collect()
    }

    /// # Errors
    /// `NotFound` for the user or the role, `AlreadyExists`, `Invalid` for a hidden role,
    /// `Unavailable`.
    pub async fn assign_role(
        &self,
        actor: &Actor,
        username: &str,
        role: RoleId,
    ) -> Result<Committed<Assignment>> {
        let mut tx = self.begin(actor).await?;
        let user = tx.require_user(username).await?;
        let role = tx.require_role(role).await?;
        let assignment = tx.assign(&user, &role).await?;
        tx.commit(assignment).await
    }

    /// # Errors
    /// `NotFound` for the user or the assignment, `Invalid` for a hidden role, `Unavailable`.
    pub async fn unassign_role(
        &self,
        actor: &Actor,
        username: &str,
        role: RoleId,
    ) -> Result<Committed<()>> {
        let mut tx = self.begin(actor).await?;
        let user = tx.require_user(username).await?;
        let found = tx.find_assignment(user.id, role).await?.ok_or_else(|| {
            StoreError::not_found(Entity::Assignment, format!("of role {role} to {username}"))
        })?;
        refuse_hidden(&tx.require_role(role).await?)?;
        sqlx::query("DELETE FROM user_role_assignments WHERE id = $1")
            .bind(found.id.0)
            .execute(tx.connection())
            .await?;
        tx.touch_user(username);
        tx.audit("role.unassign", username, Some(json!({ "role_id": role })), None).await?;
        tx.commit(()).await
    }
}

impl WriteTx<'_> {
    pub(crate) async fn find_assignment(
        &mut self,
        user: UserId,
        role: RoleId,
    ) -> Result<Option<Assignment>> {
        sqlx::query(
            "SELECT id, user_id, role_id FROM user_role_assignments \
             WHERE user_id = $1 AND role_id = $2",
        )
        .bind(user.0)
        .bind(role.0)
        .fetch_optional(self.connection())
        .await?
        .map(|row| assignment(&row))
        .transpose()
    }

    pub(crate) async fn assign(&mut self, user: &User, role: &Role) -> Result<Assignment> {
        refuse_hidden(role)?;
        if self.find_assignment(user.id, role.id).await?.is_some() {
            let key = format!("of role {} to {}", role.id, user.username);
            return Err(StoreError::exists(Entity::Assignment, key));
        }
        let row = sqlx::query(
            "INSERT INTO user_role_assignments (user_id, role_id) VALUES ($1, $2) RETURNING id",
        )
        .bind(user.id.0)
        .bind(role.id.0)
        .fetch_one(self.connection())
        .await?;
        self.touch_user(&user.username);
        let after = json!({ "role_id": role.id, "role": role.name, "workspace": role.workspace });
        self.audit("role.assign", &user.username, None, Some(after)).await?;
        let id = AssignmentId(row.try_get(0)?);
        Ok(Assignment { id, user_id: user.id, role_id: role.id })
    }
}

fn assignment(row: &AnyRow) -> Result<Assignment> {
    Ok(Assignment {
        id: AssignmentId(row.try_get(0)?),
        user_id: UserId(row.try_get(1)?),
        role_id: RoleId(row.try_get(2)?),
    })
}
