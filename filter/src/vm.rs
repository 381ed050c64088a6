//! One worker's VM: which context is which, and who gets what callback.

use crate::gate::Gate;
use crate::host::{ContextId, Direction, Flow, Host, Token};
use crate::pace;
use crate::worker::{Landed, Worker};
use rustc_hash::FxHashMap;

/// What happened to a call or a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GrpcEvent {
    /// A message can be received.
    Message,
    /// It ended with this gRPC status.
    Closed(u32),
}

#[derive(Debug)]
struct Stream {
    root: ContextId,
    gate: Gate,
}

/// Contexts and tokens are numbered by the proxy, so their maps need no defence against keys that
/// a client chose.
#[derive(Debug)]
pub struct Vm<H> {
    host: H,
    /// `None` until configured, or where the configuration was refused.
    roots: FxHashMap<ContextId, Option<Worker>>,
    streams: FxHashMap<ContextId, Stream>,
}

impl<H: Host> Vm<H> {
    pub fn new(host: H) -> Self {
        Self { host, roots: FxHashMap::default(), streams: FxHashMap::default() }
    }

    /// A context without a parent is a root.
    pub fn on_create(&mut self, context: ContextId, root: ContextId) {
        if root == ContextId(0) {
            self.roots.insert(context, None);
        } else {
            self.streams.insert(context, Stream { root, gate: Gate::new(context) });
        }
    }

    /// Gives the tick period in ms, or `None` where the configuration is refused.
    pub fn on_configure(&mut self, root: ContextId, json: &[u8]) -> Option<u32> {
        match Worker::configure(&self.host, root, json) {
            Ok(worker) => {
                self.roots.insert(root, Some(worker));
                Some(pace::FAST_MS)
            }
            Err(error) => {
                log::error!("mlgate: plugin configuration refused: {error}");
                None
            }
        }
    }

    /// Runs `act` on a request's gate. Without a configured root nothing passes.
    fn with_gate<T>(
        &mut self,
        context: ContextId,
        lost: T,
        act: impl FnOnce(&mut Gate, &mut Worker, &H) -> T,
    ) -> T {
        let Some(stream) = self.streams.get_mut(&context) else { return lost };
        match self.roots.get_mut(&stream.root) {
            Some(Some(worker)) => act(&mut stream.gate, worker, &self.host),
            _ => lost,
        }
    }

    pub fn on_headers(&mut self, context: ContextId, of: Direction, end: bool) -> Flow {
        self.with_gate(context, Flow::Hold, |gate, worker, host| match of {
            Direction::Request => gate.on_request_headers(worker, host, end),
            Direction::Response => gate.on_response_headers(worker, host, end),
        })
    }

    pub fn on_body(&mut self, context: ContextId, of: Direction, size: usize, end: bool) -> Flow {
        self.with_gate(context, Flow::Hold, |gate, worker, host| match of {
            Direction::Request => gate.on_request_body(worker, host, size, end),
            Direction::Response => gate.on_response_body(worker, host, size, end),
        })
    }

    pub fn on_trailers(&mut self, context: ContextId, of: Direction) -> Flow {
        self.with_gate(context, Flow::Hold, |gate, worker, host| match of {
            Direction::Request => gate.on_request_trailers(worker, host),
            Direction::Response => gate.on_response_trailers(worker, host),
        })
    }

    /// An answer goes to every request that waits for it.
    pub fn on_grpc(&mut self, token: Token, event: GrpcEvent) {
        let Some(worker) = self.roots.values_mut().flatten().find(|worker| worker.owns(token))
        else {
            return;
        };
        if worker.watches(token) {
            worker.on_watch(&self.host, event);
        } else {
            let landed = worker.on_event(&self.host, token, event);
            deliver(&self.host, &mut self.streams, worker, landed);
        }
        if matches!(event, GrpcEvent::Closed(_)) {
            worker.hurry(&self.host);
        }
    }

    /// A further page has come, or cannot be had.
    pub fn on_page(&mut self, token: Token) {
        let worker = self.roots.values_mut().flatten().find(|worker| worker.awaits_page(token));
        let Some(worker) = worker else { return };
        let Some((answered, waiter)) = worker.land_page(&self.host, token) else { return };
        if let Some(stream) = self.streams.get_mut(&waiter)
            && self.host.set_effective(waiter).is_ok()
        {
            stream.gate.on_answer(worker, &self.host, &answered);
        }
    }

    pub fn on_tick(&mut self, root: ContextId) {
        let Some(Some(worker)) = self.roots.get_mut(&root) else { return };
        let now_ms = self.host.now_ms();
        let landed = worker.tick(&self.host, now_ms);
        deliver(&self.host, &mut self.streams, worker, landed);
        let next_ms = worker.next_slow_tick(now_ms);
        let mut soon = worker.is_due(next_ms);
        for (context, stream) in &mut self.streams {
            if stream.root != root {
                continue;
            }
            if stream.gate.is_overdue(now_ms) && self.host.set_effective(*context).is_ok() {
                stream.gate.on_deadline(worker, &self.host);
            }
            soon |= stream.gate.is_overdue(next_ms);
        }
        worker.keep_pace(&self.host, soon);
    }

    /// The client is gone, or the request is over; or a root goes.
    fn on_done(&mut self, context: ContextId) {
        if let Some(Some(worker)) = self.roots.get_mut(&context) {
            worker.stop(&self.host);
        }
        self.with_gate(context, (), |gate, worker, host| gate.on_done(worker, host));
    }

    pub fn on_delete(&mut self, context: ContextId) {
        self.on_done(context);
        if self.streams.remove(&context).is_none() {
            self.roots.remove(&context);
        }
    }
}

/// Gives every request the answer that it waits for.
fn deliver<H: Host>(
    host: &H,
    streams: &mut FxHashMap<ContextId, Stream>,
    worker: &mut Worker,
    landed: Vec<Landed>,
) {
    for (answered, waiters) in landed {
        for waiter in waiters {
            let Some(stream) = streams.get_mut(&waiter) else { continue };
            if host.set_effective(waiter).is_ok() {
                stream.gate.on_answer(worker, host, &answered);
            }
        }
    }
}

#[cfg(test)]
mod tests;
