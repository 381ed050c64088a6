//! Users.

use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, Row};

use super::Store;
use super::error::{Entity, Result, StoreError, is_unique_violation};
use super::model::{Actor, Committed, NewUser, User, UserId};
use super::rows::{self, USER_COLUMNS};
use super::write::{WriteTx, check_name};

/// Longest username, in bytes; MLflow's column has 255 characters.
pub const MAX_NAME_BYTES: usize = 255;

impl Store {
    /// # Errors
    /// `Unavailable`.
    pub async fn user(&self, username: &str) -> Result<Option<User>> {
        let statement = format!("SELECT {USER_COLUMNS} FROM users WHERE username = $1");
        sqlx::query(AssertSqlSafe(statement))
            .bind(username)
            .fetch_optional(self.pool())
            .await?
            .map(|row| rows::user(&row))
            .transpose()
    }

    /// # Errors
    /// `Unavailable`.
    pub async fn user_by_id(&self, id: UserId) -> Result<Option<User>> {
        let statement = format!("SELECT {USER_COLUMNS} FROM users WHERE id = $1");
        sqlx::query(AssertSqlSafe(statement))
            .bind(id.0)
            .fetch_optional(self.pool())
            .await?
            .map(|row| rows::user(&row))
            .transpose()
    }

    /// All users, in the order of their creation.
    ///
    /// # Errors
    /// `Unavailable`.
    pub async fn users(&self) -> Result<Vec<User>> {
        let statement = format!("SELECT {USER_COLUMNS} FROM users ORDER BY id");
        sqlx::query(AssertSqlSafe(statement))
            .fetch_all(self.pool())
            .await?
            .iter()
            .map(rows::user)
            .collect()
    }

    /// # Errors
    /// `AlreadyExists`, `Invalid` for the name, also one that is reserved and has a password,
    /// `Unavailable`.
    pub async fn create_user(&self, actor: &Actor, new: &NewUser) -> Result<Committed<User>> {
        let mut tx = self.begin(actor).await?;
        let user = tx.insert_user(new).await?;
        tx.commit(user).await
    }

    /// Creates the first administrator, unless there is one already. Servers that start at the
    /// same time create one between them.
    ///
    /// # Errors
    /// `AlreadyExists` when the name belongs to somebody who is not an administrator.
    pub async fn create_first_admin(
        &self,
        actor: &Actor,
        username: &str,
        password_hash: SecretString,
    ) -> Result<Committed<Option<User>>> {
        let mut tx = self.begin(actor).await?;
        let admins = sqlx::query("SELECT id FROM users WHERE is_admin = 1 LIMIT 1")
            .fetch_optional(tx.connection())
            .await?;
        if admins.is_some() {
            return tx.commit(None).await;
        }
        let new =
            NewUser { is_admin: true, ..NewUser::with_password_hash(username, password_hash) };
        let user = tx.insert_user(&new).await?;
        tx.commit(Some(user)).await
    }

    /// Whether any administrator exists.
    ///
    /// # Errors
    /// `Unavailable`.
    pub async fn has_admin(&self) -> Result<bool> {
        let row = sqlx::query("SELECT id FROM users WHERE is_admin = 1 LIMIT 1")
            .fetch_optional(self.pool())
            .await?;
        Ok(row.is_some())
    }

    /// # Errors
    /// `NotFound`, `Invalid` for a reserved name, `Unavailable`.
    pub async fn set_password_hash(
        &self,
        actor: &Actor,
        username: &str,
        hash: SecretString,
    ) -> Result<Committed<()>> {
        let mut tx = self.begin(actor).await?;
        let user = tx.require_user(username).await?;
        tx.write_password(&user, &hash, "user.set_password").await?;
        tx.commit(()).await
    }

    /// Replaces a hash by a better one of the same password. Does nothing, and says so with
    /// false, when the stored hash is no longer `expected`: the password was changed meanwhile.
    ///
    /// # Errors
    /// `NotFound`, `Unavailable`.
    pub async fn upgrade_password_hash(
        &self,
        actor: &Actor,
        username: &str,
        expected: &SecretString,
        hash: SecretString,
    ) -> Result<Committed<bool>> {
        let mut tx = self.begin(actor).await?;
        let user = tx.require_user(username).await?;
        let stored = user.password_hash.as_ref().map(ExposeSecret::expose_secret);
        if stored != Some(expected.expose_secret()) {
            return tx.commit(false).await;
        }
        tx.write_password(&user, &hash, "user.upgrade_password_hash").await?;
        tx.commit(true).await
    }

    /// # Errors
    /// `NotFound`, `Unavailable`.
    pub async fn set_admin(
        &self,
        actor: &Actor,
        username: &str,
        is_admin: bool,
    ) -> Result<Committed<User>> {
        let mut tx = self.begin(actor).await?;
        let before = tx.require_user(username).await?;
        let after = User { is_admin, ..before.clone() };
        tx.update_user("user.set_admin", &before, &after).await?;
        tx.commit(after).await
    }

    /// A disabled user keeps their grants and can use none of them, with no credential.
    ///
    /// # Errors
    /// `NotFound`, `Unavailable`.
    pub async fn set_disabled(
        &self,
        actor: &Actor,
        username: &str,
        disabled: bool,
    ) -> Result<Committed<User>> {
        let mut tx = self.begin(actor).await?;
        let before = tx.require_user(username).await?;
        let after = User { disabled, ..before.clone() };
        tx.update_user("user.set_disabled", &before, &after).await?;
        tx.commit(after).await
    }

    /// Removes the user with their own grants, assignments, memberships, tokens, and what they
    /// are recorded to own: whoever gets the name next starts with nothing.
    ///
    /// # Errors
    /// `NotFound`, `Unavailable`.
    pub async fn delete_user(&self, actor: &Actor, username: &str) -> Result<Committed<()>> {
        let mut tx = self.begin(actor).await?;
        let user = tx.require_user(username).await?;
        for statement in [
            "DELETE FROM owners WHERE username = $1",
            "DELETE FROM intents WHERE username = $1",
            "DELETE FROM users WHERE username = $1",
        ] {
            sqlx::query(statement).bind(username).execute(tx.connection()).await?;
        }
        tx.touch_user(username);
        tx.audit("user.delete", username, Some(described(&user)), None).await?;
        tx.commit(()).await
    }
}

impl WriteTx<'_> {
    pub(crate) async fn find_user(&mut self, username: &str) -> Result<Option<User>> {
        let statement = format!("SELECT {USER_COLUMNS} FROM users WHERE username = $1");
        sqlx::query(AssertSqlSafe(statement))
            .bind(username)
            .fetch_optional(self.connection())
            .await?
            .map(|row| rows::user(&row))
            .transpose()
    }

    pub(crate) async fn require_user(&mut self, username: &str) -> Result<User> {
        self.find_user(username).await?.ok_or_else(|| StoreError::not_found(Entity::User, username))
    }

    pub(crate) async fn insert_user(&mut self, new: &NewUser) -> Result<User> {
        check_name("username", &new.username, MAX_NAME_BYTES)?;
        if new.password_hash.is_some() {
            self.refuse_reserved(&new.username).await?;
        }
        let now = self.now;
        let row = sqlx::query(
            "INSERT INTO users (username, password_hash, is_admin, disabled, service_account, \
             created_at, updated_at) VALUES ($1, $2, $3, 0, $4, $5, $5) RETURNING id",
        )
        .bind(new.username.as_str())
        .bind(new.password_hash.as_ref().map(|hash| hash.expose_secret().to_owned()))
        .bind(i64::from(new.is_admin))
        .bind(i64::from(new.service_account))
        .bind(now)
        .fetch_one(self.connection())
        .await
        .map_err(|error| match is_unique_violation(&error) {
            true => StoreError::exists(Entity::User, &new.username),
            false => error.into(),
        })?;
        let user = User {
            id: UserId(row.try_get(0)?),
            username: new.username.clone(),
            password_hash: new.password_hash.clone(),
            is_admin: new.is_admin,
            disabled: false,
            service_account: new.service_account,
            created_at: now,
        };
        self.touch_user(&user.username);
        self.audit("user.create", &user.username, None, Some(described(&user))).await?;
        Ok(user)
    }

    /// Writes `after`'s flags, if they differ.
    pub(crate) async fn update_user(
        &mut self,
        action: &str,
        before: &User,
        after: &User,
    ) -> Result<()> {
        if (before.is_admin, before.disabled) == (after.is_admin, after.disabled) {
            return Ok(());
        }
        let now = self.now;
        sqlx::query("UPDATE users SET is_admin = $1, disabled = $2, updated_at = $3 WHERE id = $4")
            .bind(i64::from(after.is_admin))
            .bind(i64::from(after.disabled))
            .bind(now)
            .bind(before.id.0)
            .execute(self.connection())
            .await?;
        self.touch_user(&before.username);
        self.audit(action, &before.username, Some(described(before)), Some(described(after))).await
    }

    pub(crate) async fn write_password(
        &mut self,
        user: &User,
        hash: &SecretString,
        action: &str,
    ) -> Result<()> {
        self.refuse_reserved(&user.username).await?;
        let now = self.now;
        sqlx::query("UPDATE users SET password_hash = $1, updated_at = $2 WHERE id = $3")
            .bind(hash.expose_secret().to_owned())
            .bind(now)
            .bind(user.id.0)
            .execute(self.connection())
            .await?;
        self.touch_user(&user.username);
        self.audit(action, &user.username, None, None).await
    }
}

/// For the audit log: everything but the hash.
fn described(user: &User) -> Value {
    json!({
        "id": user.id,
        "is_admin": user.is_admin,
        "disabled": user.disabled,
        "service_account": user.service_account,
        "has_password": user.password_hash.is_some(),
    })
}
