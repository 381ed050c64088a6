//! `mlgate role`.

use anyhow::Context as _;
use clap::Subcommand;
use serde_json::{Value, json};

use super::Session;
use super::grant::{Object, PERMIT_HELP, WorkspaceArg};
use super::output::Output;
use crate::domain::Level;
use crate::store::{Entity, Role, RolePermission, StoreError};

/// Roles are named, within a workspace, by their name.
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Create a role
    #[command(after_help = "\
Examples:
  mlgate role create readers --description 'may look at everything'
  mlgate role permit readers experiment '*' READ
  mlgate role assign readers alice")]
    Create {
        role: String,
        #[arg(long)]
        description: Option<String>,
        #[command(flatten)]
        workspace: WorkspaceArg,
    },
    /// List roles and what they permit
    List {
        /// Only of this workspace
        #[arg(long, value_name = "NAME")]
        workspace: Option<String>,
        /// Also the hidden roles, which carry what `mlgate grant` gives
        #[arg(long)]
        hidden: bool,
    },
    /// Change a role's name or description
    Update {
        role: String,
        #[arg(long)]
        name: Option<String>,
        #[arg(long)]
        description: Option<String>,
        #[command(flatten)]
        workspace: WorkspaceArg,
    },
    /// Delete a role; whoever had it loses what it gave
    Delete {
        role: String,
        #[command(flatten)]
        workspace: WorkspaceArg,
    },
    /// Let a role permit (or, with DENY, forbid) something; replaces what it said before
    #[command(after_help = PERMIT_HELP)]
    Permit {
        role: String,
        #[command(flatten)]
        object: Object,
        /// READ, USE, EDIT, MANAGE or DENY
        permission: Level,
        #[command(flatten)]
        workspace: WorkspaceArg,
    },
    /// Remove what `permit` added
    Unpermit {
        role: String,
        #[command(flatten)]
        object: Object,
        #[command(flatten)]
        workspace: WorkspaceArg,
    },
    /// Give a role to a user
    Assign {
        role: String,
        username: String,
        #[command(flatten)]
        workspace: WorkspaceArg,
    },
    /// Take a role from a user
    Unassign {
        role: String,
        username: String,
        #[command(flatten)]
        workspace: WorkspaceArg,
    },
}

pub(super) async fn run(session: &Session, command: Command) -> anyhow::Result<Output> {
    let Session { store, actor } = session;
    match command {
        Command::Create { role, description, workspace } => {
            let created = store
                .create_role(actor, &workspace.workspace, &role, description.as_deref())
                .await?;
            let text = format!("created role {role} in {}", workspace.workspace);
            Ok(Output::new(text, role_json(&created.value)))
        }
        Command::List { workspace, hidden } => {
            let mut roles = store.roles(workspace.as_deref()).await?;
            roles.retain(|role| hidden || role.user_id.is_none());
            Ok(list(&roles))
        }
        Command::Update { role, name, description, workspace } => {
            let id = store.role_by_name(&workspace.workspace, &role).await?.id;
            let done =
                store.update_role(actor, id, name.as_deref(), description.as_deref()).await?;
            Ok(Output::new(format!("updated role {}", done.value.name), role_json(&done.value)))
        }
        Command::Delete { role, workspace } => {
            let id = store.role_by_name(&workspace.workspace, &role).await?.id;
            let done = store.delete_role(actor, id).await?;
            Ok(Output::done(format!("deleted role {role}"), done.revision))
        }
        Command::Permit { role, object, permission, workspace } => {
            permit(session, &role, &object, permission, &workspace.workspace).await
        }
        Command::Unpermit { role, object, workspace } => {
            let found = store.role_by_name(&workspace.workspace, &role).await?;
            let held = held(&found, &object).with_context(|| {
                format!("role {role} says nothing about {} {}", object.resource(), object.pattern())
            })?;
            let done = store.remove_role_permission(actor, held.id).await?;
            Ok(Output::done(format!("removed a permission of role {role}"), done.revision))
        }
        Command::Assign { role, username, workspace } => {
            let id = store.role_by_name(&workspace.workspace, &role).await?.id;
            let done = store.assign_role(actor, &username, id).await?;
            Ok(Output::done(format!("{username} has role {role}"), done.revision))
        }
        Command::Unassign { role, username, workspace } => {
            let id = store.role_by_name(&workspace.workspace, &role).await?.id;
            let done = store.unassign_role(actor, &username, id).await?;
            Ok(Output::done(format!("{username} no longer has role {role}"), done.revision))
        }
    }
}

async fn permit(
    session: &Session,
    role: &str,
    object: &Object,
    level: Level,
    workspace: &str,
) -> anyhow::Result<Output> {
    let Session { store, actor } = session;
    let found = store.role_by_name(workspace, role).await?;
    let done = match held(&found, object) {
        Some(held) => store.update_role_permission(actor, held.id, level).await?,
        None => {
            let (resource, pattern) = (object.resource(), object.pattern());
            let added = store.add_role_permission(actor, found.id, resource, &pattern, level).await;
            match added {
                // Added by somebody else in between.
                Err(StoreError::AlreadyExists { entity: Entity::RolePermission, .. }) => {
                    anyhow::bail!("role {role} was changed at the same time; try again")
                }
                other => other?,
            }
        }
    };
    let text = format!("role {role} has {level} on {} {}", object.resource(), object.pattern());
    Ok(Output::done(text, done.revision))
}

fn held<'a>(role: &'a Role, object: &Object) -> Option<&'a RolePermission> {
    let (resource, pattern) = (object.resource(), object.pattern());
    role.permissions.iter().find(|held| held.resource == resource && held.pattern == pattern)
}

fn list(roles: &[Role]) -> Output {
    let rows = roles.iter().flat_map(|role| {
        let permissions: Vec<String> = role
            .permissions
            .iter()
            .map(|held| format!("{} on {} {}", held.level, held.resource, held.pattern))
            .collect();
        [[
            role.id.to_string(),
            role.name.clone(),
            role.workspace.clone(),
            permissions.join(", "),
            role.description.clone().unwrap_or_default(),
        ]]
    });
    let json = roles.iter().map(role_json).collect();
    Output::table(["id", "role", "workspace", "permits", "description"], rows, json)
}

pub(super) fn role_json(role: &Role) -> Value {
    let permissions: Vec<Value> = role
        .permissions
        .iter()
        .map(|held| {
            json!({
                "id": held.id,
                "resource_type": held.resource.as_str(),
                "resource_pattern": held.pattern.as_str(),
                "exact": matches!(held.pattern, crate::domain::Pattern::Exact(_)),
                "permission": held.level.as_str(),
            })
        })
        .collect();
    json!({
        "id": role.id,
        "name": role.name,
        "workspace": role.workspace,
        "description": role.description,
        "user_id": role.user_id,
        "permissions": permissions,
    })
}
