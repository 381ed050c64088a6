//! Roles, their permissions, and who holds them.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::answer::{AdminResponse, Answer, Refusal};
use super::params::python_repr_of_text;
use super::users::unless_missing;
use super::{Context, shapes, words};
use crate::domain::Pattern;
use crate::store::{Entity, Role, RoleId, RolePermission, RolePermissionId, StoreError};

impl Context<'_> {
    pub(super) async fn create_role(&self) -> Answer {
        self.require_admin_of_the_anchors().await?;
        let name = self.params.required("name")?;
        let workspace = self.params.required("workspace")?;
        let name = filled(name).ok_or_else(|| Refusal::invalid("Role name cannot be empty."))?;
        let workspace =
            filled(workspace).ok_or_else(|| Refusal::invalid("Workspace cannot be empty."))?;
        let description = match self.params.optional("description") {
            Some(Value::String(text)) => Some(text.as_str()),
            None => None,
            Some(_) => {
                return Err(Refusal::invalid("Role description must be a string or null."));
            }
        };
        words::role_name(name)?;
        let created =
            self.store.create_role(&self.actor, workspace, name, description).await.map_err(
                |error| match error {
                    StoreError::AlreadyExists { .. } => Refusal::exists(format!(
                        "Role (name={name}, workspace={workspace}) already exists."
                    )),
                    other => other.into(),
                },
            )?;
        let role = shapes::role(&created.value);
        Ok(AdminResponse::json(&json!({ "role": role })).at(created.revision))
    }

    pub(super) async fn get_role(&self) -> Answer {
        let role = self.visible_role().await?;
        Ok(AdminResponse::json(&json!({ "role": shapes::role(&role) })))
    }

    pub(super) async fn list_roles(&self) -> Answer {
        let named = self.query.iter().filter(|(key, _)| key == "workspace");
        let workspaces: Vec<&str> = named.map(|(_, value)| value.as_str()).collect();
        let blank = |name: &&str| name.trim().is_empty();
        if !self.authority.is_super_admin() {
            // A closure that lived across the await would keep the future from being Send.
            let asked: Vec<&str> = workspaces.iter().copied().filter(|name| !blank(name)).collect();
            self.authority.require(!asked.is_empty())?;
            let present = self.present_in().await?;
            // Compared exactly, as they will be looked up.
            self.authority.require(asked.iter().all(|name| present.contains(*name)))?;
        }
        if workspaces.iter().any(blank) {
            return Err(Refusal::invalid(
                "Parameter 'workspace' must be a non-empty string when provided.",
            ));
        }
        let roles = match workspaces.as_slice() {
            [] => self.store.roles(None).await?,
            names => {
                let mut roles = Vec::new();
                for name in names.iter().copied().collect::<BTreeSet<_>>() {
                    roles.extend(self.store.roles(Some(name)).await?);
                }
                roles
            }
        };
        Ok(AdminResponse::json(&json!({ "roles": shapes::roles(&roles) })))
    }

    pub(super) async fn update_role(&self) -> Answer {
        let role_id = self.administered_role_id().await?;
        let name = self.params.optional("name");
        let description = self.params.optional("description");
        if name.is_none() && description.is_none() {
            return Err(Refusal::invalid(
                "At least one of 'name' or 'description' must be provided to update a role.",
            ));
        }
        let name = name
            .map(|name| filled(name).ok_or_else(|| Refusal::invalid("Role name cannot be empty.")))
            .transpose()?;
        let description = description
            .map(|text| {
                text.as_str().ok_or_else(|| Refusal::invalid("Role description must be a string."))
            })
            .transpose()?;
        if let Some(name) = name {
            words::role_name(name)?;
        }
        let role = self.role(role_id).await?;
        if name.is_some() {
            nobodys_own(&role)?;
        }
        let updated =
            self.store.update_role(&self.actor, role_id, name, description).await.map_err(
                |error| match (error, name) {
                    (StoreError::AlreadyExists { .. }, Some(name)) => Refusal::exists(format!(
                        "Role with name={name} already exists in workspace={}",
                        role.workspace
                    )),
                    (other, _) => unless_role_missing(other, role_id),
                },
            )?;
        let role = shapes::role(&updated.value);
        Ok(AdminResponse::json(&json!({ "role": role })).at(updated.revision))
    }

    pub(super) async fn delete_role(&self) -> Answer {
        let role_id = self.administered_role_id().await?;
        let deleted = self.store.delete_role(&self.actor, role_id).await;
        let deleted = deleted.map_err(|error| unless_role_missing(error, role_id))?;
        Ok(AdminResponse::done(deleted.revision))
    }

    pub(super) async fn add_role_permission(&self) -> Answer {
        let role_id = self.administered_role_id().await?;
        let resource = self.params.text("resource_type")?;
        let pattern = self.params.text("resource_pattern")?;
        let level = words::level(self.params.text("permission")?)?;
        let resource = words::resource_type(resource)?;
        words::grantable(level, resource)?;
        // As MLflow reads it. Globs are ours, and written with our own command.
        let pattern = Pattern::literal(pattern);
        words::grain(&pattern, resource)?;
        let taken = format!(
            "Role permission (role_id={role_id}, resource_type={resource}, \
             resource_pattern={pattern}) already exists."
        );
        let added =
            self.store.add_role_permission(&self.actor, role_id, resource, &pattern, level).await;
        let added = added.map_err(|error| match error {
            StoreError::AlreadyExists { .. } => Refusal::exists(taken),
            other => unless_role_missing(other, role_id),
        })?;
        let row = shapes::role_permission(&added.value);
        Ok(AdminResponse::json(&json!({ "role_permission": row })).at(added.revision))
    }

    pub(super) async fn remove_role_permission(&self) -> Answer {
        let id = self.administered_permission().await?.id;
        let removed = self.store.remove_role_permission(&self.actor, id).await;
        let removed = removed.map_err(|error| unless_permission_missing(error, id))?;
        Ok(AdminResponse::done(removed.revision))
    }

    pub(super) async fn list_role_permissions(&self) -> Answer {
        let role = self.visible_role().await?;
        let rows: Vec<_> = role.permissions.iter().map(shapes::role_permission).collect();
        Ok(AdminResponse::json(&json!({ "role_permissions": rows })))
    }

    pub(super) async fn update_role_permission(&self) -> Answer {
        let permission = self.administered_permission().await?;
        let level = words::level(self.params.text("permission")?)?;
        words::grantable(level, permission.resource)?;
        let id = permission.id;
        let updated = self.store.update_role_permission(&self.actor, id, level).await;
        let updated = updated.map_err(|error| unless_permission_missing(error, id))?;
        let row = shapes::role_permission(&updated.value);
        Ok(AdminResponse::json(&json!({ "role_permission": row })).at(updated.revision))
    }

    pub(super) async fn assign_role(&self) -> Answer {
        let role_id = self.administered_role_id_of_user().await?;
        let username = self.required_username()?;
        let user = self.user_named(username).await?;
        nobodys_own(&self.role(role_id).await?)?;
        let assigned = self.store.assign_role(&self.actor, username, role_id).await;
        let assigned = assigned.map_err(|error| match error {
            StoreError::AlreadyExists { .. } => Refusal::exists(format!(
                "User role assignment (user_id={}, role_id={role_id}) already exists",
                user.id
            )),
            StoreError::NotFound { entity: Entity::Role, .. } => unknown_role(role_id),
            other => unless_missing(other, username),
        })?;
        let row = shapes::assignment(&assigned.value);
        Ok(AdminResponse::json(&json!({ "assignment": row })).at(assigned.revision))
    }

    pub(super) async fn unassign_role(&self) -> Answer {
        let role_id = self.administered_role_id_of_user().await?;
        let username = self.required_username()?;
        let user = self.user_named(username).await?;
        let unassigned = self.store.unassign_role(&self.actor, username, role_id).await;
        let unassigned = unassigned.map_err(|error| match error {
            StoreError::NotFound { entity: Entity::Assignment | Entity::Role, .. } => {
                Refusal::missing(format!(
                    "User role assignment (user_id={}, role_id={role_id}) not found",
                    user.id
                ))
            }
            other => unless_missing(other, username),
        })?;
        Ok(AdminResponse::done(unassigned.revision))
    }

    pub(super) async fn list_role_users(&self) -> Answer {
        let role_id = self.administered_role_id().await?;
        let assignments = self.store.assignments(Some(role_id)).await;
        let assignments = assignments.map_err(|error| unless_role_missing(error, role_id))?;
        let rows: Vec<_> = assignments.iter().map(shapes::assignment).collect();
        Ok(AdminResponse::json(&json!({ "assignments": rows })))
    }

    /// The workspace that a call is about, by all of the identifiers in it, whichever of them it
    /// will act on: MLflow 3.17.2 decides on one and acts on another (PD-15). As in 3.18, those
    /// that do not agree are denied, and formats are looked at before any row, lest the one or
    /// the other tell what there is.
    async fn anchored_workspace(&self) -> Result<String, Refusal> {
        let id = |name| self.params.has(name).then(|| self.params.id(name)).transpose();
        let permission = id("role_permission_id")?.map(RolePermissionId);
        let role = id("role_id")?.map(RoleId);
        let workspace = match self.params.has("workspace") {
            true => Some(filled(self.params.required("workspace")?).ok_or_else(|| {
                Refusal::invalid("Parameter 'workspace' must be a non-empty string.")
            })?),
            false => None,
        };
        let of_permission = match permission {
            Some(id) => Some(found(self.store.role_permission(id).await)?),
            None => None,
        };
        let of_permission = match of_permission {
            Some(row) => Some(row.ok_or_else(Refusal::denied)?.role_id),
            None => None,
        };
        if role.zip(of_permission).is_some_and(|(one, other)| one != other) {
            return Err(Refusal::denied());
        }
        let Some(role) = role.or(of_permission) else {
            return workspace.map(str::to_owned).ok_or_else(|| {
                Refusal::invalid(
                    "Request must include one of: role_id, role_permission_id, workspace.",
                )
            });
        };
        let role = found(self.store.role(role).await)?.ok_or_else(Refusal::denied)?;
        if workspace.is_some_and(|named| named != role.workspace) {
            return Err(Refusal::denied());
        }
        Ok(role.workspace)
    }

    async fn require_admin_of_the_anchors(&self) -> Result<(), Refusal> {
        if self.authority.is_super_admin() {
            return Ok(());
        }
        self.authority.require_admin_of(&self.anchored_workspace().await?)
    }

    /// The `role_id` of a role that the caller administers. For a super admin it may be unknown.
    pub(super) async fn administered_role_id(&self) -> Result<RoleId, Refusal> {
        self.require_admin_of_the_anchors().await?;
        Ok(RoleId(self.params.id("role_id")?))
    }

    /// As above, where MLflow misses the `username` before it looks at the `role_id`.
    async fn administered_role_id_of_user(&self) -> Result<RoleId, Refusal> {
        if self.authority.is_super_admin() {
            self.required_username()?;
        }
        self.administered_role_id().await
    }

    /// The `role_permission_id`'s row, in a role that the caller administers.
    async fn administered_permission(&self) -> Result<RolePermission, Refusal> {
        self.require_admin_of_the_anchors().await?;
        let id = RolePermissionId(self.params.id("role_permission_id")?);
        let permission = found(self.store.role_permission(id).await)?;
        permission.ok_or_else(|| unknown_permission(id))
    }

    /// The `role_id`'s role, in a workspace where the caller has any role.
    async fn visible_role(&self) -> Result<Role, Refusal> {
        if !self.authority.is_super_admin() {
            let workspace = self.anchored_workspace().await?;
            self.authority.require(self.present_in().await?.contains(&workspace))?;
        }
        self.role(RoleId(self.params.id("role_id")?)).await
    }

    async fn role(&self, id: RoleId) -> Result<Role, Refusal> {
        found(self.store.role(id).await)?.ok_or_else(|| unknown_role(id))
    }

    /// The workspaces where the caller has any role, even one that permits nothing.
    async fn present_in(&self) -> Result<BTreeSet<String>, Refusal> {
        Ok(self.callers_roles().await?.into_iter().map(|role| role.workspace).collect())
    }
}

fn found<T>(result: Result<T, StoreError>) -> Result<Option<T>, Refusal> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(StoreError::NotFound { .. }) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// The hidden role that carries one user's own permissions stays that user's, under its name.
/// MLflow lets administrators assign it to others, who then share the permissions of its owner
/// and block them from receiving more.
fn nobodys_own(role: &Role) -> Result<(), Refusal> {
    if role.user_id.is_none() {
        return Ok(());
    }
    Err(Refusal::invalid(format!(
        "Role {} carries the permissions of one user. It can neither be renamed nor assigned.",
        python_repr_of_text(&role.name)
    )))
}

fn filled(value: &Value) -> Option<&str> {
    value.as_str().filter(|text| !text.trim().is_empty())
}

fn unknown_role(id: RoleId) -> Refusal {
    Refusal::missing(format!("Role with id={id} not found"))
}

fn unknown_permission(id: RolePermissionId) -> Refusal {
    Refusal::missing(format!("Role permission with id={id} not found"))
}

fn unless_role_missing(error: StoreError, id: RoleId) -> Refusal {
    match error {
        StoreError::NotFound { entity: Entity::Role, .. } => unknown_role(id),
        other => other.into(),
    }
}

fn unless_permission_missing(error: StoreError, id: RolePermissionId) -> Refusal {
    match error {
        StoreError::NotFound { entity: Entity::RolePermission, .. } => unknown_permission(id),
        other => other.into(),
    }
}
