//! Prometheus metrics. Labels have few values, all of them words of ours or of the configuration:
//! nothing that a client sends, such as a name or a path, becomes one.

use std::time::Instant;

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use prometheus_client::encoding::{EncodeLabelSet, text::encode};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};
use std::sync::Arc;

use crate::contract::Outcome;

const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OutcomeLabel {
    outcome: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CallLabel {
    method: &'static str,
    /// `ok` or `error`: an error is a gRPC status, not a refusal.
    result: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CacheLabel {
    cache: &'static str,
    result: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct FetchLabel {
    /// The configured name.
    issuer: String,
    result: &'static str,
}

/// How often an issuer was asked for its keys.
#[derive(Debug, Clone, Default)]
pub struct Fetches {
    answered: Counter,
    failed: Counter,
}

impl Fetches {
    pub fn count(&self, answered: bool) {
        if answered { &self.answered } else { &self.failed }.inc();
    }
}

/// How often something was in memory.
#[derive(Debug, Clone, Default)]
pub struct Reuse {
    hits: Counter,
    misses: Counter,
}

impl Reuse {
    pub fn count(&self, hit: bool) {
        if hit { &self.hits } else { &self.misses }.inc();
    }
}

/// The server's metrics; clones are handles on the same.
#[derive(Debug, Clone)]
pub struct Metrics {
    decisions: Family<OutcomeLabel, Counter>,
    calls: Family<CallLabel, Histogram, fn() -> Histogram>,
    caches: Family<CacheLabel, Counter>,
    fetches: Family<FetchLabel, Counter>,
    hashes: Counter,
    watchers: Gauge,
    revision: Gauge,
}

impl Default for Metrics {
    fn default() -> Self {
        let metrics = Self {
            decisions: Family::default(),
            caches: Family::default(),
            fetches: Family::default(),
            hashes: Counter::default(),
            watchers: Gauge::default(),
            revision: Gauge::default(),
            // 0.1 ms to 1.6 s.
            calls: Family::new_with_constructor(|| {
                Histogram::new(exponential_buckets(0.000_1, 2.0, 15))
            }),
        };
        // A rate needs the zero before the first one.
        for outcome in [
            Outcome::Allowed,
            Outcome::Denied,
            Outcome::NotFound,
            Outcome::Unauthenticated,
            Outcome::Throttled,
            Outcome::Unavailable,
            Outcome::BadWorkspace,
        ] {
            drop(metrics.decisions.get_or_create(&label(outcome)));
        }
        metrics
    }
}

impl Metrics {
    pub fn decided(&self, outcome: Outcome) {
        self.decisions.get_or_create(&label(outcome)).inc();
    }

    /// Measures a call until it returns. One that is abandoned is not counted.
    pub async fn call<T, E>(
        &self,
        method: &'static str,
        answer: impl Future<Output = Result<T, E>>,
    ) -> Result<T, E> {
        let begun = Instant::now();
        let answer = answer.await;
        let result = if answer.is_ok() { "ok" } else { "error" };
        let histogram = self.calls.get_or_create(&CallLabel { method, result });
        histogram.observe(begun.elapsed().as_secs_f64());
        answer
    }

    /// The counters of one cache, whose name must be one of few.
    pub fn reuse(&self, cache: &'static str) -> Reuse {
        let counter = |result| self.caches.get_or_create(&CacheLabel { cache, result }).clone();
        Reuse { hits: counter("hit"), misses: counter("miss") }
    }

    /// Counts computations of password hashes.
    pub fn password_hashes(&self) -> Counter {
        self.hashes.clone()
    }

    /// The counters of one configured issuer.
    pub fn fetches(&self, issuer: &str) -> Fetches {
        let counter = |result| {
            self.fetches.get_or_create(&FetchLabel { issuer: issuer.to_owned(), result }).clone()
        };
        Fetches { answered: counter("ok"), failed: counter("error") }
    }

    /// Counts a watcher until the guard is dropped.
    pub fn watcher(&self) -> Watching {
        self.watchers.inc();
        Watching(self.watchers.clone())
    }

    pub fn set_revision(&self, revision: u64) {
        self.revision.set(i64::try_from(revision).unwrap_or(i64::MAX));
    }

    fn registry(&self) -> Registry {
        let mut registry = Registry::with_prefix("mlgate");
        registry.register("decisions", "Authorize, by outcome", self.decisions.clone());
        registry.register_with_unit(
            "rpc_duration",
            "Calls, by method and whether they ended in an error",
            Unit::Seconds,
            self.calls.clone(),
        );
        registry.register("cache_lookups", "What was in memory, by cache", self.caches.clone());
        registry.register("oidc_fetches", "Looks at an issuer's keys", self.fetches.clone());
        registry.register("password_hashes", "Passwords that were hashed", self.hashes.clone());
        registry.register("watchers", "Filters that watch", self.watchers.clone());
        registry.register("revision", "Newest revision in force", self.revision.clone());
        registry
    }

    /// Serves `/metrics`, and nothing else.
    pub fn router(&self) -> axum::Router {
        let registry = Arc::new(self.registry());
        axum::Router::new().route("/metrics", axum::routing::get(exposition)).with_state(registry)
    }
}

fn label(outcome: Outcome) -> OutcomeLabel {
    OutcomeLabel { outcome: outcome.as_str_name() }
}

async fn exposition(State(registry): State<Arc<Registry>>) -> Response {
    let mut text = String::new();
    match encode(&mut text, &registry) {
        Ok(()) => ([(header::CONTENT_TYPE, CONTENT_TYPE)], text).into_response(),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

/// A watcher that is counted.
pub struct Watching(Gauge);

impl Drop for Watching {
    fn drop(&mut self) {
        self.0.dec();
    }
}
