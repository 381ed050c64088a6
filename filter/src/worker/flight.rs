//! Calls to the policy server and to MLflow that are under way, and who waits for them.

use super::Worker;
use crate::cache::Key;
use crate::contract as pb;
use crate::gate::PAGE_TIMEOUT_MS;
use crate::host::{ContextId, Headers, Host, HostError, Token};
use crate::metrics::Count;
use crate::operation::Forward;
use crate::policy_client::{MAX_ANSWER, Method, failure};
use prost::Message;
use std::rc::Rc;

/// A call and the requests that wait for it.
#[derive(Debug)]
pub(super) struct Flight {
    method: Method,
    pub(super) waiters: Vec<ContextId>,
    /// Set where the answer may be shared and remembered.
    pub(super) key: Option<Key>,
    pub(super) not_after_ms: Option<u64>,
    pub(super) started_ms: u64,
}

/// What came of a call.
#[derive(Debug, Clone)]
pub enum Answered {
    Authorized(Rc<pb::AuthorizeResponse>),
    Visible(Rc<pb::VisibleResponse>),
    Recorded(Rc<pb::RecordResponse>),
    Administered(Rc<pb::AdministerResponse>),
    /// The issuers have taken them.
    Keys(Rc<pb::KeysResponse>),
    /// A further page from MLflow.
    Page(Page),
    /// Any status but OK, and any answer that cannot be read.
    Failed,
}

/// MLflow's answer to a request of ours.
#[derive(Debug, Clone)]
pub struct Page {
    pub status: u16,
    pub body: Vec<u8>,
}

/// A question to the policy server.
#[derive(Debug)]
pub struct Question<'a, M> {
    pub method: Method,
    pub message: &'a M,
    /// Set where other requests may wait for, and use, the same answer.
    pub key: Option<Key>,
    /// When the credential ends, in ms since the epoch.
    pub not_after_ms: Option<u64>,
}

impl Worker {
    /// Asks, or joins those who wait for the same answer.
    pub fn ask<H: Host, M: Message>(
        &mut self,
        host: &H,
        waiter: ContextId,
        question: &Question<'_, M>,
    ) -> Result<(), HostError> {
        if let Some(token) = question.key.and_then(|key| self.by_key.get(&key.far).copied())
            && let Some(flight) = self.flights.get_mut(&token)
        {
            flight.waiters.push(waiter);
            self.metrics.count(host, Count::SharedFlight);
            return Ok(());
        }
        self.send(host, waiter, question).map(|_| ())
    }

    pub(super) fn send<H: Host, M: Message>(
        &mut self,
        host: &H,
        waiter: ContextId,
        question: &Question<'_, M>,
    ) -> Result<Token, HostError> {
        self.metrics.count(host, Count::PolicyCalls);
        // The call belongs to the root, so that it outlives the client that caused it when others
        // wait for it too: the proxy drops the answers of a stream that is gone.
        host.set_effective(self.root)?;
        let called = self.client.call(host, question.method, question.message);
        host.set_effective(waiter)?;
        let token = called.inspect_err(|error| {
            self.metrics.count(host, Count::PolicyErrors);
            log::warn!("policy server: {:?} could not be sent: {error:?}", question.method);
        })?;
        if let Some(key) = question.key {
            self.by_key.insert(key.far, token);
        }
        self.flights.insert(
            token,
            Flight {
                method: question.method,
                waiters: vec![waiter],
                key: question.key,
                not_after_ms: question.not_after_ms,
                started_ms: host.now_ms(),
            },
        );
        Ok(token)
    }

    /// Sends a request like the one that the effective stream has sent, whose headers are `sent`,
    /// to the same cluster.
    pub fn fetch<H: Host>(
        &mut self,
        host: &H,
        waiter: ContextId,
        sent: &Headers,
        request: &Forward,
    ) -> Result<(), HostError> {
        // What the last call to the policy server left may be the root, which has no upstream.
        host.set_effective(waiter)?;
        let named = [&["xds", "cluster_name"][..], &["cluster_name"]];
        let cluster =
            named.iter().find_map(|path| host.property(path)).ok_or(HostError::NotFound)?;
        let headers = page_head(sent, request);
        let body = request.body.as_deref().unwrap_or_default();
        // By the root, like the calls to the policy server: its answer finds whoever asked.
        host.set_effective(self.root)?;
        let called = host.http_call(&cluster, &headers, body, PAGE_TIMEOUT_MS);
        host.set_effective(waiter)?;
        let token = called?;
        self.pages.insert(token, waiter);
        self.metrics.count(host, Count::PagesFetched);
        Ok(())
    }

    pub fn awaits_page(&self, token: Token) -> bool {
        self.pages.contains_key(&token)
    }

    /// Takes a further page; gives the request that waits for it.
    pub fn land_page<H: Host>(&mut self, host: &H, token: Token) -> Option<(Answered, ContextId)> {
        let waiter = self.pages.remove(&token)?;
        let answered = match host.http_answer(self.config.body_limit_bytes) {
            Ok((status, body)) => Answered::Page(Page { status, body }),
            Err(_) => Answered::Failed,
        };
        Some((answered, waiter))
    }

    pub fn owns(&self, token: Token) -> bool {
        self.flights.contains_key(&token)
    }

    /// Takes the outcome of a call: `Ok` when its message can be received now, else its status.
    /// Gives the waiting requests.
    pub fn land<H: Host>(
        &mut self,
        host: &H,
        token: Token,
        status: Result<(), u32>,
    ) -> Option<(Answered, Vec<ContextId>)> {
        let flight = self.remove(token)?;
        let took = host.now_ms().saturating_sub(flight.started_ms);
        self.metrics.policy_call(host, took);
        let answered = match status {
            Ok(()) => match host.received(MAX_ANSWER) {
                Ok(bytes) => decode(flight.method, &bytes),
                Err(_) => Answered::Failed,
            },
            Err(_) => Answered::Failed,
        };
        let issuer = self.key_flights.iter().find(|(_, flight)| **flight == token);
        if let Some(issuer) = issuer.map(|(issuer, _)| issuer.clone()) {
            self.key_flights.remove(&issuer);
            let answer = match &answered {
                Answered::Keys(answer) => Some(answer.as_ref()),
                _ => None,
            };
            self.issuers.answered(&issuer, answer, host.now_ms());
        }
        match (&answered, flight.key) {
            (Answered::Authorized(answer), Some(key)) => {
                let asked = flight.started_ms.saturating_sub(answer.age_ms.into());
                if self.cache.store(host, &key, asked, flight.not_after_ms, answer) {
                    self.metrics.slot_used(host);
                }
            }
            (Answered::Failed, _) => {
                self.metrics.count(host, Count::PolicyErrors);
                let code = status.err().unwrap_or_default();
                log::warn!("policy server: {:?} failed with {}", flight.method, failure(code));
            }
            _ => {}
        }
        Some((answered, flight.waiters))
    }

    /// A request is gone or has given up: nobody else waiting, the call is cancelled.
    pub fn forget<H: Host>(&mut self, host: &H, waiter: ContextId) {
        self.pages.retain(|_, other| *other != waiter);
        let mut abandoned = Vec::new();
        for (token, flight) in &mut self.flights {
            flight.waiters.retain(|other| *other != waiter);
            // What MLflow has done stays done: its record must arrive, whoever still listens. And
            // who asks for keys and goes must not make the next one ask again at once.
            let needed = matches!(flight.method, Method::Record | Method::Keys);
            if flight.waiters.is_empty() && !needed {
                abandoned.push(*token);
            }
        }
        for token in abandoned {
            self.remove(token);
            if host.set_effective(self.root).is_ok() {
                host.cancel(token);
            }
        }
    }

    fn remove(&mut self, token: Token) -> Option<Flight> {
        let flight = self.flights.remove(&token)?;
        if let Some(key) = flight.key {
            self.by_key.remove(&key.far);
        }
        Some(flight)
    }
}

/// The head that was sent, with the page's path and without what belongs to the connection or to
/// the first body.
fn page_head(sent: &Headers, request: &Forward) -> Headers {
    const OWN: &[&[u8]] =
        &[b":path", b"content-length", b"transfer-encoding", b"connection", b"expect", b"te"];
    let query = request.path.split_once('?').map(|(_, query)| query);
    let mut headers = Headers::new();
    for (name, value) in sent.iter() {
        if name == b":path" {
            // Envoy may have rewritten the path on the way: only the query is ours.
            let path = value.split(|&byte| byte == b'?').next().unwrap_or_default();
            let mut target = path.to_vec();
            if let Some(query) = query {
                target.push(b'?');
                target.extend_from_slice(query.as_bytes());
            }
            headers.push(name, &target);
        } else if !OWN.contains(&name) {
            headers.push(name, value);
        }
    }
    if let Some(body) = &request.body {
        headers.push(b"content-length", body.len().to_string().as_bytes());
    }
    headers
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
