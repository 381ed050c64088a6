//! Requests that come again.
//!
//! What a head means follows from its bytes and from nothing else. So a head that was read before,
//! to the last byte that anything here reads, is not read again. Of a request without a body a
//! worker remembers what it asks for, and by which mark the answer is found; of one with a body,
//! what its body will be read by. Whether the answer and the token still hold is asked each time.
//! The credential itself is not kept.

use super::decision_log::Source;
use super::head::{CredentialHeader, Head};
use super::{Gate, Step, Unread, Who};
use crate::authn;
use crate::bounded::Bounded;
use crate::cache::Layer;
use crate::contract as pb;
use crate::contract::subject::Kind;
use crate::host::Host;
use crate::metrics::Count;
use crate::operation::{BodyNeed, Operation};
use crate::policy_client;
use crate::recognizer::{Mark, Recognizer};
use crate::surface::Routed;
use crate::worker::Worker;
use std::rc::Rc;

/// Heads that a worker remembers.
const REMEMBERED: usize = 1024;

/// Headers whose values are different in each request, and by which nothing is ever decided.
const UNREAD: [&[u8]; 3] = [b"x-request-id", b"traceparent", b"tracestate"];

#[derive(Debug)]
pub struct Familiar {
    recognizer: Recognizer,
    known: Bounded<Mark, Known>,
}

/// What is known of a head.
#[derive(Debug, Clone)]
pub(super) enum Known {
    /// Of one that no body follows.
    Whole(Rc<Seen>),
    /// Of one that a body follows.
    Opening(Rc<Opening>),
}

/// What a head without a body asks for.
#[derive(Debug)]
pub(super) struct Seen {
    operation: Rc<Operation>,
    need: BodyNeed,
    credential: CredentialHeader,
    proof: Proof,
    /// What the answer is remembered by.
    question: Mark,
    groups: Vec<String>,
}

/// What the body of a head will be read by.
#[derive(Debug)]
pub(super) struct Opening {
    routed: Rc<Routed>,
    credential: CredentialHeader,
    proof: Proof,
}

/// What must hold besides the answer.
#[derive(Debug, Clone, Copy)]
enum Proof {
    /// Nothing: the credential is part of the question.
    Asked,
    /// The JWT with this mark is verified and has not ended.
    Token(Mark),
}

impl Default for Familiar {
    fn default() -> Self {
        Self { recognizer: Recognizer::default(), known: Bounded::new(REMEMBERED) }
    }
}

impl Familiar {
    fn mark<H: Host>(&mut self, host: &H, head: &Head) -> Option<Mark> {
        let value = |name, value| if UNREAD.contains(&name) { [].as_slice() } else { value };
        let parts = head.headers().iter().flat_map(|(name, of)| [name, value(name, of)]);
        let end: &[u8] = if head.end_of_stream { b"end" } else { b"" };
        self.recognizer.mark_list(host, parts.chain([end]))
    }
}

impl Worker {
    /// What is known of a request with this head, and what to remember it by. Nothing where a proxy
    /// in front may say who it is from: that is not in the head alone.
    pub(super) fn meet<H: Host>(&mut self, host: &H, head: &Head) -> Option<(Mark, Option<Known>)> {
        if self.config.forwarded_identity.is_some() {
            return None;
        }
        let familiar = &mut self.familiar;
        let mark = familiar.mark(host, head)?;
        Some((mark, familiar.known.get(&mark).cloned()))
    }
}

impl Gate {
    /// Goes on with a request that is familiar. `None` where its answer or its token no longer
    /// holds: then it is read like any other.
    pub(super) fn again<H: Host>(
        &mut self,
        worker: &mut Worker,
        host: &H,
        known: &Known,
    ) -> Option<Step> {
        match (known, self.ends_with_head()) {
            (Known::Whole(seen), true) => self.decide_again(worker, host, seen),
            (Known::Opening(opening), false) => self.await_body_again(worker, host, opening),
            // A body that follows is never left unread.
            (Known::Whole(_), false) | (Known::Opening(_), true) => None,
        }
    }

    fn decide_again<H: Host>(
        &mut self,
        worker: &mut Worker,
        host: &H,
        seen: &Seen,
    ) -> Option<Step> {
        let now_ms = host.now_ms();
        if let Proof::Token(token) = seen.proof
            && !worker.issuers.holds(token, now_ms)
        {
            return None;
        }
        let answer = worker.cache.recall(host, seen.question, now_ms)?;
        if let Proof::Token(_) = seen.proof {
            worker.metrics.count(host, Count::JwtVerified);
        }
        worker.metrics.count(host, Layer::Worker.into());
        self.source = Source::Cache(Layer::Worker);
        self.credential_header = seen.credential;
        self.route = seen.operation.route;
        let forward = seen.operation.forward.clone();
        let (operation, groups) = (&seen.operation, seen.groups.as_slice());
        Some(self.conclude(worker, host, operation, forward, groups, seen.need, &answer))
    }

    fn await_body_again<H: Host>(
        &mut self,
        worker: &mut Worker,
        host: &H,
        opening: &Opening,
    ) -> Option<Step> {
        let routed = &opening.routed;
        let BodyNeed::Whole { limit } = routed.body_need() else { return None };
        let who = match opening.proof {
            Proof::Token(token) => worker.recall_marked(host, token)?,
            Proof::Asked => {
                let value = self.head.as_ref()?.value(opening.credential.name());
                authn::claimed(authn::read(value).ok()?)?
            }
        };
        self.mark = None;
        self.credential_header = opening.credential;
        self.route = routed.route();
        let unread = Unread::Routed(Rc::clone(routed));
        Some(self.await_body(worker, host, unread, Who::Known(who), limit))
    }

    /// Remembers a request whose answer is known by this mark.
    pub(super) fn remember<H: Host>(
        &mut self,
        worker: &mut Worker,
        host: &H,
        operation: &Rc<Operation>,
        need: BodyNeed,
        who: &pb::Subject,
        question: Mark,
    ) {
        let Some(mark) = self.mark else { return };
        let Some(proof) = self.proof(worker, host, who) else { return };
        let credential = self.credential_header;
        if self.ends_with_head() {
            let operation = Rc::clone(operation);
            let groups = policy_client::groups(who).to_vec();
            let seen = Seen { operation, need, credential, proof, question, groups };
            worker.familiar.known.insert(mark, Known::Whole(Rc::new(seen)));
        } else if let Some(routed) = self.opening.take() {
            let opening = Opening { routed, credential, proof };
            worker.familiar.known.insert(mark, Known::Opening(Rc::new(opening)));
        }
    }

    fn proof<H: Host>(&self, worker: &mut Worker, host: &H, who: &pb::Subject) -> Option<Proof> {
        match &who.kind {
            Some(Kind::Basic(_) | Kind::Bearer(_)) => Some(Proof::Asked),
            Some(Kind::Verified(_)) => {
                let value = self.head.as_ref()?.value(self.credential_header.name())?;
                let token = authn::after_bearer(value)?;
                worker.issuers.mark(host, token).map(Proof::Token)
            }
            Some(Kind::Anonymous(_)) | None => None,
        }
    }
}
