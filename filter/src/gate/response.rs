//! What happens to the answer of an allowed request: rows are dropped, fields cleared, effects
//! recorded. The client sees nothing of it before all that is done; what cannot be done is an
//! error, never the unworked answer.

mod record;

use super::plan::{Plan, Response, Stage, reason};
use super::{GRACE_MS, Gate, State};
use crate::cache::watermarks::{Change, user_scope};
use crate::config::BodyMode;
use crate::contract as pb;
use crate::host::{Direction, Flow, Headers, Host};
use crate::metrics::Count;
use crate::policy_client::Method;
use crate::reply::Answer;
use crate::response::{Next, ResponseError, effects};
use crate::worker::{Answered, Page, Question, Worker};

/// How long a further page may take, in ms.
pub const PAGE_TIMEOUT_MS: u32 = 15_000;

impl Gate {
    pub fn on_response_headers<H: Host>(
        &mut self,
        worker: &mut Worker,
        host: &H,
        end: bool,
    ) -> Flow {
        match &self.state {
            State::Passing { .. } => {}
            // Our own answer: what was planned for MLflow's does not touch it.
            State::Done => {
                self.response = Response::Untouched;
                return Flow::Continue;
            }
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
        let Some(status @ 200..=399) = status_of(&headers) else { return Flow::Continue };
        if end {
            // The length of an answer to HEAD tells how much there is.
            if plan.rewriting.is_some() {
                let _ = host.remove_header(Direction::Response, b"content-length");
            }
            return self.record(worker, host, plan, None, true);
        }
        if !plan.reads_body() {
            return self.record(worker, host, plan, None, true);
        }
        if let Some(why) = plan.head_refused(&headers, status) {
            return self.refuse_worked(worker, host, &plan, why);
        }
        self.response = Response::Buffering(plan);
        self.await_bytes(worker, host);
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
        if matches!(self.response, Response::Buffering(_)) && !worker.sees_bodies {
            worker.sees_bodies = true;
            self.await_bytes(worker, host);
        }
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
        let Response::Buffering(mut plan) =
            std::mem::replace(&mut self.response, Response::Untouched)
        else {
            return Flow::Hold;
        };
        let Ok(body) = host.body(Direction::Response, worker.config.body_limit_bytes) else {
            return self.refuse_worked(worker, host, &plan, "response_unreadable");
        };
        // From MLflow's own words, before anything is cut.
        plan.recorded = Some(effects(&plan.effects, &body));
        let Some(rewriting) = &mut plan.rewriting else {
            return self.record(worker, host, plan, None, true);
        };
        worker.metrics.count(host, Count::ResponsesFiltered);
        let next = rewriting.body(&plan.request, &body);
        self.advance(worker, host, plan, next, true)
    }

    /// Does what rewriting says comes next.
    fn advance<H: Host>(
        &mut self,
        worker: &mut Worker,
        host: &H,
        mut plan: Box<Plan>,
        next: Result<Next, ResponseError>,
        inline: bool,
    ) -> Flow {
        match next {
            Err(error) => {
                log::error!("mlgate: {}: {error:?}", self.route);
                self.refuse_worked(worker, host, &plan, reason(&error))
            }
            Ok(Next::Done(body)) => self.record(worker, host, plan, Some(body), inline),
            Ok(Next::Ask(questions)) => {
                let request = pb::VisibleRequest {
                    username: plan.username.clone(),
                    groups: plan.groups.clone(),
                    workspace: plan.workspace.clone(),
                    questions,
                    min_revision: plan.revision.max(worker.cache.watermarks.revision()),
                    scopes: plan.scopes.clone(),
                };
                let question = Question::uncached(Method::Visible, &request);
                if worker.ask(host, self.id, question).is_err() {
                    return self.refuse_worked(worker, host, &plan, "policy_unreachable");
                }
                let wait = u64::from(worker.client.timeout_ms()).saturating_add(GRACE_MS);
                self.hold(host, plan, Stage::Visible, wait)
            }
            Ok(Next::Fetch(request)) => match worker.fetch(host, self.id, &plan.head, &request) {
                Ok(()) => {
                    let wait = u64::from(PAGE_TIMEOUT_MS).saturating_add(GRACE_MS);
                    self.hold(host, plan, Stage::Page, wait)
                }
                Err(error) => {
                    log::warn!("mlgate: {}: no further page: {error:?}", self.route);
                    let next = cut_short(&mut plan);
                    self.advance(worker, host, plan, next, inline)
                }
            },
        }
    }

    fn hold<H: Host>(&mut self, host: &H, plan: Box<Plan>, stage: Stage, wait_ms: u64) -> Flow {
        self.deadline_ms = Some(host.now_ms().saturating_add(wait_ms));
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
        let Response::Waiting(mut plan, stage) =
            std::mem::replace(&mut self.response, Response::Untouched)
        else {
            return;
        };
        self.deadline_ms = None;
        match (stage, answered) {
            (Stage::Visible, Answered::Visible(visible)) => {
                let rewriting = plan.rewriting.as_mut().ok_or(ResponseError::Answer);
                let next = rewriting.and_then(|rewriting| rewriting.answered(&visible.answers));
                self.advance(worker, host, plan, next, false);
            }
            (Stage::Page, answered) => {
                let next = match (&mut plan.rewriting, answered) {
                    (Some(rewriting), Answered::Page(Page { status: 200, body })) => {
                        rewriting.body(&plan.request, body)
                    }
                    _ => cut_short(&mut plan),
                };
                self.advance(worker, host, plan, next, false);
            }
            (Stage::Record(recording), Answered::Recorded(recorded)) => {
                // The creator's next request must not meet an older decision.
                let change = Change::Scopes {
                    revision: recorded.revision,
                    scopes: vec![user_scope(&plan.username)],
                };
                worker.cache.watermarks.apply(host, &change);
                self.release(worker, host, recording.body.as_deref(), false);
            }
            (Stage::Visible, _) => {
                self.refuse_worked(worker, host, &plan, "policy_unavailable");
            }
            (Stage::Record(recording), _) => {
                self.rest(worker, host, plan, recording);
            }
            (Stage::Resting(recording), _) => {
                self.send_record(worker, host, plan, recording);
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

    /// Refuses; where something was done, that comes first.
    fn refuse_worked<H: Host>(
        &mut self,
        worker: &mut Worker,
        host: &H,
        plan: &Plan,
        why: &str,
    ) -> Flow {
        if plan.effects.is_empty() {
            self.refuse_response(worker, host, why)
        } else {
            let recorded = plan.recorded.as_ref().and_then(|recorded| recorded.as_ref().ok());
            self.unrecorded(worker, host, plan, recorded.map_or(&[], Vec::as_slice))
        }
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
            if self.is_blind(worker) {
                let answer = self.bodies_unseen(worker);
                self.replace_response(worker, host, &answer);
            } else {
                self.refuse_response(worker, host, "response_timeout");
            }
        }
    }
}

fn status_of(headers: &Headers) -> Option<u16> {
    std::str::from_utf8(headers.get(b":status")?).ok()?.parse().ok()
}

fn cut_short(plan: &mut Plan) -> Result<Next, ResponseError> {
    plan.rewriting.as_mut().ok_or(ResponseError::Answer)?.cut_short()
}
