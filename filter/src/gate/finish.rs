//! The ends of a stage: going on, answering, and giving up when time is over.

use super::decision_log::Verdict;
use super::permit::Permit;
use super::{BLIND_MS, Gate, State, Step, Who};
use crate::authn::Unauthenticated;
use crate::config::BodyMode;
use crate::host::{Direction, Flow, Host};
use crate::metrics::Count;
use crate::operation::Forward;
use crate::reply::Answer;
use crate::worker::{Answered, Worker};

impl Gate {
    /// Turns a stage's result into what the proxy is told; `inline` inside the callback that may
    /// let the request go on by its return value.
    pub(super) fn settle<H: Host>(
        &mut self,
        worker: &mut Worker,
        host: &H,
        step: Step,
        inline: bool,
    ) -> Flow {
        match step {
            Step::Wait(flow) => flow,
            Step::Forward => {
                self.head = None;
                self.deadline_ms = None;
                if inline {
                    return Flow::Continue;
                }
                if host.resume(Direction::Request).is_err() {
                    log::warn!("mlgate: {}: the request could not be resumed", self.route);
                }
                Flow::Continue
            }
            Step::Answer(answer) => {
                self.answer(worker, host, &answer);
                Flow::Hold
            }
        }
    }

    /// Answers instead of the upstream. Whatever happens next, nothing passes.
    pub(super) fn answer<H: Host>(&mut self, worker: &Worker, host: &H, answer: &Answer) {
        self.state = State::Done;
        self.deadline_ms = None;
        let status = answer.reply.status;
        worker.metrics.count(host, count_of(status));
        if matches!(status, 401 | 403 | 404 | 429 | 503) {
            self.log_decision(Verdict::Deny, Some(status), &answer.reason);
        }
        self.head = None;
        if let Err(error) = host.reply(&answer.reply) {
            log::warn!("mlgate: an answer could not be sent: {error:?}");
        }
    }

    /// A refusal by policy: 401, 403, 404, 429 or 503. In shadow mode it is only counted.
    pub(super) fn refused<H: Host>(
        &mut self,
        worker: &mut Worker,
        host: &H,
        answer: Answer,
    ) -> Step {
        let Some(permit) = Permit::shadow(worker.config.mode) else { return Step::Answer(answer) };
        worker.metrics.count(host, Count::ShadowDenied);
        self.log_decision(Verdict::ShadowDeny, Some(answer.reply.status), &answer.reason);
        self.forward(worker, host, &permit, &Forward::default(), false)
    }

    pub(super) fn unauthenticated<H: Host>(
        &mut self,
        worker: &mut Worker,
        host: &H,
        why: &Unauthenticated,
    ) -> Step {
        let answer = worker.replies.unauthenticated(why);
        self.refused(worker, host, answer)
    }

    /// A token that nobody had the time to check says nothing about who sent it.
    pub(super) fn flooded<H: Host>(
        &mut self,
        worker: &mut Worker,
        host: &H,
        retry_after_ms: u32,
    ) -> Step {
        let answer = worker.replies.throttled(retry_after_ms, "jwt_flood");
        self.refused(worker, host, answer)
    }

    pub(super) fn no_buffer_filter(&self, worker: &Worker) -> Answer {
        log::error!(
            "mlgate: body_mode is buffer_filter, but no envoy.filters.http.buffer follows this filter"
        );
        worker.replies.misconfigured("The gate is not set up to read bodies.", "no_buffer_filter")
    }

    /// Whether the router has seen the headers of a request that is still held.
    pub(super) fn has_leaked<H: Host>(&self, worker: &mut Worker, host: &H) -> bool {
        if worker.config.body_mode == BodyMode::BufferFilter {
            let upstream = host.property(&["upstream", "address"]);
            worker.leaks_headers |= upstream.is_some_and(|address| !address.is_empty());
        }
        worker.leaks_headers
    }

    /// Starts the clock for a body: a short one while it is not known that bodies are shown.
    pub(super) fn await_bytes<H: Host>(&mut self, worker: &Worker, host: &H) {
        let wait = worker.config.body_timeout_ms;
        let wait = if self.is_blind(worker) { wait.min(BLIND_MS) } else { wait };
        self.deadline_ms = Some(host.now_ms().saturating_add(wait));
    }

    /// Whether no body was ever shown while headers were held.
    pub(super) fn is_blind(&self, worker: &Worker) -> bool {
        worker.config.body_mode == BodyMode::StopIteration && !worker.sees_bodies
    }

    pub(super) fn bodies_unseen(&self, worker: &Worker) -> Answer {
        log::error!(
            "mlgate: no body was ever shown: set allow_on_headers_stop_iteration: true on the \
             plugin, or body_mode: buffer_filter with envoy.filters.http.buffer after it"
        );
        worker.replies.misconfigured("The gate is not set up to read bodies.", "bodies_unseen")
    }

    pub fn is_overdue(&self, now_ms: u64) -> bool {
        self.deadline_ms.is_some_and(|deadline| now_ms >= deadline)
    }

    /// Called by the sweep, with this stream as the effective context.
    pub fn on_deadline<H: Host>(&mut self, worker: &mut Worker, host: &H) {
        self.deadline_ms = None;
        // The rest between two attempts is over, which is no timeout.
        if !self.response.is_resting() {
            worker.metrics.count(host, Count::Timeouts);
        }
        match &self.state {
            State::NeedBody(held) if matches!(held.who, Who::AwaitsKeys { body_ended: true }) => {
                worker.forget(host, self.id);
                if host.set_effective(self.id).is_ok() {
                    self.on_keys_before_body(worker, host);
                }
            }
            State::NeedBody(_) if self.is_blind(worker) => {
                let answer = self.bodies_unseen(worker);
                self.answer(worker, host, &answer);
            }
            State::NeedBody(_) => self.answer(worker, host, &worker.replies.body_timeout()),
            State::Pending(_) => {
                worker.forget(host, self.id);
                if host.set_effective(self.id).is_ok() {
                    self.on_answer(worker, host, &Answered::Failed);
                }
            }
            State::Passing { .. } => self.response_deadline(worker, host),
            State::Init | State::Done => {}
        }
    }

    /// The stream ends: nobody waits for its answer any more.
    pub fn on_done<H: Host>(&mut self, worker: &mut Worker, host: &H) {
        self.deadline_ms = None;
        self.head = None;
        let asks = match &self.state {
            State::Pending(_) => true,
            State::NeedBody(held) => matches!(held.who, Who::AwaitsKeys { .. }),
            State::Init | State::Passing { .. } | State::Done => self.response.is_waiting(),
        };
        if asks {
            worker.forget(host, self.id);
        }
        self.state = State::Done;
    }
}

const fn count_of(status: u16) -> Count {
    match status {
        // Of the gate's own: an empty list, users and roles.
        200..=299 => Count::Allowed,
        401 => Count::Unauthenticated,
        403 | 404 => Count::Denied,
        429 => Count::Throttled,
        500..=599 => Count::Unavailable,
        _ => Count::Refused,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_gate_answers_itself_is_no_refusal_if_it_is_what_was_asked_for() {
        for (status, expected) in [
            (200, Count::Allowed),
            (400, Count::Refused),
            (401, Count::Unauthenticated),
            (403, Count::Denied),
            (404, Count::Denied),
            (413, Count::Refused),
            (429, Count::Throttled),
            (503, Count::Unavailable),
        ] {
            assert_eq!(count_of(status), expected, "{status}");
        }
    }
}
