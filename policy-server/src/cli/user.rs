//! `mlgate user`.

use anyhow::bail;
use clap::Subcommand;
use secrecy::ExposeSecret as _;
use serde_json::{Value, json};

use super::Session;
use super::output::{Output, mark, time};
use super::password::PasswordArgs;
use crate::store::{NewUser, User};

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Create a user
    #[command(after_help = "\
Examples:
  mlgate user create alice                          asks for the password
  mlgate user create alice --generate               prints a new password, once
  pass mlflow/bob | mlgate user create bob --password-stdin
  mlgate user create root2 --admin --generate       somebody who may do everything
  mlgate user create ci --service-account           logs in with tokens only")]
    Create {
        username: String,
        /// May do everything, and manage users and roles
        #[arg(long)]
        admin: bool,
        /// Has no password, only tokens (see `mlgate token create`)
        #[arg(long, conflicts_with_all = ["password", "password_stdin", "generate"])]
        service_account: bool,
        #[command(flatten)]
        password: PasswordArgs,
    },
    /// List users
    List,
    /// Delete a user with their grants, tokens and memberships
    Delete { username: String },
    /// Set a new password; the old one stops working at once
    SetPassword {
        username: String,
        #[command(flatten)]
        password: PasswordArgs,
    },
    /// Make a user an administrator, or no longer one
    SetAdmin {
        username: String,
        #[arg(action = clap::ArgAction::Set, value_name = "true|false", default_value_t = true)]
        admin: bool,
    },
    /// Shut a user out, with all their credentials, and keep their grants
    Disable { username: String },
    /// Let a disabled user in again
    Enable { username: String },
}

pub(super) async fn run(session: &Session, command: Command) -> anyhow::Result<Output> {
    let Session { store, actor } = session;
    match command {
        Command::Create { username, admin, service_account, password } => {
            create(session, username, admin, service_account, password).await
        }
        Command::List => Ok(list(&store.users().await?)),
        Command::Delete { username } => {
            let done = store.delete_user(actor, &username).await?;
            Ok(Output::done(format!("deleted user {username}"), done.revision))
        }
        Command::SetPassword { username, password } => {
            // Before asking for a password that nobody would use.
            if store.user(&username).await?.is_none() {
                bail!("user {username} not found");
            }
            store.reserved_prefixes().await?.refuse_password_of(&username)?;
            let new = password.obtain(&username)?;
            let done = store.set_password_hash(actor, &username, new.hash).await?;
            let generated = new.generated.as_ref().map(|password| password.expose_secret());
            let text = format!("changed the password of {username}");
            Ok(with_generated(text, json!({ "revision": done.revision }), generated))
        }
        Command::SetAdmin { username, admin } => {
            let done = store.set_admin(actor, &username, admin).await?;
            let is = if admin { "is now" } else { "is no longer" };
            Ok(Output::done(format!("{username} {is} an administrator"), done.revision))
        }
        Command::Disable { username } => {
            let done = store.set_disabled(actor, &username, true).await?;
            Ok(Output::done(format!("disabled user {username}"), done.revision))
        }
        Command::Enable { username } => {
            let done = store.set_disabled(actor, &username, false).await?;
            Ok(Output::done(format!("enabled user {username}"), done.revision))
        }
    }
}

async fn create(
    session: &Session,
    username: String,
    is_admin: bool,
    service_account: bool,
    password: PasswordArgs,
) -> anyhow::Result<Output> {
    if service_account {
        let new = NewUser { is_admin, ..NewUser::service_account(username) };
        let created = session.store.create_user(&session.actor, &new).await?.value;
        let text = format!("created service account {}", created.username);
        return Ok(Output::new(text, user_json(&created)));
    }
    if username.contains(':') {
        bail!("username: {username:?} can not log in with a password; HTTP Basic ends it at ':'");
    }
    if session.store.user(&username).await?.is_some() {
        bail!("user {username} already exists");
    }
    // Before asking for a password that nobody may have.
    session.store.reserved_prefixes().await?.refuse_password_of(&username)?;
    let password = password.obtain(&username)?;
    let new = NewUser { is_admin, ..NewUser::with_password_hash(username, password.hash) };
    let created = session.store.create_user(&session.actor, &new).await?.value;
    let kind = if is_admin { "administrator" } else { "user" };
    let text = format!("created {kind} {}", created.username);
    let generated = password.generated.as_ref().map(|password| password.expose_secret());
    Ok(with_generated(text, user_json(&created), generated))
}

fn with_generated(text: String, mut json: Value, generated: Option<&str>) -> Output {
    match generated {
        Some(password) => {
            json["password"] = json!(password);
            Output::new(format!("{text}\npassword: {password}"), json)
        }
        None => Output::new(text, json),
    }
}

fn list(users: &[User]) -> Output {
    let rows = users.iter().map(|user| {
        [
            user.id.to_string(),
            user.username.clone(),
            mark(user.is_admin),
            mark(user.disabled),
            kind(user).to_owned(),
            time(user.created_at),
        ]
    });
    let json = users.iter().map(user_json).collect();
    Output::table(["id", "username", "admin", "disabled", "login", "created"], rows, json)
}

fn kind(user: &User) -> &'static str {
    match user {
        User { service_account: true, .. } => "tokens only",
        User { password_hash: None, .. } => "identity provider",
        _ => "password",
    }
}

pub(super) fn user_json(user: &User) -> Value {
    json!({
        "id": user.id,
        "username": user.username,
        "is_admin": user.is_admin,
        "disabled": user.disabled,
        "service_account": user.service_account,
        "has_password": user.password_hash.is_some(),
        "created_at": user.created_at,
    })
}
