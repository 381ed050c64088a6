//! Identities that a proxy in front has established and says in headers.

use super::issuer::{ClaimNames, Required, Separator};
use super::{ConfigError, invalid};
use crate::authn::claims::Naming;
use ipnet::IpNet;
use serde::Deserialize;
use std::collections::BTreeMap;

/// The shortest secret that a proxy may prove itself by: 128 bits in hexadecimal.
const MIN_SECRET: usize = 32;
const MAX_SECRET: usize = 256;

#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ForwardedIdentity {
    /// What the policy server's log calls it. Must not be the name of an issuer.
    pub name: String,
    pub headers: IdentityHeaders,
    /// How the proxy proves that it is the proxy. Without a proof the headers are removed.
    pub trusted: TrustedHop,
    /// With `easy_auth`: the values of `auth_typ` that are accepted, e.g. `aad`. At least one.
    #[serde(default)]
    pub identity_providers: Vec<String>,
    /// Claims for the username, as with an issuer. Default: `preferred_username`, then Entra's
    /// object id (`easy_auth`) or `user` (the others).
    #[serde(default)]
    pub username_claims: Vec<String>,
    /// As with an issuer. Default: none.
    #[serde(default)]
    pub username_prefix: String,
    /// As with an issuer. Default: none.
    #[serde(default)]
    pub groups_claim: ClaimNames,
    /// As with an issuer. Default: `comma`.
    #[serde(default)]
    pub groups_separator: Separator,
    /// As with an issuer. Default: none.
    #[serde(default)]
    pub groups_prefix: String,
    /// As with an issuer.
    #[serde(default)]
    pub required_claims: BTreeMap<String, Required>,
}

/// Which headers say who it is. Headers of the other kinds are removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum IdentityHeaders {
    /// `X-MS-CLIENT-PRINCIPAL`: Azure App Service and Container Apps.
    EasyAuth,
    /// `X-Auth-Request-User`, `-Email`, `-Preferred-Username`, `-Groups`: oauth2-proxy behind
    /// nginx's `auth_request` or Envoy's `ext_authz`. The claims are `user`, `email`,
    /// `preferred_username` and `groups`.
    AuthRequest,
    /// `X-Forwarded-User` and so on: oauth2-proxy as a reverse proxy. The same claims.
    Forwarded,
}

/// Everything that is named here must hold, and something must be named.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TrustedHop {
    /// The other end of the connection is in one of these networks. What `X-Forwarded-For` says
    /// does not count: where Envoy takes the client's address from it, nobody is trusted.
    pub addresses: Vec<IpNet>,
    /// The other end of the connection has shown a certificate with one of these URIs or DNS
    /// names first in its subject alternative names. Envoy must verify it.
    pub peers: Vec<String>,
    /// `X-Mlgate-Proxy-Secret` has one of these values, 32 to 256 printable characters.
    pub secrets: Vec<Secret>,
}

/// A configured secret. Not shown by `Debug`.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret")
    }
}

impl Secret {
    /// In a time that does not depend on where a difference is.
    pub fn is(&self, value: &[u8]) -> bool {
        use subtle::ConstantTimeEq;
        self.0.as_bytes().ct_eq(value).into()
    }

    fn is_sound(&self) -> bool {
        (MIN_SECRET..=MAX_SECRET).contains(&self.0.len())
            && self.0.bytes().all(|byte| byte.is_ascii_graphic())
    }
}

/// What there is to read in the headers that are no principal of EasyAuth: each is a claim, and with
/// hyphens what follows the headers' prefix.
pub const PLAIN_CLAIMS: [&str; 4] = ["user", "email", "preferred_username", "groups"];
const OBJECT_ID: &str = "http://schemas.microsoft.com/identity/claims/objectidentifier";

impl ForwardedIdentity {
    pub fn naming(&self) -> Naming<'_> {
        Naming {
            username_claims: &self.username_claims,
            username_prefix: &self.username_prefix,
            groups_claim: &self.groups_claim,
            groups_separator: self.groups_separator,
            groups_prefix: &self.groups_prefix,
            required_claims: &self.required_claims,
        }
    }

    /// Puts in what is left out.
    pub(super) fn complete(&mut self) {
        if self.username_claims.is_empty() {
            let fallback = match self.headers {
                IdentityHeaders::EasyAuth => OBJECT_ID,
                IdentityHeaders::AuthRequest | IdentityHeaders::Forwarded => "user",
            };
            self.username_claims = vec!["preferred_username".to_owned(), fallback.to_owned()];
        }
    }

    pub(super) fn check<'a>(
        &self,
        mut issuers: impl Iterator<Item = &'a str>,
    ) -> Result<(), ConfigError> {
        let at = |field: &str| format!("forwarded_identity.{field}");
        let sound = |field: &str, sound: bool, why: &str| {
            if sound { Ok(()) } else { Err(invalid(at(field), why)) }
        };
        sound("name", !self.name.is_empty(), "must not be empty")?;
        sound("name", issuers.all(|name| name != self.name), "is used by an issuer")?;
        self.trusted.check()?;
        let easy = self.headers == IdentityHeaders::EasyAuth;
        let providers = &self.identity_providers;
        let named = !providers.is_empty() && !providers.iter().any(String::is_empty);
        sound("identity_providers", !easy || named, "must name what may log in, e.g. [\"aad\"]")?;
        let idle = !easy && !providers.is_empty();
        sound("identity_providers", !idle, "is for easy_auth only")?;
        let known = |name: &String| {
            if easy { !name.is_empty() } else { PLAIN_CLAIMS.contains(&name.as_str()) }
        };
        let why = if easy {
            "must not be empty"
        } else {
            "must be user, email, preferred_username or groups"
        };
        sound("username_claims", self.username_claims.iter().all(known), why)?;
        sound("groups_claim", self.groups_claim.0.iter().all(known), why)?;
        sound("required_claims", self.required_claims.keys().all(known), why)
    }
}

impl TrustedHop {
    fn check(&self) -> Result<(), ConfigError> {
        let at = |field: &str| format!("forwarded_identity.trusted.{field}");
        if self.addresses.is_empty() && self.peers.is_empty() && self.secrets.is_empty() {
            let why = "must name addresses, peers or secrets: anybody can write such headers";
            return Err(invalid("forwarded_identity.trusted", why));
        }
        if self.addresses.iter().any(|network| network.prefix_len() == 0) {
            return Err(invalid(at("addresses"), "must not be the whole world"));
        }
        if self.peers.iter().any(|name| name.is_empty() || name.contains('*')) {
            return Err(invalid(at("peers"), "must be whole names"));
        }
        if !self.secrets.iter().all(Secret::is_sound) {
            return Err(invalid(
                at("secrets"),
                "must be 32 to 256 printable ASCII characters without spaces",
            ));
        }
        Ok(())
    }
}
