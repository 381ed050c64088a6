//! What happens to the answer of an allowed request: rows are dropped, fields cleared, effects
//! recorded. The client sees nothing of it before all that is done; what cannot be done is an
//! error, never the unworked answer.

use super::{GRACE_MS, Gate, State};
use crate::cache::watermarks::{Change, user_scope};
use crate::config::{BodyMode, Mode};
use crate::contract as pb;
use crate::host::{Direction, Flow, Headers, Host};
use crate::metrics::Count;
use crate::operation::{Effect, EffectId, Operation, ResponseWork};
use crate::policy_client::{self, Method};
use crate::reply::Answer;
use crate::rewrite::{self, Answers, Questions, Work};
use crate::surface::json::{self, Object};
use crate::worker::{Answered, Question, Worker};

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
    Visible(Object, Questions),
    /// With the body to send, where it changes.
    Record(Option<Vec<u8>>),
}

#[derive(Debug)]
pub struct Plan {
    work: Work,
    effects: Vec<Effect>,
    username: String,
    groups: Vec<String>,
    workspace: String,
    intent_id: String,
    revision: u64,
}

impl Response {
    /// What must be done to the answer of an allowed request. Super admins see everything.
    pub fn plan(
        operation: &Operation,
        who: &pb::Subject,
        answer: &pb::AuthorizeResponse,
        mode: Mode,
    ) -> Self {
        let Some(principal) = &answer.principal else { return Self::Untouched };
        let works = !principal.super_admin && mode == Mode::Enforce;
        let work = Work {
            what: if works { operation.response } else { ResponseWork::None },
            graph: operation.graph.clone(),
            denied_tiers: answer.denied_tiers.clone(),
            username: principal.username.clone(),
            scoped: answer
                .scopes
                .first()
                .is_some_and(|scope| scope.all_but || scope.unlisted || !scope.allowed.is_empty()),
        };
        if !work.is_needed() && operation.effects.is_empty() {
            return Self::Untouched;
        }
        Self::Planned(Box::new(Plan {
            work,
            effects: operation.effects.clone(),
            username: principal.username.clone(),
            groups: policy_client::groups(who),
            workspace: operation.workspace.clone().unwrap_or_default(),
            intent_id: answer.intent_id.clone(),
            revision: answer.revision,
        }))
    }

    /// Whether the body will be read, so that upstream must not compress it.
    pub fn reads_body(&self) -> bool {
        matches!(self, Self::Planned(plan) if plan.reads_body())
    }

    pub fn is_waiting(&self) -> bool {
        matches!(self, Self::Waiting(..))
    }
}

impl Plan {
    fn reads_body(&self) -> bool {
        let from_response = |effect: &Effect| {
            matches!(
                effect,
                Effect::Created { id: EffectId::Response(_), .. }
                    | Effect::Owned { id: EffectId::Response(_), .. }
            )
        };
        self.work.is_needed() || self.effects.iter().any(from_response)
    }

    /// The effects in the contract's form; `None` where an id is not in the response.
    fn recorded(&self, body: Option<&Object>) -> Option<Vec<pb::Effect>> {
        let known = |id: &EffectId| match id {
            EffectId::Known(id) => Some(id.clone()),
            EffectId::Response(path) => rewrite::id_at(body?, path),
        };
        self.effects
            .iter()
            .map(|effect| {
                Some(match effect {
                    Effect::Created { resource, id } => {
                        policy_client::created(*resource, known(id)?)
                    }
                    Effect::Deleted { resource, id } => {
                        policy_client::deleted(*resource, id.clone())
                    }
                    Effect::Renamed { resource, from, to } => {
                        policy_client::renamed(*resource, from.clone(), to.clone())
                    }
                    Effect::Owned { kind, id } => policy_client::owned(*kind, known(id)?),
                })
            })
            .collect()
    }
}

impl Gate {
    pub fn on_response_headers<H: Host>(
        &mut self,
        worker: &mut Worker,
        host: &H,
        end: bool,
    ) -> Flow {
        match &self.state {
            State::Passing { .. } => {}
            // Our own answer.
            State::Done => return Flow::Continue,
            State::Init | State::NeedBody(_) | State::Pending(_) => {
                return self.undecided_response(worker, host);
            }
        }
        let Response::Planned(plan) = std::mem::replace(&mut self.response, Response::Untouched)
        else {
            return Flow::Continue;
        };
        let Ok(headers) = host.headers(Direction::Response) else {
            return self.refuse_response(worker, host, "no_headers");
        };
        // A refusal of MLflow's, or of Envoy's, has no rows and had no effects.
        if !matches!(status_of(&headers), Some(200..=399)) {
            return Flow::Continue;
        }
        if end {
            // The length of an answer to HEAD tells how much there is.
            if plan.work.is_needed() {
                let _ = host.remove_header(Direction::Response, b"content-length");
            }
            return self.work(worker, host, plan, None, true);
        }
        if !plan.reads_body() {
            return self.record(worker, host, plan, None, None, true);
        }
        if is_encoded(&headers) {
            return self.refuse_response(worker, host, "response_encoded");
        }
        self.response = Response::Buffering(plan);
        let wait = worker.config.body_timeout_ms;
        self.deadline_ms = Some(host.now_ms().saturating_add(wait));
        match worker.config.body_mode {
            BodyMode::StopIteration => Flow::Buffer,
            // Held headers would hide the body; the body is held, which is what counts.
            BodyMode::BufferFilter => {
                match host.remove_header(Direction::Response, b"content-length") {
                    Ok(()) => Flow::Continue,
                    Err(_) => self.refuse_response(worker, host, "no_headers"),
                }
            }
        }
    }

    /// An answer before there was a decision: Envoy's own (413, 504), or a sign that the request
    /// has gone on without one.
    fn undecided_response<H: Host>(&mut self, worker: &mut Worker, host: &H) -> Flow {
        let details = host.property(&["response", "code_details"]).unwrap_or_default();
        if details != b"via_upstream" {
            return Flow::Continue;
        }
        worker.leaks_headers = true;
        let answer = self.no_buffer_filter(worker);
        self.answer(worker, host, &answer);
        Flow::Hold
    }

    pub fn on_response_body<H: Host>(
        &mut self,
        worker: &mut Worker,
        host: &H,
        size: usize,
        end: bool,
    ) -> Flow {
        match &self.response {
            Response::Untouched => Flow::Continue,
            Response::Buffering(_) if size > worker.config.body_limit_bytes => {
                self.refuse_response(worker, host, "response_too_large")
            }
            Response::Buffering(_) if end => self.take_response(worker, host),
            Response::Buffering(_) | Response::Waiting(..) => Flow::Buffer,
            Response::Planned(_) => Flow::Hold,
        }
    }

    pub fn on_response_trailers<H: Host>(&mut self, worker: &mut Worker, host: &H) -> Flow {
        match &self.response {
            Response::Untouched => Flow::Continue,
            Response::Buffering(_) => self.take_response(worker, host),
            Response::Planned(_) | Response::Waiting(..) => Flow::Hold,
        }
    }

    fn take_response<H: Host>(&mut self, worker: &mut Worker, host: &H) -> Flow {
        let Response::Buffering(plan) = std::mem::replace(&mut self.response, Response::Untouched)
        else {
            return Flow::Hold;
        };
        let body = host.body(Direction::Response, worker.config.body_limit_bytes);
        let object = body.ok().and_then(|body| json::read_object(&body).ok());
        match object {
            Some(object) => self.work(worker, host, plan, Some(object), true),
            None => self.refuse_response(worker, host, "response_unreadable"),
        }
    }

    /// Asks which rows may be seen, where there are rows.
    fn work<H: Host>(
        &mut self,
        worker: &mut Worker,
        host: &H,
        plan: Box<Plan>,
        body: Option<Object>,
        inline: bool,
    ) -> Flow {
        let Some(object) = body else {
            return self.record(worker, host, plan, None, None, inline);
        };
        let questions = plan.work.questions(&object);
        if questions.is_empty() {
            return self.rewrite_response(worker, host, plan, object, &Answers::default(), inline);
        }
        let request = pb::VisibleRequest {
            username: plan.username.clone(),
            groups: plan.groups.clone(),
            workspace: plan.workspace.clone(),
            questions: questions.to_contract(),
            min_revision: plan.revision.max(worker.cache.watermarks.revision()),
        };
        let question =
            Question { method: Method::Visible, message: &request, key: None, not_after_ms: None };
        if worker.ask(host, self.id, &question).is_err() {
            return self.refuse_response(worker, host, "policy_unreachable");
        }
        self.hold(worker, host, plan, Stage::Visible(object, questions))
    }

    /// Drops and clears what must not be seen, then records.
    fn rewrite_response<H: Host>(
        &mut self,
        worker: &mut Worker,
        host: &H,
        plan: Box<Plan>,
        body: Object,
        answers: &Answers,
        inline: bool,
    ) -> Flow {
        if !plan.work.is_needed() {
            return self.record(worker, host, plan, Some(&body), None, inline);
        }
        worker.metrics.count(host, Count::ResponsesFiltered);
        let body = plan.work.apply(body, answers);
        let bytes = body.to_bytes();
        self.record(worker, host, plan, Some(&body), Some(bytes), inline)
    }

    /// Makes the effects durable before the client sees success.
    fn record<H: Host>(
        &mut self,
        worker: &mut Worker,
        host: &H,
        plan: Box<Plan>,
        body: Option<&Object>,
        bytes: Option<Vec<u8>>,
        inline: bool,
    ) -> Flow {
        if plan.effects.is_empty() {
            return self.release(worker, host, bytes.as_deref(), inline);
        }
        let Some(effects) = plan.recorded(body) else {
            return self.unrecorded(worker, host, &plan);
        };
        let request = pb::RecordRequest {
            username: plan.username.clone(),
            workspace: plan.workspace.clone(),
            effects,
            intent_id: plan.intent_id.clone(),
            groups: plan.groups.clone(),
        };
        let question =
            Question { method: Method::Record, message: &request, key: None, not_after_ms: None };
        if worker.ask(host, self.id, &question).is_err() {
            return self.unrecorded(worker, host, &plan);
        }
        self.hold(worker, host, plan, Stage::Record(bytes))
    }

    fn hold<H: Host>(&mut self, worker: &Worker, host: &H, plan: Box<Plan>, stage: Stage) -> Flow {
        let wait = u64::from(worker.client.timeout_ms()).saturating_add(GRACE_MS);
        self.deadline_ms = Some(host.now_ms().saturating_add(wait));
        let holds_body = plan.reads_body();
        self.response = Response::Waiting(plan, stage);
        if holds_body { Flow::Buffer } else { Flow::Hold }
    }

    pub(super) fn on_response_answer<H: Host>(
        &mut self,
        worker: &mut Worker,
        host: &H,
        answered: &Answered,
    ) {
        let Response::Waiting(plan, stage) =
            std::mem::replace(&mut self.response, Response::Untouched)
        else {
            return;
        };
        self.deadline_ms = None;
        match (stage, answered) {
            (Stage::Visible(object, questions), Answered::Visible(visible)) => {
                let answers = questions.answered(&visible.answers);
                self.rewrite_response(worker, host, plan, object, &answers, false);
            }
            (Stage::Record(bytes), Answered::Recorded(recorded)) => {
                // The creator's next request must not meet an older decision.
                let change = Change::Scopes {
                    revision: recorded.revision,
                    scopes: vec![user_scope(&plan.username)],
                };
                worker.cache.watermarks.apply(host, &change);
                self.release(worker, host, bytes.as_deref(), false);
            }
            (Stage::Visible(..), _) => {
                self.refuse_response(worker, host, "policy_unavailable");
            }
            (Stage::Record(_), _) => {
                self.unrecorded(worker, host, &plan);
            }
        }
    }

    /// Sends the response on, with another body where it has changed.
    fn release<H: Host>(
        &mut self,
        worker: &mut Worker,
        host: &H,
        body: Option<&[u8]>,
        inline: bool,
    ) -> Flow {
        self.response = Response::Untouched;
        self.deadline_ms = None;
        if let Some(body) = body {
            let held = worker.config.body_mode == BodyMode::StopIteration;
            let length = body.len().to_string();
            let fits = !held
                || host
                    .set_header(Direction::Response, "content-length", length.as_bytes())
                    .is_ok();
            if !fits || host.set_body(Direction::Response, body).is_err() {
                return self.refuse_response(worker, host, "response_rewrite");
            }
        }
        if !inline && host.resume(Direction::Response).is_err() {
            log::warn!("mlgate: {}: the response could not be resumed", self.route);
        }
        Flow::Continue
    }

    fn refuse_response<H: Host>(&mut self, worker: &mut Worker, host: &H, why: &str) -> Flow {
        log::error!("mlgate: {}: the response is not passed on: {why}", self.route);
        worker.metrics.count(host, Count::ResponsesRefused);
        let answer = match why {
            "policy_unavailable" | "policy_unreachable" => worker.replies.unavailable(why),
            _ => worker.replies.bad_upstream(why),
        };
        self.replace_response(worker, host, &answer)
    }

    /// It exists, but nobody owns it: say so, and who can help.
    fn unrecorded<H: Host>(&mut self, worker: &mut Worker, host: &H, plan: &Plan) -> Flow {
        worker.metrics.count(host, Count::RecordsFailed);
        log::error!(
            "mlgate: {}: done, but its grants could not be recorded: user={:?} effects={:?}",
            self.route,
            plan.username,
            plan.effects,
        );
        let message = "The operation succeeded, but its permissions could not be recorded. \
                       An administrator can grant them.";
        let answer = worker.replies.internal(message, "not_recorded");
        self.replace_response(worker, host, &answer)
    }

    fn replace_response<H: Host>(&mut self, worker: &Worker, host: &H, answer: &Answer) -> Flow {
        self.response = Response::Untouched;
        self.answer(worker, host, answer);
        Flow::Hold
    }

    pub(super) fn response_deadline<H: Host>(&mut self, worker: &mut Worker, host: &H) {
        if self.response.is_waiting() {
            worker.forget(host, self.id);
            if host.set_effective(self.id).is_ok() {
                self.on_response_answer(worker, host, &Answered::Failed);
            }
        } else if matches!(self.response, Response::Buffering(_)) {
            self.refuse_response(worker, host, "response_timeout");
        }
    }
}

fn status_of(headers: &Headers) -> Option<u16> {
    let (_, value) = headers.iter().find(|(name, _)| name == b":status")?;
    std::str::from_utf8(value).ok()?.parse().ok()
}

/// Whether the body is compressed although the request did not ask for it.
fn is_encoded(headers: &Headers) -> bool {
    headers.iter().any(|(name, value)| {
        name == b"content-encoding" && !value.eq_ignore_ascii_case(b"identity")
    })
}
