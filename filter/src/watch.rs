//! The process's one stream of policy changes, held by lease.
//!
//! Every VM of a process ticks; the one that holds the lease in shared data keeps the stream and
//! writes what it hears into the [`Watermarks`](crate::cache::watermarks::Watermarks) of all. A
//! holder that traps stops renewing and another takes over; a trapped VM may leave its stream
//! open as a zombie, which harms nothing. The stream is reopened only from the tick: reopening it
//! in its own close callback never leaves Envoy's event loop.

use crate::backoff::Backoff;
use crate::cache::watermarks::{Change, Watermarks};
use crate::contract as pb;
use crate::host::{Host, Token};
use crate::metrics::{Count, Metrics};
use crate::policy_client::{CONTRACT, PolicyClient, failure};
use pb::watch_event::Event;
use prost::Message;

/// A lease that was not renewed for so long is free, in ms.
const LEASE_MS: u64 = 1_500;

/// How long the holder relies on its last renewal, in ms: a tick that renews costs Envoy three
/// calls.
const RENEW_MS: u64 = 400;

/// Heartbeats that may be missed before the stream is given up.
const MISSED: u64 = 3;

/// Assumed until the server tells its interval, in ms.
const DEFAULT_INTERVAL_MS: u64 = 1_000;

/// The largest event, in bytes: a key set.
const MAX_EVENT: usize = 512 * 1024;

type Id = [u8; 16];

/// What the filter writes down about an open stream.
#[derive(Debug)]
struct Stream {
    token: Token,
    heard_ms: u64,
    interval_ms: u64,
}

#[derive(Debug)]
pub struct Watch {
    prefix: String,
    /// From the random source: context ids and addresses are the same in every VM.
    id: Option<Id>,
    stream: Option<Stream>,
    backoff: Backoff,
    /// The lease was ours in the last tick too: writes of two VMs may cross.
    confirmed: bool,
    /// When a lease that was confirmed was last seen to be ours.
    renewed_ms: Option<u64>,
}

/// What the stream needs of its worker.
pub struct Means<'a, H> {
    pub host: &'a H,
    pub client: &'a PolicyClient,
    pub metrics: &'a Metrics,
    pub watermarks: &'a mut Watermarks,
}

impl Watch {
    /// `prefix` as the cache's.
    pub fn new(prefix: &str) -> Self {
        Self {
            prefix: prefix.to_owned(),
            id: None,
            stream: None,
            backoff: Backoff::default(),
            confirmed: false,
            renewed_ms: None,
        }
    }

    pub fn owns(&self, token: Token) -> bool {
        self.stream.as_ref().is_some_and(|stream| stream.token == token)
    }

    /// Called by the root's tick, with the root as the effective context.
    pub fn tick<H: Host>(&mut self, mut means: Means<'_, H>, now_ms: u64) {
        let relied = self.renewed_ms.is_some_and(|at| now_ms.abs_diff(at) < RENEW_MS);
        let held = relied || self.hold_lease(means.host, now_ms);
        if !held {
            self.renewed_ms = None;
            self.confirmed = false;
            self.close(&means);
            return;
        }
        if !std::mem::replace(&mut self.confirmed, true) {
            return;
        }
        if !relied {
            self.renewed_ms = Some(now_ms);
        }
        match &self.stream {
            Some(stream) => {
                let patience = stream.interval_ms.saturating_mul(MISSED);
                if now_ms.saturating_sub(stream.heard_ms) > patience {
                    log::warn!("mlgate: the policy server's stream is silent; reopening it");
                    self.close(&means);
                    self.backoff.failed(means.host, now_ms);
                }
            }
            None if self.backoff.is_due(now_ms) => self.open(&mut means, now_ms),
            None => {}
        }
    }

    /// Whether a tick before `next_ms` would do something, or show in the age of what was heard that
    /// something is wrong.
    pub fn is_due(&self, next_ms: u64) -> bool {
        self.confirmed
            && self.stream.as_ref().is_none_or(|stream| {
                next_ms.saturating_sub(stream.heard_ms) > stream.interval_ms.saturating_mul(2)
            })
    }

    fn hold_lease<H: Host>(&mut self, host: &H, now_ms: u64) -> bool {
        let Some(id) = self.identity(host) else { return false };
        let key = format!("{}lease", self.prefix);
        let stored = host.shared(&key).ok();
        let lease = stored.as_ref().and_then(|stored| read_lease(&stored.value));
        if let Some((holder, renewed_ms)) = lease
            && holder != id
            && now_ms.saturating_sub(renewed_ms) < LEASE_MS
        {
            return false;
        }
        let value = [id.as_slice(), &now_ms.to_be_bytes()].concat();
        host.set_shared(&key, &value, stored.map(|stored| stored.cas)).is_ok()
            // The first write of two VMs is unconditional in both: the later one has it.
            && host.shared(&key).ok().and_then(|stored| read_lease(&stored.value))
                == Some((id, now_ms))
    }

    fn identity<H: Host>(&mut self, host: &H) -> Option<Id> {
        if self.id.is_none() {
            let mut id = Id::default();
            host.random(&mut id).ok()?;
            self.id = Some(id);
        }
        self.id
    }

    fn open<H: Host>(&mut self, means: &mut Means<'_, H>, now_ms: u64) {
        let node = means.host.property(&["xds", "node", "id"]).unwrap_or_default();
        let request = pb::WatchRequest {
            last_revision: means.watermarks.heard_revision(means.host),
            node: String::from_utf8_lossy(&node).chars().take(128).collect(),
            contract: CONTRACT,
        };
        match means.client.watch(means.host, &request) {
            Ok(token) => {
                means.metrics.count(means.host, Count::StreamOpened);
                self.stream =
                    Some(Stream { token, heard_ms: now_ms, interval_ms: DEFAULT_INTERVAL_MS });
            }
            Err(error) => {
                log::warn!("mlgate: the policy server's stream could not be opened: {error:?}");
                self.backoff.failed(means.host, now_ms);
            }
        }
    }

    fn close<H: Host>(&mut self, means: &Means<'_, H>) {
        if let Some(stream) = self.stream.take() {
            means.metrics.count(means.host, Count::StreamClosed);
            means.host.close_stream(stream.token);
        }
    }

    /// The root goes: another configuration has its own stream.
    pub fn stop<H: Host>(&mut self, host: &H) {
        if let Some(stream) = self.stream.take() {
            host.close_stream(stream.token);
        }
    }

    /// The server ended the stream. Envoy keeps its memory until it is closed here too.
    pub fn on_closed<H: Host>(&mut self, means: &Means<'_, H>, code: u32) {
        log::warn!("mlgate: the policy server's stream ended with {}", failure(code));
        self.close(means);
        self.backoff.failed(means.host, means.host.now_ms());
    }

    pub fn on_message<H: Host>(&mut self, means: &mut Means<'_, H>) {
        let now_ms = means.host.now_ms();
        let event = means.host.received(MAX_EVENT).ok();
        let event = event.and_then(|bytes| pb::WatchEvent::decode(bytes.as_slice()).ok());
        let Some(event) = event.and_then(|event| event.event) else {
            // A change that cannot be read is a change that is missed.
            log::error!("mlgate: an event of the policy server's stream could not be read");
            self.close(means);
            means.watermarks.forget(means.host);
            self.backoff.failed(means.host, now_ms);
            return;
        };
        if let Some(stream) = &mut self.stream {
            stream.heard_ms = now_ms;
        }
        self.backoff.succeeded();
        self.apply(means, event, now_ms);
    }

    fn apply<H: Host>(&mut self, means: &mut Means<'_, H>, event: Event, now_ms: u64) {
        let (host, watermarks) = (means.host, &mut *means.watermarks);
        match event {
            Event::Changed(changed) => {
                means.metrics.count(host, Count::Invalidations);
                let revision = changed.revision;
                let change = if changed.everyone {
                    Change::Everyone { revision }
                } else {
                    Change::Scopes { revision, scopes: changed.scopes }
                };
                watermarks.apply(host, &change);
            }
            Event::Heartbeat(heartbeat) => {
                if let Some(stream) = &mut self.stream {
                    stream.interval_ms = u64::from(heartbeat.interval_ms).clamp(100, 60_000);
                }
                let heard_ms = now_ms.saturating_sub(heartbeat.age_ms.into());
                watermarks.hear(host, heard_ms, heartbeat.revision);
            }
            Event::Reset(reset) => watermarks.reset(host, reset.revision),
            Event::Keys(keys) => self.publish(means, &keys),
        }
    }

    /// Gives an issuer's keys to every worker, unless they have newer ones of another server.
    fn publish<H: Host>(&self, means: &mut Means<'_, H>, keys: &pb::KeySet) {
        let known = shared_keys(means.host, &self.prefix, &keys.issuer);
        if known.is_some_and(|known| known.version >= keys.version) {
            return;
        }
        let key = keys_key(&self.prefix, &keys.issuer);
        match means.host.set_shared(&key, &keys.encode_to_vec(), None) {
            Ok(()) => means.watermarks.new_keys(means.host),
            Err(error) => log::warn!("mlgate: keys could not be shared: {error:?}"),
        }
    }
}

/// The keys of an issuer that the stream has brought.
pub fn shared_keys<H: Host>(host: &H, prefix: &str, issuer: &str) -> Option<pb::KeySet> {
    let stored = host.shared(&keys_key(prefix, issuer)).ok()?;
    pb::KeySet::decode(stored.value.as_slice()).ok()
}

fn keys_key(prefix: &str, issuer: &str) -> String {
    format!("{prefix}k/{issuer}")
}

fn read_lease(bytes: &[u8]) -> Option<(Id, u64)> {
    let (id, renewed) = bytes.split_first_chunk::<16>()?;
    Some((*id, u64::from_be_bytes(renewed.try_into().ok()?)))
}

#[cfg(test)]
mod tests;
