//! `mlgate settings`, `mlgate audit` and `mlgate config`.

use clap::Subcommand;
use serde_json::{Value, json};

use super::Session;
use super::output::{Output, time};
use crate::config::Layers;
use crate::store::Store;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Show the settings in force, and what the store says where the configuration overrides it
    Get {
        /// Only this one
        name: Option<String>,
    },
    /// Change a setting in the store
    #[command(after_help = "\
Settings:
  default_permission               NO_PERMISSIONS, READ, USE, EDIT or MANAGE: what everybody may
                                   do where no grant says anything
  workspaces                       true when MLflow runs with workspaces
  grant_default_workspace_access   true: with workspaces, default_permission counts in the
                                   workspace 'default'
  reserved_username_prefixes       the username prefixes of identity providers, with commas
                                   between: no user with such a name gets or uses a password
  creation_names                   TYPE=PATTERN, with commas between: what is created or renamed
                                   must fit a pattern of its type, if there is one; * is any text,
                                   {user} the creator's name
  creation_groups                  GROUP=LEVEL, with commas between: what a member creates, the
                                   whole group gets this level on

Example:
  mlgate settings set default_permission READ")]
    Set {
        /// One of the settings below
        name: String,
        value: String,
    },
}

#[derive(Debug, clap::Args)]
pub(super) struct AuditArgs {
    /// How many entries, from the newest
    #[arg(long, default_value_t = 50)]
    limit: u32,
    /// Only entries before this id
    #[arg(long, value_name = "ID")]
    before: Option<i64>,
}

pub(super) async fn run(session: &Session, command: Command) -> anyhow::Result<Output> {
    let Session { store, actor } = session;
    match command {
        Command::Get { name } => {
            let (effective, stored) = (in_force(store).await?, stored(store).await?);
            let all: Vec<_> = effective.into_iter().zip(stored).collect();
            if let Some(name) = name {
                let found = all.iter().find(|((known, _), _)| *known == name);
                let ((_, value), _) =
                    found.ok_or_else(|| anyhow::anyhow!("setting {name} not found"))?;
                return Ok(Output::new(value.clone(), json!({ (name): value })));
            }
            let json: serde_json::Map<String, Value> =
                all.iter().map(|((name, value), _)| ((*name).to_owned(), json!(value))).collect();
            let rows = all.into_iter().map(|((name, value), (_, stored))| {
                let overridden = if value == stored { String::new() } else { stored };
                [name.to_owned(), value, overridden]
            });
            Ok(Output::table(["setting", "value", "in the store"], rows, json.into()))
        }
        Command::Set { name, value } => {
            let done = store.set_setting(actor, &name, &value).await?;
            let (effective, stored) = (in_force(store).await?, stored(store).await?);
            let overridden = effective
                .iter()
                .zip(&stored)
                .any(|(effective, stored)| stored.0 == name && effective.1 != stored.1);
            let note = match overridden {
                true => "; the configuration of this command overrides it",
                false => "",
            };
            Ok(Output::done(format!("{name} is {value}{note}"), done.revision))
        }
    }
}

const RESERVED: &str = "reserved_username_prefixes";

async fn creation_rules(store: &Store) -> anyhow::Result<[(&'static str, String); 2]> {
    let rules = store.creation_rules().await?;
    Ok([("creation_names", rules.names.to_string()), ("creation_groups", rules.groups.to_string())])
}

async fn in_force(store: &Store) -> anyhow::Result<Vec<(&'static str, String)>> {
    let mut entries = store.settings().await?.entries().to_vec();
    entries.push((RESERVED, store.reserved_prefixes().await?.to_string()));
    entries.extend(creation_rules(store).await?);
    Ok(entries)
}

pub(super) async fn stored(store: &Store) -> anyhow::Result<Vec<(&'static str, String)>> {
    let mut entries = store.stored_settings().await?.entries().to_vec();
    entries.push((RESERVED, store.stored_reserved_prefixes().await?.to_string()));
    entries.extend(creation_rules(store).await?);
    Ok(entries)
}

pub(super) async fn audit(session: &Session, args: &AuditArgs) -> anyhow::Result<Output> {
    let entries = session.store.audit_log(args.before, args.limit).await?;
    let shown = |value: &Option<Value>| match value {
        Some(Value::String(text)) => text.clone(),
        Some(value) => value.to_string(),
        None => String::new(),
    };
    let rows = entries.iter().map(|entry| {
        [
            entry.id.to_string(),
            entry.revision.to_string(),
            time(entry.at),
            format!("{} ({})", entry.actor, entry.channel),
            entry.action.clone(),
            entry.target.clone(),
            shown(&entry.before),
            shown(&entry.after),
        ]
    });
    let headers = ["id", "revision", "time", "who", "action", "what", "before", "after"];
    Ok(Output::table(headers, rows, json!(entries)))
}

pub(super) fn configuration(layers: &Layers) -> Output {
    let shown = layers.shown();
    let json: serde_json::Map<String, Value> = shown
        .iter()
        .map(|(name, value, place)| ((*name).to_owned(), json!({ "value": value, "from": place })))
        .collect();
    let rows = shown
        .into_iter()
        .map(|(name, value, place)| [name.to_owned(), value.unwrap_or_default(), place]);
    Output::table(["field", "value", "from"], rows, json.into())
}
