//! What users are permitted, and permissions of their own: MLflow's per-user calls.

use serde_json::json;

use super::answer::{AdminResponse, Answer, Refusal};
use super::authority::level_of;
use super::users::unless_missing;
use super::{Context, shapes, words};
use crate::domain::{Action, Pattern, ResourceType};
use crate::store::{Entity, IfExists, Role, StoreError, User};

impl Context<'_> {
    pub(super) async fn list_user_roles(&self) -> Answer {
        let roles = self.roles_to_show().await?.roles;
        Ok(AdminResponse::json(&json!({ "roles": shapes::roles(&roles) })))
    }

    pub(super) async fn current_permissions(&self) -> Answer {
        let roles = self.callers_roles().await?;
        let held = shapes::held_permissions(self.caller.super_admin, &roles);
        Ok(AdminResponse::json(&held))
    }

    pub(super) async fn list_user_permissions(&self) -> Answer {
        let shown = self.roles_to_show().await?;
        Ok(AdminResponse::json(&shapes::held_permissions(shown.is_admin, &shown.roles)))
    }

    pub(super) async fn get_user_permission(&self) -> Answer {
        let target = self.target()?;
        if !self.may_ask_about(&target).await? {
            return Err(Refusal::denied());
        }
        let username = self.required_username()?;
        let (resource_type, id) = (target.resource_type, target.id()?);
        let principal = match self.is_caller(username) {
            // With what the caller's groups give.
            true => self.authority.principal().clone(),
            false => {
                self.user_named(username).await?;
                self.store.principal(username, &[]).await?
            }
        };
        words::not_a_workspace(resource_type)?;
        let resource = words::resource_type(resource_type)?;
        if id != "*" {
            words::addressable(resource, id)?;
        }
        let id = Pattern::literal(id);
        let level = level_of(self.settings, &principal, self.workspace, resource, &id);
        let allowed = level.permits(Action::Use);
        Ok(AdminResponse::json(&json!({ "allowed": allowed, "permission": level.as_str() })))
    }

    pub(super) async fn grant_user_permission(&self) -> Answer {
        self.require_delegation()?;
        let username = self.required_username()?;
        let target = self.target()?;
        let (resource_type, id) = (target.resource_type, target.id()?);
        let permission = self.params.text("permission")?;
        self.user_named(username).await?;
        words::not_a_workspace(resource_type)?;
        let resource = words::resource_type(resource_type)?;
        let pattern = Pattern::literal(id);
        words::grain(&pattern, resource)?;
        let level = words::level(permission)?;
        words::grantable(level, resource)?;
        let granted = self
            .store
            .grant(
                &self.actor,
                username,
                self.workspace,
                resource,
                &pattern,
                level,
                IfExists::Refuse,
            )
            .await;
        let granted = granted.map_err(|error| match error {
            StoreError::AlreadyExists { .. } => Refusal::exists(format!(
                "Permission for user={username} on resource_type={resource}, resource_id={id} \
                 already exists."
            )),
            other => unless_missing(other, username),
        })?;
        Ok(AdminResponse::done(granted.revision))
    }

    pub(super) async fn revoke_user_permission(&self) -> Answer {
        self.require_delegation()?;
        let username = self.required_username()?;
        let target = self.target()?;
        let (resource_type, id) = (target.resource_type, target.id()?);
        self.user_named(username).await?;
        words::not_a_workspace(resource_type)?;
        let resource = words::resource_type(resource_type)?;
        let pattern = Pattern::literal(id);
        let revoked =
            self.store.revoke(&self.actor, username, self.workspace, resource, &pattern).await;
        let revoked = revoked.map_err(|error| match error {
            StoreError::NotFound { entity: Entity::UserPermission, .. } => {
                Refusal::missing(format!(
                    "Permission for user={username} on resource_type={resource}, \
                     resource_id={id} not found."
                ))
            }
            other => unless_missing(other, username),
        })?;
        Ok(AdminResponse::done(revoked.revision))
    }

    /// MLflow's `validate_can_manage_resource`: who manages an object may share it; `*` is no
    /// object, and only the workspace's administrators may grant it.
    fn require_delegation(&self) -> Result<(), Refusal> {
        if self.authority.is_super_admin() {
            return Ok(());
        }
        let target = self.target()?;
        let id = target.id()?;
        words::not_a_workspace(target.resource_type)?;
        let resource = words::resource_type(target.resource_type)?;
        if id == "*" {
            return self.authority.require_admin_of(self.workspace);
        }
        words::addressable(resource, id)?;
        self.require_manage(resource, id)
    }

    /// Whether the caller manages this one object, whatever its id is spelt like.
    pub(super) fn require_manage(&self, resource: ResourceType, id: &str) -> Result<(), Refusal> {
        let id = Pattern::Exact(id.to_owned());
        self.authority.require(self.authority.manages(self.workspace, resource, &id))
    }

    /// MLflow's `validate_can_get_user_permission`.
    async fn may_ask_about(&self, target: &Target<'_>) -> Result<bool, Refusal> {
        words::not_a_workspace(target.resource_type)?;
        if self.authority.is_super_admin() {
            return Ok(true);
        }
        let username = self.required_username()?;
        if self.is_caller(username) {
            return Ok(true);
        }
        if self.store.user(username).await?.is_none() {
            return Ok(false);
        }
        target.id()?;
        Ok(self.authority.administers(self.workspace))
    }

    fn target(&self) -> Result<Target<'_>, Refusal> {
        Ok(Target { resource_type: self.params.text("resource_type")?, context: self })
    }

    /// Whose roles are asked for, and which of them the caller may see: all for oneself and for
    /// super admins, else those in workspaces that the caller administers.
    async fn roles_to_show(&self) -> Result<Shown, Refusal> {
        let username = self.required_username()?;
        if self.is_caller(username) {
            let is_admin = self.caller.super_admin;
            return Ok(Shown { is_admin, roles: self.callers_roles().await? });
        }
        if self.authority.is_super_admin() {
            let user = self.user_named(username).await?;
            return Ok(Shown { is_admin: user.is_admin, roles: self.assigned_roles(&user).await? });
        }
        let user = self.store.user(username).await?.ok_or_else(Refusal::denied)?;
        let mut roles = self.assigned_roles(&user).await?;
        roles.retain(|role| self.authority.administers(&role.workspace));
        // MLflow: an administrator of any workspace where the user has a role.
        self.authority.require(!roles.is_empty())?;
        Ok(Shown { is_admin: user.is_admin, roles })
    }

    async fn assigned_roles(&self, user: &User) -> Result<Vec<Role>, Refusal> {
        Ok(self.store.user_roles(user.id).await?)
    }

    /// The caller's roles, those of their groups included: the interface offers what they allow.
    pub(super) async fn callers_roles(&self) -> Result<Vec<Role>, Refusal> {
        let mut roles = match self.authority.user() {
            Some(user) => self.assigned_roles(user).await?,
            None => Vec::new(),
        };
        for &id in self.authority.roles() {
            if !roles.iter().any(|role| role.id == id) {
                match self.store.role(id).await {
                    Ok(role) => roles.push(role),
                    // Deleted since the caller's roles were read.
                    Err(StoreError::NotFound { .. }) => {}
                    Err(error) => return Err(error.into()),
                }
            }
        }
        Ok(roles)
    }
}

struct Shown {
    is_admin: bool,
    roles: Vec<Role>,
}

/// What a per-user call is about. The two parameters are read one by one, because MLflow looks
/// at the type before it misses the id.
struct Target<'c> {
    resource_type: &'c str,
    context: &'c Context<'c>,
}

impl<'c> Target<'c> {
    fn id(&self) -> Result<&'c str, Refusal> {
        self.context.params.text("resource_id")
    }
}
