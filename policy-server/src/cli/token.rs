//! `mlgate token`.

use std::time::Duration;

use anyhow::{Context as _, bail};
use clap::Subcommand;
use serde_json::json;

use super::Session;
use super::output::{Output, time};
use crate::store::{NewToken, TokenId, now};

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Create a token for a user or service account; it is printed this once
    #[command(after_help = "\
Examples:
  mlgate token create ci nightly --expires 90d
  export MLFLOW_TRACKING_TOKEN=…      what the command printed, for MLflow's clients")]
    Create {
        username: String,
        /// What the token is for; unique among the user's tokens
        name: String,
        /// After this time the token stops working, e.g. 12h or 90d; `never` for none
        #[arg(long, value_name = "TIME", default_value = "90d")]
        expires: String,
    },
    /// List tokens, also expired and revoked ones
    List {
        /// Only of this user
        #[arg(long, value_name = "USERNAME")]
        user: Option<String>,
    },
    /// Revoke a token, by the id that `list` shows
    Revoke { id: i64 },
}

pub(super) async fn run(session: &Session, command: Command) -> anyhow::Result<Output> {
    let Session { store, actor } = session;
    match command {
        Command::Create { username, name, expires } => {
            let expires_at = expiry(&expires)?;
            let new = NewToken { username, name, scopes: Vec::new(), expires_at };
            let (token, secret) = store.create_token(actor, &new).await?.value;
            let until = token.expires_at.map_or_else(|| "never".to_owned(), time);
            let text = format!(
                "created token {} of {}, expires: {until}\ntoken: {}",
                token.name,
                token.username,
                secret.expose()
            );
            let mut json = json!(token);
            json["token"] = json!(secret.expose());
            Ok(Output::new(text, json))
        }
        Command::List { user } => list(session, user.as_deref()).await,
        Command::Revoke { id } => {
            let done = store.revoke_token(actor, TokenId(id)).await?;
            let text = format!("revoked token {} of {}", done.value.name, done.value.username);
            Ok(Output::done(text, done.revision))
        }
    }
}

async fn list(session: &Session, username: Option<&str>) -> anyhow::Result<Output> {
    let user = match username {
        Some(name) => {
            let user = session.store.user(name).await?;
            Some(user.with_context(|| format!("--user: user {name} not found"))?.id)
        }
        None => None,
    };
    let tokens = session.store.tokens(user).await?;
    let now = now();
    let shown = |at: Option<i64>| at.map_or_else(String::new, time);
    let rows = tokens.iter().map(|token| {
        let state = match () {
            () if token.revoked_at.is_some() => "revoked",
            () if !token.is_valid_at(now) => "expired",
            () => "valid",
        };
        [
            token.id.to_string(),
            token.username.clone(),
            token.name.clone(),
            format!("{}…", token.prefix),
            state.to_owned(),
            shown(token.expires_at),
            shown(token.last_used_at),
        ]
    });
    let headers = ["id", "user", "name", "token", "state", "expires", "last used"];
    Ok(Output::table(headers, rows, json!(tokens)))
}

/// A time from now as a time since the epoch, in milliseconds.
fn expiry(text: &str) -> anyhow::Result<Option<i64>> {
    if text == "never" {
        return Ok(None);
    }
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let seconds = match unit {
        "m" => 60,
        "h" => 3_600,
        "d" => 86_400,
        _ => bail!("--expires: {text:?}; expected a number and m, h or d, or never"),
    };
    let lifetime = number
        .parse::<u64>()
        .ok()
        .and_then(|number| number.checked_mul(seconds))
        .filter(|seconds| (1..=10 * 366 * 86_400).contains(seconds))
        .map(Duration::from_secs)
        .with_context(|| format!("--expires: {text:?}; expected 1m to ten years"))?;
    Ok(Some(now().saturating_add(i64::try_from(lifetime.as_millis())?)))
}
