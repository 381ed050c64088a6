//! Questions to the policy server, and their answers.

use super::{Answered, Question, Worker};
use crate::flights::{Flight, Ticket};
use crate::host::{ContextId, Host, HostError, Token};
use crate::lane::Brought;
use crate::metrics::Count;
use crate::policy_client::{MAX_ANSWER, Method, failure};
use crate::vm::GrpcEvent;
use prost::Message;
use std::rc::Rc;

/// gRPC's status for an answer that did not come in time.
const DEADLINE_EXCEEDED: u32 = 4;

/// What came of a call, and the requests that wait for it.
pub type Landed = (Answered, Vec<ContextId>);

impl Worker {
    /// Asks, or joins those who wait for the same answer.
    pub fn ask<H: Host>(
        &mut self,
        host: &H,
        waiter: ContextId,
        question: Question,
    ) -> Result<(), HostError> {
        let revision = self.cache.watermarks.revision();
        if question.key.is_some_and(|key| self.flights.join(&key, revision, waiter)) {
            self.metrics.count(host, Count::SharedFlight);
            return Ok(());
        }
        self.send(host, waiter, question).map(|_| ())
    }

    pub(super) fn send<H: Host>(
        &mut self,
        host: &H,
        waiter: ContextId,
        question: Question,
    ) -> Result<Ticket, HostError> {
        let flight = Flight {
            method: question.method,
            waiters: vec![waiter],
            key: question.key,
            not_after_ms: question.not_after_ms,
            started_ms: host.now_ms(),
            revision: self.cache.watermarks.revision(),
            message: None,
        };
        // The call belongs to the root, so that it outlives the client that caused it when others
        // wait for it too: the proxy drops the answers of a stream that is gone.
        host.set_effective(self.root)?;
        let sent = self.dispatch(host, flight, question.message);
        host.set_effective(waiter)?;
        sent.map_err(|(error, _)| error)
    }

    /// Sends a message, with the root as the effective context. Gives the flight back where it
    /// cannot be sent.
    fn dispatch<H: Host>(
        &mut self,
        host: &H,
        mut flight: Flight,
        message: Vec<u8>,
    ) -> Result<Ticket, (HostError, Box<Flight>)> {
        self.metrics.count(host, Count::PolicyCalls);
        let asked = match flight.method {
            Method::Authorize => {
                self.lane.ask(host, &self.client, self.flights.questions(), &message)
            }
            _ => None,
        };
        let ticket = match asked {
            Some(id) => {
                self.metrics.count(host, Count::PolicyQuestions);
                flight.message = Some(message);
                Ticket::Question(id)
            }
            None => match self.client.call(host, flight.method, &message) {
                Ok(token) => Ticket::Call(token),
                Err(error) => {
                    self.metrics.count(host, Count::PolicyErrors);
                    log::warn!("policy server: {:?} could not be sent: {error:?}", flight.method);
                    return Err((error, Box::new(flight)));
                }
            },
        };
        self.flights.insert(ticket, flight);
        Ok(ticket)
    }

    pub fn owns(&self, token: Token) -> bool {
        self.watches(token) || self.lane.owns(token) || self.flights.contains(Ticket::Call(token))
    }

    /// Takes an event of a call or of the stream of questions. Gives what is thereby answered, and
    /// the requests that wait for it.
    pub fn on_event<H: Host>(&mut self, host: &H, token: Token, event: GrpcEvent) -> Vec<Landed> {
        if self.lane.owns(token) {
            return self.on_lane(host, event);
        }
        let Some(flight) = self.flights.remove(Ticket::Call(token)) else { return Vec::new() };
        let answered = match event {
            GrpcEvent::Message => match host.received(MAX_ANSWER) {
                Ok(bytes) => decode(flight.method, &bytes),
                Err(_) => Answered::Failed,
            },
            GrpcEvent::Closed(code) => failed(flight.method, code),
        };
        let issuer = self.flights.take_issuer(Ticket::Call(token));
        if let Some(issuer) = issuer {
            let answer = match &answered {
                Answered::Keys(answer) => Some(answer.as_ref()),
                _ => None,
            };
            self.issuers.answered(&issuer, answer, host.now_ms());
        }
        vec![self.land(host, flight, answered)]
    }

    fn on_lane<H: Host>(&mut self, host: &H, event: GrpcEvent) -> Vec<Landed> {
        let brought = match event {
            GrpcEvent::Message => self.lane.receive(host),
            GrpcEvent::Closed(code) => {
                // A call may have failed while a request was the effective context.
                let _ = host.set_effective(self.root);
                self.lane.ended(host, code);
                Brought::End
            }
        };
        match brought {
            Brought::Nothing => Vec::new(),
            Brought::End => self.call_instead(host),
            Brought::Answer(id, answer) => {
                // Nobody may wait for it any more.
                let flight = self.flights.remove(Ticket::Question(id));
                let landed = flight.map(|flight| {
                    let answered = match answer {
                        Ok(response) => Answered::Authorized(response),
                        Err(code) => failed(flight.method, code),
                    };
                    self.land(host, flight, answered)
                });
                landed.into_iter().collect()
            }
        }
    }

    /// Puts the questions of a stream that is closed as calls. Gives those that cannot be.
    fn call_instead<H: Host>(&mut self, host: &H) -> Vec<Landed> {
        let mut lost = Vec::new();
        for mut flight in self.flights.take_questions() {
            let message = flight.message.take().unwrap_or_default();
            if let Err((_, flight)) = self.dispatch(host, flight, message) {
                lost.push((Answered::Failed, flight.waiters));
            }
        }
        lost
    }

    /// Gives up questions that have waited for as long as a call may take; and the stream, if it
    /// was silent all the while: the server may be gone without a word.
    pub(super) fn mind_lane<H: Host>(&mut self, host: &H, now_ms: u64) -> Vec<Landed> {
        let timeout_ms = u64::from(self.client.timeout_ms());
        let overdue = self.flights.take_overdue(now_ms, timeout_ms);
        let silent = !overdue.is_empty() && self.lane.is_silent(now_ms, timeout_ms);
        let mut landed: Vec<Landed> = overdue
            .into_iter()
            .map(|flight| {
                let answered = failed(flight.method, DEADLINE_EXCEEDED);
                self.land(host, flight, answered)
            })
            .collect();
        if silent {
            log::warn!("mlgate: the stream of questions is silent; reopening it");
            self.lane.close(host);
            landed.append(&mut self.call_instead(host));
        } else {
            self.lane.tick(host, &self.client, now_ms);
        }
        landed
    }

    /// Remembers what may be remembered.
    fn land<H: Host>(&mut self, host: &H, flight: Flight, answered: Answered) -> Landed {
        let took = host.now_ms().saturating_sub(flight.started_ms);
        self.metrics.policy_call(host, took);
        match (&answered, flight.key) {
            (Answered::Authorized(answer), Some(key)) => {
                let asked = flight.started_ms.saturating_sub(answer.age_ms.into());
                if self.cache.store(host, &key, asked, flight.not_after_ms, answer) {
                    self.metrics.slot_used(host);
                }
            }
            (Answered::Failed, _) => self.metrics.count(host, Count::PolicyErrors),
            _ => {}
        }
        (answered, flight.waiters)
    }

    /// A request is gone or has given up: nobody else waiting, the call is cancelled.
    pub fn forget<H: Host>(&mut self, host: &H, waiter: ContextId) {
        self.pages.retain(|_, other| *other != waiter);
        for (ticket, _) in self.flights.forget(waiter) {
            if let Ticket::Call(token) = ticket
                && host.set_effective(self.root).is_ok()
            {
                host.cancel(token);
            }
        }
    }
}

fn failed(method: Method, code: u32) -> Answered {
    log::warn!("policy server: {method:?} failed with {}", failure(code));
    Answered::Failed
}

fn decode(method: Method, bytes: &[u8]) -> Answered {
    fn read<M: Message + Default>(bytes: &[u8], wrap: fn(Rc<M>) -> Answered) -> Answered {
        M::decode(bytes).map_or(Answered::Failed, |message| wrap(Rc::new(message)))
    }
    match method {
        Method::Authorize => read(bytes, Answered::Authorized),
        Method::Visible => read(bytes, Answered::Visible),
        Method::Record => read(bytes, Answered::Recorded),
        Method::Administer => read(bytes, Answered::Administered),
        Method::Keys => read(bytes, Answered::Keys),
    }
}
