//! What a successful request to MLflow does to grants (semantics §11).

use serde_json::json;
use sqlx::AssertSqlSafe;

use super::Store;
use super::error::Result;
use super::grants::{IfExists, Slot};
use super::model::{Actor, Channel, Committed, NewUser, RolePermission};
use super::roles::check_workspace;
use super::rows::{self, PERMISSION_COLUMNS};
use super::write::WriteTx;
use crate::contract::ReferenceKind;
use crate::domain::{Level, Pattern, ResourceType};

/// One side effect. Ids are exact, also when they look like patterns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// The principal receives MANAGE on it.
    Created {
        resource: ResourceType,
        id: String,
    },
    /// Its grants go, so that a namesake inherits none of them.
    Deleted {
        resource: ResourceType,
        id: String,
    },
    Renamed {
        resource: ResourceType,
        from: String,
        to: String,
    },
    /// The principal becomes its recorded creator.
    Owned {
        kind: ReferenceKind,
        id: String,
    },
}

impl Store {
    /// Makes all effects durable in one transaction, together with the end of the intent that
    /// announced them. May be repeated.
    ///
    /// A principal without a row, i.e. the user of an identity provider, gets one without a
    /// password: grants need somebody to belong to.
    ///
    /// # Errors
    /// `Invalid` for an id or workspace that can not be, `Unavailable`.
    pub async fn record(
        &self,
        username: &str,
        workspace: &str,
        effects: &[Effect],
        intent: Option<&str>,
    ) -> Result<Committed<()>> {
        check_workspace(workspace)?;
        let actor = Actor::new(username, Channel::Gate);
        let mut tx = self.begin(&actor).await?;
        for effect in effects {
            tx.apply(username, workspace, effect).await?;
        }
        let committed = tx.commit(()).await?;
        if let Some(intent) = intent {
            // After the grant is durable: lost in between, the intent is only looked at again.
            self.forget_intent(intent).await?;
        }
        Ok(committed)
    }
}

impl WriteTx<'_> {
    async fn apply(&mut self, username: &str, workspace: &str, effect: &Effect) -> Result<()> {
        match effect {
            Effect::Created { resource: ResourceType::Workspace, id } => {
                self.seed_workspace(id).await
            }
            Effect::Created { resource, id } => {
                self.grant_to_creator(username, workspace, *resource, id).await
            }
            Effect::Deleted { resource: ResourceType::Workspace, id } => {
                self.remove_roles_of(id).await.map(drop)
            }
            Effect::Deleted { resource, id } => {
                self.sweep(&Named::new(*resource, workspace, id)).await
            }
            Effect::Renamed { resource, from, to } => {
                let from = Named::new(*resource, workspace, from);
                self.rename(&from, &Named::new(*resource, workspace, to)).await
            }
            Effect::Owned { kind, id } => self.record_owner(*kind, id, username).await,
        }
    }

    async fn grant_to_creator(
        &mut self,
        username: &str,
        workspace: &str,
        resource: ResourceType,
        id: &str,
    ) -> Result<()> {
        let user = match self.find_user(username).await? {
            Some(user) => user,
            None => {
                let new = NewUser {
                    username: username.to_owned(),
                    password_hash: None,
                    is_admin: false,
                    service_account: false,
                };
                self.insert_user(&new).await?
            }
        };
        let pattern = Pattern::Exact(id.to_owned());
        let slot = Slot { workspace, resource, pattern: &pattern };
        self.put_grant(&user, slot, Level::Manage, IfExists::Replace).await.map(drop)
    }

    /// As MLflow's `_seed_default_workspace_roles`; repeating it changes nothing.
    async fn seed_workspace(&mut self, workspace: &str) -> Result<()> {
        for (name, description, level) in [
            ("admin", "Workspace administrator", Level::Manage),
            ("user", "Workspace member", Level::Use),
        ] {
            if self.find_role(workspace, name).await?.is_none() {
                let role = self.insert_role(workspace, name, Some(description)).await?;
                let every = Pattern::Every;
                self.add_permission(&role, ResourceType::Workspace, &every, level).await?;
            }
        }
        Ok(())
    }

    /// Removes the grants on an object that is gone. MLflow sweeps only users' own; what
    /// administrators' roles permit goes too, lest a namesake inherit it, but what they deny
    /// stays, lest deleting and creating anew be a way around it.
    async fn sweep(&mut self, object: &Named<'_>) -> Result<()> {
        for (permission, own) in self.grants_on(object).await? {
            if own || permission.level != Level::Deny {
                self.delete_permission(&permission).await?;
            }
        }
        Ok(())
    }

    /// Users' own grants move along, as in MLflow. What administrators' roles permit under the
    /// old name does not, and goes as in [`WriteTx::sweep`]; what they deny holds under both
    /// names.
    async fn rename(&mut self, from: &Named<'_>, to: &Named<'_>) -> Result<()> {
        // Nothing had the new name, so users' own grants on it are leftovers.
        for (stale, own) in self.grants_on(to).await? {
            if own {
                self.delete_permission(&stale).await?;
            }
        }
        for (permission, own) in self.grants_on(from).await? {
            if own {
                self.delete_permission(&permission).await?;
                self.put_renamed(&permission, to).await?;
            } else if permission.level == Level::Deny {
                self.put_renamed(&permission, to).await?;
            } else {
                self.delete_permission(&permission).await?;
            }
        }
        Ok(())
    }

    async fn put_renamed(&mut self, permission: &RolePermission, to: &Named<'_>) -> Result<()> {
        let pattern = Pattern::Exact(to.id.to_owned());
        let slot =
            Slot { workspace: to.workspace, resource: permission.resource, pattern: &pattern };
        if let Some(found) = self.find_permission(permission.role_id, slot).await? {
            self.delete_permission(&found).await?;
        }
        self.insert_permission(permission.role_id, slot, permission.level).await?;
        self.touch_role(permission.role_id);
        let target = format!("role {} on {} {}", permission.role_id, permission.resource, to.id);
        let level = Some(json!(permission.level.as_str()));
        self.audit("role_permission.rename", &target, None, level).await
    }

    /// The exact grants on the object, each with whether it is a user's own.
    async fn grants_on(&mut self, object: &Named<'_>) -> Result<Vec<(RolePermission, bool)>> {
        let statement = format!(
            "SELECT {PERMISSION_COLUMNS}, CASE WHEN r.user_id IS NULL THEN 0 ELSE 1 END \
             FROM role_permissions p JOIN roles r ON r.id = p.role_id \
             WHERE p.resource_type = $1 AND p.resource_pattern = $2 AND p.pattern_kind = 'exact' \
             AND ($3 = '' OR r.workspace = $3) ORDER BY p.id"
        );
        sqlx::query(AssertSqlSafe(statement))
            .bind(object.resource.as_str())
            .bind(object.id)
            .bind(object.scope())
            .fetch_all(self.connection())
            .await?
            .iter()
            .map(|row| Ok((rows::role_permission(row)?, rows::flag(row, 6)?)))
            .collect()
    }
}

/// An object as grants name it.
struct Named<'a> {
    resource: ResourceType,
    workspace: &'a str,
    id: &'a str,
}

impl<'a> Named<'a> {
    fn new(resource: ResourceType, workspace: &'a str, id: &'a str) -> Self {
        Self { resource, workspace, id }
    }

    /// The workspace in which the id is unique; empty for ids that are unique everywhere.
    fn scope(&self) -> &str {
        match self.resource {
            ResourceType::RegisteredModel | ResourceType::Prompt | ResourceType::McpServer => {
                self.workspace
            }
            _ => "",
        }
    }
}
