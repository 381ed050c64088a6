//! `mlgate check`: the evaluator, asked from the command line.

use serde_json::json;

use super::Session;
use super::output::Output;
use crate::domain::{Action, DEFAULT_WORKSPACE, ResourceType};
use crate::policy::{Check, EVERYTHING, Grants, Principal, RowKey, RungCheck, evaluate};

pub(super) const AFTER_HELP: &str = "\
Examples:
  mlgate check alice update experiment 12
  mlgate check 'idp|bob' read registered_model fraud --group data-science

prints, for instance

  denied (insufficient_grant, by READ on experiment 12)

This asks about one object of one type. A request may need more than one thing: `mlgate explain`
tells what. A run, trace or logged model without a grant on its own type follows its experiment, so
ask about that.

Exit codes: 0 allowed, 1 denied, 2 failed.";

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    username: String,
    /// read, use, update, delete or manage
    action: Action,
    /// What kind of thing: experiment, registered_model, … (`mlgate grant --help` lists all)
    #[arg(value_name = "TYPE")]
    resource: ResourceType,
    /// The exact id; '*' asks about the type as a whole
    id: String,
    /// Ask as if the user's JWT claimed this group; may be repeated
    #[arg(long = "group", value_name = "NAME")]
    groups: Vec<String>,
    /// The workspace, where MLflow runs with workspaces
    #[arg(long, value_name = "NAME", default_value = DEFAULT_WORKSPACE)]
    workspace: String,
}

pub(super) async fn run(session: &Session, args: Args) -> anyhow::Result<Output> {
    let settings = session.store.settings().await?;
    let found = session.store.principal(&args.username, &args.groups).await?;
    let grants = Grants::new(&found.grants);
    let principal = Principal {
        super_admin: found.user.as_ref().is_some_and(|user| user.is_admin),
        disabled: found.user.as_ref().is_some_and(|user| user.disabled),
        reach: &EVERYTHING,
        grants: &grants,
    };
    let key = match args.id.as_str() {
        "*" => RowKey::Every,
        id => RowKey::Id(id.to_owned()),
    };
    let rung = RungCheck { resource: args.resource, action: args.action, key };
    let check = Check::Ladder { rungs: vec![rung], explicit_only: false };
    let decision = evaluate(&settings, &principal, &args.workspace, &[check]);

    let verdict = if decision.allowed { "allowed" } else { "denied" };
    let by = decision.deciding.as_ref().map_or_else(String::new, |row| {
        format!(", by {} on {} {}", row.level, row.resource, row.pattern)
    });
    let unknown = match found.user {
        None => "; there is no user of this name",
        Some(_) => "",
    };
    let text = format!("{verdict} ({}{by}{unknown})", decision.reason.as_str());
    let json = json!({
        "allowed": decision.allowed,
        "reason": decision.reason.as_str(),
        "deciding": decision.deciding.map(|row| json!({
            "resource_type": row.resource.as_str(),
            "resource_pattern": row.pattern.as_str(),
            "permission": row.level.as_str(),
        })),
        "known_user": found.user.is_some(),
        "revision": found.revision,
    });
    Ok(Output::new(text, json).with_code(u8::from(!decision.allowed)))
}
