//! Groups, which MLflow does not have: who is in them by membership here, and the roles they give.
//!
//! A group reaches over all workspaces, so super admins say who is in it. A role belongs to one:
//! whoever may assign it to users there may have a group give it.

use std::collections::HashMap;

use serde_json::{Value, json};

use super::answer::{AdminResponse, Answer, Refusal};
use super::{Context, shapes};
use crate::store::{Group, Role, RoleId};

impl Context<'_> {
    /// Super admins see everything; others the roles of the workspaces that they administer, with
    /// the groups that give them, and nothing of their members.
    pub(super) async fn list_groups(&self) -> Answer {
        self.authority.require(self.authority.administers_any())?;
        let administered = self.authority.administered();
        let all = self.authority.is_super_admin();
        let roles = self.store.roles(None).await?.into_iter();
        let roles: HashMap<RoleId, Role> = roles
            .filter(|role| all || administered.contains(&role.workspace))
            .map(|role| (role.id, role))
            .collect();
        let groups = self.store.groups().await?;
        let rows: Vec<Value> = groups
            .iter()
            .map(|group| (group, given(group, &roles)))
            .filter(|(_, given)| all || !given.is_empty())
            .map(|(group, given)| {
                let members = if all { group.members.as_slice() } else { &[] };
                json!({ "name": group.name, "members": members, "roles": shapes::roles(given) })
            })
            .collect();
        Ok(AdminResponse::json(&json!({ "groups": rows })))
    }

    pub(super) async fn create_group(&self) -> Answer {
        self.authority.require_super_admin()?;
        let created = self.store.create_group(&self.actor, self.group()?).await;
        Ok(AdminResponse::done(created?.revision))
    }

    pub(super) async fn delete_group(&self) -> Answer {
        self.authority.require_super_admin()?;
        let deleted = self.store.delete_group(&self.actor, self.group()?).await;
        Ok(AdminResponse::done(deleted?.revision))
    }

    pub(super) async fn add_group_member(&self) -> Answer {
        self.authority.require_super_admin()?;
        let (group, username) = (self.group()?, self.required_username()?);
        let added = self.store.add_group_member(&self.actor, group, username).await;
        Ok(AdminResponse::done(added?.revision))
    }

    pub(super) async fn remove_group_member(&self) -> Answer {
        self.authority.require_super_admin()?;
        let (group, username) = (self.group()?, self.required_username()?);
        let removed = self.store.remove_group_member(&self.actor, group, username).await;
        Ok(AdminResponse::done(removed?.revision))
    }

    pub(super) async fn add_group_role(&self) -> Answer {
        let role_id = self.administered_role_id().await?;
        let added = self.store.add_group_role(&self.actor, self.group()?, role_id).await;
        Ok(AdminResponse::done(added?.revision))
    }

    pub(super) async fn remove_group_role(&self) -> Answer {
        let role_id = self.administered_role_id().await?;
        let removed = self.store.remove_group_role(&self.actor, self.group()?, role_id).await;
        Ok(AdminResponse::done(removed?.revision))
    }

    fn group(&self) -> Result<&str, Refusal> {
        self.params.text("group")
    }
}

fn given<'r>(group: &Group, roles: &'r HashMap<RoleId, Role>) -> Vec<&'r Role> {
    group.roles.iter().filter_map(|id| roles.get(id)).collect()
}
