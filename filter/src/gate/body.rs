//! Waiting for a request's body, and taking it once it is whole.

use super::{Gate, Held, State, Step, Unread, Who};
use crate::config::BodyMode;
use crate::contract as pb;
use crate::host::{Direction, Flow, Host};
use crate::operation::{Operation, ResponseWork};
use crate::refusal::Refusal;
use crate::worker::Worker;

impl Gate {
    pub(super) fn await_body<H: Host>(
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
    pub(super) fn whole<H: Host>(
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

    /// A body that would be replaced by the very same bytes is left alone: most of them are,
    /// because bodies are forwarded in the form that Python's `json.dumps` gives.
    pub(super) fn leave_as_it_came(
        &self,
        worker: &Worker,
        operation: &mut Operation,
        came: Option<&[u8]>,
    ) {
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
}
