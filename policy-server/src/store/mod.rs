//! The policy store: users, roles, grants, groups, tokens, and the history of their changes.
//!
//! One set of queries on two databases, SQLite and Postgres. Every write is one transaction that
//! first bumps the single-row revision. That row is the lock that puts writers in one order, so
//! revisions have no gaps and become visible in their order; a reader that has seen revision n
//! has seen everything up to n.

mod alarm;
mod assignments;
mod changes;
mod connect;
mod creations;
mod effects;
mod error;
mod feed;
mod grants;
mod groups;
mod intents;
mod model;
mod owners;
mod principal;
mod reserved;
mod roles;
mod rows;
pub mod scope;
mod settings;
mod stamp;
mod tokens;
mod url;
mod users;
mod write;

use std::sync::Arc;

use sqlx::AnyPool;

pub(crate) use self::connect::pool;
pub use self::creations::{CreationRules, GroupShares, NameRules};
pub use self::effects::{Effect, Settled};
pub use self::error::{Entity, Result, StoreError};
pub use self::feed::{ChangeFeed, FeedState};
pub use self::grants::IfExists;
pub(crate) use self::grants::Slot as GrantSlot;
pub use self::intents::{Author, Intent, Prior, Step};
pub use self::model::*;
pub use self::owners::Owner;
pub use self::reserved::ReservedPrefixes;
pub use self::settings::{SettingOverrides, default_permission};
pub use self::tokens::NewToken;
pub use self::url::DatabaseUrl;
pub(crate) use self::url::SqliteMode;
pub use self::write::now;
pub use crate::policy::Settings;

/// A handle on the policy store; clones share their connections.
#[derive(Clone)]
pub struct Store {
    shared: Arc<Shared>,
}

struct Shared {
    pool: AnyPool,
    url: DatabaseUrl,
    overrides: SettingOverrides,
    /// Held by the writer of this process. Writers would queue on the revision row anyway; here
    /// they queue without a connection, which readers need.
    turn: tokio::sync::Mutex<()>,
    feed: feed::Feed,
}

impl Store {
    pub fn url(&self) -> &DatabaseUrl {
        &self.shared.url
    }

    pub(crate) fn pool(&self) -> &AnyPool {
        &self.shared.pool
    }
}

#[cfg(test)]
pub(crate) use self::connect::testing;
