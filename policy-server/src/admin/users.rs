//! Accounts.

use std::collections::HashMap;
use std::sync::Arc;

use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};

use super::answer::{AdminResponse, Answer, ErrorCode, Refusal};
use super::{Context, Means, legacy, shapes, words};
use crate::credentials::{Busy, PasswordHash, hash_new};
use crate::domain::{Action, DEFAULT_WORKSPACE};
use crate::store::{Entity, NewUser, Role, RoleId, Settings, StoreError, User, UserId};

impl Context<'_> {
    pub(super) async fn create_user(&self) -> Answer {
        self.require_login()?;
        // To seed an account before giving it a role; an account alone may do nothing.
        self.authority.require(self.authority.administers_any())?;
        if !self.params.json {
            return Err(Refusal::Plain("Invalid content type. Must be application/json"));
        }
        let (username, password) =
            (self.params.required("username")?, self.params.required("password")?);
        if is_falsy(username) || is_falsy(password) {
            return Err(Refusal::Plain("Username and password cannot be empty."));
        }
        let username = self.params.text("username")?;
        let password = self.params.text("password")?;
        words::password(password)?;
        // Before the hash is computed, so that a taken name costs little.
        let taken = || Refusal::exists(format!("User (username={username}) already exists."));
        if self.store.user(username).await?.is_some() {
            return Err(taken());
        }
        let new = NewUser::with_password_hash(username, self.hash(password).await?);
        let created = self.store.create_user(&self.actor, &new).await.map_err(|error| {
            if matches!(error, StoreError::AlreadyExists { .. }) { taken() } else { error.into() }
        })?;
        let user = self.with_legacy_permissions(&created.value).await?;
        Ok(AdminResponse::json(&json!({ "user": user })).at(created.revision))
    }

    pub(super) async fn get_user(&self) -> Answer {
        let username = self.required_username()?;
        self.authority.require(self.is_caller(username))?;
        let user = self.user_named(username).await?;
        let user = self.with_legacy_permissions(&user).await?;
        Ok(AdminResponse::json(&json!({ "user": user })))
    }

    /// Names are shown to those who may create in the workspace: who reviews or shares has to
    /// name people. Roles only as far as the caller may see them.
    pub(super) async fn list_users(&self) -> Answer {
        self.authority.require(self.authority.may_create_in(self.workspace))?;
        let administered = self.authority.administered();
        let held = self.roles_by_user().await?;
        let users = self.store.users().await?;
        let held_by = |user: &User| held.get(&user.id).map(Vec::as_slice).unwrap_or_default();
        let everybody = self.sees_everybody();
        let belongs = |user: &&User| {
            everybody
                || user.is_admin
                || self.is_caller(&user.username)
                || held_by(user).iter().any(|role| role.workspace == self.workspace)
        };
        let rows: Vec<Value> = users
            .iter()
            .filter(belongs)
            .map(|user| {
                let all = self.authority.is_super_admin() || self.is_caller(&user.username);
                let roles = held_by(user);
                let visible =
                    roles.iter().filter(|role| all || administered.contains(&role.workspace));
                let mut row = shapes::user(user);
                row["roles"] = shapes::roles(visible.map(Arc::as_ref));
                row
            })
            .collect();
        Ok(AdminResponse::json(&json!({ "users": rows })))
    }

    /// With workspaces, as in MLflow 3.18: who does not manage the workspace sees who has a role
    /// in it. The default one may be open to all, and then all are of it.
    fn sees_everybody(&self) -> bool {
        let Settings { default_permission, workspaces, grant_default_workspace_access } =
            self.settings;
        let open = grant_default_workspace_access
            && self.workspace == DEFAULT_WORKSPACE
            && default_permission.permits(Action::Use);
        !workspaces
            || open
            || self.authority.is_super_admin()
            || self.authority.administers(self.workspace)
    }

    async fn roles_by_user(&self) -> Result<HashMap<UserId, Vec<Arc<Role>>>, Refusal> {
        let assignments = self.store.assignments(None).await?;
        let roles = self.store.roles(None).await?.into_iter();
        let roles: HashMap<RoleId, Arc<Role>> =
            roles.map(|role| (role.id, Arc::new(role))).collect();
        let mut held: HashMap<UserId, Vec<Arc<Role>>> = HashMap::new();
        for assignment in assignments {
            // Without a role, it was deleted between the two reads.
            if let Some(role) = roles.get(&assignment.role_id) {
                held.entry(assignment.user_id).or_default().push(Arc::clone(role));
            }
        }
        Ok(held)
    }

    pub(super) fn current_user(&self) -> Answer {
        let user = json!({
            "id": self.authority.user().map(|user| user.id),
            "username": self.caller.username,
            "is_admin": self.caller.super_admin,
        });
        let basic = self.caller.means == Means::Password;
        Ok(AdminResponse::json(&json!({ "user": user, "is_basic_auth": basic })))
    }

    pub(super) async fn update_password(&self) -> Answer {
        self.require_login()?;
        let username = self.required_username()?;
        let own = self.is_caller(username);
        self.authority.require(own)?;
        let password = self.params.text("password")?;
        if own {
            // Against a hijacked browser; the same-password check stays with this branch so that
            // administrators learn nothing about other people's passwords.
            self.verify_current_password(username).await?;
            if self.params.text("current_password")? == password {
                return Err(Refusal::invalid(
                    "New password must differ from the current password.",
                ));
            }
        }
        self.user_named(username).await?;
        words::password(password)?;
        let hash = self.hash(password).await?;
        let changed = self.store.set_password_hash(&self.actor, username, hash).await;
        let changed = changed.map_err(|error| unless_missing(error, username))?;
        Ok(AdminResponse::done(changed.revision))
    }

    async fn verify_current_password(&self, username: &str) -> Result<(), Refusal> {
        let given = self.params.optional("current_password").filter(|given| !is_falsy(given));
        if given.is_none() {
            return Err(Refusal::invalid(
                "Current password is required when changing your own password.",
            ));
        }
        let given = self.params.text("current_password")?;
        let stored = self.store.user(username).await?.and_then(|user| user.password_hash);
        let matches = match stored {
            Some(stored) => self.verifies(username, given, &stored).await?,
            None => false,
        };
        if matches { Ok(()) } else { Err(Refusal::invalid("Current password does not match.")) }
    }

    pub(super) async fn update_admin(&self) -> Answer {
        self.require_login()?;
        self.authority.require_super_admin()?;
        let username = self.required_username()?;
        let is_admin = self.params.flag("is_admin")?;
        let changed = self.store.set_admin(&self.actor, username, is_admin).await;
        let changed = changed.map_err(|error| unless_missing(error, username))?;
        Ok(AdminResponse::done(changed.revision))
    }

    pub(super) async fn delete_user(&self) -> Answer {
        self.authority.require_super_admin()?;
        let username = self.required_username()?;
        if self.is_caller(username) {
            return Err(Refusal::new(
                ErrorCode::BadRequest,
                "Users cannot delete their own account. Ask another admin to delete this user \
                 instead.",
            ));
        }
        let deleted = self.store.delete_user(&self.actor, username).await;
        let deleted = deleted.map_err(|error| unless_missing(error, username))?;
        Ok(AdminResponse::done(deleted.revision))
    }

    /// MLflow's sign-up form lives on a session cookie and a CSRF token, which the gate does not
    /// have; the admin page creates users without.
    pub(super) fn sign_up(&self) -> Answer {
        self.authority.require_super_admin()?;
        Err(Refusal::new(
            ErrorCode::EndpointNotFound,
            "The sign-up form is not served here. Create users on the admin page, with \
             AuthServiceClient, or with the command line.",
        ))
    }

    pub(super) fn required_username(&self) -> Result<&str, Refusal> {
        self.params.text("username")
    }

    pub(super) async fn user_named(&self, username: &str) -> Result<User, Refusal> {
        self.store.user(username).await?.ok_or_else(|| Refusal::unknown_user(username))
    }

    async fn verifies(
        &self,
        username: &str,
        given: &str,
        stored: &SecretString,
    ) -> Result<bool, Refusal> {
        let stored = stored.expose_secret().parse::<PasswordHash>().map_err(|error| {
            tracing::error!(username, %error, "the stored password hash cannot be used");
            Refusal::new(ErrorCode::InternalError, "The current password cannot be verified.")
        })?;
        self.verifier.verify(username, stored, given).await.map_err(busy)
    }

    async fn hash(&self, password: &str) -> Result<SecretString, Refusal> {
        let password = SecretString::from(password);
        let hashed = self.verifier.run(move || hash_new(password.expose_secret())).await;
        hashed.map_err(busy)?.map(SecretString::from).map_err(|error| {
            tracing::error!(%error, "hashing a new password failed");
            Refusal::new(ErrorCode::InternalError, "The password could not be hashed.")
        })
    }

    /// The user, with the arrays that clients before MLflow 3.14 insist on.
    async fn with_legacy_permissions(&self, user: &User) -> Result<Value, Refusal> {
        let own = self.store.own_permissions(&user.username).await;
        let own = own.map_err(|error| unless_missing(error, &user.username))?;
        let mut row = shapes::user(user);
        legacy::add_arrays(&mut row, user.id, &own, self.workspace);
        Ok(row)
    }
}

/// Python's truth of a JSON value: what MLflow calls empty.
fn is_falsy(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(value) => !value,
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.is_empty(),
    }
}

pub(super) fn unless_missing(error: StoreError, username: &str) -> Refusal {
    match error {
        StoreError::NotFound { entity: Entity::User, .. } => Refusal::unknown_user(username),
        other => other.into(),
    }
}

fn busy(busy: Busy) -> Refusal {
    tracing::warn!(%busy, "administration refused");
    Refusal::new(ErrorCode::TemporarilyUnavailable, "Too many password verifications. Try again.")
}
