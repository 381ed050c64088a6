//! The configured issuers: which keys they have, and which tokens have been verified.

use super::apart::Prefixes;
use super::claims::ClaimError;
use super::jwt::Unverified;
use super::key::{self, Key};
use super::signature::{HostVerifier, RustVerifier, Signed, Verdict, Verifier};
use super::{Unauthenticated, UnknownKey, Unproven, subject};
use crate::bounded::Bounded;
use crate::config::{Config, ConfigError, Issuer, KeySource};
use crate::contract as pb;
use crate::host::Host;
use crate::recognizer::{Mark, Recognizer};
use pb::subject::Kind;

/// Verified tokens that a worker remembers.
const REMEMBERED: usize = 1024;

/// Time between two questions of a worker for the keys of one issuer, in ms. In between, what the
/// policy server said last holds: tokens with invented keys must not become a flood of calls.
const ASK_AGAIN_MS: u64 = 1_000;

#[derive(Debug)]
pub struct Issuers {
    leeway: u64,
    checks_per_second: u32,
    issuers: Vec<Known>,
    prefixes: Prefixes,
    recognizer: Recognizer,
    /// The tokens themselves are kept nowhere.
    verified: Bounded<Mark, Remembered>,
    second: u64,
    checks: u32,
}

#[derive(Debug)]
struct Remembered {
    identity: pb::VerifiedIdentity,
    /// The token's end, or that of the keys it was verified with, in s since the epoch.
    until: u64,
}

#[derive(Debug)]
struct Known {
    issuer: Issuer,
    source: KeySource,
    keys: Vec<Key>,
    /// The set that `keys` were pushed in; empty for configured keys.
    pushed: pb::KeySet,
    last: LastWord,
}

/// What the policy server said when it was last asked for an issuer's keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum LastWord {
    Nothing,
    /// A key that is not among these is nobody's.
    Complete {
        at_ms: u64,
    },
    /// It could not tell, or could not be asked.
    Incomplete {
        at_ms: u64,
    },
}

/// What to do about a key that is not known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// Ask the policy server.
    Ask,
    /// It has just said that there is no such key.
    Refuse,
    /// It has just said that it does not know.
    Unavailable,
}

impl Issuers {
    pub fn new(config: &Config) -> Result<Self, ConfigError> {
        let prefixes = Prefixes::of(config);
        let config = config.jwt.as_ref();
        let mut issuers = Vec::new();
        for (index, issuer) in config.iter().flat_map(|jwt| &jwt.issuers).enumerate() {
            issuers.push(Known {
                keys: key::configured(&format!("jwt.issuers[{index}]"), issuer)?,
                issuer: issuer.clone(),
                source: issuer.key_source(),
                pushed: pb::KeySet::default(),
                last: LastWord::Nothing,
            });
        }
        Ok(Self {
            leeway: config.map_or(0, |jwt| jwt.leeway_seconds),
            checks_per_second: config.map_or(0, |jwt| jwt.checks_per_second),
            issuers,
            prefixes,
            recognizer: Recognizer::default(),
            verified: Bounded::new(REMEMBERED),
            second: 0,
            checks: 0,
        })
    }

    /// The prefixes of every source of names, these issuers among them.
    pub fn prefixes(&self) -> &Prefixes {
        &self.prefixes
    }

    /// The issuers whose keys the policy server discovers, by the names it knows them by.
    pub fn pushed(&self) -> impl Iterator<Item = &str> {
        let pushed = self.issuers.iter().filter(|known| known.source == KeySource::Pushed);
        pushed.map(|known| known.issuer.name.as_str())
    }

    fn named(&mut self, name: &str) -> Option<&mut Known> {
        self.issuers.iter_mut().find(|known| known.issuer.name == name)
    }

    /// Takes the keys that the policy server has discovered. Tokens that were verified with keys
    /// that are gone must be verified again.
    pub fn push(&mut self, set: &pb::KeySet) {
        let name = &set.issuer;
        let Some(known) = self.named(name) else { return };
        if known.source == KeySource::Configured || set.version <= known.pushed.version {
            return;
        }
        // Two configurations that do not agree must not lend one issuer another one's keys.
        if set.url != known.issuer.issuer {
            log::error!("mlgate: pushed keys of issuer {name:?} are those of {:?}", set.url);
            return;
        }
        if set.jwks == known.pushed.jwks {
            let ends_sooner = set.expires_at_ms < known.pushed.expires_at_ms;
            known.pushed = set.clone();
            if ends_sooner {
                self.verified.clear();
            }
            return;
        }
        let parsed = serde_json::from_str(&set.jwks).map_err(|_| "is not JSON");
        match parsed.and_then(|jwks| key::from_jwks(&jwks, &known.issuer.algorithms)) {
            Ok(keys) => {
                log::info!("mlgate: issuer {name:?} has {} keys now", keys.len());
                known.keys = keys;
                known.pushed = set.clone();
                self.verified.clear();
            }
            Err(why) => log::warn!("mlgate: pushed keys of issuer {name:?}: {why}"),
        }
    }

    /// What to do about an unknown key of this issuer, asked before or not.
    pub fn next(&self, issuer: &str, now_ms: u64) -> Next {
        let known = self.issuers.iter().find(|known| known.issuer.name == issuer);
        let fresh = |at_ms: u64| now_ms.saturating_sub(at_ms) < ASK_AGAIN_MS;
        match known.map_or(LastWord::Nothing, |known| known.last) {
            LastWord::Complete { at_ms } if fresh(at_ms) => Next::Refuse,
            LastWord::Incomplete { at_ms } if fresh(at_ms) => Next::Unavailable,
            LastWord::Nothing | LastWord::Complete { .. } | LastWord::Incomplete { .. } => {
                Next::Ask
            }
        }
    }

    /// Takes the policy server's answer for an issuer; `None` where there was none.
    pub fn answered(&mut self, issuer: &str, answer: Option<&pb::KeysResponse>, now_ms: u64) {
        if let Some(set) = answer.and_then(|answer| answer.keys.as_ref())
            && set.issuer == issuer
        {
            self.push(set);
        }
        let complete = answer.is_some_and(|answer| answer.retry_after_ms == 0);
        if let Some(known) = self.named(issuer) {
            // Keys that were refused here are no word on what the issuer has.
            known.last = if complete && known.has_keys(now_ms) {
                LastWord::Complete { at_ms: now_ms }
            } else {
                LastWord::Incomplete { at_ms: now_ms }
            };
        }
    }

    /// Who a token proves somebody to be, that was not verified before. `now_ms` since the epoch.
    pub fn verify<H: Host>(
        &mut self,
        host: &H,
        token: &str,
        now_ms: u64,
    ) -> Result<pb::Subject, Unproven> {
        let remembered = self.check(host, token, now_ms)?;
        let identity = remembered.identity.clone();
        if let Some(mark) = self.recognizer.mark(host, token.as_bytes()) {
            self.verified.insert(mark, remembered);
        }
        Ok(subject(Kind::Verified(identity)))
    }

    /// The same for the mark of a token that was verified before and has not ended.
    pub fn recall(&mut self, mark: Mark, now_ms: u64) -> Option<pb::Subject> {
        let known = self.remembered(mark, now_ms)?;
        Some(subject(Kind::Verified(known.identity.clone())))
    }

    fn remembered(&mut self, mark: Mark, now_ms: u64) -> Option<&Remembered> {
        self.verified.get(&mark).filter(|known| now_ms / 1000 < known.until)
    }

    /// What a token is remembered by, if it was verified.
    pub fn mark<H: Host>(&mut self, host: &H, token: &[u8]) -> Option<Mark> {
        let mark = self.recognizer.mark(host, token)?;
        self.verified.get(&mark).map(|_| mark)
    }

    /// Whether the token with this mark was verified, and still holds.
    pub fn holds(&mut self, mark: Mark, now_ms: u64) -> bool {
        self.remembered(mark, now_ms).is_some()
    }

    fn check<H: Host>(
        &mut self,
        host: &H,
        token: &str,
        now_ms: u64,
    ) -> Result<Remembered, Unproven> {
        let now = now_ms / 1000;
        let unverified = Unverified::parse(token)?;
        let unknown = Unauthenticated::bearer("jwt_issuer", "the token's issuer is not accepted");
        let name = unverified.issuer().ok_or_else(|| unknown.clone())?;
        // Byte for byte: `https://idp` and `https://idp/` are two issuers.
        let known = self.issuers.iter().find(|known| known.issuer.issuer == name).ok_or(unknown)?;
        if !known.issuer.algorithms.contains(&unverified.algorithm) {
            let description = "the token's algorithm is not accepted";
            return Err(Unauthenticated::bearer("jwt_algorithm", description).into());
        }
        // Cheap checks first: an expired token costs no signature.
        let mut identity = unverified.identity(&known.issuer, self.leeway, now)?;
        let naming = known.issuer.naming();
        self.prefixes.keep_apart(&naming, &mut identity).map_err(ClaimError::of_token)?;
        let key = known.find(&unverified, now_ms)?;
        if self.second != now {
            self.second = now;
            self.checks = 0;
        }
        self.checks = self.checks.saturating_add(1);
        if self.checks > self.checks_per_second {
            let left = 1000_u64.saturating_sub(now_ms % 1000);
            return Err(Unproven::Flood { retry_after_ms: u32::try_from(left).unwrap_or(1000) });
        }
        let signed = Signed { token, text: unverified.text, signature: &unverified.signature, now };
        let verdict = match HostVerifier(host).verify(&signed, unverified.algorithm, key) {
            Verdict::Unsupported => RustVerifier.verify(&signed, unverified.algorithm, key),
            verdict => verdict,
        };
        match verdict {
            Verdict::Good => {
                let ends = u64::try_from(identity.expires_at).unwrap_or(0);
                Ok(Remembered { identity, until: ends.min(known.usable_until()) })
            }
            Verdict::Bad | Verdict::Unsupported => {
                let description = "the token's signature is not valid";
                Err(Unauthenticated::bearer("jwt_signature", description).into())
            }
        }
    }
}

impl Known {
    fn has_keys(&self, now_ms: u64) -> bool {
        self.source == KeySource::Configured
            || (self.pushed.version > 0 && now_ms < self.pushed.expires_at_ms)
    }

    /// When what these keys have verified must be verified again, in s since the epoch.
    fn usable_until(&self) -> u64 {
        match self.source {
            KeySource::Configured => u64::MAX,
            KeySource::Pushed => self.pushed.expires_at_ms / 1000,
        }
    }

    fn find(&self, token: &Unverified<'_>, now_ms: u64) -> Result<&Key, Unproven> {
        let key = if self.has_keys(now_ms) { self.key(token) } else { None };
        key.ok_or_else(|| match self.source {
            KeySource::Configured => {
                Unauthenticated::bearer("jwt_kid", "the token's key is not known").into()
            }
            KeySource::Pushed => Unproven::UnknownKey(UnknownKey {
                issuer: self.issuer.name.clone(),
                kid: token.kid.clone(),
            }),
        })
    }

    /// The key with the token's `kid`; for a token or a key without one, the only key that there
    /// is for the algorithm.
    fn key(&self, token: &Unverified<'_>) -> Option<&Key> {
        let fitting = || self.keys.iter().filter(|key| key.algorithms.contains(&token.algorithm));
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
