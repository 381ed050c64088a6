//! A proxy for tests: records what it is told, answers what it is given.

use crate::host::{
    Call, ContextId, Direction, Headers, Host, HostError, LocalReply, Metric, MetricId, Sending,
    Shared, Token,
};
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;

#[derive(Debug, Default)]
pub struct State {
    pub now_ms: Cell<u64>,
    pub request: RefCell<Headers>,
    pub response: RefCell<Headers>,
    pub request_body: RefCell<Vec<u8>>,
    /// How often a body was replaced.
    pub bodies_set: Cell<u32>,
    pub response_body: RefCell<Vec<u8>>,
    pub resumed: RefCell<Vec<(ContextId, Direction)>>,
    pub replies: RefCell<Vec<(ContextId, LocalReply)>>,
    pub properties: RefCell<BTreeMap<String, Vec<u8>>>,
    pub shared: RefCell<BTreeMap<String, Shared>>,
    /// What another VM puts under the same key just before the next write.
    pub crossing: RefCell<Option<Vec<u8>>>,
    pub calls: RefCell<Vec<(Token, String, Vec<u8>)>>,
    /// Streams by the method that opened them.
    pub streams: RefCell<Vec<(Token, String)>>,
    pub sent: RefCell<Vec<(Token, Vec<u8>)>>,
    /// Cluster, headers and body of every HTTP call.
    pub http_calls: RefCell<Vec<(String, Headers, Vec<u8>)>>,
    pub http_answer: RefCell<Option<(u16, Vec<u8>)>>,
    pub cancelled: RefCell<Vec<Token>>,
    pub closed: RefCell<Vec<Token>>,
    pub received: RefCell<Vec<u8>>,
    pub effective: Cell<u32>,
    /// In ms, as last set; and how often it was.
    pub tick_period: Cell<(u32, u32)>,
    pub refuses_calls: Cell<bool>,
    pub foreign: RefCell<Option<Vec<u8>>>,
    pub foreign_arguments: RefCell<Vec<u8>>,
    pub metrics: RefCell<BTreeMap<String, i64>>,
    metric_names: RefCell<Vec<String>>,
    cas: Cell<u32>,
    random: Cell<u8>,
    token: Cell<u32>,
}

/// Clones share their state, like two VMs of one process.
#[derive(Debug, Clone, Default)]
pub struct Mock(pub Rc<State>);

impl Mock {
    /// 2026-01-01.
    pub const START_MS: u64 = 1_767_225_600_000;

    pub fn new() -> Self {
        let mock = Self::default();
        mock.0.now_ms.set(Self::START_MS);
        mock
    }

    pub fn advance(&self, milliseconds: u64) {
        self.0.now_ms.set(self.0.now_ms.get() + milliseconds);
    }

    pub fn set_request(&self, headers: &[(&str, &str)]) {
        *self.0.request.borrow_mut() = pairs(headers);
    }

    pub fn set_response(&self, headers: &[(&str, &str)]) {
        *self.0.response.borrow_mut() = pairs(headers);
    }

    pub fn request_header(&self, name: &str) -> Option<String> {
        value(&self.0.request.borrow(), name)
    }

    pub fn response_header(&self, name: &str) -> Option<String> {
        value(&self.0.response.borrow(), name)
    }

    pub fn count(&self, metric: &str) -> i64 {
        self.0.metrics.borrow().get(metric).copied().unwrap_or(0)
    }

    fn next_token(&self) -> Token {
        self.0.token.set(self.0.token.get() + 1);
        Token(self.0.token.get())
    }

    fn map(&self, of: Direction) -> &RefCell<Headers> {
        match of {
            Direction::Request => &self.0.request,
            Direction::Response => &self.0.response,
        }
    }

    fn buffer(&self, of: Direction) -> &RefCell<Vec<u8>> {
        match of {
            Direction::Request => &self.0.request_body,
            Direction::Response => &self.0.response_body,
        }
    }
}

pub fn pairs(headers: &[(&str, &str)]) -> Headers {
    headers.iter().copied().collect()
}

fn value(headers: &Headers, name: &str) -> Option<String> {
    headers.get(name.as_bytes()).map(|value| String::from_utf8_lossy(value).into_owned())
}

impl Host for Mock {
    fn now_ms(&self) -> u64 {
        self.0.now_ms.get()
    }

    fn random(&self, out: &mut [u8]) -> Result<(), HostError> {
        self.0.random.set(self.0.random.get().wrapping_add(1));
        out.fill(self.0.random.get());
        Ok(())
    }

    fn headers(&self, of: Direction) -> Result<Headers, HostError> {
        Ok(self.map(of).borrow().clone())
    }

    fn set_header(&self, of: Direction, name: &str, value: &[u8]) -> Result<(), HostError> {
        let mut headers = self.map(of).borrow_mut();
        *headers = headers.iter().filter(|(other, _)| *other != name.as_bytes()).collect();
        headers.push(name.as_bytes(), value);
        Ok(())
    }

    fn remove_header(&self, of: Direction, name: &[u8]) -> Result<(), HostError> {
        let mut headers = self.map(of).borrow_mut();
        *headers = headers.iter().filter(|(other, _)| *other != name).collect();
        Ok(())
    }

    fn body(&self, of: Direction, limit: usize) -> Result<Vec<u8>, HostError> {
        let body = self.buffer(of).borrow();
        if body.len() > limit { Err(HostError::TooLarge) } else { Ok(body.clone()) }
    }

    fn set_body(&self, of: Direction, body: &[u8]) -> Result<(), HostError> {
        self.0.bodies_set.set(self.0.bodies_set.get() + 1);
        *self.buffer(of).borrow_mut() = body.to_vec();
        Ok(())
    }

    fn resume(&self, of: Direction) -> Result<(), HostError> {
        self.0.resumed.borrow_mut().push((ContextId(self.0.effective.get()), of));
        Ok(())
    }

    fn reply(&self, reply: &LocalReply) -> Result<(), HostError> {
        self.0.replies.borrow_mut().push((ContextId(self.0.effective.get()), reply.clone()));
        Ok(())
    }

    fn property(&self, path: &[&str]) -> Option<Vec<u8>> {
        self.0.properties.borrow().get(&path.join(".")).cloned()
    }

    fn set_property(&self, path: &[&str], value: &[u8]) -> Result<(), HostError> {
        self.0.properties.borrow_mut().insert(path.join("."), value.to_vec());
        Ok(())
    }

    fn shared(&self, key: &str) -> Result<Shared, HostError> {
        self.0.shared.borrow().get(key).cloned().ok_or(HostError::NotFound)
    }

    fn set_shared(&self, key: &str, value: &[u8], cas: Option<u32>) -> Result<(), HostError> {
        let crossing = self.0.crossing.borrow_mut().take();
        if let Some(crossing) = crossing {
            self.set_shared(key, &crossing, None)?;
        }
        let mut shared = self.0.shared.borrow_mut();
        // As Envoy: a cas on a missing key is ignored.
        if let (Some(stored), Some(cas)) = (shared.get(key), cas)
            && stored.cas != cas
        {
            return Err(HostError::CasMismatch);
        }
        self.0.cas.set(self.0.cas.get() + 1);
        let stored = Shared { value: value.to_vec(), cas: self.0.cas.get() };
        shared.insert(key.to_owned(), stored);
        Ok(())
    }

    fn call(&self, call: &Call<'_>) -> Result<Token, HostError> {
        if self.0.refuses_calls.get() {
            return Err(HostError::Other(10));
        }
        let token = self.next_token();
        self.0.calls.borrow_mut().push((token, call.method.to_owned(), call.message.to_vec()));
        Ok(token)
    }

    fn cancel(&self, token: Token) {
        self.0.cancelled.borrow_mut().push(token);
    }

    fn open_stream(&self, call: &Call<'_>) -> Result<Token, HostError> {
        if self.0.refuses_calls.get() {
            return Err(HostError::Other(10));
        }
        let token = self.next_token();
        self.0.streams.borrow_mut().push((token, call.method.to_owned()));
        Ok(token)
    }

    fn send(&self, stream: Token, message: &[u8], _: Sending) -> Result<(), HostError> {
        self.0.sent.borrow_mut().push((stream, message.to_vec()));
        Ok(())
    }

    fn close_stream(&self, token: Token) {
        self.0.closed.borrow_mut().push(token);
    }

    fn received(&self, limit: usize) -> Result<Vec<u8>, HostError> {
        let received = self.0.received.borrow();
        if received.len() > limit { Err(HostError::TooLarge) } else { Ok(received.clone()) }
    }

    fn http_call(
        &self,
        cluster: &[u8],
        headers: &Headers,
        body: &[u8],
        _timeout_ms: u32,
    ) -> Result<Token, HostError> {
        if self.0.refuses_calls.get() {
            return Err(HostError::BadArgument);
        }
        let mut calls = self.0.http_calls.borrow_mut();
        let cluster = String::from_utf8_lossy(cluster).into_owned();
        calls.push((cluster, headers.clone(), body.to_vec()));
        Ok(Token(calls.len() as u32))
    }

    fn http_answer(&self, limit: usize) -> Result<(u16, Vec<u8>), HostError> {
        let answer = self.0.http_answer.borrow().clone().ok_or(HostError::NotFound)?;
        if answer.1.len() > limit { Err(HostError::TooLarge) } else { Ok(answer) }
    }

    fn set_tick_period(&self, milliseconds: u32) -> Result<(), HostError> {
        self.0.tick_period.set((milliseconds, self.0.tick_period.get().1 + 1));
        Ok(())
    }

    fn set_effective(&self, context: ContextId) -> Result<(), HostError> {
        self.0.effective.set(context.0);
        Ok(())
    }

    fn foreign(&self, _function: &str, arguments: &[u8]) -> Result<Vec<u8>, HostError> {
        *self.0.foreign_arguments.borrow_mut() = arguments.to_vec();
        self.0.foreign.borrow().clone().ok_or(HostError::NotFound)
    }

    fn define_metric(&self, _kind: Metric, name: &str) -> Option<MetricId> {
        let mut names = self.0.metric_names.borrow_mut();
        names.push(name.to_owned());
        Some(MetricId(names.len() as u32 - 1))
    }

    fn memory_bytes(&self) -> u64 {
        0
    }

    fn add(&self, metric: MetricId, count: i64) {
        let names = self.0.metric_names.borrow();
        let name = names[metric.0 as usize].clone();
        *self.0.metrics.borrow_mut().entry(name).or_default() += count;
    }

    fn record(&self, _metric: MetricId, _value: u64) {}
}
