//! `mlgate import`.

use std::path::PathBuf;

use anyhow::Context as _;
use clap::Subcommand;
use serde_json::json;

use super::Session;
use super::output::Output;
use crate::config::{Layers, Tracking};
use crate::domain::Level;
use crate::import::{Plan, apply, htpasswd, mlflow, oidc_auth, plan};
use crate::store::{Actor, Channel, DatabaseUrl, default_permission};

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Take over users and permissions from MLflow's own auth database
    #[command(after_help = "\
Reads the database of MLflow 2.5 to 3.x: users with their passwords, roles, and the older tables
of permissions. An old NO_PERMISSIONS becomes DENY. Nothing that the store already has is
changed, so the command may be run again.

It only shows what it would do, and what it would leave out and why, until --apply is given.

MLflow's default_permission is in its basic_auth.ini, not in the database. Without
--default-permission, the setting here stays as it is (NO_PERMISSIONS in a new store).

Examples:
  mlgate import mlflow --from sqlite:///basic_auth.db
  mlgate import mlflow --from sqlite:////srv/mlflow/basic_auth.db \\
      --default-permission READ --apply
  mlgate import mlflow --from postgresql://mlflow@db/auth \\
      --tracking-uri postgresql://mlflow@db/mlflow")]
    Mlflow {
        /// The auth database as MLflow spells it: sqlite:///relative.db, sqlite:////absolute.db,
        /// postgresql://…
        #[arg(long, value_name = "URI")]
        from: String,
        /// MLflow's tracking database, which knows prompts from models [env: MLGATE_TRACKING_URI]
        #[arg(long, value_name = "URI")]
        tracking_uri: Option<String>,
        /// Also set default_permission, as it is in MLflow's basic_auth.ini (READ unless changed)
        #[arg(long, value_name = "PERMISSION")]
        default_permission: Option<String>,
        /// Write it
        #[arg(long)]
        apply: bool,
    },
    /// Take over users and permissions from the plugin mlflow-oidc-auth
    #[command(after_help = "\
Reads the database of mlflow-oidc-auth, up to 11.0.2: users, groups, and their permissions on
experiments, models, prompts, scorers, the gateway's objects and MCP servers. What a group has
becomes a role of the group. NO_PERMISSIONS becomes DENY. A regular expression becomes a glob
where a glob says the same.

There, the first permission that is found decides, even if it is lower than others. Here the
highest counts, so what is hidden there is left out here. Nothing is taken over that would open
more than it did; where the default permission would, the import is refused.

It only shows what it would do, and what it would leave out and why, until --apply is given.
Nothing that the store already has is changed, so the command may be run again.

Examples:
  mlgate import mlflow-oidc-auth --from sqlite:///auth.db
  mlgate import mlflow-oidc-auth --from postgresql://mlflow@db/oidc_auth \\
      --tracking-uri postgresql://mlflow@db/mlflow --apply")]
    MlflowOidcAuth {
        /// Its OIDC_USERS_DB_URI: sqlite:///relative.db, sqlite:////absolute.db, postgresql://…
        #[arg(long, value_name = "URI")]
        from: String,
        /// MLflow's tracking database, which knows the workspaces of experiments, prompts from
        /// models, and the ids of the gateway's objects [env: MLGATE_TRACKING_URI]
        #[arg(long, value_name = "URI")]
        tracking_uri: Option<String>,
        /// Also set default_permission, as its DEFAULT_MLFLOW_PERMISSION is
        #[arg(long, value_name = "PERMISSION")]
        default_permission: Option<String>,
        /// Write it
        #[arg(long)]
        apply: bool,
    },
    /// Take over users and passwords from an htpasswd file
    #[command(after_help = "\
Example:
  mlgate import htpasswd /etc/nginx/htpasswd

Formats: apr1 (MD5), {SHA}, {SSHA}, sha256-crypt, sha512-crypt, bcrypt. Each password is stored
as argon2id when its user first logs in. It only shows what it would do until --apply is given.")]
    Htpasswd {
        file: PathBuf,
        /// Write it
        #[arg(long)]
        apply: bool,
    },
}

pub(super) async fn run(
    session: &Session,
    layers: &Layers,
    command: Command,
) -> anyhow::Result<Output> {
    match command {
        Command::Mlflow { from, tracking_uri, default_permission: default, apply } => {
            let from = DatabaseUrl::parse_sqlalchemy("--from", &from)?;
            check_exists(&from)?;
            let tracking = tracking(layers, tracking_uri)?;
            let default = default_flag(default)?;
            let source = mlflow::read(&from, tracking.as_ref()).await?;
            finish(session, source, default, apply).await
        }
        Command::MlflowOidcAuth { from, tracking_uri, default_permission: default, apply } => {
            let from = DatabaseUrl::parse_sqlalchemy("--from", &from)?;
            check_exists(&from)?;
            let tracking = tracking(layers, tracking_uri)?;
            let default = default_flag(default)?;
            let floor = match default {
                Some(level) => level,
                None => session.store.stored_settings().await?.default_permission,
            };
            let source = oidc_auth::read(&from, tracking.as_ref(), floor).await?;
            finish(session, source, default, apply).await
        }
        Command::Htpasswd { file, apply } => {
            finish(session, htpasswd::read(&file)?, None, apply).await
        }
    }
}

fn default_flag(text: Option<String>) -> anyhow::Result<Option<Level>> {
    text.map(|text| default_permission(&text).context("--default-permission")).transpose()
}

/// Three slashes are relative, which is easily overlooked.
fn check_exists(url: &DatabaseUrl) -> anyhow::Result<()> {
    match url.sqlite_path() {
        Some(path) if !path.is_file() => {
            let hint = match path.is_relative() {
                true => "; an absolute path has four slashes: sqlite:////…",
                false => "",
            };
            anyhow::bail!("--from: there is no file {}{hint}", path.display())
        }
        _ => Ok(()),
    }
}

fn tracking(layers: &Layers, flag: Option<String>) -> anyhow::Result<Option<DatabaseUrl>> {
    if let Some(text) = flag {
        return Ok(Some(DatabaseUrl::parse_sqlalchemy("--tracking-uri", &text)?));
    }
    Ok(match layers.tracking()? {
        Some(Tracking::Database(url)) => Some(url),
        _ => None,
    })
}

async fn finish(
    session: &Session,
    source: crate::import::Source,
    default: Option<Level>,
    write: bool,
) -> anyhow::Result<Output> {
    let plan = plan(&session.store, source, default).await?;
    let mut lines: Vec<String> = plan.steps.iter().map(|step| format!("+ {step}")).collect();
    lines.extend(plan.notes.iter().map(|note| format!("! {}: {}", note.what, note.why)));
    let mut json = described(&plan);
    let (steps, present) = (plan.steps.len(), plan.present);
    let end = if write {
        let actor = Actor { channel: Channel::Import, ..session.actor.clone() };
        let done = apply(&session.store, &actor, plan).await?;
        json["revision"] = json!(done.revision);
        format!("{steps} additions made; {present} things were there already")
    } else {
        format!("{steps} additions to make, {present} things are there already; --apply writes")
    };
    json["applied"] = json!(write);
    lines.push(end);
    Ok(Output::new(lines.join("\n"), json))
}

fn described(plan: &Plan) -> serde_json::Value {
    let steps: Vec<String> = plan.steps.iter().map(ToString::to_string).collect();
    json!({ "additions": steps, "notes": plan.notes, "present": plan.present })
}
