//! `mlgate grant` and `mlgate revoke`.

use anyhow::Context as _;

use super::Session;
use super::output::Output;
use crate::domain::{DEFAULT_WORKSPACE, Level, Pattern, ResourceType};
use crate::store::IfExists;

/// The words that grants are made of.
macro_rules! words {
    ($examples:literal) => {
        concat!(
            "\
TYPE is one of experiment, registered_model, prompt, scorer, gateway_secret, gateway_endpoint,
gateway_model_definition, mcp_server, skill; or of these, which only take '*': workspace, run,
trace, assessment, logged_model, review_queue, registered_model_version, prompt_version,
scorer_version, mcp_server_version.

ID is what MLflow calls the object: an experiment's id, a model's name, EXPERIMENT_ID/NAME of a
scorer, NAME or @ORGANIZATION/NAME of a skill. '*' is every object of the type. Models, prompts,
scorers, MCP servers and skills also take patterns such as 'fraud-*'. Quote it, or the shell reads
the '*'.

PERMISSION is one of
  READ     look at it
  USE      and use it, as one calls a gateway endpoint
  EDIT     and change it: log runs, register versions
  MANAGE   and delete it, and let others in
  DENY     nothing, whatever else is granted

Runs, traces, logged models and the like belong to an experiment and follow what is granted on it;
a grant on their type ('run', …) speaks instead of it, in every experiment.

",
            $examples
        )
    };
}

pub(super) const GRANT_HELP: &str = words!(
    "\
Examples:
  mlgate grant alice experiment 12 EDIT
  mlgate grant bob registered_model 'fraud-*' READ
  mlgate grant eve run '*' DENY
  mlgate grant carol workspace '*' MANAGE --workspace team-a     administrator of team-a

Granting again replaces the permission. To give many people the same, use `mlgate role`."
);

pub(super) const PERMIT_HELP: &str = words!(
    "\
Examples:
  mlgate role permit readers experiment '*' READ
  mlgate role permit readers registered_model secret-plans DENY
  mlgate role permit leads workspace '*' MANAGE --workspace team-a

Permitting again replaces the permission."
);

pub(super) const REVOKE_HELP: &str = "\
TYPE and ID as they were granted; `mlgate role list --hidden` shows what everybody has of their own.

Examples:
  mlgate revoke alice experiment 12
  mlgate revoke bob registered_model 'fraud-*'

What a role or a group gives stays: see `mlgate role unassign` and `mlgate group remove-member`.";

/// What a grant is on.
#[derive(Debug, clap::Args)]
pub(super) struct Object {
    /// What kind of thing: experiment, registered_model, … (`mlgate grant --help` lists all)
    #[arg(value_name = "TYPE")]
    resource: ResourceType,
    /// An exact id, '*' for all, or a pattern such as 'team-a-*'
    #[arg(value_name = "ID")]
    id: String,
    /// Take ID literally, even with a '*' in it
    #[arg(long)]
    exact: bool,
}

impl Object {
    pub(super) fn resource(&self) -> ResourceType {
        self.resource
    }

    pub(super) fn pattern(&self) -> Pattern {
        match self.exact {
            true => Pattern::Exact(self.id.clone()),
            false => Pattern::parse(&self.id),
        }
    }
}

#[derive(Debug, clap::Args)]
pub(super) struct WorkspaceArg {
    /// The workspace, where MLflow runs with workspaces
    #[arg(long, value_name = "NAME", default_value = DEFAULT_WORKSPACE)]
    pub(super) workspace: String,
}

#[derive(Debug, clap::Args)]
pub(super) struct GrantArgs {
    username: String,
    #[command(flatten)]
    object: Object,
    /// READ, USE, EDIT, MANAGE or DENY
    permission: Level,
    #[command(flatten)]
    workspace: WorkspaceArg,
}

#[derive(Debug, clap::Args)]
pub(super) struct RevokeArgs {
    username: String,
    #[command(flatten)]
    object: Object,
    #[command(flatten)]
    workspace: WorkspaceArg,
}

pub(super) async fn grant(session: &Session, args: GrantArgs) -> anyhow::Result<Output> {
    let GrantArgs { username, object, permission, workspace } = args;
    let (resource, pattern) = (object.resource(), object.pattern());
    let done = session
        .store
        .grant(
            &session.actor,
            &username,
            &workspace.workspace,
            resource,
            &pattern,
            permission,
            IfExists::Replace,
        )
        .await?;
    let text = format!("{username} has {permission} on {resource} {pattern}");
    Ok(Output::done(text, done.revision))
}

pub(super) async fn revoke(session: &Session, args: RevokeArgs) -> anyhow::Result<Output> {
    let RevokeArgs { username, object, workspace } = args;
    let (resource, pattern) = (object.resource(), object.pattern());
    let done = session
        .store
        .revoke(&session.actor, &username, &workspace.workspace, resource, &pattern)
        .await
        .context("nothing revoked")?;
    let text = format!("revoked what {username} had on {resource} {pattern}");
    Ok(Output::done(text, done.revision))
}
