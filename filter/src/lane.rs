//! The worker's stream of questions.
//!
//! A call costs Envoy some 80 µs, most of it for a router of its own; a message on a stream that
//! is open costs 20. So each worker keeps one open to a policy server for `Authorize`. It is an
//! economy and nothing hangs on it: where there is none (the server is older, or gone, or full)
//! questions go out as calls, and those that a stream leaves unanswered are put again as calls.

use crate::backoff::Backoff;
use crate::contract as pb;
use crate::host::{Host, HostError, Sending, Token};
use crate::policy_client::{MAX_ANSWER, PolicyClient};
use prost::Message;
use prost::encoding::{self, WireType};
use std::rc::Rc;

/// Questions that may be open; further ones are calls. As many as the server takes at a time.
const MAX_OPEN: usize = 1024;

/// `UNIMPLEMENTED`: the server is of an older contract.
const UNIMPLEMENTED: u32 = 12;

/// How long such a server is not asked for a stream again, in ms.
const OLD_SERVER_MS: u64 = 60_000;

/// Names a question on the stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct QuestionId(u32);

#[derive(Debug, Clone, Copy)]
enum State {
    Closed,
    /// Nothing has been heard: what is sent may never arrive.
    Opening {
        stream: Token,
        since_ms: u64,
    },
    Open {
        stream: Token,
        heard_ms: u64,
    },
}

#[derive(Debug)]
pub struct Lane {
    state: State,
    backoff: Backoff,
    last: u32,
}

/// What the stream has brought.
#[derive(Debug)]
pub enum Brought {
    Nothing,
    Answer(QuestionId, Result<Rc<pb::AuthorizeResponse>, u32>),
    /// The stream is of no more use.
    End,
}

impl Lane {
    pub fn new() -> Self {
        Self { state: State::Closed, backoff: Backoff::default(), last: 0 }
    }

    fn stream(&self) -> Option<Token> {
        match self.state {
            State::Closed => None,
            State::Opening { stream, .. } | State::Open { stream, .. } => Some(stream),
        }
    }

    pub fn owns(&self, token: Token) -> bool {
        self.stream() == Some(token)
    }

    /// Called by the root's tick, with the root as the effective context.
    pub fn tick<H: Host>(&mut self, host: &H, client: &PolicyClient, now_ms: u64) {
        match self.state {
            State::Closed if self.backoff.is_due(now_ms) => match client.decide(host) {
                Ok(stream) => self.state = State::Opening { stream, since_ms: now_ms },
                Err(_) => self.backoff.failed(host, now_ms),
            },
            State::Opening { since_ms, .. }
                if now_ms.saturating_sub(since_ms) > client.timeout_ms().into() =>
            {
                self.close(host);
            }
            _ => {}
        }
    }

    /// Whether a tick before `next_ms` would do something.
    pub fn is_due(&self, next_ms: u64) -> bool {
        match self.state {
            State::Closed => self.backoff.is_due(next_ms),
            // The greeting is on its way.
            State::Opening { .. } => true,
            State::Open { .. } => false,
        }
    }

    /// Puts a question, if there is a stream and `open` are not too many. The root is the
    /// effective context.
    pub fn ask<H: Host>(
        &mut self,
        host: &H,
        client: &PolicyClient,
        open: usize,
        request: &[u8],
    ) -> Option<QuestionId> {
        let State::Open { stream, .. } = self.state else { return None };
        if open >= MAX_OPEN {
            return None;
        }
        // 0 is the server's greeting. The ids of open questions differ: there are fewer of them.
        self.last = self.last.checked_add(1).unwrap_or(1);
        let question = question(self.last, client.timeout_ms(), request);
        let sent = host.send(stream, &question, Sending::More);
        sent.ok().map(|()| QuestionId(self.last))
    }

    /// Whether nothing was heard for so long, in ms.
    pub fn is_silent(&self, now_ms: u64, wait_ms: u64) -> bool {
        matches!(self.state, State::Open { heard_ms, .. } if now_ms.saturating_sub(heard_ms) >= wait_ms)
    }

    /// The stream has a message.
    pub fn receive<H: Host>(&mut self, host: &H) -> Brought {
        let Ok(message) = read(host) else {
            // Whose answer it was cannot be said.
            log::error!("mlgate: an answer on the stream of questions could not be read");
            self.close(host);
            return Brought::End;
        };
        if let Some(stream) = self.stream() {
            self.state = State::Open { stream, heard_ms: host.now_ms() };
            self.backoff.succeeded();
        }
        match (message.id, message.response) {
            (0, _) => Brought::Nothing,
            (id, Some(response)) => Brought::Answer(QuestionId(id), Ok(Rc::new(response))),
            (id, None) => Brought::Answer(QuestionId(id), Err(message.code)),
        }
    }

    /// The server ended the stream. Envoy keeps its memory until it is closed here too.
    pub fn ended<H: Host>(&mut self, host: &H, code: u32) {
        self.close(host);
        if code == UNIMPLEMENTED {
            self.backoff.wait(host.now_ms(), OLD_SERVER_MS);
        }
    }

    /// Gives the stream up for a while: it is silent, or the root goes.
    pub fn close<H: Host>(&mut self, host: &H) {
        if let Some(stream) = self.stream() {
            host.close_stream(stream);
        }
        self.state = State::Closed;
        self.backoff.failed(host, host.now_ms());
    }
}

/// A `DecideRequest` around a request that is encoded already.
fn question(id: u32, timeout_ms: u32, request: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(request.len().saturating_add(24));
    encoding::uint32::encode(1, &id, &mut bytes);
    encoding::encode_key(2, WireType::LengthDelimited, &mut bytes);
    encoding::encode_varint(request.len() as u64, &mut bytes);
    bytes.extend_from_slice(request);
    encoding::uint32::encode(3, &timeout_ms, &mut bytes);
    bytes
}

fn read<H: Host>(host: &H) -> Result<pb::DecideResponse, HostError> {
    let bytes = host.received(MAX_ANSWER)?;
    pb::DecideResponse::decode(bytes.as_slice()).map_err(|_| HostError::BadArgument)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_question_is_the_message_that_the_contract_describes() {
        let request = pb::AuthorizeRequest { workspace: "team".to_owned(), ..Default::default() };
        let bytes = question(7, 9, &request.encode_to_vec());
        let expected = pb::DecideRequest { id: 7, request: Some(request), timeout_ms: 9 };
        assert_eq!(pb::DecideRequest::decode(bytes.as_slice()), Ok(expected));
    }
}
