//! The configured issuers: which keys they have, and which tokens have been verified.

use super::jwt::Unverified;
use super::key::{self, Key};
use super::signature::{HostVerifier, RustVerifier, Signed, Verdict, Verifier};
use super::{Unauthenticated, subject};
use crate::bounded::Bounded;
use crate::config::{ConfigError, Issuer, JwtConfig};
use crate::contract as pb;
use crate::host::Host;
use crate::recognizer::{Mark, Recognizer};
use pb::subject::Kind;

/// Verified tokens that a worker remembers.
const REMEMBERED: usize = 1024;

/// Signatures that a worker checks in one second; more are refused unread. A flood of forged
/// tokens must not starve the requests of others: 4,000 take a fifth of a worker's time.
const CHECKS_PER_SECOND: u32 = 4_000;

#[derive(Debug)]
pub struct Issuers {
    leeway: u64,
    issuers: Vec<Known>,
    recognizer: Recognizer,
    /// The tokens themselves are kept nowhere.
    verified: Bounded<Mark, pb::VerifiedIdentity>,
    second: u64,
    checks: u32,
}

#[derive(Debug)]
struct Known {
    issuer: Issuer,
    configured: Vec<Key>,
    /// Pushed by the policy server, and their version.
    pushed: Vec<Key>,
    version: u64,
}

impl Issuers {
    pub fn new(config: Option<&JwtConfig>) -> Result<Self, ConfigError> {
        let mut issuers = Vec::new();
        for (index, issuer) in config.iter().flat_map(|jwt| &jwt.issuers).enumerate() {
            let configured = key::configured(&format!("jwt.issuers[{index}]"), issuer)?;
            issuers.push(Known {
                issuer: issuer.clone(),
                configured,
                pushed: Vec::new(),
                version: 0,
            });
        }
        Ok(Self {
            leeway: config.map_or(0, |jwt| jwt.leeway_seconds),
            issuers,
            recognizer: Recognizer::default(),
            verified: Bounded::new(REMEMBERED),
            second: 0,
            checks: 0,
        })
    }

    /// What the policy server calls the issuers.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.issuers.iter().map(|known| known.issuer.name.as_str())
    }

    /// Takes the keys that the policy server has discovered. Tokens that were verified with keys
    /// that are gone must be verified again.
    pub fn push(&mut self, name: &str, jwks: &str, version: u64) {
        let Some(known) = self.issuers.iter_mut().find(|known| known.issuer.name == name) else {
            return;
        };
        if version <= known.version {
            return;
        }
        let parsed = serde_json::from_str(jwks).map_err(|_| "is not JSON");
        match parsed.and_then(|jwks| key::from_jwks(&jwks, &known.issuer.algorithms)) {
            Ok(keys) => {
                known.pushed = keys;
                known.version = version;
                self.verified.clear();
            }
            Err(why) => log::warn!("mlgate: pushed keys of issuer {name:?}: {why}"),
        }
    }

    /// Who a token proves somebody to be. `now_ms` since the epoch.
    pub fn verify<H: Host>(
        &mut self,
        host: &H,
        token: &str,
        now_ms: u64,
    ) -> Result<pb::Subject, Unauthenticated> {
        if let Some(known) = self.recall(host, token.as_bytes(), now_ms) {
            return Ok(known);
        }
        let identity = self.check(host, token, now_ms / 1000)?;
        if let Some(mark) = self.recognizer.mark(host, token.as_bytes()) {
            self.verified.insert(mark, identity.clone());
        }
        Ok(subject(Kind::Verified(identity)))
    }

    /// The same for a token that was verified before and has not ended.
    pub fn recall<H: Host>(&mut self, host: &H, token: &[u8], now_ms: u64) -> Option<pb::Subject> {
        let mark = self.recognizer.mark(host, token)?;
        let identity = self.verified.get(&mark)?;
        let ends = u64::try_from(identity.expires_at).ok()?;
        (now_ms / 1000 < ends).then(|| subject(Kind::Verified(identity.clone())))
    }

    fn check<H: Host>(
        &mut self,
        host: &H,
        token: &str,
        now: u64,
    ) -> Result<pb::VerifiedIdentity, Unauthenticated> {
        let unverified = Unverified::parse(token)?;
        let unknown = Unauthenticated::bearer("jwt_issuer", "the token's issuer is not accepted");
        let name = unverified.issuer().ok_or_else(|| unknown.clone())?;
        // Byte for byte: `https://idp` and `https://idp/` are two issuers.
        let known = self.issuers.iter().find(|known| known.issuer.issuer == name).ok_or(unknown)?;
        if !known.issuer.algorithms.contains(&unverified.algorithm) {
            return Err(Unauthenticated::bearer(
                "jwt_algorithm",
                "the token's algorithm is not accepted",
            ));
        }
        // Cheap checks first: an expired token costs no signature.
        let identity = unverified.identity(&known.issuer, self.leeway, now)?;
        let key = known
            .key(&unverified)
            .ok_or(Unauthenticated::bearer("jwt_kid", "the token's key is not known"))?;
        if self.second != now {
            self.second = now;
            self.checks = 0;
        }
        self.checks = self.checks.saturating_add(1);
        if self.checks > CHECKS_PER_SECOND {
            return Err(Unauthenticated::bearer("jwt_flood", "too many tokens"));
        }
        let signed = Signed { token, text: unverified.text, signature: &unverified.signature, now };
        let verdict = match HostVerifier(host).verify(&signed, unverified.algorithm, key) {
            Verdict::Unsupported => RustVerifier.verify(&signed, unverified.algorithm, key),
            verdict => verdict,
        };
        match verdict {
            Verdict::Good => Ok(identity),
            Verdict::Bad | Verdict::Unsupported => {
                Err(Unauthenticated::bearer("jwt_signature", "the token's signature is not valid"))
            }
        }
    }
}

impl Known {
    /// The key with the token's `kid`; for a token or a key without one, the only key that there
    /// is for the algorithm.
    fn key(&self, token: &Unverified<'_>) -> Option<&Key> {
        let fitting = || {
            let keys = self.configured.iter().chain(&self.pushed);
            keys.filter(|key| key.algorithms.contains(&token.algorithm))
        };
        if let Some(kid) = &token.kid
            && let Some(key) = fitting().find(|key| key.kid.as_ref() == Some(kid))
        {
            return Some(key);
        }
        let mut candidates = fitting().filter(|key| token.kid.is_none() || key.kid.is_none());
        let key = candidates.next()?;
        candidates.next().is_none().then_some(key)
    }
}

#[cfg(test)]
mod tests;
