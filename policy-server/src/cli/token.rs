//! `mlgate token`.

use std::time::Duration;

use anyhow::{Context as _, bail};
use clap::Subcommand;
use serde_json::json;

use super::Session;
use super::output::{Output, time};
use crate::policy::TokenScope;
use crate::store::{NewToken, StoredToken, TokenId, now};

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Create a token for a user or service account; it is printed this once
    #[command(after_help = "\
Examples:
  mlgate token create ci nightly --expires 90d
  mlgate token create ci dashboard --scopes read
  mlgate token create ci training-12 --scopes edit,experiment:12
  export MLFLOW_TRACKING_TOKEN=…      what the command printed, for MLflow's clients

A token never allows more than its user may do. A scope of experiments reaches these, their runs,
traces, logged models and scorers; no registered models, no other experiments, and no
administration. Tokens begin with mlg_ and end with a checksum, for secret scanners:
mlg_[A-Za-z0-9_-]{48}")]
    Create {
        username: String,
        /// What the token is for; unique among the user's tokens
        name: String,
        /// After this time the token stops working, e.g. 12h or 90d; `never` for none
        #[arg(long, value_name = "TIME", default_value = "90d")]
        expires: String,
        /// What the token is limited to, separated by commas: a level (read, use, edit) and
        /// experiments (experiment:ID); without, the token may do what its user may
        #[arg(long, value_name = "SCOPE,…", value_delimiter = ',')]
        scopes: Vec<TokenScope>,
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
        Command::Create { username, name, expires, scopes } => {
            let expires_at = expiry(&expires)?;
            let new = NewToken { username, name, scopes, expires_at };
            let (token, secret) = store.create_token(actor, &new).await?.value;
            let until = token.expires_at.map_or_else(|| "never".to_owned(), time);
            let text = format!(
                "created token {} of {}, scopes: {}, expires: {until}\ntoken: {}",
                token.name,
                token.username,
                limits(&token),
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
            limits(token),
            state.to_owned(),
            shown(token.expires_at),
            shown(token.last_used_at),
        ]
    });
    let headers = ["id", "user", "name", "token", "scopes", "state", "expires", "last used"];
    Ok(Output::table(headers, rows, json!(tokens)))
}

fn limits(token: &StoredToken) -> String {
    match token.scopes.as_slice() {
        [] => "all".to_owned(),
        scopes => scopes.join(", "),
    }
}

/// A time from now as a time since the epoch, in milliseconds.
fn expiry(text: &str) -> anyhow::Result<Option<i64>> {
    if text == "never" {
        return Ok(None);
    }
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let seconds = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3_600,
        "d" => 86_400,
        _ => bail!("--expires: {text:?}; expected a number and s, m, h or d, or never"),
    };
    let lifetime = number
        .parse::<u64>()
        .ok()
        .and_then(|number| number.checked_mul(seconds))
        .filter(|seconds| (1..=10 * 366 * 86_400).contains(seconds))
        .map(Duration::from_secs)
        .with_context(|| format!("--expires: {text:?}; expected 1s to ten years"))?;
    Ok(Some(now().saturating_add(i64::try_from(lifetime.as_millis())?)))
}
