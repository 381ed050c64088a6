//! What the requests of one worker and one configuration share: settings, cache, and the calls
//! that are under way.

use crate::authn::apart::Prefixes;
use crate::authn::forwarded::{self, Forwarded};
use crate::authn::issuers::{Issuers, Next};
use crate::authn::{self, Unauthenticated, UnknownKey, Unproven};
use crate::cache::{Cache, Fingerprint, Key};
use crate::config::{Config, ConfigError};
use crate::contract as pb;
use crate::gate::PAGE_TIMEOUT_MS;
use crate::host::{ContextId, Headers, Host, HostError, Token};
use crate::metrics::{Count, Metrics};
use crate::operation::Forward;
use crate::policy_client::{MAX_ANSWER, Method, PolicyClient, failure};
use crate::reply::Replies;
use crate::surface::SurfaceSettings;
use crate::vm::GrpcEvent;
use crate::watch::{Means, Watch, shared_keys};
use prost::Message;
use rustc_hash::FxHashMap;
use sha2::{Digest, Sha256};
use std::collections::HashMap;
use std::rc::Rc;

/// A call and the requests that wait for it.
#[derive(Debug)]
struct Flight {
    method: Method,
    waiters: Vec<ContextId>,
    /// Set where the answer may be shared and remembered.
    key: Option<Key>,
    not_after_ms: Option<u64>,
    started_ms: u64,
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

/// Why a key is not asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeyRefused {
    /// The policy server has just said that there is no such key.
    Unknown(Unauthenticated),
    /// Nobody can tell.
    Unavailable,
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

#[derive(Debug)]
pub struct Worker {
    root: ContextId,
    pub config: Config,
    pub surface: SurfaceSettings,
    pub replies: Replies,
    pub client: PolicyClient,
    pub cache: Cache,
    pub issuers: Issuers,
    pub prefixes: Prefixes,
    pub metrics: Metrics,
    watch: Watch,
    /// Of every key in shared data.
    prefix: String,
    /// [`Watermarks::keys`](crate::cache::watermarks::Watermarks::keys) as last read.
    keys_seen: u64,
    /// Bodies have been seen while headers were held: `allow_on_headers_stop_iteration` is set.
    pub sees_bodies: bool,
    /// The headers of a held request were seen to have gone on: no buffer filter follows.
    pub leaks_headers: bool,
    /// Allowed requests since the last one that was logged.
    unlogged: u32,
    flights: FxHashMap<Token, Flight>,
    by_key: HashMap<Fingerprint, Token>,
    /// By the issuer whose keys are asked for.
    key_flights: HashMap<String, Token>,
    /// Further pages that are awaited. The proxy numbers them apart from calls.
    pages: FxHashMap<Token, ContextId>,
}

impl Worker {
    /// Reads the configuration. `plugin` is the plugin's name in Envoy's configuration.
    pub fn configure<H: Host>(host: &H, root: ContextId, json: &[u8]) -> Result<Self, ConfigError> {
        let config = Config::parse(json)?;
        let plugin = host.property(&["plugin_name"]).unwrap_or_default();
        let surface = config.surface();
        let prefix = shared_prefix(&plugin, json);
        Ok(Self {
            root,
            replies: Replies::new(&config),
            client: PolicyClient::new(&config.policy),
            watch: Watch::new(&prefix),
            cache: Cache::new(config.cache.clone(), prefix.clone()),
            prefix,
            keys_seen: 0,
            issuers: Issuers::new(&config)?,
            prefixes: Prefixes::of(&config),
            metrics: Metrics::define(host),
            surface,
            config,
            sees_bodies: false,
            leaks_headers: false,
            unlogged: 0,
            flights: FxHashMap::default(),
            by_key: HashMap::new(),
            key_flights: HashMap::new(),
            pages: FxHashMap::default(),
        })
    }

    /// The root's tick, with the root as the effective context.
    pub fn tick<H: Host>(&mut self, host: &H, now_ms: u64) {
        self.cache.adopt_secret(host);
        self.metrics.memory(host);
        let (watch, means) = self.means(host);
        watch.tick(means, now_ms);
        self.cache.watermarks.refresh(host, now_ms);
        let heard_ms = self.cache.watermarks.heard_ms();
        if heard_ms > 0 {
            self.metrics.heard_age(host, now_ms.saturating_sub(heard_ms));
        }
        let keys = self.cache.watermarks.keys();
        if keys != self.keys_seen {
            self.keys_seen = keys;
            self.read_keys(host);
        }
    }

    /// Whether this allowed request is one of those that are logged.
    pub fn logs_allowed(&mut self) -> bool {
        self.unlogged = self.unlogged.saturating_add(1);
        let due = self.unlogged == self.config.log_allowed_one_in;
        if due {
            self.unlogged = 0;
        }
        due
    }

    fn read_keys<H: Host>(&mut self, host: &H) {
        let names: Vec<String> = self.issuers.pushed().map(str::to_owned).collect();
        for name in names {
            if let Some(keys) = shared_keys(host, &self.prefix, &name) {
                self.issuers.push(&keys);
            }
        }
    }

    /// An event of the Watch stream.
    pub fn on_watch<H: Host>(&mut self, host: &H, event: GrpcEvent) {
        let (watch, mut means) = self.means(host);
        match event {
            GrpcEvent::Message => watch.on_message(&mut means),
            GrpcEvent::Closed(code) => watch.on_closed(&means, code),
        }
    }

    pub fn watches(&self, token: Token) -> bool {
        self.watch.owns(token)
    }

    /// The root goes away.
    pub fn stop<H: Host>(&mut self, host: &H) {
        self.watch.stop(host);
    }

    fn means<'a, H: Host>(&'a mut self, host: &'a H) -> (&'a mut Watch, Means<'a, H>) {
        let means = Means {
            host,
            client: &self.client,
            metrics: &self.metrics,
            watermarks: &mut self.cache.watermarks,
        };
        (&mut self.watch, means)
    }

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

    fn send<H: Host, M: Message>(
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

    /// What a proxy in front says, where that counts.
    pub fn forwarded<H: Host>(
        &self,
        host: &H,
        headers: &Headers,
    ) -> Result<Forwarded, Unauthenticated> {
        let Some(config) = &self.config.forwarded_identity else { return Ok(Forwarded::Nothing) };
        forwarded::read(config, &self.prefixes, host, headers)
    }

    /// Whose an `Authorization` is, if it holds a JWT that was verified before: then it need not
    /// even be read.
    pub fn recall<H: Host>(&mut self, host: &H, authorization: &[u8]) -> Option<pb::Subject> {
        let token = authn::after_bearer(authorization)?;
        let known = self.issuers.recall(host, token, host.now_ms())?;
        self.metrics.count(host, Count::JwtVerified);
        Some(known)
    }

    /// The identity that a JWT proves.
    pub fn verify<H: Host>(&mut self, host: &H, token: &str) -> Result<pb::Subject, Unproven> {
        let verified = self.issuers.verify(host, token, host.now_ms());
        match &verified {
            Ok(_) => self.metrics.count(host, Count::JwtVerified),
            Err(Unproven::Refused(_)) => self.metrics.count(host, Count::JwtRefused),
            Err(Unproven::UnknownKey(_) | Unproven::Flood { .. }) => {}
        }
        verified
    }

    /// Asks the policy server for a key, or joins those who wait for the same issuer's.
    pub fn ask_for_key<H: Host>(
        &mut self,
        host: &H,
        waiter: ContextId,
        key: &UnknownKey,
    ) -> Result<(), KeyRefused> {
        if self.issuers.next(&key.issuer, host.now_ms()) != Next::Ask {
            return Err(self.key_refused(host, key));
        }
        let flight = self.key_flights.get(&key.issuer).and_then(|it| self.flights.get_mut(it));
        if let Some(flight) = flight {
            flight.waiters.push(waiter);
            self.metrics.count(host, Count::SharedFlight);
            return Ok(());
        }
        let kid = key.kid.clone().unwrap_or_default();
        let message = pb::KeysRequest { issuer: key.issuer.clone(), kid };
        let question =
            Question { method: Method::Keys, message: &message, key: None, not_after_ms: None };
        self.metrics.count(host, Count::KeysAsked);
        let sent = self.send(host, waiter, &question);
        let token = sent.map_err(|_| KeyRefused::Unavailable)?;
        self.key_flights.insert(key.issuer.clone(), token);
        Ok(())
    }

    /// What is said of a key that the policy server was asked for in vain.
    pub fn key_refused<H: Host>(&self, host: &H, key: &UnknownKey) -> KeyRefused {
        match self.issuers.next(&key.issuer, host.now_ms()) {
            Next::Refuse => {
                self.metrics.count(host, Count::JwtRefused);
                let why = Unauthenticated::bearer("jwt_kid", "the token's key is not known");
                KeyRefused::Unknown(why)
            }
            Next::Ask | Next::Unavailable => KeyRefused::Unavailable,
        }
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

/// Two plugins, or two configurations of one, never read each other's shared data.
fn shared_prefix(plugin: &[u8], json: &[u8]) -> String {
    let mut hasher = Sha256::new();
    hasher.update((plugin.len() as u64).to_be_bytes());
    hasher.update(plugin);
    hasher.update(json);
    let digest = hasher.finalize();
    let hash: String = digest.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    format!("mlgate/{hash}/")
}
