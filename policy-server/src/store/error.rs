//! What can go wrong in the store, in terms that the API and the CLI can answer with.

use std::fmt;

/// The kinds of things that are looked up, created and removed by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Entity {
    User,
    Role,
    RolePermission,
    Assignment,
    /// A user's own permission, on their hidden role.
    UserPermission,
    Group,
    GroupMember,
    GroupRole,
    Token,
    Setting,
}

impl fmt::Display for Entity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::User => "user",
            Self::Role => "role",
            Self::RolePermission => "role permission",
            Self::Assignment => "role assignment",
            Self::UserPermission => "permission",
            Self::Group => "group",
            Self::GroupMember => "group member",
            Self::GroupRole => "group role",
            Self::Token => "token",
            Self::Setting => "setting",
        })
    }
}

/// Each message holds its cause, which therefore is no `source`: who prints the chain would print it
/// twice.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error("{entity} {key} not found")]
    NotFound { entity: Entity, key: String },
    #[error("{entity} {key} already exists")]
    AlreadyExists { entity: Entity, key: String },
    /// `field` is the parameter's name in MLflow's API and in the CLI's long flags.
    #[error("{field}: {why}")]
    Invalid { field: &'static str, why: String },
    /// The store holds something that this version does not understand. Nothing may be decided
    /// from it.
    #[error("the policy store holds an unreadable {what}: {why}")]
    Unreadable { what: &'static str, why: String },
    #[error(
        "the store has migration {version}, which this version of mlgate does not know: a newer one \
         has written it"
    )]
    TooNew { version: i64 },
    #[error("the store's schema could not be brought up to date: {0}")]
    Migration(sqlx::migrate::MigrateError),
    /// The database did not answer, or not in time. A write that failed so may or may not have
    /// been committed when the connection broke during the commit; otherwise nothing was written.
    #[error("the policy store is unavailable: {0}")]
    Unavailable(sqlx::Error),
}

impl StoreError {
    pub(crate) fn not_found(entity: Entity, key: impl fmt::Display) -> Self {
        Self::NotFound { entity, key: key.to_string() }
    }

    pub(crate) fn exists(entity: Entity, key: impl fmt::Display) -> Self {
        Self::AlreadyExists { entity, key: key.to_string() }
    }

    pub(crate) fn invalid(field: &'static str, why: impl Into<String>) -> Self {
        Self::Invalid { field, why: why.into() }
    }

    pub(crate) fn unreadable(what: &'static str, why: impl fmt::Display) -> Self {
        Self::Unreadable { what, why: why.to_string() }
    }
}

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        match error {
            sqlx::Error::ColumnDecode { .. } | sqlx::Error::ColumnNotFound(_) => {
                Self::unreadable("row", error)
            }
            _ => Self::Unavailable(error),
        }
    }
}

impl From<sqlx::migrate::MigrateError> for StoreError {
    fn from(error: sqlx::migrate::MigrateError) -> Self {
        use sqlx::migrate::MigrateError as Error;
        match error {
            // Nothing may be decided from what this version cannot read.
            Error::VersionMissing(version) | Error::VersionTooNew(version, _) => {
                Self::TooNew { version }
            }
            other => Self::Migration(other),
        }
    }
}

impl From<crate::domain::InvalidGrant> for StoreError {
    fn from(error: crate::domain::InvalidGrant) -> Self {
        Self::Invalid { field: error.field, why: error.why }
    }
}

pub type Result<T> = std::result::Result<T, StoreError>;

/// Whether the same transaction may succeed when it is tried again: SQLITE_BUSY in its forms,
/// and Postgres' serialization failure, deadlock and lock timeout.
pub(crate) fn is_contention(error: &sqlx::Error) -> bool {
    let Some(code) = error.as_database_error().and_then(|error| error.code()) else {
        return false;
    };
    matches!(code.as_ref(), "5" | "261" | "517" | "773" | "40001" | "40P01" | "55P03")
}

pub(crate) fn is_unique_violation(error: &sqlx::Error) -> bool {
    error.as_database_error().is_some_and(|error| error.is_unique_violation())
}
