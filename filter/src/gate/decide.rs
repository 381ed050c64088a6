//! From an operation to a permit: the cache, else one question.

use super::decision_log::{Source, Verdict};
use super::keys::Unidentified;
use super::plan::Response;
use super::{GRACE_MS, Gate, Permit, State, Step, head};
use crate::cache::{Found, Layer};
use crate::contract as pb;
use crate::guessing::client_address;
use crate::host::{Flow, Host, HostError};
use crate::metrics::Count;
use crate::operation::{BodyNeed, Forward, Operation};
use crate::policy_client::{self, Method};
use crate::reply::Answer;
use crate::requirement::Selection;
use crate::surface::narrow::{Narrowed, narrow};
use crate::worker::{Answered, Question, Worker};
use pb::Outcome;
use prost::Message;
use std::rc::Rc;

/// What is being waited for.
pub struct Pending {
    what: What,
    /// The request's body has been read and stays buffered.
    pub keeps_body: bool,
}

pub(super) enum What {
    Decision(Box<Decision>),
    Administration(Box<pb::Subject>),
    Keys(Box<Unidentified>),
}

impl What {
    /// Who asks for it, where that is in question.
    fn who(&self) -> Option<&pb::Subject> {
        match self {
            Self::Decision(decision) => Some(&decision.who),
            Self::Administration(who) => Some(who),
            Self::Keys(_) => None,
        }
    }
}

pub(super) struct Decision {
    operation: Operation,
    who: pb::Subject,
    need: BodyNeed,
}

/// The longest part of a method that goes into a log.
const MAX_METHOD: usize = 16;

impl Gate {
    pub(super) fn decide<H: Host>(
        &mut self,
        worker: &mut Worker,
        host: &H,
        operation: Operation,
        who: pb::Subject,
        need: BodyNeed,
    ) -> Step {
        self.route = operation.route;
        let request = policy_client::authorize_request(&operation, who);
        let mut message = request.encode_to_vec();
        let intents = policy_client::intents(&operation.effects);
        // Every creation has intents of its own, so its answer is nobody else's.
        let key = match intents.is_empty() {
            false => None,
            true => match worker.cache.look_up(host, &message, host.now_ms()) {
                Found::Answer { answer, layer, near } => {
                    worker.metrics.count(host, layer.into());
                    self.source = Source::Cache(layer);
                    let who = request.subject.unwrap_or_default();
                    let forward = operation.forward.clone();
                    let operation = Rc::new(operation);
                    if let Some(question) = near {
                        self.remember(worker, host, &operation, need, &who, question);
                    }
                    let groups = policy_client::groups(&who);
                    return self.conclude(worker, host, &operation, forward, groups, need, &answer);
                }
                Found::Nothing(key) => key,
            },
        };
        if let Some(step) = self.held_off(worker, host, request.subject.as_ref()) {
            return step;
        }
        worker.metrics.count(host, Count::Miss);
        // Protobuf reads messages that follow one another as one.
        let rest = pb::AuthorizeRequest {
            min_revision: worker.cache.watermarks.revision(),
            info: Some(self.info(host)),
            intents,
            ..pb::AuthorizeRequest::default()
        };
        message.append(&mut rest.encode_to_vec());
        let question = Question {
            method: Method::Authorize,
            message,
            key,
            not_after_ms: request.subject.as_ref().and_then(policy_client::credential_expiry_ms),
        };
        let asked = worker.ask(host, self.id, question);
        let who = request.subject.unwrap_or_default();
        let decision = Box::new(Decision { operation, who, need });
        self.wait(worker, host, asked, need, What::Decision(decision))
    }

    /// Refuses what the policy server has just refused for too many failures.
    #[inline(never)]
    pub(super) fn held_off<H: Host>(
        &mut self,
        worker: &mut Worker,
        host: &H,
        who: Option<&pb::Subject>,
    ) -> Option<Step> {
        let refused = worker.guessing.refuses(host, who?)?;
        worker.metrics.count(host, Count::HeldOff);
        self.source = Source::Held(refused.stands_for);
        let answer = worker.replies.throttled(refused.retry_after_ms, "too_many_failures");
        Some(self.refused(worker, host, answer))
    }

    pub(super) fn wait<H: Host>(
        &mut self,
        worker: &mut Worker,
        host: &H,
        asked: Result<(), HostError>,
        need: BodyNeed,
        what: What,
    ) -> Step {
        if asked.is_err() {
            let answer = worker.replies.unavailable("policy_unreachable");
            return self.refused(worker, host, answer);
        }
        let keeps_body = matches!(need, BodyNeed::Whole { .. }) && !self.ends_with_head();
        let wait = u64::from(worker.client.timeout_ms()).saturating_add(GRACE_MS);
        self.deadline_ms = Some(host.now_ms().saturating_add(wait));
        self.state = State::Pending(Box::new(Pending { what, keeps_body }));
        Step::Wait(if keeps_body { Flow::Buffer } else { Flow::Hold })
    }

    /// An answer came, with this stream as the effective context.
    pub fn on_answer<H: Host>(&mut self, worker: &mut Worker, host: &H, answered: &Answered) {
        if matches!(self.state, State::Passing { .. }) {
            self.on_response_answer(worker, host, answered);
            return;
        }
        if matches!(self.state, State::NeedBody(_)) {
            self.on_keys_before_body(worker, host);
            return;
        }
        let State::Pending(pending) = std::mem::replace(&mut self.state, State::Done) else {
            return;
        };
        self.deadline_ms = None;
        if let Some(who) = pending.what.who() {
            worker.guessing.heard(host, who, answered);
        }
        let step = match (pending.what, answered) {
            (What::Keys(waited), _) => self.identified(worker, host, *waited),
            (What::Decision(decision), Answered::Authorized(answer)) => {
                let Decision { mut operation, who, need } = *decision;
                self.source = Source::PolicyServer;
                let forward = std::mem::take(&mut operation.forward);
                let groups = policy_client::groups(&who);
                self.conclude(worker, host, &operation, forward, groups, need, answer)
            }
            (What::Administration(_), Answered::Administered(answer)) => {
                Step::Answer(self.administered(worker, host, answer))
            }
            _ => {
                let answer = worker.replies.unavailable("policy_unavailable");
                self.refused(worker, host, answer)
            }
        };
        self.settle(worker, host, step, false);
    }

    /// Does as the policy server says. `forward` is the operation's.
    #[allow(clippy::too_many_arguments)]
    pub(super) fn conclude<H: Host>(
        &mut self,
        worker: &mut Worker,
        host: &H,
        operation: &Operation,
        forward: Forward,
        groups: &[String],
        need: BodyNeed,
        answer: &pb::AuthorizeResponse,
    ) -> Step {
        if let Some(principal) = &answer.principal {
            self.username.clone_from(&principal.username);
        }
        self.revision = answer.revision;
        let Some(permit) = Permit::from_decision(answer) else {
            let refusal = self.refusal_of(worker, answer);
            return self.refused(worker, host, refusal);
        };
        let left: Vec<Selection> = answer.scopes.iter().map(Into::into).collect();
        self.response = Response::plan(operation, groups, answer, worker.config.mode);
        let forward = match narrow(forward, &left, worker.config.filters_take_ids()) {
            Narrowed::Forward(forward) => forward,
            Narrowed::Answer(body) => return Step::Answer(worker.replies.as_mlflow(body)),
            Narrowed::Deny => {
                let denied = worker.replies.denied("nothing_left");
                return self.refused(worker, host, denied);
            }
        };
        self.response.sends(&forward);
        worker.metrics.count(host, Count::Allowed);
        if worker.logs_allowed() {
            self.log_decision(Verdict::Allow, None, &answer.reason);
        }
        self.forward(worker, host, &permit, &forward, need == BodyNeed::Forbidden)
    }

    fn refusal_of(&self, worker: &Worker, answer: &pb::AuthorizeResponse) -> Answer {
        let reason = code(&answer.reason);
        match answer.outcome() {
            Outcome::Unauthenticated => {
                let mut why = crate::authn::Unauthenticated::basic("wrong_credential");
                if self.head.as_ref().is_some_and(|head| head.is_bearer(self.credential_header)) {
                    why.bearer_error = Some("invalid or expired token");
                }
                worker.replies.unauthenticated(&why)
            }
            Outcome::Denied => worker.replies.denied(reason),
            Outcome::Throttled => worker.replies.throttled(answer.retry_after_ms, reason),
            Outcome::NotFound => worker.replies.not_found(reason),
            Outcome::BadWorkspace => worker.replies.bad_workspace(reason),
            // Allowed without a principal is no answer either.
            Outcome::Unavailable | Outcome::Unspecified | Outcome::Allowed => {
                worker.replies.unavailable(reason)
            }
        }
    }

    pub(super) fn info<H: Host>(&self, host: &H) -> pb::RequestInfo {
        pb::RequestInfo {
            method: self.method(),
            route: self.route.to_owned(),
            request_id: self.head.as_ref().map(head::Head::request_id).unwrap_or_default(),
            client_address: client_address(host),
            traceparent: self.head.as_ref().map(head::Head::traceparent).unwrap_or_default(),
        }
    }

    pub(super) fn method(&self) -> String {
        let method = self.head.as_ref().map(head::Head::method).unwrap_or_default();
        String::from_utf8_lossy(method).chars().take(MAX_METHOD).collect()
    }
}

/// A reason of the server's, as far as it is fit for a header and a log.
fn code(reason: &str) -> &str {
    let fit = |byte: u8| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte);
    if !reason.is_empty() && reason.len() <= 64 && reason.bytes().all(fit) {
        reason
    } else {
        "denied"
    }
}

impl From<Layer> for Count {
    fn from(layer: Layer) -> Self {
        match layer {
            Layer::Worker => Self::HitWorker,
            Layer::Shared => Self::HitShared,
        }
    }
}
