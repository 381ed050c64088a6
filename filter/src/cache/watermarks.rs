//! Which cached answers a change has touched, and up to when changes have been heard of.
//!
//! The process's one Watch stream writes here, all workers read. A *state* (one small value, read
//! on every look-up) says whether the *table* (the last revision that touched each scope, hashed
//! into a fixed number of slots) has changed and must be read again. Two scopes in one slot only
//! cost a question too many.

use crate::contract as pb;
use crate::host::{Host, HostError};

/// Slots of the table.
const SLOTS: usize = 1024;
const TABLE_BYTES: usize = SLOTS * 8;

/// Bound on retries when another VM writes at the same time.
const CAS_ATTEMPTS: usize = 16;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct State {
    /// Grows with every change of the table.
    generation: u64,
    /// When the stream was last known to have told everything, in ms since the epoch.
    heard_ms: u64,
    /// Changes after this revision are all in the table; answers made before it are not dated by
    /// `heard_ms`.
    floor: u64,
    /// Answers made before this revision are void, whatever they depend on.
    everyone: u64,
    /// The highest revision known of, from whatever source.
    revision: u64,
    /// Up to here the stream has told everything: where it resumes. 0 before the first reset.
    heard_revision: u64,
    /// Grows when an issuer's keys change.
    keys: u64,
}

/// Bytes of a state.
const STATE_BYTES: usize = 7 * 8;

impl State {
    fn encode(self) -> [u8; STATE_BYTES] {
        let mut out = [0; STATE_BYTES];
        let fields = [
            self.generation,
            self.heard_ms,
            self.floor,
            self.everyone,
            self.revision,
            self.heard_revision,
            self.keys,
        ];
        for (chunk, field) in out.chunks_exact_mut(8).zip(fields) {
            chunk.copy_from_slice(&field.to_be_bytes());
        }
        out
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let bytes: &[u8; STATE_BYTES] = bytes.try_into().ok()?;
        let mut fields = bytes.as_chunks::<8>().0.iter().map(|chunk| u64::from_be_bytes(*chunk));
        Some(Self {
            generation: fields.next()?,
            heard_ms: fields.next()?,
            floor: fields.next()?,
            everyone: fields.next()?,
            revision: fields.next()?,
            heard_revision: fields.next()?,
            keys: fields.next()?,
        })
    }
}

/// A change of the policy, as far as caches care.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// Answers that depend on one of these are void if they are older than `revision`.
    Scopes { revision: u64, scopes: Vec<u64> },
    /// All answers older than `revision` are void.
    Everyone { revision: u64 },
}

/// A worker's copy of what shared data says.
#[derive(Debug)]
pub struct Watermarks {
    state_key: String,
    table_key: String,
    state: State,
    table: Vec<u64>,
    table_generation: Option<u64>,
}

impl Watermarks {
    pub fn new(prefix: String) -> Self {
        Self {
            state_key: format!("{prefix}state"),
            table_key: format!("{prefix}table"),
            state: State::default(),
            table: vec![0; SLOTS],
            table_generation: None,
        }
    }

    /// Brings the copy up to date. Before every look-up: who has been told that a grant is gone
    /// may be asking another worker in the same instant.
    pub fn refresh<H: Host>(&mut self, host: &H) {
        self.state = match host.shared(&self.state_key) {
            Ok(stored) => State::decode(&stored.value).unwrap_or_default(),
            Err(_) => State::default(),
        };
        if self.table_generation == Some(self.state.generation) {
            return;
        }
        self.table_generation = Some(self.state.generation);
        self.table = match host.shared(&self.table_key) {
            // Without the table nothing can be dated.
            Ok(stored) => decode_table(&stored.value).unwrap_or_else(|| vec![u64::MAX; SLOTS]),
            // Nothing has changed yet.
            Err(HostError::NotFound) => vec![0; SLOTS],
            Err(_) => vec![u64::MAX; SLOTS],
        };
    }

    /// Whether a change that is heard of made this answer void.
    pub fn has_touched(&self, answer: &pb::AuthorizeResponse) -> bool {
        answer.revision < self.state.everyone
            || answer.depends_on.iter().any(|&scope| answer.revision < self.slot(scope))
    }

    /// The last moment at which a change to an answer of this revision would have been heard of.
    pub fn known_until_ms(&self, revision: u64) -> u64 {
        // Revision 0 is an answer that the server did not date.
        if revision == 0 || self.state.heard_ms == 0 || revision < self.state.floor {
            return 0;
        }
        self.state.heard_ms
    }

    /// The highest revision heard of: asked of the server as `min_revision`.
    pub fn revision(&self) -> u64 {
        self.state.revision
    }

    pub fn heard_ms(&self) -> u64 {
        self.state.heard_ms
    }

    fn slot(&self, scope: u64) -> u64 {
        self.table.get(slot_of(scope)).copied().unwrap_or(u64::MAX)
    }

    /// Makes a change known to every worker. First the table, then the generation: a worker that
    /// sees the generation sees the table.
    pub fn apply<H: Host>(&mut self, host: &H, change: &Change) {
        if let Change::Scopes { revision, scopes } = change {
            let raised = update(host, &self.table_key, |bytes| {
                let mut table = bytes.and_then(decode_table).unwrap_or_else(|| vec![0; SLOTS]);
                for &scope in scopes {
                    if let Some(slot) = table.get_mut(slot_of(scope)) {
                        *slot = (*slot).max(*revision);
                    }
                }
                encode_table(&table)
            });
            if !raised {
                // The table could not be written: void everything rather than miss one.
                self.update_state(host, |state| {
                    state.everyone = state.everyone.max(*revision);
                });
            }
        }
        self.update_state(host, |state| {
            state.generation = state.generation.saturating_add(1);
            match change {
                Change::Scopes { revision, .. } => state.revision = state.revision.max(*revision),
                Change::Everyone { revision } => {
                    state.everyone = state.everyone.max(*revision);
                    state.revision = state.revision.max(*revision);
                }
            }
        });
    }

    /// The stream knows nothing of what was before `revision`: all of that is void.
    pub fn reset<H: Host>(&mut self, host: &H, revision: u64) {
        self.update_state(host, |state| {
            state.generation = state.generation.saturating_add(1);
            state.floor = revision;
            state.everyone = state.everyone.max(revision);
            state.revision = state.revision.max(revision);
            state.heard_revision = revision;
        });
    }

    /// Everything up to `revision` has been told; nothing newer existed at `heard_ms`. Means nothing before the first reset.
    pub fn hear<H: Host>(&mut self, host: &H, heard_ms: u64, revision: u64) {
        self.update_state(host, |state| {
            if state.heard_revision == 0 {
                return;
            }
            state.heard_ms = state.heard_ms.max(heard_ms);
            state.revision = state.revision.max(revision);
            state.heard_revision = state.heard_revision.max(revision);
        });
    }

    /// Something was missed: nothing is dated until the stream has been reset.
    pub fn forget<H: Host>(&mut self, host: &H) {
        self.update_state(host, |state| {
            state.heard_ms = 0;
            state.heard_revision = 0;
        });
    }

    /// An issuer's keys have changed.
    pub fn new_keys<H: Host>(&mut self, host: &H) {
        self.update_state(host, |state| state.keys = state.keys.saturating_add(1));
    }

    /// Where a stream resumes; 0 where it must start anew.
    pub fn heard_revision<H: Host>(&mut self, host: &H) -> u64 {
        self.refresh(host);
        self.state.heard_revision
    }

    /// Changes whenever an issuer's keys do.
    pub fn keys(&self) -> u64 {
        self.state.keys
    }

    fn update_state<H: Host>(&mut self, host: &H, change: impl Fn(&mut State)) {
        update(host, &self.state_key, |bytes| {
            let mut state = bytes.and_then(State::decode).unwrap_or_default();
            change(&mut state);
            state.encode().to_vec()
        });
    }
}

fn slot_of(scope: u64) -> usize {
    // The scope is part of a SHA-256 already: its low bits are as good as any.
    usize::try_from(scope & (SLOTS as u64).wrapping_sub(1)).unwrap_or(0)
}

/// Reads, changes and writes a value; false where others kept winning.
fn update<H: Host>(host: &H, key: &str, change: impl Fn(Option<&[u8]>) -> Vec<u8>) -> bool {
    for _ in 0..CAS_ATTEMPTS {
        let stored = host.shared(key).ok();
        let bytes = change(stored.as_ref().map(|stored| stored.value.as_slice()));
        match host.set_shared(key, &bytes, stored.map(|stored| stored.cas)) {
            Ok(()) => return true,
            Err(HostError::CasMismatch) => {}
            Err(_) => return false,
        }
    }
    false
}

fn decode_table(bytes: &[u8]) -> Option<Vec<u64>> {
    if bytes.len() != TABLE_BYTES {
        return None;
    }
    Some(bytes.as_chunks::<8>().0.iter().map(|chunk| u64::from_be_bytes(*chunk)).collect())
}

fn encode_table(table: &[u64]) -> Vec<u8> {
    table.iter().flat_map(|revision| revision.to_be_bytes()).collect()
}

/// The hash of a scope, as the contract has it: the first 8 bytes, big endian, of SHA-256.
pub fn user_scope(username: &str) -> u64 {
    use sha2::{Digest, Sha256};
    let digest = Sha256::digest(format!("user:{username}"));
    digest.first_chunk::<8>().map_or(0, |head| u64::from_be_bytes(*head))
}
