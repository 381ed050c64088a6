//! The workspace permissions of MLflow 3.10 to 3.13, on the rows that replaced them: USE and
//! MANAGE on `(workspace, *)` of a user's own role. READ and EDIT are refused, as the migration's
//! readings of them would give more than they did.

use serde_json::{Value, json};

use super::answer::{AdminResponse, Answer, Refusal};
use super::users::unless_missing;
use super::{Context, words, workspaces_are_off};
use crate::domain::{Action, Level, Pattern, ResourceType};
use crate::store::{Entity, IfExists, RolePermission, StoreError, UserId};

impl Context<'_> {
    pub(super) async fn list_workspace_permissions(&self, workspace: &str) -> Answer {
        self.require_workspace_admin(workspace)?;
        let roles = self.store.roles(Some(workspace)).await?;
        let rows: Vec<_> = roles
            .iter()
            .filter_map(|role| Some((role.user_id?, role)))
            .flat_map(|(user, role)| role.permissions.iter().map(move |row| (user, row)))
            .filter(|(_, row)| is_workspace_wide(row))
            .map(|(user, row)| shape(workspace, user, row.level))
            .collect();
        Ok(AdminResponse::json(&json!({ "permissions": rows })))
    }

    pub(super) async fn set_workspace_permission(&self, workspace: &str) -> Answer {
        self.require_workspace_admin(workspace)?;
        let missing: Vec<_> =
            ["permission", "username"].into_iter().filter(|key| !self.params.has(key)).collect();
        if !missing.is_empty() {
            return Err(Refusal::invalid(format!(
                "Workspace permission payload missing keys: {}",
                missing.join(", ")
            )));
        }
        let username = self.required_username()?;
        let level = words::level(self.params.text("permission")?)?;
        words::grantable(level, ResourceType::Workspace)?;
        let user = self.user_named(username).await?;
        let set = self
            .store
            .grant(
                &self.actor,
                username,
                workspace,
                ResourceType::Workspace,
                &Pattern::Every,
                level,
                IfExists::Replace,
            )
            .await
            .map_err(|error| unless_missing(error, username))?;
        let row = shape(workspace, user.id, level);
        Ok(AdminResponse::json(&json!({ "permission": row })).at(set.revision))
    }

    pub(super) async fn delete_workspace_permission(&self, workspace: &str) -> Answer {
        self.require_workspace_admin(workspace)?;
        let username = self.required_username()?;
        let deleted = self
            .store
            .revoke(&self.actor, username, workspace, ResourceType::Workspace, &Pattern::Every)
            .await
            .map_err(|error| match error {
                StoreError::NotFound { entity: Entity::UserPermission, .. } => {
                    Refusal::missing(format!(
                        "Workspace permission does not exist for workspace='{workspace}', \
                         username='{username}'"
                    ))
                }
                other => unless_missing(other, username),
            })?;
        Ok(AdminResponse::empty().at(deleted.revision))
    }

    pub(super) async fn list_user_workspace_permissions(&self) -> Answer {
        self.require_workspaces()?;
        self.authority.require_super_admin()?;
        let username = self.required_username()?;
        let user = self.user_named(username).await?;
        let own = self.store.own_permissions(username).await;
        let own = own.map_err(|error| unless_missing(error, username))?;
        let rows: Vec<_> = own
            .iter()
            .filter(|(_, row)| is_workspace_wide(row))
            .map(|(workspace, row)| shape(workspace, user.id, row.level))
            .collect();
        Ok(AdminResponse::json(&json!({ "permissions": rows })))
    }

    fn require_workspace_admin(&self, workspace: &str) -> Result<(), Refusal> {
        self.require_workspaces()?;
        self.authority.require_admin_of(workspace)
    }

    fn require_workspaces(&self) -> Result<(), Refusal> {
        if self.settings.workspaces { Ok(()) } else { Err(workspaces_are_off()) }
    }
}

fn is_workspace_wide(row: &RolePermission) -> bool {
    row.resource == ResourceType::Workspace && row.pattern == Pattern::Every
}

fn shape(workspace: &str, user: UserId, level: Level) -> Value {
    json!({
        "workspace": workspace,
        "user_id": user,
        "permission": level.as_str(),
        "can_use": level.permits(Action::Use),
    })
}
