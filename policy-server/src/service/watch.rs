//! Streams changes, and the keys of identity providers, to a filter.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;

use super::authorize::milliseconds;
use super::contract::Peer;
use super::error::Refusal;
use super::snapshot::Snapshots;
use crate::contract as pb;
use crate::metrics::Watching;
use crate::oidc::KeySets;
use crate::store::Change;

/// Events that wait for a slow watcher.
const BUFFER: usize = 64;

/// Changes sent at a time.
const BATCH: u32 = 256;

/// A watcher that is further behind is told to forget instead.
const MAX_BEHIND: u64 = 10_000;

/// A watcher that takes nothing for so long is gone; it may come back.
const MAX_STALL: Duration = Duration::from_secs(30);

pub type EventStream =
    Pin<Box<dyn tokio_stream::Stream<Item = Result<pb::WatchEvent, Status>> + Send>>;

/// Where what is streamed comes from.
pub struct Sources {
    pub snapshots: Arc<Snapshots>,
    pub keys: watch::Receiver<KeySets>,
}

/// How often, and for whom.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    pub heartbeat: Duration,
    pub peer: Peer,
}

/// Starts a stream. It ends when the watcher goes, stalls, or the server drains.
pub fn stream(
    sources: Sources,
    request: pb::WatchRequest,
    pace: Pace,
    draining: watch::Receiver<bool>,
    watching: Watching,
) -> EventStream {
    let (sender, receiver) = mpsc::channel(BUFFER);
    let Sources { snapshots, keys } = sources;
    let watcher = Watcher {
        snapshots,
        keys,
        sent_keys: BTreeMap::new(),
        sender,
        pace,
        sent: 0,
        _watching: watching,
    };
    tokio::spawn(watcher.run(request, draining));
    Box::pin(ReceiverStream::new(receiver))
}

struct Watcher {
    snapshots: Arc<Snapshots>,
    keys: watch::Receiver<KeySets>,
    /// The version of each issuer's keys that the watcher has been sent.
    sent_keys: BTreeMap<String, u64>,
    sender: mpsc::Sender<Result<pb::WatchEvent, Status>>,
    pace: Pace,
    /// The revision up to which the watcher has been told.
    sent: u64,
    /// Counted for as long as it is fed.
    _watching: Watching,
}

/// The watcher is gone.
struct Gone;

impl Watcher {
    async fn run(mut self, request: pb::WatchRequest, mut draining: watch::Receiver<bool>) {
        tracing::info!(node = request.node, last_revision = request.last_revision, "watch opened");
        let sender = self.sender.clone();
        tokio::select! {
            // Ends the stream at once, whatever is being waited for.
            _ = draining.wait_for(|&draining| draining) => {
                let _ = sender.try_send(Err(Refusal::Draining.into()));
            }
            () = sender.closed() => {}
            _ = self.feed(request.last_revision) => {}
        }
        tracing::info!(node = request.node, sent = self.sent, "watch closed");
    }

    async fn feed(&mut self, last_revision: u64) -> Result<(), Gone> {
        let mut applied = self.snapshots.subscribe();
        let mut ticks = tokio::time::interval(self.pace.heartbeat);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        if last_revision == 0 {
            self.reset().await?;
        } else {
            // The watcher may come from a server that was ahead of this one.
            if let Err(error) = self.snapshots.at_least(last_revision).await {
                tracing::warn!(%error, "a watcher is ahead of the store");
            }
            self.sent = last_revision;
        }
        // Those who log in with tokens wait for them.
        self.send_keys().await?;
        loop {
            self.catch_up().await?;
            tokio::select! {
                changed = applied.changed() => changed.map_err(|_| Gone)?,
                changed = self.keys.changed() => {
                    changed.map_err(|_| Gone)?;
                    self.send_keys().await?;
                }
                _ = ticks.tick() => self.beat().await?,
            }
        }
    }

    async fn send_keys(&mut self) -> Result<(), Gone> {
        let sets = KeySets::clone(&self.keys.borrow_and_update());
        for set in sets.iter() {
            if self.sent_keys.get(&set.issuer) == Some(&set.version) {
                continue;
            }
            self.send(pb::watch_event::Event::Keys(set.clone())).await?;
            self.sent_keys.insert(set.issuer.clone(), set.version);
        }
        Ok(())
    }

    /// Sends what the watcher does not know yet, in order.
    async fn catch_up(&mut self) -> Result<(), Gone> {
        loop {
            let applied = self.snapshots.applied();
            if self.sent == applied {
                return Ok(());
            }
            if applied.saturating_sub(self.sent) > MAX_BEHIND {
                return self.reset().await;
            }
            match self.snapshots.changes_after(self.sent, BATCH).await {
                Ok(Some(changes)) if changes.is_empty() => return Ok(()),
                Ok(Some(changes)) => {
                    for change in changes {
                        let revision = change.revision;
                        self.send(changed(change)).await?;
                        self.sent = revision;
                    }
                }
                Ok(None) => return self.reset().await,
                // Nothing can be said; without heartbeats the watcher stops trusting its cache.
                Err(error) => {
                    tracing::warn!(%error, "cannot read changes for a watcher");
                    return Ok(());
                }
            }
        }
    }

    /// Says that everything up to now has been sent, if that is known.
    async fn beat(&mut self) -> Result<(), Gone> {
        let Some(current_at) = self.snapshots.current_at() else { return Ok(()) };
        let age = current_at.elapsed();
        // Filters of the version before take each heartbeat for news.
        let stale = self.pace.peer == Peer::Previous && age > self.pace.heartbeat;
        if stale || self.sent != self.snapshots.applied() {
            return Ok(());
        }
        let heartbeat = pb::Heartbeat {
            revision: self.sent,
            interval_ms: milliseconds(self.pace.heartbeat),
            age_ms: milliseconds(age),
        };
        self.send(pb::watch_event::Event::Heartbeat(heartbeat)).await
    }

    async fn reset(&mut self) -> Result<(), Gone> {
        let revision = self.snapshots.applied();
        self.send(pb::watch_event::Event::Reset(pb::Reset { revision })).await?;
        self.sent = revision;
        Ok(())
    }

    async fn send(&self, event: pb::watch_event::Event) -> Result<(), Gone> {
        let event = Ok(pb::WatchEvent { event: Some(event) });
        match tokio::time::timeout(MAX_STALL, self.sender.send(event)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) | Err(_) => Err(Gone),
        }
    }
}

fn changed(change: Change) -> pb::watch_event::Event {
    pb::watch_event::Event::Changed(pb::Changed {
        revision: change.revision,
        scopes: change.scopes,
        everyone: change.everyone,
    })
}
