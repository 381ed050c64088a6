//! What the requests of one worker and one configuration share: settings, cache, and whoever verifies
//! tokens. The calls that are under way are in `flight`.

mod flight;

pub use flight::{Answered, Page, Question};

use crate::authn::apart::Prefixes;
use crate::authn::forwarded::{self, Forwarded};
use crate::authn::issuers::{Issuers, Next};
use crate::authn::{self, Unauthenticated, UnknownKey, Unproven};
use crate::cache::{Cache, Fingerprint};
use crate::config::{Config, ConfigError};
use crate::contract as pb;
use crate::host::{ContextId, Headers, Host, Token};
use crate::metrics::{Count, Metrics};
use crate::policy_client::{Method, PolicyClient};
use crate::reply::Replies;
use crate::surface::SurfaceSettings;
use crate::vm::GrpcEvent;
use crate::watch::{Means, Watch, shared_keys};
use rustc_hash::FxHashMap;
use sha2::{Digest, Sha256};
use std::collections::HashMap;

/// Why a key is not asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeyRefused {
    /// The policy server has just said that there is no such key.
    Unknown(Unauthenticated),
    /// Nobody can tell.
    Unavailable,
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
    flights: FxHashMap<Token, flight::Flight>,
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
