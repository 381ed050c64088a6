//! Decisions that are used again: per worker (L1) over Envoy's shared data (L2).
//!
//! Shared data cannot delete, evict or enumerate, and is one namespace for every plugin without
//! a `vm_id`. So entries live in a fixed number of slots under a prefix of our own, and carry the
//! full fingerprint, which is keyed by a secret that exists only in the process's memory: no
//! credential can be found by trying, and foreign bytes never match. Both halves are SipHashes, under
//! two keys: a MAC is all that is needed, and SHA-256 takes much longer in WebAssembly.

mod entry;
pub mod watermarks;

use crate::bounded::Bounded;
use crate::config::CacheConfig;
use crate::contract as pb;
use crate::host::{Host, HostError};
use crate::recognizer::{Mark, Recognizer};
use entry::Entry;
use siphasher::sip128::{Hasher128, SipHasher24};
use std::hash::Hasher;
use std::rc::Rc;
use watermarks::Watermarks;

/// Identifies (credential, workspace, requirements, scopes) without revealing any of them.
pub type Fingerprint = [u8; 32];

/// What a question is found by: in this worker, and in all of them.
#[cfg_attr(test, derive(Default))]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Key {
    near: Option<Mark>,
    pub far: Fingerprint,
    /// The compare-and-swap number that the slot had when it was looked at.
    seen: Option<u32>,
}

/// The longest time a refusal is remembered, in ms: repeated failures must not cost a password
/// hash each, but a new grant should be felt at once even where changes cannot be heard of.
const REFUSAL_TTL_MS: u64 = 2_000;

/// The compare-and-swap number of a slot that was never used: Envoy ignores it there, and it is no
/// value's. So of two workers that find a slot unused at the same time only one fills it.
const UNUSED: u32 = u32::MAX;

/// Where an answer was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layer {
    Worker,
    Shared,
}

/// What is known of a question.
#[derive(Debug)]
pub enum Found {
    /// `near` is what this worker finds it by.
    Answer { answer: Rc<pb::AuthorizeResponse>, layer: Layer, near: Option<Mark> },
    /// With what its answer will be remembered by.
    Nothing(Option<Key>),
}

#[derive(Debug)]
pub struct Cache {
    config: CacheConfig,
    prefix: String,
    /// Under the process's secret, once there is one.
    hashers: Option<[SipHasher24; 2]>,
    recognizer: Recognizer,
    l1: Bounded<Mark, Entry>,
    pub watermarks: Watermarks,
}

impl Cache {
    /// `prefix` separates plugins and configurations in shared data.
    pub fn new(config: CacheConfig, prefix: String) -> Self {
        let l1 = Bounded::new(config.l1_entries);
        let watermarks = Watermarks::new(format!("{prefix}w/"));
        Self { config, prefix, hashers: None, recognizer: Recognizer::default(), l1, watermarks }
    }

    /// Adopts the process's secret, creating it if need be. Called again by the tick: of two
    /// workers that create it at once the later writer wins, and the other must notice.
    pub fn adopt_secret<H: Host>(&mut self, host: &H) {
        let key = format!("{}secret", self.prefix);
        match read_secret(host, &key) {
            Some(secret) => self.hashers = keyed(&secret),
            None => {
                let mut fresh = [0_u8; 32];
                if host.random(&mut fresh).is_ok() && host.set_shared(&key, &fresh, None).is_ok() {
                    self.hashers = read_secret(host, &key).as_ref().and_then(keyed);
                }
            }
        }
    }

    /// What is known of a question, which is an `AuthorizeRequest`'s bytes: protobuf delimits every
    /// field by its length, so no two requests have the same ones. Nothing is older than
    /// `max_staleness`, and no known change has touched it.
    pub fn look_up<H: Host>(&mut self, host: &H, question: &[u8], now_ms: u64) -> Found {
        self.watermarks.refresh(host);
        let near = self.recognizer.mark(host, question);
        if let Some(answer) = near.and_then(|mark| self.remembered(mark, now_ms)) {
            return Found::Answer { answer, layer: Layer::Worker, near };
        }
        let mut key = self.key(host, question, near);
        match key.as_mut().and_then(|key| self.find_shared(host, key, now_ms)) {
            Some(answer) => Found::Answer { answer, layer: Layer::Shared, near },
            None => Found::Nothing(key),
        }
    }

    /// What this worker remembers of the question with this mark.
    pub fn recall<H: Host>(
        &mut self,
        host: &H,
        mark: Mark,
        now_ms: u64,
    ) -> Option<Rc<pb::AuthorizeResponse>> {
        self.watermarks.refresh(host);
        self.remembered(mark, now_ms)
    }

    /// The same, by watermarks that were just read.
    fn remembered(&mut self, mark: Mark, now_ms: u64) -> Option<Rc<pb::AuthorizeResponse>> {
        let entry = self.l1.get(&mark)?.clone();
        if self.is_usable(&entry, now_ms) {
            return Some(entry.answer);
        }
        self.l1.remove(&mark);
        None
    }

    /// `None` where there is no secret: then nothing is cached.
    fn key<H: Host>(&mut self, host: &H, question: &[u8], near: Option<Mark>) -> Option<Key> {
        if self.hashers.is_none() {
            self.adopt_secret(host);
        }
        let mut far = Fingerprint::default();
        for (mut hasher, half) in self.hashers?.into_iter().zip(far.chunks_exact_mut(16)) {
            hasher.write(question);
            half.copy_from_slice(&hasher.finish128().as_bytes());
        }
        Some(Key { near, far, seen: None })
    }

    /// What any worker has put into shared data, by watermarks that were just read.
    fn find_shared<H: Host>(
        &mut self,
        host: &H,
        key: &mut Key,
        now_ms: u64,
    ) -> Option<Rc<pb::AuthorizeResponse>> {
        let stored = host.shared(&self.slot(&key.far)?);
        key.seen = Some(stored.as_ref().map_or(UNUSED, |stored| stored.cas));
        let stored = stored.ok()?;
        let entry = Entry::decode(&stored.value, &key.far)?;
        if !self.is_usable(&entry, now_ms) {
            return None;
        }
        let answer = Rc::clone(&entry.answer);
        self.remember(key, entry);
        Some(answer)
    }

    fn remember(&mut self, key: &Key, entry: Entry) {
        if let Some(mark) = key.near {
            self.l1.insert(mark, entry);
        }
    }

    /// Remembers an answer that tells the policy of `asked_ms`, until `not_after_ms` at the latest.
    /// Says whether that took a slot that was never used before.
    pub fn store<H: Host>(
        &mut self,
        host: &H,
        key: &Key,
        asked_ms: u64,
        not_after_ms: Option<u64>,
        answer: &Rc<pb::AuthorizeResponse>,
    ) -> bool {
        let ttl = match answer.outcome() {
            pb::Outcome::Allowed => self.config.ttl_ms,
            pb::Outcome::Denied | pb::Outcome::Unauthenticated => {
                self.config.ttl_ms.min(REFUSAL_TTL_MS)
            }
            _ => return false,
        };
        let ttl = ttl.min(answer.ttl_ms.into());
        let expires_ms = asked_ms.saturating_add(ttl).min(not_after_ms.unwrap_or(u64::MAX));
        if ttl == 0 || expires_ms <= asked_ms {
            return false;
        }
        let entry = Entry { asked_ms, expires_ms, answer: Rc::clone(answer) };
        let fresh = match (self.slot(&key.far), entry.encode(&key.far)) {
            (Some(slot), Some(bytes)) => self.write_slot(host, &slot, &bytes, key, &entry),
            _ => false,
        };
        self.remember(key, entry);
        fresh
    }

    /// Writes unless another worker has put a newer answer for the same key there. Says whether
    /// nothing was there. What was of no use when the question was looked up still is not, so the
    /// slot is read again only where it was written since.
    fn write_slot<H: Host>(
        &self,
        host: &H,
        slot: &str,
        bytes: &[u8],
        key: &Key,
        entry: &Entry,
    ) -> bool {
        if let Some(seen) = key.seen
            && host.set_shared(slot, bytes, Some(seen)).is_ok()
        {
            return seen == UNUSED;
        }
        let cas = match host.shared(slot) {
            Ok(stored) => {
                let newer = Entry::decode(&stored.value, &key.far)
                    .is_some_and(|other| other.answer.revision > entry.answer.revision);
                if newer {
                    return false;
                }
                stored.cas
            }
            Err(_) => UNUSED,
        };
        // Losing the race only costs a question.
        let written = host.set_shared(slot, bytes, Some(cas));
        if let Err(HostError::Other(status)) = written {
            log::warn!("shared data: status {status} on writing a decision");
        }
        cas == UNUSED && written.is_ok()
    }

    fn slot(&self, key: &Fingerprint) -> Option<String> {
        let head = u32::from_be_bytes(*key.first_chunk::<4>()?);
        let slot = head.checked_rem(self.config.slots)?;
        Some(format!("{}d/{slot}", self.prefix))
    }

    /// Nothing older than `max_staleness` is used. An answer is as old as the last moment at
    /// which a change to it would have been heard of.
    fn is_usable(&self, entry: &Entry, now_ms: u64) -> bool {
        if now_ms >= entry.expires_ms || entry.asked_ms > now_ms {
            return false;
        }
        if self.watermarks.has_touched(&entry.answer) {
            return false;
        }
        let known_ms = self.watermarks.known_until_ms(entry.answer.revision).max(entry.asked_ms);
        now_ms.saturating_sub(known_ms) <= self.config.max_staleness_ms
    }
}

fn keyed(secret: &[u8; 32]) -> Option<[SipHasher24; 2]> {
    let (one, other) = secret.split_first_chunk::<16>()?;
    Some([SipHasher24::new_with_key(one), SipHasher24::new_with_key(other.first_chunk()?)])
}

fn read_secret<H: Host>(host: &H, key: &str) -> Option<[u8; 32]> {
    host.shared(key).ok()?.value.try_into().ok()
}

#[cfg(test)]
mod tests;
