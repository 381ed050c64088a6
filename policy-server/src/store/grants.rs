//! Grants to one user, on the hidden role that carries them.

use serde_json::json;
use sqlx::{AssertSqlSafe, Row};

use super::Store;
use super::error::{Entity, Result, StoreError};
use super::model::{Actor, Committed, RoleId, RolePermission, RolePermissionId, User};
use super::roles::check_workspace;
use super::rows::{self, PERMISSION_COLUMNS};
use super::write::WriteTx;
use crate::domain::{Level, Pattern, ResourceType, validate_grant};

/// What a grant does where there already is one for the same user, resource and pattern.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IfExists {
    /// MLflow's API: answers that it already exists.
    Refuse,
    Replace,
}

/// What a user's grant is on.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Slot<'a> {
    pub(crate) workspace: &'a str,
    pub(crate) resource: ResourceType,
    pub(crate) pattern: &'a Pattern,
}

impl Store {
    /// Gives the user a permission of their own in the workspace.
    ///
    /// # Errors
    /// `NotFound` for the user, `Invalid` for a grant that could not work, `AlreadyExists` with
    /// [`IfExists::Refuse`], `Unavailable`.
    #[expect(clippy::too_many_arguments, reason = "each is a column of the grant")]
    pub async fn grant(
        &self,
        actor: &Actor,
        username: &str,
        workspace: &str,
        resource: ResourceType,
        pattern: &Pattern,
        level: Level,
        if_exists: IfExists,
    ) -> Result<Committed<RolePermission>> {
        let mut tx = self.begin(actor).await?;
        let user = tx.require_user(username).await?;
        let slot = Slot { workspace, resource, pattern };
        let permission = tx.put_grant(&user, slot, level, if_exists).await?;
        tx.commit(permission).await
    }

    /// Takes a user's own permission away. Roles of the user may still give as much.
    ///
    /// # Errors
    /// `NotFound` for the user or the permission, `Unavailable`.
    pub async fn revoke(
        &self,
        actor: &Actor,
        username: &str,
        workspace: &str,
        resource: ResourceType,
        pattern: &Pattern,
    ) -> Result<Committed<()>> {
        let mut tx = self.begin(actor).await?;
        let user = tx.require_user(username).await?;
        let slot = Slot { workspace, resource, pattern };
        let found = match tx.find_own_role(&user, workspace).await? {
            Some(role) => tx.find_permission(role, slot).await?,
            None => None,
        };
        let found = found
            .ok_or_else(|| StoreError::not_found(Entity::UserPermission, target(username, slot)))?;
        sqlx::query("DELETE FROM role_permissions WHERE id = $1")
            .bind(found.id.0)
            .execute(tx.connection())
            .await?;
        tx.touch_user(username);
        let before = Some(json!(found.level.as_str()));
        tx.audit("grant.revoke", &target(username, slot), before, None).await?;
        tx.commit(()).await
    }

    /// The user's own permissions in all workspaces.
    ///
    /// # Errors
    /// `NotFound` for the user, `Unavailable`.
    pub async fn own_permissions(&self, username: &str) -> Result<Vec<(String, RolePermission)>> {
        let user = self
            .user(username)
            .await?
            .ok_or_else(|| StoreError::not_found(Entity::User, username))?;
        let statement = format!(
            "SELECT {PERMISSION_COLUMNS}, r.workspace FROM role_permissions p \
             JOIN roles r ON r.id = p.role_id WHERE r.user_id = $1 ORDER BY p.id"
        );
        sqlx::query(AssertSqlSafe(statement))
            .bind(user.id.0)
            .fetch_all(self.pool())
            .await?
            .iter()
            .map(|row| Ok((row.try_get(6)?, rows::role_permission(row)?)))
            .collect()
    }
}

impl WriteTx<'_> {
    pub(crate) async fn put_grant(
        &mut self,
        user: &User,
        slot: Slot<'_>,
        level: Level,
        if_exists: IfExists,
    ) -> Result<RolePermission> {
        validate_grant(slot.resource, slot.pattern, level)?;
        check_workspace(slot.workspace)?;
        let role = self.own_role(user, slot.workspace).await?;
        let found = self.find_permission(role, slot).await?;
        let target = target(&user.username, slot);
        let (id, before) = match found {
            Some(_) if if_exists == IfExists::Refuse => {
                return Err(StoreError::exists(Entity::UserPermission, target));
            }
            Some(found) if found.level == level => return Ok(found),
            Some(found) => {
                sqlx::query("UPDATE role_permissions SET permission = $1 WHERE id = $2")
                    .bind(level.as_str())
                    .bind(found.id.0)
                    .execute(self.connection())
                    .await?;
                (found.id, Some(json!(found.level.as_str())))
            }
            None => (self.insert_permission(role, slot, level).await?, None),
        };
        self.touch_user(&user.username);
        self.audit("grant.set", &target, before, Some(json!(level.as_str()))).await?;
        let Slot { resource, pattern, .. } = slot;
        Ok(RolePermission { id, role_id: role, resource, pattern: pattern.clone(), level })
    }

    pub(super) async fn insert_permission(
        &mut self,
        role: RoleId,
        slot: Slot<'_>,
        level: Level,
    ) -> Result<RolePermissionId> {
        let row = sqlx::query(
            "INSERT INTO role_permissions (role_id, resource_type, resource_pattern, \
             pattern_kind, permission) VALUES ($1, $2, $3, $4, $5) RETURNING id",
        )
        .bind(role.0)
        .bind(slot.resource.as_str())
        .bind(slot.pattern.as_str())
        .bind(rows::pattern_kind(slot.pattern))
        .bind(level.as_str())
        .fetch_one(self.connection())
        .await?;
        Ok(RolePermissionId(row.try_get(0)?))
    }

    pub(super) async fn find_permission(
        &mut self,
        role: RoleId,
        slot: Slot<'_>,
    ) -> Result<Option<RolePermission>> {
        let statement = format!(
            "SELECT {PERMISSION_COLUMNS} FROM role_permissions p WHERE p.role_id = $1 \
             AND p.resource_type = $2 AND p.resource_pattern = $3 AND p.pattern_kind = $4"
        );
        sqlx::query(AssertSqlSafe(statement))
            .bind(role.0)
            .bind(slot.resource.as_str())
            .bind(slot.pattern.as_str())
            .bind(rows::pattern_kind(slot.pattern))
            .fetch_optional(self.connection())
            .await?
            .map(|row| rows::role_permission(&row))
            .transpose()
    }

    async fn find_own_role(&mut self, user: &User, workspace: &str) -> Result<Option<RoleId>> {
        sqlx::query("SELECT id FROM roles WHERE user_id = $1 AND workspace = $2")
            .bind(user.id.0)
            .bind(workspace)
            .fetch_optional(self.connection())
            .await?
            .map(|row| Ok(RoleId(row.try_get(0)?)))
            .transpose()
    }

    /// The hidden role of the user in the workspace, created and assigned when there is none.
    async fn own_role(&mut self, user: &User, workspace: &str) -> Result<RoleId> {
        if let Some(role) = self.find_own_role(user, workspace).await? {
            return Ok(role);
        }
        let row = sqlx::query(
            "INSERT INTO roles (name, workspace, user_id) VALUES ($1, $2, $3) RETURNING id",
        )
        .bind(format!("__user_{}__", user.id))
        .bind(workspace)
        .bind(user.id.0)
        .fetch_one(self.connection())
        .await?;
        let role = RoleId(row.try_get(0)?);
        sqlx::query("INSERT INTO user_role_assignments (user_id, role_id) VALUES ($1, $2)")
            .bind(user.id.0)
            .bind(role.0)
            .execute(self.connection())
            .await?;
        Ok(role)
    }
}

/// For messages and the audit log.
fn target(username: &str, slot: Slot<'_>) -> String {
    format!("{username} on {} {} in {}", slot.resource, slot.pattern, slot.workspace)
}
