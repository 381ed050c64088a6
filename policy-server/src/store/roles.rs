//! Roles, what they permit, and who has them.

use serde_json::{Value, json};
use sqlx::any::AnyRow;
use sqlx::{AssertSqlSafe, Row};

use super::Store;
use super::error::{Entity, Result, StoreError};
use super::grants::Slot;
use super::model::{Actor, Committed, Role, RoleId, RolePermission, RolePermissionId, UserId};
use super::rows::{self, PERMISSION_COLUMNS, ROLE_COLUMNS};
use super::users::MAX_NAME_BYTES;
use super::write::{WriteTx, check_name};
use crate::domain::{Level, Pattern, ResourceType, validate_grant};

/// Longest description, in bytes; as MLflow's column.
const MAX_DESCRIPTION_BYTES: usize = 1024;

/// Longest workspace name, in bytes; as MLflow's column.
const MAX_WORKSPACE_BYTES: usize = 63;

/// Names that begin so are MLflow's for the hidden roles of users.
const RESERVED_PREFIX: &str = "__user_";

impl Store {
    /// Roles of one workspace or of all, hidden ones too, with their permissions.
    ///
    /// # Errors
    /// `Unavailable`, or `Unreadable`.
    pub async fn roles(&self, workspace: Option<&str>) -> Result<Vec<Role>> {
        self.roles_where("$1 = '' OR r.workspace = $1", |query| {
            query.bind(workspace.unwrap_or_default())
        })
        .await
    }

    /// # Errors
    /// `NotFound`, `Unavailable`, or `Unreadable`.
    pub async fn role(&self, id: RoleId) -> Result<Role> {
        self.roles_where("r.id = $1", |query| query.bind(id.0))
            .await?
            .pop()
            .ok_or_else(|| StoreError::not_found(Entity::Role, id))
    }

    /// # Errors
    /// `NotFound`, `Unavailable`, or `Unreadable`.
    pub async fn role_by_name(&self, workspace: &str, name: &str) -> Result<Role> {
        self.roles_where("r.workspace = $1 AND r.name = $2", |query| {
            query.bind(workspace).bind(name)
        })
        .await?
        .pop()
        .ok_or_else(|| StoreError::not_found(Entity::Role, format!("{name} in {workspace}")))
    }

    /// Roles assigned to the user, the hidden ones too; not those that groups give.
    ///
    /// # Errors
    /// `Unavailable`, or `Unreadable`.
    pub async fn user_roles(&self, user: UserId) -> Result<Vec<Role>> {
        self.roles_where(
            "r.id IN (SELECT role_id FROM user_role_assignments WHERE user_id = $1)",
            |query| query.bind(user.0),
        )
        .await
    }

    async fn roles_where<'q>(
        &self,
        condition: &str,
        bind: impl Fn(AnyQuery<'q>) -> AnyQuery<'q>,
    ) -> Result<Vec<Role>> {
        // One statement, so that a role is never seen with the permissions of another moment.
        let statement = format!(
            "SELECT {ROLE_COLUMNS}, {PERMISSION_COLUMNS} FROM roles r \
             LEFT JOIN role_permissions p ON p.role_id = r.id \
             WHERE {condition} ORDER BY r.id, p.id"
        );
        let found = bind(sqlx::query(AssertSqlSafe(statement))).fetch_all(self.pool()).await?;
        let mut roles: Vec<Role> = Vec::new();
        for row in &found {
            let role = rows::role(row)?;
            if roles.last().map(|last| last.id) != Some(role.id) {
                roles.push(role);
            }
            if let (Some(last), Some(permission)) = (roles.last_mut(), joined_permission(row)?) {
                last.permissions.push(permission);
            }
        }
        Ok(roles)
    }

    /// # Errors
    /// `AlreadyExists`, `Invalid`, `Unavailable`.
    pub async fn create_role(
        &self,
        actor: &Actor,
        workspace: &str,
        name: &str,
        description: Option<&str>,
    ) -> Result<Committed<Role>> {
        let mut tx = self.begin(actor).await?;
        let role = tx.insert_role(workspace, name, description).await?;
        tx.commit(role).await
    }

    /// Changes what is Some.
    ///
    /// # Errors
    /// `NotFound`, `AlreadyExists` for the new name, `Invalid`, `Unavailable`.
    pub async fn update_role(
        &self,
        actor: &Actor,
        id: RoleId,
        name: Option<&str>,
        description: Option<&str>,
    ) -> Result<Committed<Role>> {
        let mut tx = self.begin(actor).await?;
        let before = tx.require_role(id).await?;
        let after = Role {
            name: name.unwrap_or(&before.name).to_owned(),
            description: description.map(str::to_owned).or_else(|| before.description.clone()),
            ..before.clone()
        };
        if after.name != before.name {
            check_role(&after.workspace, &after.name, None)?;
            refuse_hidden(&before)?;
            tx.refuse_taken(&after.workspace, &after.name).await?;
        }
        check_description(after.description.as_deref())?;
        if after != before {
            sqlx::query("UPDATE roles SET name = $1, description = $2 WHERE id = $3")
                .bind(after.name.as_str())
                .bind(after.description.clone())
                .bind(id.0)
                .execute(tx.connection())
                .await?;
            tx.touch_role(id);
            let (was, is) = (described(&before), described(&after));
            tx.audit("role.update", &id.to_string(), Some(was), Some(is)).await?;
        }
        tx.commit(after).await
    }

    /// Deletes the role with its permissions and assignments.
    ///
    /// # Errors
    /// `NotFound`, `Unavailable`.
    pub async fn delete_role(&self, actor: &Actor, id: RoleId) -> Result<Committed<()>> {
        let mut tx = self.begin(actor).await?;
        let role = tx.require_role(id).await?;
        tx.remove_role(&role).await?;
        tx.commit(()).await
    }

    /// Deletes all roles of a workspace, hidden ones too, as deleting the workspace does. Yields
    /// how many.
    ///
    /// # Errors
    /// `Unavailable`.
    pub async fn delete_roles_of_workspace(
        &self,
        actor: &Actor,
        workspace: &str,
    ) -> Result<Committed<usize>> {
        let mut tx = self.begin(actor).await?;
        let deleted = tx.remove_roles_of(workspace).await?;
        tx.commit(deleted).await
    }

    /// # Errors
    /// `NotFound`, `Unavailable`, or `Unreadable`.
    pub async fn role_permission(&self, id: RolePermissionId) -> Result<RolePermission> {
        let statement =
            format!("SELECT {PERMISSION_COLUMNS} FROM role_permissions p WHERE p.id = $1");
        let row = sqlx::query(AssertSqlSafe(statement))
            .bind(id.0)
            .fetch_optional(self.pool())
            .await?
            .ok_or_else(|| StoreError::not_found(Entity::RolePermission, id))?;
        rows::role_permission(&row)
    }

    /// # Errors
    /// `NotFound` for the role, `AlreadyExists`, `Invalid`, `Unavailable`.
    pub async fn add_role_permission(
        &self,
        actor: &Actor,
        role: RoleId,
        resource: ResourceType,
        pattern: &Pattern,
        level: Level,
    ) -> Result<Committed<RolePermission>> {
        let mut tx = self.begin(actor).await?;
        let role = tx.require_role(role).await?;
        let permission = tx.add_permission(&role, resource, pattern, level).await?;
        tx.commit(permission).await
    }

    /// # Errors
    /// `NotFound`, `Invalid` for the level, `Unavailable`.
    pub async fn update_role_permission(
        &self,
        actor: &Actor,
        id: RolePermissionId,
        level: Level,
    ) -> Result<Committed<RolePermission>> {
        let mut tx = self.begin(actor).await?;
        let before = tx.require_permission(id).await?;
        validate_grant(before.resource, &before.pattern, level)?;
        let after = RolePermission { level, ..before.clone() };
        if after != before {
            sqlx::query("UPDATE role_permissions SET permission = $1 WHERE id = $2")
                .bind(level.as_str())
                .bind(id.0)
                .execute(tx.connection())
                .await?;
            tx.touch_role(before.role_id);
            let (was, is) = (permission_json(&before), permission_json(&after));
            tx.audit("role_permission.update", &target(&before), Some(was), Some(is)).await?;
        }
        tx.commit(after).await
    }

    /// # Errors
    /// `NotFound`, `Unavailable`.
    pub async fn remove_role_permission(
        &self,
        actor: &Actor,
        id: RolePermissionId,
    ) -> Result<Committed<RolePermission>> {
        let mut tx = self.begin(actor).await?;
        let before = tx.require_permission(id).await?;
        tx.delete_permission(&before).await?;
        tx.commit(before).await
    }
}

type AnyQuery<'q> = sqlx::query::Query<'q, sqlx::Any, sqlx::any::AnyArguments>;

impl WriteTx<'_> {
    pub(crate) async fn find_role(&mut self, workspace: &str, name: &str) -> Result<Option<Role>> {
        let statement =
            format!("SELECT {ROLE_COLUMNS} FROM roles r WHERE r.workspace = $1 AND r.name = $2");
        sqlx::query(AssertSqlSafe(statement))
            .bind(workspace)
            .bind(name)
            .fetch_optional(self.connection())
            .await?
            .map(|row| rows::role(&row))
            .transpose()
    }

    pub(super) async fn require_role(&mut self, id: RoleId) -> Result<Role> {
        let statement = format!("SELECT {ROLE_COLUMNS} FROM roles r WHERE r.id = $1");
        let row = sqlx::query(AssertSqlSafe(statement))
            .bind(id.0)
            .fetch_optional(self.connection())
            .await?
            .ok_or_else(|| StoreError::not_found(Entity::Role, id))?;
        rows::role(&row)
    }

    async fn require_permission(&mut self, id: RolePermissionId) -> Result<RolePermission> {
        let statement =
            format!("SELECT {PERMISSION_COLUMNS} FROM role_permissions p WHERE p.id = $1");
        let row = sqlx::query(AssertSqlSafe(statement))
            .bind(id.0)
            .fetch_optional(self.connection())
            .await?
            .ok_or_else(|| StoreError::not_found(Entity::RolePermission, id))?;
        rows::role_permission(&row)
    }

    async fn refuse_taken(&mut self, workspace: &str, name: &str) -> Result<()> {
        match self.find_role(workspace, name).await? {
            Some(_) => Err(StoreError::exists(Entity::Role, format!("{name} in {workspace}"))),
            None => Ok(()),
        }
    }

    pub(crate) async fn insert_role(
        &mut self,
        workspace: &str,
        name: &str,
        description: Option<&str>,
    ) -> Result<Role> {
        check_role(workspace, name, description)?;
        self.refuse_taken(workspace, name).await?;
        let row = sqlx::query(
            "INSERT INTO roles (name, workspace, description) VALUES ($1, $2, $3) RETURNING id",
        )
        .bind(name)
        .bind(workspace)
        .bind(description)
        .fetch_one(self.connection())
        .await?;
        let role = Role {
            id: RoleId(row.try_get(0)?),
            name: name.to_owned(),
            workspace: workspace.to_owned(),
            description: description.map(str::to_owned),
            user_id: None,
            permissions: Vec::new(),
        };
        self.audit("role.create", &role.id.to_string(), None, Some(described(&role))).await?;
        Ok(role)
    }

    async fn remove_role(&mut self, role: &Role) -> Result<()> {
        sqlx::query("DELETE FROM roles WHERE id = $1")
            .bind(role.id.0)
            .execute(self.connection())
            .await?;
        self.touch_role(role.id);
        self.audit("role.delete", &role.id.to_string(), Some(described(role)), None).await
    }

    pub(super) async fn remove_roles_of(&mut self, workspace: &str) -> Result<usize> {
        let statement =
            format!("SELECT {ROLE_COLUMNS} FROM roles r WHERE r.workspace = $1 ORDER BY r.id");
        let found = sqlx::query(AssertSqlSafe(statement))
            .bind(workspace)
            .fetch_all(self.connection())
            .await?;
        for row in &found {
            self.remove_role(&rows::role(row)?).await?;
        }
        Ok(found.len())
    }

    pub(crate) async fn add_permission(
        &mut self,
        role: &Role,
        resource: ResourceType,
        pattern: &Pattern,
        level: Level,
    ) -> Result<RolePermission> {
        validate_grant(resource, pattern, level)?;
        let slot = Slot { workspace: &role.workspace, resource, pattern };
        if self.find_permission(role.id, slot).await?.is_some() {
            return Err(StoreError::exists(
                Entity::RolePermission,
                format!("of role {} on {resource} {pattern}", role.id),
            ));
        }
        let id = self.insert_permission(role.id, slot, level).await?;
        let added =
            RolePermission { id, role_id: role.id, resource, pattern: pattern.clone(), level };
        self.touch_role(role.id);
        let is = permission_json(&added);
        self.audit("role_permission.add", &target(&added), None, Some(is)).await?;
        Ok(added)
    }

    pub(super) async fn delete_permission(&mut self, permission: &RolePermission) -> Result<()> {
        sqlx::query("DELETE FROM role_permissions WHERE id = $1")
            .bind(permission.id.0)
            .execute(self.connection())
            .await?;
        self.touch_role(permission.role_id);
        let was = permission_json(permission);
        self.audit("role_permission.remove", &target(permission), Some(was), None).await
    }
}

/// The permission of a row of roles joined with permissions.
fn joined_permission(row: &AnyRow) -> Result<Option<RolePermission>> {
    let Some(id) = row.try_get::<Option<i64>, _>(5)? else { return Ok(None) };
    Ok(Some(RolePermission {
        id: RolePermissionId(id),
        role_id: RoleId(row.try_get(6)?),
        resource: rows::word(row.try_get(7)?)?,
        pattern: rows::pattern(row.try_get(8)?, row.try_get(9)?)?,
        level: rows::word(row.try_get(10)?)?,
    }))
}

fn check_role(workspace: &str, name: &str, description: Option<&str>) -> Result<()> {
    check_workspace(workspace)?;
    check_name("name", name, MAX_NAME_BYTES)?;
    if name.starts_with(RESERVED_PREFIX) {
        return Err(StoreError::invalid(
            "name",
            format!("{name:?} begins with '{RESERVED_PREFIX}', which is kept for users' own roles"),
        ));
    }
    check_description(description)
}

fn check_description(description: Option<&str>) -> Result<()> {
    match description {
        Some(text) if text.len() > MAX_DESCRIPTION_BYTES || text.contains('\0') => {
            let why = format!("expected at most {MAX_DESCRIPTION_BYTES} bytes without NUL");
            Err(StoreError::invalid("description", why))
        }
        _ => Ok(()),
    }
}

pub(super) fn check_workspace(workspace: &str) -> Result<()> {
    check_name("workspace", workspace, MAX_WORKSPACE_BYTES)
}

/// With another name, a hidden role would not be MLflow's any more; with a second holder, it
/// would give them all that its user is granted.
pub(super) fn refuse_hidden(role: &Role) -> Result<()> {
    match role.user_id {
        Some(_) => Err(StoreError::invalid("role_id", "is a user's own role")),
        None => Ok(()),
    }
}

fn described(role: &Role) -> Value {
    json!({ "name": role.name, "workspace": role.workspace, "description": role.description })
}

fn permission_json(permission: &RolePermission) -> Value {
    json!(permission.level.as_str())
}

fn target(permission: &RolePermission) -> String {
    let RolePermission { role_id, resource, pattern, .. } = permission;
    format!("role {role_id} on {resource} {pattern}")
}
