//! `mlgate group`.

use clap::Subcommand;
use serde_json::json;

use super::Session;
use super::grant::WorkspaceArg;
use super::output::Output;

pub(super) const AFTER_HELP: &str = "\
A user is in a group by membership here, or because their JWT's groups claim says so. Everybody
in a group has the roles that the group gives.

Examples:
  mlgate group add-role data-science readers       whoever's JWT claims data-science reads
  mlgate group add-member data-science alice       for those who log in with a password";

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Create a group; adding a member or a role does so too
    Create { group: String },
    /// List groups with their members and roles
    List,
    /// Delete a group
    Delete { group: String },
    /// Put a user into a group
    AddMember { group: String, username: String },
    /// Take a user out of a group
    RemoveMember { group: String, username: String },
    /// Let a group give a role
    AddRole {
        group: String,
        role: String,
        #[command(flatten)]
        workspace: WorkspaceArg,
    },
    /// Let a group no longer give a role
    RemoveRole {
        group: String,
        role: String,
        #[command(flatten)]
        workspace: WorkspaceArg,
    },
}

pub(super) async fn run(session: &Session, command: Command) -> anyhow::Result<Output> {
    let Session { store, actor } = session;
    match command {
        Command::Create { group } => {
            let done = store.create_group(actor, &group).await?;
            Ok(Output::done(format!("created group {group}"), done.revision))
        }
        Command::List => list(session).await,
        Command::Delete { group } => {
            let done = store.delete_group(actor, &group).await?;
            Ok(Output::done(format!("deleted group {group}"), done.revision))
        }
        Command::AddMember { group, username } => {
            let done = store.add_group_member(actor, &group, &username).await?;
            Ok(Output::done(format!("{username} is in {group}"), done.revision))
        }
        Command::RemoveMember { group, username } => {
            let done = store.remove_group_member(actor, &group, &username).await?;
            Ok(Output::done(format!("{username} is no longer in {group}"), done.revision))
        }
        Command::AddRole { group, role, workspace } => {
            let id = store.role_by_name(&workspace.workspace, &role).await?.id;
            let done = store.add_group_role(actor, &group, id).await?;
            Ok(Output::done(format!("group {group} gives role {role}"), done.revision))
        }
        Command::RemoveRole { group, role, workspace } => {
            let id = store.role_by_name(&workspace.workspace, &role).await?.id;
            let done = store.remove_group_role(actor, &group, id).await?;
            Ok(Output::done(format!("group {group} no longer gives role {role}"), done.revision))
        }
    }
}

async fn list(session: &Session) -> anyhow::Result<Output> {
    let groups = session.store.groups().await?;
    let roles = session.store.roles(None).await?;
    let name = |id| {
        roles
            .iter()
            .find(|role| role.id == id)
            .map_or_else(String::new, |role| format!("{} ({})", role.name, role.workspace))
    };
    let rows = groups.iter().map(|group| {
        let given: Vec<String> = group.roles.iter().map(|id| name(*id)).collect();
        [group.name.clone(), given.join(", "), group.members.join(", ")]
    });
    Ok(Output::table(["group", "roles", "members"], rows, json!(groups)))
}
