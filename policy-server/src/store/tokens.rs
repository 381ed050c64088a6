//! Tokens that people and service accounts use instead of a password.

use serde_json::json;
use sqlx::any::AnyRow;
use sqlx::{AssertSqlSafe, Row};

use super::Store;
use super::error::{Entity, Result, StoreError, is_unique_violation};
use super::model::{Actor, Committed, Millis, StoredToken, TokenId, UserId};
use super::users::MAX_NAME_BYTES;
use super::write::check_name;
use crate::credentials::token::{PREFIX, Token, TokenHash};
use crate::policy::TokenScope;

/// How much of a token is kept to recognise it by: its mark and 30 of its 256 random bits.
const SHOWN: usize = PREFIX.len() + 5;

/// `last_used_at` is written at most this often, in milliseconds.
const TOUCH_EVERY: Millis = 60_000;

/// A token to be created.
#[derive(Debug, Clone, Default)]
pub struct NewToken {
    pub username: String,
    /// Unique among the user's tokens that are not revoked.
    pub name: String,
    /// None: whatever the user may do.
    pub scopes: Vec<TokenScope>,
    pub expires_at: Option<Millis>,
}

const COLUMNS: &str = "t.id, t.user_id, u.username, t.name, t.prefix, t.scopes, t.created_at, \
                       t.expires_at, t.revoked_at, t.last_used_at";

impl Store {
    /// The token with this SHA-256, revoked and expired ones too.
    ///
    /// # Errors
    /// `Unavailable`, or `Unreadable`.
    pub async fn token_by_hash(&self, hash: &TokenHash) -> Result<Option<StoredToken>> {
        let statement = format!(
            "SELECT {COLUMNS} FROM tokens t JOIN users u ON u.id = t.user_id WHERE t.hash = $1"
        );
        sqlx::query(AssertSqlSafe(statement))
            .bind(hex::encode(hash))
            .fetch_optional(self.pool())
            .await?
            .map(|row| token(&row))
            .transpose()
    }

    /// Tokens of one user, or of all, oldest first.
    ///
    /// # Errors
    /// `Unavailable`, or `Unreadable`.
    pub async fn tokens(&self, user: Option<UserId>) -> Result<Vec<StoredToken>> {
        let statement = format!(
            "SELECT {COLUMNS} FROM tokens t JOIN users u ON u.id = t.user_id \
             WHERE $1 = 0 OR t.user_id = $1 ORDER BY t.id"
        );
        sqlx::query(AssertSqlSafe(statement))
            // Ids start at 1.
            .bind(user.map_or(0, |id| id.0))
            .fetch_all(self.pool())
            .await?
            .iter()
            .map(token)
            .collect()
    }

    /// Creates a token. Its secret is known only to the caller afterwards.
    ///
    /// # Errors
    /// `NotFound` for the user, `AlreadyExists`, `Invalid`, `Unavailable`.
    pub async fn create_token(
        &self,
        actor: &Actor,
        new: &NewToken,
    ) -> Result<Committed<(StoredToken, Token)>> {
        check_name("name", &new.name, MAX_NAME_BYTES)?;
        let secret = Token::generate();
        let scopes: Vec<String> = new.scopes.iter().map(ToString::to_string).collect();
        let prefix = secret.expose().get(..SHOWN).unwrap_or_default();
        let mut tx = self.begin(actor).await?;
        let now = tx.now;
        if new.expires_at.is_some_and(|expiry| expiry <= now) {
            return Err(StoreError::invalid("expires", "is in the past"));
        }
        let user = tx.require_user(&new.username).await?;
        let row = sqlx::query(
            "INSERT INTO tokens (user_id, name, hash, prefix, scopes, created_at, expires_at) \
             VALUES ($1, $2, $3, $4, $5, $6, $7) RETURNING id",
        )
        .bind(user.id.0)
        .bind(new.name.as_str())
        .bind(hex::encode(secret.hash()))
        .bind(prefix)
        .bind(json!(scopes).to_string())
        .bind(now)
        .bind(new.expires_at)
        .fetch_one(tx.connection())
        .await
        .map_err(|error| match is_unique_violation(&error) {
            true => StoreError::exists(Entity::Token, &new.name),
            false => error.into(),
        })?;
        let token = StoredToken {
            id: TokenId(row.try_get(0)?),
            user_id: user.id,
            username: user.username,
            name: new.name.clone(),
            prefix: prefix.to_owned(),
            scopes,
            created_at: now,
            expires_at: new.expires_at,
            revoked_at: None,
            last_used_at: None,
        };
        tx.touch_user(&token.username);
        tx.audit("token.create", &target(&token), None, Some(json!(token))).await?;
        let committed = tx.commit(token).await?;
        Ok(Committed { value: (committed.value, secret), revision: committed.revision })
    }

    /// Revokes a token for good.
    ///
    /// # Errors
    /// `NotFound` for one that is not there or already revoked, `Unavailable`.
    pub async fn revoke_token(&self, actor: &Actor, id: TokenId) -> Result<Committed<StoredToken>> {
        let mut tx = self.begin(actor).await?;
        let statement = format!(
            "SELECT {COLUMNS} FROM tokens t JOIN users u ON u.id = t.user_id \
             WHERE t.id = $1 AND t.revoked_at IS NULL"
        );
        let before = sqlx::query(AssertSqlSafe(statement))
            .bind(id.0)
            .fetch_optional(tx.connection())
            .await?
            .ok_or_else(|| StoreError::not_found(Entity::Token, id))?;
        let before = token(&before)?;
        let now = tx.now;
        sqlx::query("UPDATE tokens SET revoked_at = $1 WHERE id = $2")
            .bind(now)
            .bind(id.0)
            .execute(tx.connection())
            .await?;
        let after = StoredToken { revoked_at: Some(now), ..before.clone() };
        tx.touch_user(&before.username);
        tx.audit("token.revoke", &target(&before), Some(json!(before)), Some(json!(after))).await?;
        tx.commit(after).await
    }

    /// Notes that the token was used; at most once a minute. No change of the policy, so no
    /// revision.
    ///
    /// # Errors
    /// `Unavailable`.
    pub async fn touch_token(&self, token: &StoredToken, now: Millis) -> Result<()> {
        if token.last_used_at.is_some_and(|last| now.saturating_sub(last) < TOUCH_EVERY) {
            return Ok(());
        }
        sqlx::query("UPDATE tokens SET last_used_at = $1 WHERE id = $2")
            .bind(now)
            .bind(token.id.0)
            .execute(self.pool())
            .await?;
        Ok(())
    }
}

fn target(token: &StoredToken) -> String {
    format!("{} of {}", token.name, token.username)
}

fn token(row: &AnyRow) -> Result<StoredToken> {
    let scopes: &str = row.try_get(5)?;
    Ok(StoredToken {
        id: TokenId(row.try_get(0)?),
        user_id: UserId(row.try_get(1)?),
        username: row.try_get(2)?,
        name: row.try_get(3)?,
        prefix: row.try_get(4)?,
        scopes: serde_json::from_str(scopes).map_err(|why| StoreError::unreadable("token", why))?,
        created_at: row.try_get(6)?,
        expires_at: row.try_get(7)?,
        revoked_at: row.try_get(8)?,
        last_used_at: row.try_get(9)?,
    })
}
