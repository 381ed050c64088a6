//! What must be done to the answer of an allowed request, and how far it is.

use crate::config::Mode;
use crate::contract as pb;
use crate::host::{Direction, Headers, Host};
use crate::operation::{Effect, Forward, Operation};
use crate::response::{self, ResponseError, Rewriting, is_rewritable, recording};

/// The work on a response, and how far it is.
#[derive(Debug)]
pub enum Response {
    /// Nothing to do, or all done.
    Untouched,
    /// Until its headers come.
    Planned(Box<Plan>),
    /// Its headers are held until its body is there.
    Buffering(Box<Plan>),
    /// All of it is held until the policy server has answered.
    Waiting(Box<Plan>, Stage),
}

#[derive(Debug)]
pub enum Stage {
    /// The policy server says which rows may be seen.
    Visible,
    /// MLflow sends a further page.
    Page,
    /// The policy server makes effects durable.
    Record(Box<Recording>),
    /// The last attempt to record has failed; the next one begins when the deadline comes.
    Resting(Box<Recording>),
}

/// Effects on their way to the policy server.
#[derive(Debug)]
pub struct Recording {
    pub(super) effects: Vec<pb::Effect>,
    /// The body to send then, where it changes.
    pub(super) body: Option<Vec<u8>>,
    /// When to give up, in ms since the epoch.
    pub(super) until_ms: u64,
}

#[derive(Debug)]
pub struct Plan {
    pub(super) rewriting: Option<Rewriting>,
    /// What was sent upstream.
    pub(super) request: Forward,
    /// Its headers. Envoy shows them to the filter only until they have gone on.
    pub(super) head: Headers,
    pub(super) effects: Vec<Effect>,
    /// In the contract's form, once the response is there.
    pub(super) recorded: Option<Result<Vec<pb::Effect>, ResponseError>>,
    pub(super) username: String,
    /// Of the credential.
    pub(super) scopes: Vec<String>,
    pub(super) groups: Vec<String>,
    pub(super) workspace: String,
    pub(super) intent_id: String,
    pub(super) revision: u64,
}

impl Response {
    /// What must be done to the answer of an allowed request. Super admins see everything.
    /// `groups` are the credential's.
    pub fn plan(
        operation: &Operation,
        groups: &[String],
        answer: &pb::AuthorizeResponse,
        mode: Mode,
    ) -> Self {
        let Some(principal) = &answer.principal else { return Self::Untouched };
        let rewriting =
            if mode == Mode::Enforce { Rewriting::plan(operation, answer) } else { None };
        if rewriting.is_none() && operation.effects.is_empty() {
            return Self::Untouched;
        }
        Self::Planned(Box::new(Plan {
            rewriting,
            request: Forward::default(),
            head: Headers::new(),
            effects: operation.effects.clone(),
            recorded: None,
            username: principal.username.clone(),
            scopes: principal.scopes.clone(),
            groups: groups.to_vec(),
            workspace: operation.workspace.clone().unwrap_or_default(),
            intent_id: answer.intent_id.clone(),
            revision: answer.revision,
        }))
    }

    /// Tells what is sent upstream: further pages are asked for like it.
    pub fn sends(&mut self, request: &Forward) {
        if let Self::Planned(plan) = self
            && plan.rewriting.is_some()
        {
            plan.request = request.clone();
        }
    }

    /// Tells the headers that go with it, at the last moment at which they can be read.
    pub fn goes<H: Host>(&mut self, host: &H) {
        if let Self::Planned(plan) = self
            && plan.rewriting.as_ref().is_some_and(Rewriting::refills)
        {
            plan.head = host.headers(Direction::Request).unwrap_or_default();
        }
    }

    /// Whether the body will be read, so that upstream must not compress it.
    pub fn reads_body(&self) -> bool {
        matches!(self, Self::Planned(plan) if plan.reads_body())
    }

    pub fn is_waiting(&self) -> bool {
        matches!(self, Self::Waiting(..))
    }

    pub fn is_resting(&self) -> bool {
        matches!(self, Self::Waiting(_, Stage::Resting(_)))
    }
}

impl Plan {
    pub(super) fn reads_body(&self) -> bool {
        self.rewriting.is_some() || recording(&self.effects) == response::Recording::Body
    }

    pub(super) fn head_refused(&self, headers: &Headers, status: u16) -> Option<&'static str> {
        let (encoding, kind) = (headers.get(b"content-encoding"), headers.get(b"content-type"));
        match is_rewritable(status, encoding, kind) {
            Ok(_) => None,
            Err(error) => Some(reason(&error)),
        }
    }
}

/// A stable code for logs.
pub(super) const fn reason(error: &ResponseError) -> &'static str {
    match error {
        ResponseError::Encoded => "response_encoded",
        ResponseError::NotJson => "response_not_json",
        ResponseError::Malformed => "response_malformed",
        ResponseError::Shape { .. } => "response_shape",
        ResponseError::NoCreatedId { .. } => "response_without_id",
        ResponseError::Answer => "policy_answer",
    }
}
