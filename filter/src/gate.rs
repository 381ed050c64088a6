//! One request's way through the gate: `Init → NeedBody? → Pending → Passing | Done`.
//!
//! # What Envoy must be told
//!
//! - Requests that are decided by their head (artifacts up and down, everything without a JSON
//!   body) are held with `StopAllIterationAndWatermark`, whatever Envoy's options: nothing of the
//!   body is buffered, back-pressure holds the sender, and the body streams once it is allowed.
//! - Requests that are decided by their body need **`allow_on_headers_stop_iteration: true`** on
//!   the plugin (Envoy 1.35+; the default, `"body_mode": "stop_iteration"`). Headers are held and
//!   the body is shown; every callback holds until the decision. Without the option no body is
//!   ever shown: such requests get 503 after [`BLIND_MS`], and nothing passes.
//! - Where the option does not exist, `"body_mode": "buffer_filter"` with
//!   `envoy.filters.http.buffer` right after this filter (switched off per route for
//!   `…/mlflow-artifacts/…` and `/get-artifact`). Then headers go on to that filter, which keeps
//!   them; `x-mlgate-user` is not set on requests with a body. If the upstream has a connection
//!   before the decision, no buffer filter is there: 503, here and for every later body.
//! - `per_connection_buffer_limit_bytes` (listener) above `body_limit_bytes`, or Envoy's own 413
//!   comes first; it bounds filtered responses too.
//! - `failure_policy: FAIL_RELOAD`, `stream_idle_timeout` of the connection manager below a
//!   minute: requests that waited in a VM that trapped are reaped by nothing else.
//! - A `vm_id` of its own, and an H2 cluster for the policy server with
//!   `connection_keepalive {interval: 1s, timeout: 1s}`.

mod decide;
mod decision_log;
mod finish;
mod head;
mod keys;
mod permit;
mod plan;
mod response;

use crate::authn::forwarded::Forwarded;
use crate::authn::{self, Credential, Unauthenticated, Unproven};
use crate::config::BodyMode;
use crate::contract as pb;
use crate::contract::subject::Kind;
use crate::host::{ContextId, Direction, Flow, Host};
use crate::metrics::Count;
use crate::operation::{BodyNeed, Operation, ResponseWork};
use crate::refusal::Refusal;
use crate::reply::Answer;
use crate::surface::cross_site::{self, Page};
use crate::surface::{Administration, Passage, Reading, Routed, read_head};
use crate::worker::Worker;
use head::{CredentialHeader, Head};
use permit::Permit;
use plan::Response;
pub use response::PAGE_TIMEOUT_MS;

/// How long a held request waits for a first sight of its body while none was ever seen, in ms.
const BLIND_MS: u64 = 5_000;

/// How much longer than the proxy's own timeout a call may take before the sweep ends it, in ms.
const GRACE_MS: u64 = 500;

/// A request that is known, whose body is not read yet.
enum Unread {
    Routed(Routed),
    Administer(Administration),
    /// A route that the catalogue does not know.
    Unknown(Operation),
}

/// Who asks, as far as it is known while a body is waited for.
enum Who {
    Known(pb::Subject),
    /// The policy server is asked for the key of the token. `body_ended`: nothing else is missing.
    AwaitsKeys {
        body_ended: bool,
    },
}

struct Held {
    unread: Unread,
    who: Who,
    limit: usize,
}

enum State {
    Init,
    NeedBody(Box<Held>),
    Pending(Box<decide::Pending>),
    /// Forwarded, or never ours. `no_body` where the surface saw none: none may follow.
    Passing {
        no_body: bool,
    },
    /// The gate has answered.
    Done,
}

/// What a stage came to.
enum Step {
    /// The next callback goes on from here.
    Wait(Flow),
    /// The request may go on as it stands now.
    Forward,
    Answer(Answer),
}

pub struct Gate {
    id: ContextId,
    state: State,
    head: Option<Head>,
    credential_header: CredentialHeader,
    route: &'static str,
    username: String,
    source: decision_log::Source,
    /// The policy revision that the answer was made at.
    revision: u64,
    deadline_ms: Option<u64>,
    response: Response,
}

impl std::fmt::Debug for Gate {
    /// Without the head: it holds the credential.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Gate")
            .field("id", &self.id)
            .field("route", &self.route)
            .finish_non_exhaustive()
    }
}

impl Gate {
    pub fn new(id: ContextId) -> Self {
        Self {
            id,
            state: State::Init,
            head: None,
            credential_header: CredentialHeader::Authorization,
            route: "(unread)",
            username: String::new(),
            source: decision_log::Source::default(),
            revision: 0,
            deadline_ms: None,
            response: Response::Untouched,
        }
    }

    // === request ===

    pub fn on_request_headers<H: Host>(
        &mut self,
        worker: &mut Worker,
        host: &H,
        end: bool,
    ) -> Flow {
        if !matches!(self.state, State::Init) {
            return Flow::Hold;
        }
        let step = self.begin(worker, host, end);
        self.settle(worker, host, step, true)
    }

    fn begin<H: Host>(&mut self, worker: &mut Worker, host: &H, end: bool) -> Step {
        let Ok(head) = Head::read(host, end) else {
            return Step::Answer(
                worker.replies.internal("The request could not be read.", "no_headers"),
            );
        };
        if head.path().is_none() || head.method() == b"CONNECT" {
            let refusal = Refusal::Unsupported { why: "CONNECT is not proxied" };
            return Step::Answer(worker.replies.refusal(&refusal));
        }
        let reading = match read_head(&worker.surface, head.raw()) {
            Ok(reading) => reading,
            Err(refusal) => {
                log::info!("mlgate: refused: {refusal:?}");
                return Step::Answer(worker.replies.refusal(&refusal));
            }
        };
        self.head = Some(head);
        match reading {
            Reading::OutOfScope => {
                worker.metrics.count(host, Count::OutOfScope);
                self.state = State::Passing { no_body: false };
                Step::Forward
            }
            Reading::Public(passage) | Reading::Preflight(passage) => {
                self.pass(worker, host, &passage)
            }
            Reading::Routed(routed) => {
                self.route = routed.route();
                let need = routed.body_need();
                self.identify(worker, host, need, Unread::Routed(routed))
            }
            Reading::Administer(administration) => {
                self.route = administration.route();
                let need = administration.body_need();
                self.identify(worker, host, need, Unread::Administer(administration))
            }
            Reading::Unknown(operation) => {
                self.route = operation.route;
                self.identify(worker, host, BodyNeed::Unread, Unread::Unknown(operation))
            }
        }
    }

    fn pass<H: Host>(&mut self, worker: &mut Worker, host: &H, passage: &Passage) -> Step {
        worker.metrics.count(host, Count::Public);
        self.route = passage.route;
        let permit = Permit::public(passage);
        self.forward(worker, host, &permit, &passage.forward, true)
    }

    /// Says who asks, then reads on, or waits for the body. Nobody's body is waited for.
    fn identify<H: Host>(
        &mut self,
        worker: &mut Worker,
        host: &H,
        need: BodyNeed,
        unread: Unread,
    ) -> Step {
        let foreign = self.head.as_ref().is_none_or(|head| {
            cross_site::page(&head.raw(), &worker.config.allowed_origins) == Page::Foreign
        });
        if foreign {
            let answer = worker.replies.cross_site();
            return self.refused(worker, host, answer);
        }
        let who = match self.authenticate(worker, host) {
            Ok(who) => Who::Known(who),
            Err(Unproven::Refused(why)) => return self.unauthenticated(worker, host, &why),
            Err(Unproven::Flood { retry_after_ms }) => {
                return self.flooded(worker, host, retry_after_ms);
            }
            Err(Unproven::UnknownKey(key)) => match worker.ask_for_key(host, self.id, &key) {
                Ok(()) => Who::AwaitsKeys { body_ended: false },
                Err(why) => return self.keyless(worker, host, &why),
            },
        };
        let ended = self.head.as_ref().is_some_and(|head| head.end_of_stream);
        match (need, who) {
            (BodyNeed::Whole { limit }, who) if !ended => {
                self.await_body(worker, host, unread, who, limit)
            }
            (_, Who::Known(who)) => self.read(worker, host, unread, who, head_body(need)),
            (_, Who::AwaitsKeys { .. }) => self.await_keys(worker, host, unread, need),
        }
    }

    fn await_body<H: Host>(
        &mut self,
        worker: &mut Worker,
        host: &H,
        unread: Unread,
        who: Who,
        limit: usize,
    ) -> Step {
        let limit = limit.min(worker.config.body_limit_bytes);
        let announced = self.head.as_ref().and_then(|head| head.value(b"content-length"));
        let announced = announced.and_then(|n| std::str::from_utf8(n).ok()?.parse::<usize>().ok());
        if announced.is_some_and(|size| size > limit) {
            return Step::Answer(worker.replies.too_large(limit));
        }
        let flow = match worker.config.body_mode {
            BodyMode::StopIteration => Flow::Buffer,
            BodyMode::BufferFilter => {
                if worker.leaks_headers {
                    return Step::Answer(self.no_buffer_filter(worker));
                }
                // The last moment at which the headers can be changed.
                let stripped =
                    self.head.as_ref().map(|head| head.strip(host, self.credential_header));
                let ready = matches!(stripped, Some(Ok(())))
                    && host.remove_header(Direction::Request, b"content-length").is_ok();
                if !ready {
                    return Step::Answer(
                        worker.replies.internal("The request could not be changed.", "strip"),
                    );
                }
                Flow::Continue
            }
        };
        self.await_bytes(worker, host);
        self.state = State::NeedBody(Box::new(Held { unread, who, limit }));
        Step::Wait(flow)
    }

    pub fn on_request_body<H: Host>(
        &mut self,
        worker: &mut Worker,
        host: &H,
        size: usize,
        end: bool,
    ) -> Flow {
        match &self.state {
            State::NeedBody(held) => {
                let limit = held.limit;
                if !worker.sees_bodies {
                    worker.sees_bodies = true;
                    self.await_bytes(worker, host);
                }
                if size > limit {
                    let step = Step::Answer(worker.replies.too_large(limit));
                    return self.settle(worker, host, step, true);
                }
                if end { self.take_body(worker, host) } else { Flow::Buffer }
            }
            // The decision is pending and the whole body is there: keep it.
            State::Pending(pending) if pending.keeps_body => Flow::Buffer,
            State::Passing { no_body: true } if size > 0 => {
                // The head said that none follows, and the decision was made on that.
                let refusal = Refusal::ambiguous("body", "must be absent");
                let step = Step::Answer(worker.replies.refusal(&refusal));
                self.settle(worker, host, step, true)
            }
            State::Passing { .. } => Flow::Continue,
            State::Init | State::Pending(_) | State::Done => Flow::Hold,
        }
    }

    /// Trailers end a body that never said that it ended.
    pub fn on_request_trailers<H: Host>(&mut self, worker: &mut Worker, host: &H) -> Flow {
        match &self.state {
            State::NeedBody(_) => self.take_body(worker, host),
            State::Passing { .. } => Flow::Continue,
            State::Init | State::Pending(_) | State::Done => Flow::Hold,
        }
    }

    fn take_body<H: Host>(&mut self, worker: &mut Worker, host: &H) -> Flow {
        let State::NeedBody(held) = std::mem::replace(&mut self.state, State::Done) else {
            return Flow::Hold;
        };
        let Held { unread, who, limit } = *held;
        let Who::Known(who) = who else {
            return self.body_ended(worker, host, unread, limit);
        };
        let step = self.whole(worker, host, unread, who, limit);
        self.settle(worker, host, step, true)
    }

    /// Reads the whole body, which is there.
    fn whole<H: Host>(
        &mut self,
        worker: &mut Worker,
        host: &H,
        unread: Unread,
        who: pb::Subject,
        limit: usize,
    ) -> Step {
        self.deadline_ms = None;
        match host.body(Direction::Request, limit) {
            Ok(body) if self.has_leaked(worker, host) => {
                drop(body);
                Step::Answer(self.no_buffer_filter(worker))
            }
            Ok(body) => self.read(worker, host, unread, who, Some(&body)),
            Err(_) => Step::Answer(worker.replies.too_large(limit)),
        }
    }

    fn read<H: Host>(
        &mut self,
        worker: &mut Worker,
        host: &H,
        unread: Unread,
        who: pb::Subject,
        body: Option<&[u8]>,
    ) -> Step {
        let refused = match unread {
            Unread::Routed(routed) => {
                let need = routed.body_need();
                match routed.read(body) {
                    Ok(mut operation) => {
                        self.leave_as_it_came(worker, &mut operation, body);
                        return self.decide(worker, host, operation, who, need);
                    }
                    Err(refusal) => refusal,
                }
            }
            Unread::Administer(administration) => match administration.read(body) {
                Ok(body) => return self.administer(worker, host, &administration, who, body),
                Err(refusal) => refusal,
            },
            // Who is nobody has learnt that before.
            Unread::Unknown(operation) if worker.config.unknown_routes_for_admins => {
                return self.decide(worker, host, operation, who, BodyNeed::Unread);
            }
            Unread::Unknown(_) => Refusal::Forbidden { why: "no such route" },
        };
        log::info!("mlgate: {}: refused: {refused:?}", self.route);
        let answer = worker.replies.refusal(&refused);
        match refused {
            Refusal::Forbidden { .. } => self.refused(worker, host, answer),
            _ => Step::Answer(answer),
        }
    }

    /// A body that would be replaced by the very same bytes is left alone: most of them are,
    /// because bodies are forwarded in the form that Python's `json.dumps` gives.
    fn leave_as_it_came(&self, worker: &Worker, operation: &mut Operation, came: Option<&[u8]>) {
        let head = self.head.as_ref();
        // Without a length, MLflow's WSGI routes would not read it: then it is set anew.
        let sized = head.is_some_and(|head| {
            head.value(b"content-length").is_some() && head.value(b"transfer-encoding").is_none()
        });
        let only_decided =
            operation.forward.scoped.is_empty() && operation.response == ResponseWork::None;
        if sized
            && only_decided
            && worker.config.body_mode == BodyMode::StopIteration
            && operation.forward.body.as_deref() == came
        {
            operation.forward.body = None;
        }
    }

    // === who ===

    fn authenticate<H: Host>(
        &mut self,
        worker: &mut Worker,
        host: &H,
    ) -> Result<pb::Subject, Unproven> {
        let Some(head) = &self.head else {
            return Err(Unauthenticated::basic("no_head").into());
        };
        let (value, from) = head.credential(self.route);
        self.credential_header = from;
        let forwarded = worker.forwarded(host, head.headers())?;
        if let Forwarded::Identity(identity) = forwarded {
            // Two credentials may be two people, and whichever went first would surprise somebody.
            if value.is_some() {
                return Err(Unauthenticated::basic("forwarded_and_authorization").into());
            }
            self.credential_header = CredentialHeader::Forwarded;
            return Ok(authn::subject(Kind::Verified(identity)));
        }
        if let Some(known) = value.and_then(|value| worker.recall(host, value)) {
            return Ok(known);
        }
        match authn::read(value)? {
            Credential::Absent if forwarded == Forwarded::Ignored => {
                Err(Unauthenticated::basic("forwarded_untrusted").into())
            }
            Credential::Absent => Err(Unauthenticated::basic("no_credential").into()),
            Credential::Basic { username, password } => {
                Ok(authn::subject(Kind::Basic(pb::BasicCredential { username, password })))
            }
            Credential::Opaque(token) => {
                Ok(authn::subject(Kind::Bearer(pb::BearerToken { token })))
            }
            Credential::Jwt(token) => worker.verify(host, &token),
        }
    }
}

/// The body of a request that needs one, where the head has said that there is none.
fn head_body(need: BodyNeed) -> Option<&'static [u8]> {
    match need {
        BodyNeed::Whole { .. } => Some(&[]),
        BodyNeed::Unread | BodyNeed::Forbidden => None,
    }
}
