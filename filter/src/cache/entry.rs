//! One remembered answer, and its bytes in a slot of shared data.

use super::Fingerprint;
use crate::contract as pb;
use prost::Message;
use std::rc::Rc;

/// Changes with the layout. Bytes of another plugin, or of an older filter, do not have it.
const MAGIC: &[u8; 4] = b"MLG1";

/// The largest answer that is put into a slot, in bytes: bounds the memory of all slots.
const MAX_BYTES: usize = 4096;

#[derive(Debug, Clone)]
pub struct Entry {
    /// Whose policy the answer tells: when the question was sent, or before, in ms since the epoch.
    pub asked_ms: u64,
    /// Not used from here on, in ms since the epoch.
    pub expires_ms: u64,
    pub answer: Rc<pb::AuthorizeResponse>,
}

impl Entry {
    /// `None` where the answer is too large for a slot.
    pub fn encode(&self, key: &Fingerprint) -> Option<Vec<u8>> {
        let mut bytes = Vec::with_capacity(256);
        bytes.extend_from_slice(MAGIC);
        bytes.extend_from_slice(key);
        bytes.extend_from_slice(&self.asked_ms.to_be_bytes());
        bytes.extend_from_slice(&self.expires_ms.to_be_bytes());
        self.answer.encode(&mut bytes).ok()?;
        (bytes.len() <= MAX_BYTES).then_some(bytes)
    }

    /// `None` where the bytes are not an answer to `key`.
    pub fn decode(bytes: &[u8], key: &Fingerprint) -> Option<Self> {
        if bytes.len() > MAX_BYTES {
            return None;
        }
        let rest = bytes.strip_prefix(MAGIC)?.strip_prefix(key.as_slice())?;
        let (asked, rest) = rest.split_first_chunk::<8>()?;
        let (expires, rest) = rest.split_first_chunk::<8>()?;
        Some(Self {
            asked_ms: u64::from_be_bytes(*asked),
            expires_ms: u64::from_be_bytes(*expires),
            answer: Rc::new(pb::AuthorizeResponse::decode(rest).ok()?),
        })
    }
}
