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

mod administer;
mod body;
mod decide;
mod decision_log;
mod familiar;
mod finish;
mod forward;
mod head;
mod keys;
mod permit;
mod plan;
mod response;
mod who;

use crate::contract as pb;
use crate::host::{ContextId, Flow, Host};
use crate::metrics::Count;
use crate::operation::{BodyNeed, Operation};
use crate::recognizer::Mark;
use crate::refusal::Refusal;
use crate::reply::Answer;
use crate::surface::{Administration, Passage, Reading, Routed, read_head};
use crate::worker::Worker;
use std::rc::Rc;

pub use familiar::Familiar;
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
    Routed(Rc<Routed>),
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
    /// What its head would be known again by.
    mark: Option<Mark>,
    /// What its body is read by, of a head that is not known yet.
    opening: Option<Rc<Routed>>,
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
            mark: None,
            opening: None,
            credential_header: CredentialHeader::Authorization,
            route: "(unread)",
            username: String::new(),
            source: decision_log::Source::default(),
            revision: 0,
            deadline_ms: None,
            response: Response::Untouched,
        }
    }

    /// Whether the head has said that nothing follows it.
    fn ends_with_head(&self) -> bool {
        self.head.as_ref().is_some_and(|head| head.end_of_stream)
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
        let head = self.head.insert(head);
        if let Some((mark, known)) = worker.meet(host, head) {
            self.mark = Some(mark);
            if let Some(step) = known.and_then(|known| self.again(worker, host, &known)) {
                return step;
            }
        }
        let Some(head) = &self.head else { return Step::Wait(Flow::Hold) };
        let reading = match read_head(&worker.surface, head.raw()) {
            Ok(reading) => reading,
            Err(refusal) => {
                log::info!("mlgate: refused: {refusal:?}");
                return Step::Answer(worker.replies.refusal(&refusal));
            }
        };
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
                self.identify(worker, host, need, Unread::Routed(Rc::new(routed)))
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
                match Rc::unwrap_or_clone(routed).read(body) {
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
}

/// The body of a request that needs one, where the head has said that there is none.
fn head_body(need: BodyNeed) -> Option<&'static [u8]> {
    match need {
        BodyNeed::Whole { .. } => Some(&[]),
        BodyNeed::Unread | BodyNeed::Forbidden => None,
    }
}
