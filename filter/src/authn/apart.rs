//! One source of names must not name the people or groups of another.

use super::claims::{ClaimError, Naming};
use crate::config::Config;
use crate::contract as pb;

/// The prefixes of every issuer and of the proxy in front.
#[derive(Debug, Clone, Default)]
pub struct Prefixes(Vec<Prefix>);

#[derive(Debug, Clone)]
struct Prefix {
    username: String,
    groups: String,
}

impl Prefixes {
    pub fn of(config: &Config) -> Self {
        let issuers = config.jwt.iter().flat_map(|jwt| &jwt.issuers).map(|issuer| issuer.naming());
        let forwarded = config.forwarded_identity.iter().map(|forwarded| forwarded.naming());
        let prefix = |naming: Naming<'_>| Prefix {
            username: naming.username_prefix.to_owned(),
            groups: naming.groups_prefix.to_owned(),
        };
        Self(issuers.chain(forwarded).map(prefix).collect())
    }

    /// Refuses a name that begins with a longer prefix of another source, and drops such groups.
    pub fn keep_apart(
        &self,
        own: &Naming<'_>,
        identity: &mut pb::VerifiedIdentity,
    ) -> Result<(), ClaimError> {
        let foreign = |prefix: &str, own: &str, name: &str| {
            prefix.len() > own.len() && name.starts_with(prefix)
        };
        let others = &self.0;
        if others
            .iter()
            .any(|other| foreign(&other.username, own.username_prefix, &identity.username))
        {
            return Err(ClaimError::Username);
        }
        identity.groups.retain(|name| {
            !others.iter().any(|other| foreign(&other.groups, own.groups_prefix, name))
        });
        Ok(())
    }
}
