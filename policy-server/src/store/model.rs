//! What the store holds, as the rest of the server sees it.

use std::fmt;

use secrecy::SecretString;
use serde::Serialize;

use crate::domain::{Grant, Level, Pattern, ResourceType};

macro_rules! ids {
    ($($(#[$meta:meta])* $name:ident),+ $(,)?) => {$(
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
        #[serde(transparent)]
        pub struct $name(pub i64);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result { fmt::Display::fmt(&self.0, f) }
        }
    )+};
}

ids! {
    UserId,
    RoleId,
    RolePermissionId,
    AssignmentId,
    GroupId,
    TokenId,
}

/// Milliseconds since the epoch.
pub type Millis = i64;

#[derive(Debug, Clone)]
pub struct User {
    pub id: UserId,
    pub username: String,
    /// None for service accounts, and for users of an identity provider.
    pub password_hash: Option<SecretString>,
    pub is_admin: bool,
    pub disabled: bool,
    pub service_account: bool,
    pub created_at: Millis,
}

/// A user to be created.
#[derive(Debug, Clone)]
pub struct NewUser {
    pub username: String,
    pub password_hash: Option<SecretString>,
    pub is_admin: bool,
    pub service_account: bool,
}

impl NewUser {
    pub fn with_password_hash(username: impl Into<String>, hash: SecretString) -> Self {
        Self {
            username: username.into(),
            password_hash: Some(hash),
            is_admin: false,
            service_account: false,
        }
    }

    pub fn service_account(username: impl Into<String>) -> Self {
        Self {
            username: username.into(),
            password_hash: None,
            is_admin: false,
            service_account: true,
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Role {
    pub id: RoleId,
    pub name: String,
    pub workspace: String,
    pub description: Option<String>,
    /// Set for the hidden role that carries this user's own grants.
    pub user_id: Option<UserId>,
    pub permissions: Vec<RolePermission>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RolePermission {
    pub id: RolePermissionId,
    pub role_id: RoleId,
    pub resource: ResourceType,
    pub pattern: Pattern,
    pub level: Level,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Assignment {
    pub id: AssignmentId,
    pub user_id: UserId,
    pub role_id: RoleId,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Group {
    pub id: GroupId,
    pub name: String,
    /// Usernames.
    pub members: Vec<String>,
    pub roles: Vec<RoleId>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct StoredToken {
    pub id: TokenId,
    pub user_id: UserId,
    pub username: String,
    pub name: String,
    pub prefix: String,
    pub scopes: Vec<String>,
    pub created_at: Millis,
    pub expires_at: Option<Millis>,
    pub revoked_at: Option<Millis>,
    pub last_used_at: Option<Millis>,
}

impl StoredToken {
    /// Neither revoked nor expired. The user may still be disabled.
    pub fn is_valid_at(&self, now: Millis) -> bool {
        self.revoked_at.is_none() && self.expires_at.is_none_or(|expiry| now < expiry)
    }
}

/// Everything that decisions about one principal depend on, read in one statement and so as of
/// one revision.
#[derive(Debug, Clone)]
pub struct PrincipalGrants {
    pub revision: u64,
    /// None when the principal has no row, e.g. the user of an identity provider.
    pub user: Option<User>,
    /// Roles assigned to the user or mapped from one of the groups.
    pub roles: Vec<RoleId>,
    /// The groups asked for, and those whose member the user is here. Sorted.
    pub groups: Vec<String>,
    pub grants: Vec<Grant>,
}

/// One committed change, as it is streamed to the filters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    pub revision: u64,
    /// See [`super::scope`].
    pub scopes: Vec<u64>,
    pub everyone: bool,
}

/// The changes after a revision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ChangesSince {
    /// In order and without a gap; empty when the revision is the newest.
    Events(Vec<Change>),
    /// The history was pruned, or the revision was never given by this store.
    Gone,
}

/// The result of a committed write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Committed<T> {
    pub value: T,
    /// The revision as of which the value holds. Unchanged when there was nothing to do.
    pub revision: u64,
}

/// Who changes the policy, for the audit log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Actor {
    pub name: String,
    pub channel: Channel,
}

impl Actor {
    pub fn new(name: impl Into<String>, channel: Channel) -> Self {
        Self { name: name.into(), channel }
    }
}

/// How a change came in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Channel {
    /// MLflow's REST API for users and permissions.
    Api,
    Cli,
    /// A side effect of a request to MLflow, e.g. the creator's grant.
    Gate,
    Import,
    /// The first administrator, created at start.
    Bootstrap,
}

impl Channel {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Api => "api",
            Self::Cli => "cli",
            Self::Gate => "gate",
            Self::Import => "import",
            Self::Bootstrap => "bootstrap",
        }
    }
}

/// One line of the audit log.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct AuditEntry {
    pub id: i64,
    pub revision: u64,
    pub at: Millis,
    pub actor: String,
    pub channel: String,
    pub action: String,
    pub target: String,
    pub before: Option<serde_json::Value>,
    pub after: Option<serde_json::Value>,
}
