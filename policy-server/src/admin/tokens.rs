//! Tokens of our own, which MLflow does not have: everybody's own, and anybody's for super admins.

use std::str::FromStr as _;
use std::time::Duration;

use serde_json::{Value, json};

use super::Context;
use super::answer::{AdminResponse, Answer, Refusal};
use super::params::python_repr;
use super::users::unless_missing;
use crate::policy::TokenScope;
use crate::store::{Millis, NewToken, NewUser, StoreError, StoredToken, TokenId, now};

const DAY: u64 = 86_400;

/// In seconds, unless the call says something else.
const LIFETIME: u64 = 90 * DAY;

/// The longest that people give their own tokens. Beyond it, and for good, only super admins do.
const LONGEST: u64 = 366 * DAY;
const LONGEST_OF_ADMINS: u64 = 10 * LONGEST;

/// How many tokens a user may have that work. Nobody administers those whom this stops: a table
/// that everybody may fill has to end somewhere.
const MOST_VALID: usize = 100;

/// Most words in a token's scopes.
const MOST_SCOPES: usize = 100;

impl Context<'_> {
    pub(super) async fn create_token(&self) -> Answer {
        self.require_json()?;
        self.require_login()?;
        let username = self.token_owner()?.to_owned();
        let new = NewToken {
            name: self.params.text("name")?.to_owned(),
            scopes: self.scopes()?,
            expires_at: self.expiry()?,
            username,
        };
        self.make_room(&new.username).await?;
        let created = self.store.create_token(&self.actor, &new).await.map_err(|error| {
            if matches!(error, StoreError::AlreadyExists { .. }) {
                return Refusal::exists(format!(
                    "Token (username={}, name={}) already exists.",
                    new.username, new.name
                ));
            }
            unless_missing(error, &new.username)
        })?;
        let (token, secret) = &created.value;
        let body = json!({ "token": row(token), "secret": secret.expose() });
        Ok(AdminResponse::json(&body).at(created.revision))
    }

    /// Revoked and expired ones too: when a token was last used is asked after it has leaked.
    pub(super) async fn list_tokens(&self) -> Answer {
        let username = self.token_owner()?;
        let Some(user) = self.store.user(username).await? else {
            // A user of an identity provider who has no row has no tokens.
            return match self.is_caller(username) {
                true => Ok(AdminResponse::json(&json!({ "tokens": [] }))),
                false => Err(Refusal::unknown_user(username)),
            };
        };
        let tokens = self.store.tokens(Some(user.id)).await?;
        let rows: Vec<Value> = tokens.iter().map(row).collect();
        Ok(AdminResponse::json(&json!({ "tokens": rows })))
    }

    pub(super) async fn revoke_token(&self) -> Answer {
        self.require_json()?;
        let id = TokenId(self.params.id("id")?);
        if !self.authority.is_super_admin() {
            let user = self.authority.user().ok_or_else(Refusal::denied)?;
            let own = self.store.tokens(Some(user.id)).await?;
            self.authority.require(own.iter().any(|token| token.id == id))?;
        }
        let revoked = self.store.revoke_token(&self.actor, id).await.map_err(|error| {
            if matches!(error, StoreError::NotFound { .. }) {
                return Refusal::missing(format!("Token with id={id} not found"));
            }
            error.into()
        })?;
        Ok(AdminResponse::json(&json!({ "token": row(&revoked.value) })).at(revoked.revision))
    }

    /// No form of a foreign page can send it without asking first.
    fn require_json(&self) -> Result<(), Refusal> {
        match self.params.json {
            true => Ok(()),
            false => Err(Refusal::Plain("Invalid content type. Must be application/json")),
        }
    }

    /// Whose tokens the call is about: the caller's unless it names somebody.
    fn token_owner(&self) -> Result<&str, Refusal> {
        if self.params.optional("username").is_none() {
            return Ok(&self.caller.username);
        }
        let username = self.params.text("username")?;
        self.authority.require(self.is_caller(username))?;
        Ok(username)
    }

    fn scopes(&self) -> Result<Vec<TokenScope>, Refusal> {
        let Some(value) = self.params.optional("scopes") else { return Ok(Vec::new()) };
        let words = value.as_array().filter(|words| words.len() <= MOST_SCOPES);
        let words = words.ok_or_else(|| {
            Refusal::invalid(format!(
                "Parameter 'scopes' must be a list of at most {MOST_SCOPES} strings."
            ))
        })?;
        let scope = |word: &Value| {
            let text = word.as_str().ok_or_else(|| {
                Refusal::invalid(format!(
                    "Parameter 'scopes' must be a list of strings. Got: {}",
                    python_repr(word)
                ))
            })?;
            TokenScope::from_str(text).map_err(|unknown| {
                Refusal::invalid(format!("Invalid value for parameter 'scopes': {unknown}"))
            })
        };
        words.iter().map(scope).collect()
    }

    /// `null` asks for a token that never ends.
    fn expiry(&self) -> Result<Option<Millis>, Refusal> {
        let admin = self.authority.is_super_admin();
        let longest = if admin { LONGEST_OF_ADMINS } else { LONGEST };
        let seconds = match self.params.optional("lifetime_seconds") {
            None if !self.params.has("lifetime_seconds") => Some(LIFETIME),
            None if admin => return Ok(None),
            None => None,
            Some(value) => value.as_u64(),
        };
        let lifetime = seconds
            .filter(|seconds| (1..=longest).contains(seconds))
            .and_then(|seconds| Millis::try_from(Duration::from_secs(seconds).as_millis()).ok());
        let lifetime = lifetime.ok_or_else(|| {
            Refusal::invalid(format!(
                "Parameter 'lifetime_seconds' must be an integer between 1 and {longest}."
            ))
        })?;
        Ok(Some(now().saturating_add(lifetime)))
    }

    /// Sees that the user is there, as far as its own token makes one, and may have another token.
    async fn make_room(&self, username: &str) -> Result<(), Refusal> {
        let user = match self.store.user(username).await? {
            Some(user) => user,
            None if self.is_caller(username) => return self.provision(username).await,
            None => return Err(Refusal::unknown_user(username)),
        };
        let tokens = self.store.tokens(Some(user.id)).await?;
        let valid = tokens.iter().filter(|token| token.is_valid_at(now())).count();
        if valid >= MOST_VALID && !self.authority.is_super_admin() {
            return Err(Refusal::invalid(format!(
                "{username} has {MOST_VALID} valid tokens already. Revoke some first."
            )));
        }
        Ok(())
    }

    /// A user of an identity provider gets a row with the first that is theirs.
    async fn provision(&self, username: &str) -> Result<(), Refusal> {
        let new = NewUser {
            username: username.to_owned(),
            password_hash: None,
            is_admin: false,
            service_account: false,
        };
        match self.store.create_user(&self.actor, &new).await {
            Ok(_) | Err(StoreError::AlreadyExists { .. }) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

/// Of the secret only what it is recognised by.
fn row(token: &StoredToken) -> Value {
    json!({
        "id": token.id,
        "username": token.username,
        "name": token.name,
        "prefix": token.prefix,
        "scopes": token.scopes,
        "created_at": token.created_at,
        "expires_at": token.expires_at,
        "revoked_at": token.revoked_at,
        "last_used_at": token.last_used_at,
    })
}
