//! Taking over users and permissions from elsewhere.
//!
//! A source is read into [`Source`], compared with the store into a [`Plan`], and the plan is
//! applied in one transaction. What the store already has is never changed: running an import
//! again adds what is new, and undoes nothing that was done since.

mod apply;
pub mod htpasswd;
mod legacy;
pub mod mlflow;
pub mod oidc_auth;
mod plan;
mod prompts;

use std::collections::{BTreeMap, BTreeSet};

use secrecy::SecretString;
use sqlx::{Any, Transaction};

pub use self::apply::apply;
pub use self::plan::{Plan, Step, plan};
use crate::domain::{Level, Pattern, ResourceType};
use crate::store::{DatabaseUrl, SqliteMode, StoreError, pool};

/// Begins to read a database that belongs to another program, as it is at one moment.
async fn at_one_moment(url: &DatabaseUrl) -> Result<Transaction<'static, Any>, ImportError> {
    let pool = pool(url, SqliteMode::ReadOnly, 1).await?;
    let begin = match url {
        DatabaseUrl::Sqlite(_) => "BEGIN",
        DatabaseUrl::Postgres(_) => "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY",
    };
    Ok(pool.begin_with(begin).await?)
}

/// What a source holds, in our terms.
#[derive(Debug, Default)]
pub struct Source {
    pub users: BTreeMap<String, SourceUser>,
    /// By workspace and name.
    pub roles: BTreeMap<(String, String), SourceRole>,
    pub groups: BTreeMap<String, SourceGroup>,
    /// Users' own grants: (username, workspace, type, pattern).
    pub grants: BTreeMap<GrantKey, Level>,
    /// What could not be taken over as it was.
    pub notes: Vec<Note>,
}

pub type GrantKey = (String, String, ResourceType, Pattern);

#[derive(Debug, Default)]
pub struct SourceUser {
    /// None when there was none that may be used.
    pub password_hash: Option<SecretString>,
    pub is_admin: bool,
    pub service_account: bool,
    pub disabled: bool,
}

#[derive(Debug, Default)]
pub struct SourceRole {
    pub description: Option<String>,
    pub permissions: BTreeMap<(ResourceType, Pattern), Level>,
    /// Usernames.
    pub assigned: BTreeSet<String>,
}

impl SourceRole {
    /// Two rows for one thing count together.
    pub(crate) fn add(&mut self, resource: ResourceType, pattern: Pattern, level: Level) {
        self.permissions
            .entry((resource, pattern))
            .and_modify(|held| *held = together(*held, level))
            .or_insert(level);
    }
}

#[derive(Debug, Default)]
pub struct SourceGroup {
    /// By workspace and name.
    pub roles: BTreeSet<(String, String)>,
    /// Usernames.
    pub members: BTreeSet<String>,
}

/// Something that an import leaves out or changes, and why.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Note {
    pub what: String,
    pub why: String,
}

impl Source {
    pub(crate) fn note(&mut self, what: impl Into<String>, why: impl Into<String>) {
        self.notes.push(Note { what: what.into(), why: why.into() });
    }

    /// Adds a user's own grant. Two rows for one thing, which only a merge of old and new tables
    /// can give: DENY stays, else the higher level, as MLflow takes them together.
    pub(crate) fn add_grant(&mut self, key: GrantKey, level: Level) {
        self.grants.entry(key).and_modify(|held| *held = together(*held, level)).or_insert(level);
    }
}

fn together(one: Level, other: Level) -> Level {
    if one == Level::Deny || other == Level::Deny { Level::Deny } else { one.max(other) }
}

/// Why a source can not be imported at all.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    #[error("cannot read the database: {0}")]
    Database(sqlx::Error),
    #[error("cannot read {place}: {why}")]
    File { place: String, why: std::io::Error },
    /// Guessing could open what is closed.
    #[error("{what}: {why}; nothing was imported")]
    Unclear { what: String, why: String },
    #[error(transparent)]
    Store(#[from] StoreError),
}

// By hand, so that the cause is no `source`: it is in the message already.
impl From<sqlx::Error> for ImportError {
    fn from(error: sqlx::Error) -> Self {
        Self::Database(error)
    }
}

impl ImportError {
    pub(crate) fn unclear(what: impl Into<String>, why: impl Into<String>) -> Self {
        Self::Unclear { what: what.into(), why: why.into() }
    }
}
