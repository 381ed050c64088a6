//! From an operation to a permit: the cache, else one question.

use super::decision_log::{Source, Verdict};
use super::keys::Unidentified;
use super::plan::Response;
use super::{CredentialHeader, GRACE_MS, Gate, Permit, State, Step, head};
use crate::cache::{Key, Layer};
use crate::config::BodyMode;
use crate::contract as pb;
use crate::host::{Direction, Flow, Host, HostError, LocalReply};
use crate::metrics::Count;
use crate::operation::{BodyNeed, Forward, Operation};
use crate::policy_client::{self, Method};
use crate::reply::Answer;
use crate::requirement::Selection;
use crate::surface::Administration;
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
    Administration,
    Keys(Box<Unidentified>),
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
        let mut request = policy_client::authorize_request(&operation, who);
        let intents = policy_client::intents(&operation.effects);
        // Every creation has intents of its own, so its answer is nobody else's.
        let key = match intents.is_empty() {
            false => None,
            true => match known(worker, host, &request) {
                Known::Answer(answer, layer) => {
                    worker.metrics.count(host, layer.into());
                    self.source = Source::Cache(layer);
                    let who = request.subject.unwrap_or_default();
                    return self.conclude(worker, host, operation, &who, need, &answer);
                }
                Known::Nothing(key) => key,
            },
        };
        worker.metrics.count(host, Count::Miss);
        request.intents = intents;
        request.min_revision = worker.cache.watermarks.revision();
        request.info = Some(self.info(host));
        let question = Question {
            method: Method::Authorize,
            message: &request,
            key,
            not_after_ms: request.subject.as_ref().and_then(policy_client::credential_expiry_ms),
        };
        let asked = worker.ask(host, self.id, &question);
        let who = request.subject.unwrap_or_default();
        self.wait(
            worker,
            host,
            asked,
            need,
            What::Decision(Box::new(Decision { operation, who, need })),
        )
    }

    pub(super) fn administer<H: Host>(
        &mut self,
        worker: &mut Worker,
        host: &H,
        administration: &Administration,
        who: pb::Subject,
        body: Vec<u8>,
    ) -> Step {
        let need = administration.body_need();
        let pairs = administration.query.iter();
        let request = pb::AdministerRequest {
            subject: Some(who),
            workspace: administration.workspace.clone().unwrap_or_default(),
            method: self.method(),
            path: administration.path.clone(),
            query: pairs
                .map(|(name, value)| pb::Parameter { name: name.clone(), value: value.clone() })
                .collect(),
            content_type: administration.content_type.clone(),
            body,
            info: Some(self.info(host)),
        };
        let question = Question {
            method: Method::Administer,
            message: &request,
            key: None,
            not_after_ms: None,
        };
        let asked = worker.ask(host, self.id, &question);
        self.wait(worker, host, asked, need, What::Administration)
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
        let ended = self.head.as_ref().is_some_and(|head| head.end_of_stream);
        let keeps_body = matches!(need, BodyNeed::Whole { .. }) && !ended;
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
        let step = match (pending.what, answered) {
            (What::Keys(waited), _) => self.identified(worker, host, *waited),
            (What::Decision(decision), Answered::Authorized(answer)) => {
                let Decision { operation, who, need } = *decision;
                self.source = Source::PolicyServer;
                self.conclude(worker, host, operation, &who, need, answer)
            }
            (What::Administration, Answered::Administered(answer)) => {
                Step::Answer(self.administered(worker, host, answer))
            }
            _ => {
                let answer = worker.replies.unavailable("policy_unavailable");
                self.refused(worker, host, answer)
            }
        };
        self.settle(worker, host, step, false);
    }

    fn conclude<H: Host>(
        &mut self,
        worker: &mut Worker,
        host: &H,
        operation: Operation,
        who: &pb::Subject,
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
        self.response = Response::plan(&operation, who, answer, worker.config.mode);
        let forward = match narrow(operation.forward, &left, worker.config.filters_take_ids()) {
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

    /// Sends the request on. The only place that does, and it takes a permit.
    pub(super) fn forward<H: Host>(
        &mut self,
        worker: &mut Worker,
        host: &H,
        permit: &Permit,
        forward: &Forward,
        no_body: bool,
    ) -> Step {
        if self.rewrite(worker, host, permit, forward).is_err() {
            let message = "The request could not be changed.";
            return Step::Answer(worker.replies.internal(message, "rewrite"));
        }
        self.response.goes(host);
        self.state = State::Passing { no_body };
        Step::Forward
    }

    fn rewrite<H: Host>(
        &self,
        worker: &Worker,
        host: &H,
        permit: &Permit,
        forward: &Forward,
    ) -> Result<(), HostError> {
        let head = self.head.as_ref().ok_or(HostError::BadArgument)?;
        // With a buffer filter behind, the headers have gone there before the body was read.
        let gone = matches!(worker.config.body_mode, BodyMode::BufferFilter)
            && forward.body.is_some()
            && !head.end_of_stream;
        if !gone {
            head.strip(host, self.credential_header)?;
            if !forward.path.is_empty() && head.path() != Some(forward.path.as_bytes()) {
                host.set_header(Direction::Request, ":path", forward.path.as_bytes())?;
            }
            if let Some(principal) = permit.principal() {
                let user = head::user_value(&principal.username);
                host.set_header(Direction::Request, head::USER_HEADER, user.as_bytes())?;
            }
            if self.response.reads_body() && head.value(b"accept-encoding").is_some() {
                host.remove_header(Direction::Request, b"accept-encoding")?;
            }
        }
        if let Some(body) = &forward.body
            && !head.end_of_stream
        {
            host.set_body(Direction::Request, body)?;
            if !gone {
                // A chunked body too gets its length: MLflow's WSGI routes read a body without
                // one as empty, which is not what was authorized.
                let length = body.len().to_string();
                host.set_header(Direction::Request, "content-length", length.as_bytes())?;
                if head.value(b"transfer-encoding").is_some() {
                    host.remove_header(Direction::Request, b"transfer-encoding")?;
                }
            }
        }
        Ok(())
    }

    /// The policy server's own answer to a call of the administration API.
    fn administered<H: Host>(
        &mut self,
        worker: &mut Worker,
        host: &H,
        answer: &pb::AdministerResponse,
    ) -> Answer {
        if answer.revision > 0 {
            let change = crate::cache::watermarks::Change::Everyone { revision: answer.revision };
            worker.cache.watermarks.apply(host, &change);
        }
        match u16::try_from(answer.status) {
            Ok(status @ 200..=599) => Answer {
                reply: LocalReply {
                    status,
                    headers: answer
                        .headers
                        .iter()
                        .filter(|header| is_sound(&header.name, &header.value))
                        .map(|header| (header.name.to_ascii_lowercase(), header.value.clone()))
                        .collect(),
                    body: answer.body.clone(),
                    details: "mlgate_administer".to_owned(),
                },
                reason: "administer".to_owned(),
            },
            _ => worker.replies.unavailable("policy_answer"),
        }
    }

    fn info<H: Host>(&self, host: &H) -> pb::RequestInfo {
        let address = host.property(&["source", "address"]).unwrap_or_default();
        let address = String::from_utf8_lossy(&address);
        pb::RequestInfo {
            method: self.method(),
            route: self.route.to_owned(),
            request_id: self.head.as_ref().map(head::Head::request_id).unwrap_or_default(),
            client_address: without_port(&address).to_owned(),
            traceparent: self.head.as_ref().map(head::Head::traceparent).unwrap_or_default(),
        }
    }

    pub(super) fn method(&self) -> String {
        let method = self.head.as_ref().map(head::Head::method).unwrap_or_default();
        String::from_utf8_lossy(method).chars().take(MAX_METHOD).collect()
    }
}

/// What the cache says of a question.
enum Known {
    Answer(Rc<pb::AuthorizeResponse>, Layer),
    /// With what its answer will be remembered by.
    Nothing(Option<Key>),
}

fn known<H: Host>(worker: &mut Worker, host: &H, request: &pb::AuthorizeRequest) -> Known {
    let question = request.encode_to_vec();
    let now_ms = host.now_ms();
    if let Some(answer) = worker.cache.recall(host, &question, now_ms) {
        return Known::Answer(answer, Layer::Worker);
    }
    let key = worker.cache.key(host, &question);
    match key.and_then(|key| worker.cache.find(host, &key, now_ms)) {
        Some((answer, layer)) => Known::Answer(answer, layer),
        None => Known::Nothing(key),
    }
}

/// `10.0.0.1:80` and `[::1]:80` without their ports.
fn without_port(address: &str) -> &str {
    match address.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => {
            host.trim_start_matches('[').trim_end_matches(']')
        }
        _ => address,
    }
}

/// A header that Envoy takes and that cannot split the response.
fn is_sound(name: &str, value: &str) -> bool {
    let token = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    !name.is_empty()
        && name.bytes().all(token)
        && !matches!(
            name.to_ascii_lowercase().as_str(),
            "content-length" | "transfer-encoding" | "connection"
        )
        && value.bytes().all(|byte| byte == b'\t' || (b' '..=b'~').contains(&byte))
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

impl CredentialHeader {
    pub(super) const fn name(self) -> &'static [u8] {
        match self {
            Self::Authorization | Self::Forwarded => b"authorization",
            Self::Gateway => b"x-mlflow-authorization",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_loses_its_port_and_only_that() {
        for (address, host) in [
            ("10.0.0.1:80", "10.0.0.1"),
            ("[::1]:80", "::1"),
            ("/run/x.sock", "/run/x.sock"),
            ("", ""),
        ] {
            assert_eq!(without_port(address), host);
        }
    }

    #[test]
    fn a_header_of_the_server_cannot_split_the_response() {
        assert!(is_sound("Content-Type", "application/json"));
        for (name, value) in [("x", "a\r\nb: c"), ("x:", "a"), ("", "a"), ("Content-Length", "1")] {
            assert!(!is_sound(name, value), "{name:?}");
        }
    }
}
