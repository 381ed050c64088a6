//! What the requests of one worker and one configuration share: settings, cache, and the calls
//! that are under way.

mod ask;
mod keys;
mod pages;

use crate::authn::Unauthenticated;
use crate::authn::issuers::Issuers;
use crate::cache::{Cache, Key};
use crate::config::{Config, ConfigError};
use crate::contract as pb;
use crate::flights::Flights;
use crate::gate::Familiar;
use crate::guessing::Guessing;
use crate::host::{ContextId, Host, Token};
use crate::lane::Lane;
use crate::metrics::Metrics;
use crate::pace::Pace;
use crate::policy_client::{Method, PolicyClient};
use crate::reply::Replies;
use crate::surface::SurfaceSettings;
use crate::vm::GrpcEvent;
use crate::watch::{Means, Watch, shared_keys};
use prost::Message;
use rustc_hash::FxHashMap;
use sha2::{Digest, Sha256};
use std::rc::Rc;

pub use ask::Landed;

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
pub struct Question {
    pub method: Method,
    pub message: Vec<u8>,
    /// Set where other requests may wait for, and use, the same answer.
    pub key: Option<Key>,
    /// When the credential ends, in ms since the epoch.
    pub not_after_ms: Option<u64>,
}

impl Question {
    /// One whose answer is not kept for when the same is asked.
    pub fn uncached(method: Method, message: &impl Message) -> Self {
        Self { method, message: message.encode_to_vec(), key: None, not_after_ms: None }
    }
}

/// Between looks at what changes slowly or never, in ms: the memory, and the shared cache's secret.
const SWEEP_MS: u64 = 500;

#[derive(Debug)]
pub struct Worker {
    root: ContextId,
    pub config: Config,
    pub surface: SurfaceSettings,
    pub replies: Replies,
    pub client: PolicyClient,
    pub cache: Cache,
    pub issuers: Issuers,
    pub familiar: Familiar,
    pub metrics: Metrics,
    pub guessing: Guessing,
    watch: Watch,
    pace: Pace,
    /// Of every key in shared data.
    prefix: String,
    /// [`Watermarks::keys`](crate::cache::watermarks::Watermarks::keys) as last read.
    keys_seen: u64,
    /// Bodies have been seen while headers were held: `allow_on_headers_stop_iteration` is set.
    pub sees_bodies: bool,
    /// The headers of a held request were seen to have gone on: no buffer filter follows.
    pub leaks_headers: bool,
    /// When the root last saw to what can wait for a few ticks.
    swept_ms: Option<u64>,
    /// Allowed requests since the last one that was logged.
    unlogged: u32,
    lane: Lane,
    flights: Flights,
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
            pace: Pace::new(config.body_timeout_ms.min(config.policy.timeout_ms.into())),
            cache: Cache::new(config.cache.clone(), prefix.clone()),
            prefix,
            keys_seen: 0,
            issuers: Issuers::new(&config)?,
            familiar: Familiar::default(),
            metrics: Metrics::define(host),
            guessing: Guessing::default(),
            surface,
            config,
            sees_bodies: false,
            leaks_headers: false,
            swept_ms: None,
            unlogged: 0,
            lane: Lane::new(),
            flights: Flights::default(),
            pages: FxHashMap::default(),
        })
    }

    /// The root's tick, with the root as the effective context.
    ///
    /// Gives what a stream that was given up leaves behind.
    pub fn tick<H: Host>(&mut self, host: &H, now_ms: u64) -> Vec<Landed> {
        let (watch, means) = self.means(host);
        watch.tick(means, now_ms);
        self.cache.watermarks.refresh(host);
        let heard_ms = self.cache.watermarks.heard_ms();
        if heard_ms > 0 {
            self.metrics.heard_age(host, now_ms.saturating_sub(heard_ms));
        }
        if self.swept_ms.is_none_or(|swept_ms| now_ms.abs_diff(swept_ms) >= SWEEP_MS) {
            self.swept_ms = Some(now_ms);
            self.cache.adopt_secret(host);
            self.metrics.memory(host);
        }
        let keys = self.cache.watermarks.keys();
        if keys != self.keys_seen {
            self.keys_seen = keys;
            self.read_keys(host);
        }
        self.mind_lane(host, now_ms)
    }

    pub fn next_slow_tick(&self, now_ms: u64) -> u64 {
        now_ms.saturating_add(self.pace.slow_ms())
    }

    /// Whether there is something to be done before the next slow tick.
    pub fn is_due(&self, next_ms: u64) -> bool {
        self.flights.questions() > 0 || self.lane.is_due(next_ms) || self.watch.is_due(next_ms)
    }

    /// At the end of a tick: how soon the next one comes.
    #[inline(never)]
    pub fn keep_pace<H: Host>(&mut self, host: &H, soon: bool) {
        if host.set_effective(self.root).is_ok() {
            self.pace.set(host, soon);
        }
    }

    /// Something has failed, and the next tick sees to it.
    pub fn hurry<H: Host>(&mut self, host: &H) {
        self.keep_pace(host, true);
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
        self.lane.close(host);
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
