//! What a successful request to MLflow does to grants (semantics §11).

use serde_json::json;
use sqlx::{AnyConnection, AssertSqlSafe};

use super::Store;
use super::error::Result;
use super::grants::{IfExists, Slot};
use super::intents::{Author, Intent, Prior, Step};
use super::model::{Actor, Channel, Committed, NewUser, RolePermission};
use super::roles::check_workspace;
use super::rows::{self, PERMISSION_COLUMNS};
use super::write::WriteTx;
use crate::contract::ReferenceKind;
use crate::domain::{Incumbent, Level, Pattern, ResourceType};

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

/// What came of settling an intent from what MLflow has now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Settled {
    Done,
    /// Somebody else has settled it meanwhile.
    Gone,
    /// The object has an owner; nothing was granted.
    Owned,
    /// Others had announced a creation under the same name; nothing was granted, and nothing
    /// will be.
    Contested,
}

impl Store {
    /// Makes all effects durable in one transaction, together with the end of the intents that
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
        let announced = match intent {
            Some(id) => tx.take_intents(id).await?,
            None => Vec::new(),
        };
        let author = Author {
            username: username.to_owned(),
            groups: announced.first().map(|it| it.author.groups.clone()).unwrap_or_default(),
            workspace: workspace.to_owned(),
        };
        for effect in effects {
            let announced = announced.iter().find(|intent| effect.is_of(&intent.step));
            tx.apply(&author, effect, announced).await?;
        }
        let committed = tx.commit(()).await?;
        if let Some(intent) = intent {
            // A transaction that changed no grant has taken nothing back.
            self.forget_intents(intent).await?;
        }
        Ok(committed)
    }

    /// Gives the object to the one who had announced to create it, if nobody has it and nobody
    /// else had announced the same.
    ///
    /// # Errors
    /// `Invalid` for an id that can not be, `Unavailable`.
    pub async fn settle_creation(&self, intent: &Intent, made: &Incumbent) -> Result<Settled> {
        let author = &intent.author;
        let actor = Actor::new(&author.username, Channel::Gate);
        let mut tx = self.begin(&actor).await?;
        if !tx.take_intent(intent).await? {
            return Ok(Settled::Gone);
        }
        let resource = intent.step.resource();
        let id = if resource.granted_by_name() { intent.step.name() } else { &made.id };
        let grants = tx.grants_on(&Named::new(resource, &author.workspace, id)).await?;
        if grants.iter().any(|(permission, own)| *own && permission.level == Level::Manage) {
            return Ok(Settled::Owned);
        }
        let contests = |rival: &Intent| {
            rival.author.username != author.username
                && !matches!(&rival.prior, Prior::Existing(prior) if prior == made)
        };
        let rivals = tx.rivals_of(intent).await?;
        tx.forget_rivals_of(intent).await?;
        if rivals.iter().any(contests) {
            // All of them are forgotten at once: the last one left would look like the only one.
            let others = rivals.iter().map(|rival| rival.author.username.as_str());
            let users: Vec<_> = std::iter::once(author.username.as_str()).chain(others).collect();
            let target = format!("{resource} {id} in {}", author.workspace);
            tx.audit("creation.contested", &target, None, Some(json!(users))).await?;
            tx.commit(()).await?;
            return Ok(Settled::Contested);
        }
        let effect = Effect::Created { resource, id: id.to_owned() };
        tx.apply(author, &effect, None).await?;
        tx.commit(()).await?;
        Ok(Settled::Done)
    }

    /// Does what a deletion or renaming of which nothing was heard means for grants.
    ///
    /// # Errors
    /// `Unavailable`.
    pub async fn settle_removal(&self, intent: &Intent, effect: &Effect) -> Result<Settled> {
        let actor = Actor::new(&intent.author.username, Channel::Gate);
        let mut tx = self.begin(&actor).await?;
        if !tx.take_intent(intent).await? {
            return Ok(Settled::Gone);
        }
        tx.apply(&intent.author, effect, None).await?;
        tx.commit(()).await?;
        self.forget_intent(intent).await?;
        Ok(Settled::Done)
    }

    /// The levels that anybody has on exactly this object, in roles or of their own.
    ///
    /// # Errors
    /// `Unavailable`, or `Unreadable`.
    pub async fn levels_on(
        &self,
        resource: ResourceType,
        workspace: &str,
        id: &str,
    ) -> Result<Vec<Level>> {
        let object = Named::new(resource, workspace, id);
        let mut connection = self.pool().acquire().await?;
        let grants = read_grants(&mut connection, &object).await?;
        Ok(grants.into_iter().map(|(permission, _)| permission.level).collect())
    }
}

impl Effect {
    /// Whether the step announced this effect.
    fn is_of(&self, step: &Step) -> bool {
        match (self, step) {
            (Self::Created { resource, .. }, Step::Create { resource: of, .. })
            | (Self::Deleted { resource, .. }, Step::Delete { resource: of, .. })
            | (Self::Renamed { resource, .. }, Step::Rename { resource: of, .. }) => resource == of,
            _ => false,
        }
    }
}

impl WriteTx<'_> {
    async fn apply(
        &mut self,
        author: &Author,
        effect: &Effect,
        announced: Option<&Intent>,
    ) -> Result<()> {
        let workspace = author.workspace.as_str();
        match effect {
            Effect::Created { resource: ResourceType::Workspace, id } => {
                self.seed_workspace(id).await
            }
            Effect::Created { resource, id } => {
                if let Some(announced) = announced {
                    self.forget_rivals_of(announced).await?;
                    self.clear_name(announced, id).await?;
                }
                self.grant_to_creator(author, *resource, id).await
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
            Effect::Owned { kind, id } => self.record_owner(*kind, id, &author.username).await,
        }
    }

    async fn grant_to_creator(
        &mut self,
        author: &Author,
        resource: ResourceType,
        id: &str,
    ) -> Result<()> {
        let user = match self.find_user(&author.username).await? {
            Some(user) => user,
            None => {
                let new = NewUser {
                    username: author.username.clone(),
                    password_hash: None,
                    is_admin: false,
                    service_account: false,
                };
                self.insert_user(&new).await?
            }
        };
        let pattern = Pattern::Exact(id.to_owned());
        let slot = Slot { workspace: &author.workspace, resource, pattern: &pattern };
        self.put_grant(&user, slot, Level::Manage, IfExists::Replace).await?;
        self.share_with_groups(author, &user, resource, id).await
    }

    /// That MLflow made the object shows that its name was free: what users are granted on the
    /// name is left over from a namesake. Roles keep what administrators permit in advance,
    /// unless a deletion through the gate was about to take it.
    async fn clear_name(&mut self, announced: &Intent, id: &str) -> Result<()> {
        let resource = announced.step.resource();
        // Further versions are registered under the name of a scorer that exists.
        let is_new = resource != ResourceType::Scorer || announced.prior == Prior::Absent;
        if !resource.granted_by_name() || !is_new {
            return Ok(());
        }
        let workspace = announced.author.workspace.as_str();
        let families: &[ResourceType] = match resource {
            ResourceType::RegisteredModel | ResourceType::Prompt => {
                &[ResourceType::RegisteredModel, ResourceType::Prompt]
            }
            _ => &[resource],
        };
        for &family in families {
            if self.take_removals_of(family, workspace, id).await? > 0 {
                self.sweep(&Named::new(family, workspace, id)).await?;
                continue;
            }
            for (permission, own) in self.grants_on(&Named::new(family, workspace, id)).await? {
                if own && permission.level != Level::Deny {
                    self.delete_permission(&permission).await?;
                }
            }
        }
        Ok(())
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
        // MLflow renames a model to the name that it has; nothing there is a leftover.
        if from.id == to.id {
            return Ok(());
        }
        // Nothing had the new name, so what users were permitted on it is left over. What is
        // denied on a name is denied to whatever gets it.
        for (stale, own) in self.grants_on(to).await? {
            if own && stale.level != Level::Deny {
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
            if found.level == Level::Deny {
                return Ok(());
            }
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
        read_grants(self.connection(), object).await
    }
}

async fn read_grants(
    connection: &mut AnyConnection,
    object: &Named<'_>,
) -> Result<Vec<(RolePermission, bool)>> {
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
        .fetch_all(connection)
        .await?
        .iter()
        .map(|row| Ok((rows::role_permission(row)?, rows::flag(row, 6)?)))
        .collect()
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
            ResourceType::RegisteredModel
            | ResourceType::Prompt
            | ResourceType::McpServer
            | ResourceType::Skill => self.workspace,
            _ => "",
        }
    }
}
