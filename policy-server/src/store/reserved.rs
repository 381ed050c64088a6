//! Names that belong to an identity provider.
//!
//! The filter takes a verified JWT at its word: its user is whoever has that name here. If the
//! issuer's names begin with a prefix that is reserved, then nobody can come by such a name with
//! a password of their own, and so by the grants of the identity provider's user.

use std::fmt;
use std::sync::Arc;

use sqlx::Row;

use super::Store;
use super::error::{Result, StoreError};
use super::write::WriteTx;

/// The setting's name, in the store and in the configuration.
pub(crate) const NAME: &str = "reserved_username_prefixes";

/// Most prefixes, and the longest in bytes.
const MAX_PREFIXES: usize = 64;
const MAX_PREFIX_BYTES: usize = 64;

/// Prefixes of usernames that never have a password.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ReservedPrefixes(Arc<[String]>);

impl ReservedPrefixes {
    /// Reads prefixes that are separated by commas; none from an empty text.
    ///
    /// # Errors
    /// `Invalid` for control characters, and above 64 prefixes of 64 bytes.
    pub fn parse(text: &str) -> Result<Self> {
        let prefixes: Vec<String> = text
            .split(',')
            .map(str::trim)
            .filter(|prefix| !prefix.is_empty())
            .map(str::to_owned)
            .collect();
        let unusable = |prefix: &String| {
            prefix.len() > MAX_PREFIX_BYTES || prefix.chars().any(char::is_control)
        };
        if prefixes.len() > MAX_PREFIXES || prefixes.iter().any(unusable) {
            return Err(StoreError::invalid(
                NAME,
                format!(
                    "expected at most {MAX_PREFIXES} prefixes separated by commas, each of at \
                     most {MAX_PREFIX_BYTES} bytes without control characters"
                ),
            ));
        }
        Ok(Self(prefixes.into()))
    }

    /// Whether the name is one that only an identity provider gives.
    pub fn covers(&self, username: &str) -> bool {
        self.of(username).is_some()
    }

    fn of(&self, username: &str) -> Option<&str> {
        self.0.iter().map(String::as_str).find(|prefix| username.starts_with(prefix))
    }

    /// # Errors
    /// `Invalid` for a name that is covered.
    pub fn refuse_password_of(&self, username: &str) -> Result<()> {
        match self.of(username) {
            None => Ok(()),
            Some(prefix) => Err(StoreError::invalid(
                "username",
                format!(
                    "{username:?} begins with {prefix:?}, which is reserved for users of an \
                     identity provider; they have no password here"
                ),
            )),
        }
    }
}

impl fmt::Display for ReservedPrefixes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join(","))
    }
}

fn read(row: Option<sqlx::any::AnyRow>) -> Result<ReservedPrefixes> {
    let Some(row) = row else { return Ok(ReservedPrefixes::default()) };
    let text: String = row.try_get(0)?;
    ReservedPrefixes::parse(&text).map_err(|why| StoreError::unreadable("setting", why))
}

impl Store {
    /// The prefixes in force: those of the store, unless this server's configuration fixes them.
    ///
    /// # Errors
    /// `Unavailable`, or `Unreadable`.
    pub async fn reserved_prefixes(&self) -> Result<ReservedPrefixes> {
        match &self.shared.overrides.reserved_prefixes {
            Some(fixed) => Ok(fixed.clone()),
            None => self.stored_reserved_prefixes().await,
        }
    }

    /// The prefixes in the store.
    ///
    /// # Errors
    /// `Unavailable`, or `Unreadable`.
    pub async fn stored_reserved_prefixes(&self) -> Result<ReservedPrefixes> {
        let query = sqlx::query("SELECT value FROM settings WHERE name = $1").bind(NAME);
        read(query.fetch_optional(self.pool()).await?)
    }
}

impl WriteTx<'_> {
    /// Under the lock of the write: prefixes that are reserved meanwhile count.
    pub(super) async fn refuse_reserved(&mut self, username: &str) -> Result<()> {
        if let Some(fixed) = self.fixed_reserved_prefixes() {
            return fixed.refuse_password_of(username);
        }
        let query = sqlx::query("SELECT value FROM settings WHERE name = $1").bind(NAME);
        read(query.fetch_optional(self.connection()).await?)?.refuse_password_of(username)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_covers_what_begins_with_it() {
        let reserved = ReservedPrefixes::parse("idp|, corp: ,").unwrap();
        assert!(reserved.covers("idp|carol") && reserved.covers("corp:eve"));
        assert!(!reserved.covers("carol") && !reserved.covers("xidp|carol"));
        assert_eq!(reserved.to_string(), "idp|,corp:");
    }

    #[test]
    fn nothing_reserves_nothing() {
        for text in ["", " ", ",,"] {
            assert!(!ReservedPrefixes::parse(text).unwrap().covers("carol"), "{text:?}");
        }
    }

    #[test]
    fn unusable_prefixes_are_refused() {
        let long = "x".repeat(65);
        for text in ["a\u{7}", &long, &"a,".repeat(65)] {
            assert!(ReservedPrefixes::parse(text).is_err(), "{text:?}");
        }
    }
}
