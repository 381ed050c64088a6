//! JWT issuers.

use super::{ConfigError, invalid, range};
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};

#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JwtConfig {
    /// Clock skew that is forgiven on `exp`, `nbf` and `iat`, in s. 0 to 300. Default: 30.
    #[serde(default = "default_leeway")]
    pub leeway_seconds: u64,
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
    /// `aud` must contain one of these. At least one.
    pub audiences: Vec<String>,
    /// The algorithms accepted. At least one; every key is pinned to its own.
    pub algorithms: Vec<Algorithm>,
    /// A JWKS document. Keys of unknown type or use are skipped one by one.
    #[serde(default)]
    pub jwks: Option<serde_json::Value>,
    /// Public keys in PEM.
    #[serde(default)]
    pub pem: Vec<PemKey>,
    /// Claims tried in this order for the username. Default: `preferred_username`, `sub`.
    #[serde(default = "default_username_claims")]
    pub username_claims: Vec<String>,
    /// Put before the username, so that two issuers cannot name the same person. Default: none.
    #[serde(default)]
    pub username_prefix: String,
    /// A claim with the groups: an array, or one string with commas. `.` steps into objects.
    #[serde(default)]
    pub groups_claim: Option<String>,
    /// Claims that must have exactly these values.
    #[serde(default)]
    pub required_claims: BTreeMap<String, serde_json::Value>,
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

    pub fn from_header(alg: &str) -> Option<Self> {
        const ALL: [Algorithm; 9] = [
            Algorithm::RS256,
            Algorithm::RS384,
            Algorithm::RS512,
            Algorithm::PS256,
            Algorithm::PS384,
            Algorithm::PS512,
            Algorithm::ES256,
            Algorithm::ES384,
            Algorithm::EdDSA,
        ];
        ALL.into_iter().find(|algorithm| algorithm.as_str() == alg)
    }
}

fn default_leeway() -> u64 {
    30
}

fn default_username_claims() -> Vec<String> {
    vec!["preferred_username".to_owned(), "sub".to_owned()]
}

impl JwtConfig {
    pub(super) fn check(&self) -> Result<(), ConfigError> {
        range("jwt.leeway_seconds", self.leeway_seconds, 0, 300)?;
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
    fn check(&self, at: &str) -> Result<(), ConfigError> {
        let required = |field: &str, empty: bool| {
            if empty { Err(invalid(format!("{at}.{field}"), "must not be empty")) } else { Ok(()) }
        };
        required("name", self.name.is_empty())?;
        required("issuer", self.issuer.is_empty())?;
        required("audiences", self.audiences.is_empty())?;
        required("audiences", self.audiences.iter().any(String::is_empty))?;
        required("algorithms", self.algorithms.is_empty())?;
        required("username_claims", self.username_claims.is_empty())?;
        required("groups_claim", self.groups_claim.as_deref() == Some(""))?;
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
