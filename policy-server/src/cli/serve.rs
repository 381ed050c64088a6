//! `mlgate serve`.

use std::io::IsTerminal as _;

use anyhow::Context as _;
use secrecy::{ExposeSecret as _, SecretString};

use super::output::Output;
use super::password;
use crate::config::Config;
use crate::domain::check_new_password;
use crate::service;
use crate::store::{Actor, Channel, Store};

pub(super) const AFTER_HELP: &str = "\
Each value is taken from its flag, else from its variable, else from the file of --config, else
from its default; `mlgate config` shows the result. shared_token has no flag, because everybody
on the machine could read it: use MLGATE_SHARED_TOKEN or the file.

The first administrator: as long as the store has none, MLGATE_ADMIN_USERNAME (default: admin)
and MLGATE_ADMIN_PASSWORD (12 characters at least; on a terminal, asked for) make one. There is no
default password. Later starts ignore both.

Examples:
  MLGATE_ADMIN_PASSWORD=… mlgate serve --tracking-uri sqlite:////srv/mlflow/mlflow.db
  mlgate --config /etc/mlgate.toml serve";

pub(super) async fn run(config: Config) -> anyhow::Result<Output> {
    service::init_logging(config.log_format);
    let store = Store::open(config.store.clone(), config.settings.clone()).await?;
    bootstrap(&store).await?;
    service::serve(config, store).await?;
    Ok(Output::new("stopped", serde_json::json!({ "stopped": true })))
}

/// Creates the first administrator, if there is none.
async fn bootstrap(store: &Store) -> anyhow::Result<()> {
    if store.has_admin().await? {
        return Ok(());
    }
    let username = variable("MLGATE_ADMIN_USERNAME")
        .map_or_else(|| "admin".to_owned(), |name| name.expose_secret().to_owned());
    let password = match variable("MLGATE_ADMIN_PASSWORD") {
        Some(password) => password,
        None if std::io::stdin().is_terminal() => {
            eprintln!("There is no administrator yet; {username} becomes the first.");
            password::prompt(&username)?
        }
        None => anyhow::bail!(
            "MLGATE_ADMIN_PASSWORD: the store has no administrator yet; set a password of at \
             least 12 characters for {username}, or run `mlgate user create {username} --admin`"
        ),
    };
    check_new_password(password.expose_secret()).context("MLGATE_ADMIN_PASSWORD")?;
    let hash = password::hash(&password)?;
    let actor = Actor::new("mlgate serve", Channel::Bootstrap);
    let created = store.create_first_admin(&actor, &username, hash).await.with_context(|| {
        format!("MLGATE_ADMIN_USERNAME: {username} can not become the first administrator")
    })?;
    if created.value.is_some() {
        tracing::info!(username, "created the first administrator");
    }
    Ok(())
}

fn variable(name: &str) -> Option<SecretString> {
    std::env::var(name).ok().filter(|value| !value.is_empty()).map(Into::into)
}
