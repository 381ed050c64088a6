//! JWT issuers.

use super::{ConfigError, invalid, range};
use crate::authn::claims::Naming;
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};

#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JwtConfig {
    /// Clock skew that is forgiven on `exp`, `nbf` and `iat`, in s. 0 to 300. Default: 30.
    #[serde(default = "default_leeway")]
    pub leeway_seconds: u64,
    /// Signatures that a worker checks in one second, 1 to 1,000,000; more tokens are answered with
    /// 429 unread. A flood of forged tokens must not starve the requests of others: 4,000, the
    /// default, take a fifth of a worker's time. Tokens that were verified before do not count.
    #[serde(default = "default_checks")]
    pub checks_per_second: u32,
    /// At least one; names and issuer strings are unique.
    pub issuers: Vec<Issuer>,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Issuer {
    /// What the policy server calls this issuer.
    pub name: String,
    /// The `iss` claim, compared byte for byte.
    pub issuer: String,
    /// The audience must be, or contain, one of these. At least one.
    pub audiences: Vec<String>,
    /// Where the audience stands: the first of these claims that the token has. Default: `aud`.
    /// Cognito's access tokens have `client_id` instead.
    #[serde(default = "default_audience_claims")]
    pub audience_claims: Vec<String>,
    /// The algorithms accepted. At least one; every key is pinned to its own.
    pub algorithms: Vec<Algorithm>,
    /// A JWKS document. Keys of unknown type or use are skipped one by one. Without `jwks` and
    /// `pem` the policy server is asked for the keys, which must know the issuer by its name.
    #[serde(default)]
    pub jwks: Option<serde_json::Value>,
    /// Public keys in PEM.
    #[serde(default)]
    pub pem: Vec<PemKey>,
    /// Claims for the username: the first that the token has. Default: `preferred_username`, `sub`.
    ///
    /// Wherever a claim is named, `.` steps into objects (`realm_access.roles`), and a name that
    /// begins with `/` is a JSON pointer, for names that have dots themselves
    /// (`/kubernetes.io/namespace`).
    #[serde(default = "default_username_claims")]
    pub username_claims: Vec<String>,
    /// Put before the username, so that two issuers cannot name the same person: what begins with
    /// the longer prefix of another issuer is refused. Issuers with equal prefixes name the same
    /// people. Default: none.
    #[serde(default)]
    pub username_prefix: String,
    /// Claims with groups, one name or several; what is found in any of them counts. Arrays, or
    /// strings that [`Issuer::groups_separator`] divides.
    #[serde(default)]
    pub groups_claim: ClaimNames,
    /// Default: `comma`.
    #[serde(default)]
    pub groups_separator: Separator,
    /// Put before every group, as with the username. Default: none.
    #[serde(default)]
    pub groups_prefix: String,
    /// Claims that must have exactly these values, or one of several.
    #[serde(default)]
    pub required_claims: BTreeMap<String, Required>,
}

/// One name or a list of them.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(from = "OneOrMany")]
pub struct ClaimNames(pub Vec<String>);

#[derive(Deserialize)]
#[serde(untagged)]
enum OneOrMany {
    One(String),
    Many(Vec<String>),
}

impl From<OneOrMany> for ClaimNames {
    fn from(names: OneOrMany) -> Self {
        match names {
            OneOrMany::One(name) => Self(vec![name]),
            OneOrMany::Many(names) => Self(names),
        }
    }
}

/// What divides groups that come as one string.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Separator {
    /// Blanks around a name do not belong to it.
    #[default]
    Comma,
    /// As in OAuth's `scope`.
    Space,
}

/// What a claim must be.
#[derive(Debug, Clone, PartialEq)]
pub enum Required {
    /// Equal to this.
    Exactly(serde_json::Value),
    /// Equal to one of these: `{"any_of": […]}`.
    AnyOf(Vec<serde_json::Value>),
}

impl<'de> Deserialize<'de> for Required {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = serde_json::Value::deserialize(deserializer)?;
        let serde_json::Value::Object(object) = &value else { return Ok(Self::Exactly(value)) };
        match (object.len(), object.get("any_of").and_then(serde_json::Value::as_array)) {
            (1, Some(values)) if !values.is_empty() => Ok(Self::AnyOf(values.clone())),
            _ => Err(serde::de::Error::custom("expected a value, or {\"any_of\": [values]}")),
        }
    }
}

/// Where an issuer's keys come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeySource {
    /// They stand in the configuration, and no others count.
    Configured,
    /// The policy server discovers them.
    Pushed,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PemKey {
    /// The `kid` that selects this key. Optional where it is the only key of its algorithm.
    #[serde(default)]
    pub kid: Option<String>,
    pub algorithm: Algorithm,
    /// `-----BEGIN PUBLIC KEY-----…`: a SubjectPublicKeyInfo.
    pub key: String,
}

/// JWS algorithms with public keys. HMAC is left out: its secret would stand in Envoy's
/// configuration, and `alg` confusion would have something to confuse.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Deserialize)]
pub enum Algorithm {
    RS256,
    RS384,
    RS512,
    PS256,
    PS384,
    PS512,
    ES256,
    ES384,
    EdDSA,
}

impl Algorithm {
    /// The `alg` header that stands for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::RS256 => "RS256",
            Self::RS384 => "RS384",
            Self::RS512 => "RS512",
            Self::PS256 => "PS256",
            Self::PS384 => "PS384",
            Self::PS512 => "PS512",
            Self::ES256 => "ES256",
            Self::ES384 => "ES384",
            Self::EdDSA => "EdDSA",
        }
    }

    pub const ALL: [Self; 9] = [
        Self::RS256,
        Self::RS384,
        Self::RS512,
        Self::PS256,
        Self::PS384,
        Self::PS512,
        Self::ES256,
        Self::ES384,
        Self::EdDSA,
    ];

    pub fn from_header(alg: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|algorithm| algorithm.as_str() == alg)
    }
}

fn default_leeway() -> u64 {
    30
}

fn default_checks() -> u32 {
    4_000
}

fn default_audience_claims() -> Vec<String> {
    vec!["aud".to_owned()]
}

fn default_username_claims() -> Vec<String> {
    vec!["preferred_username".to_owned(), "sub".to_owned()]
}

impl JwtConfig {
    pub(super) fn check(&self) -> Result<(), ConfigError> {
        range("jwt.leeway_seconds", self.leeway_seconds, 0, 300)?;
        range("jwt.checks_per_second", self.checks_per_second.into(), 1, 1_000_000)?;
        if self.issuers.is_empty() {
            return Err(invalid(
                "jwt.issuers",
                "must not be empty; leave jwt out to refuse every JWT",
            ));
        }
        let (mut names, mut urls) = (BTreeSet::new(), BTreeSet::new());
        for (index, issuer) in self.issuers.iter().enumerate() {
            let at = format!("jwt.issuers[{index}]");
            issuer.check(&at)?;
            if !names.insert(&issuer.name) {
                return Err(invalid(format!("{at}.name"), "is used by another issuer"));
            }
            if !urls.insert(&issuer.issuer) {
                return Err(invalid(format!("{at}.issuer"), "is used by another issuer"));
            }
        }
        Ok(())
    }
}

impl Issuer {
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

    pub fn key_source(&self) -> KeySource {
        if self.jwks.is_none() && self.pem.is_empty() {
            KeySource::Pushed
        } else {
            KeySource::Configured
        }
    }

    fn check(&self, at: &str) -> Result<(), ConfigError> {
        let required = |field: &str, empty: bool| {
            if empty { Err(invalid(format!("{at}.{field}"), "must not be empty")) } else { Ok(()) }
        };
        required("name", self.name.is_empty())?;
        required("issuer", self.issuer.is_empty())?;
        required("audiences", self.audiences.is_empty())?;
        required("audiences", self.audiences.iter().any(String::is_empty))?;
        required("algorithms", self.algorithms.is_empty())?;
        for (field, claims) in
            [("audience_claims", &self.audience_claims), ("username_claims", &self.username_claims)]
        {
            required(field, claims.is_empty() || claims.iter().any(String::is_empty))?;
        }
        required("groups_claim", self.groups_claim.0.iter().any(String::is_empty))?;
        for (index, key) in self.pem.iter().enumerate() {
            if !self.algorithms.contains(&key.algorithm) {
                return Err(invalid(
                    format!("{at}.pem[{index}].algorithm"),
                    "is not among the issuer's algorithms",
                ));
            }
        }
        Ok(())
    }
}
