//! Counters and histograms in Envoy's stats, as `wasmcustom.mlgate_…`.
//!
//! Names are fixed and few: never a user, an id or a path.

use crate::host::{Host, Metric, MetricId};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Count {
    Allowed,
    Denied,
    Unauthenticated,
    Throttled,
    HeldOff,
    Refused,
    Unavailable,
    OutOfScope,
    Public,
    ShadowDenied,
    HitWorker,
    HitShared,
    Miss,
    SharedFlight,
    PolicyCalls,
    PolicyQuestions,
    PolicyErrors,
    JwtVerified,
    JwtRefused,
    KeysAsked,
    Timeouts,
    ResponsesFiltered,
    PagesFetched,
    ResponsesRefused,
    RecordsFailed,
    StreamOpened,
    StreamClosed,
    Invalidations,
}

const COUNTERS: &[(Count, &str)] = &[
    (Count::Allowed, "mlgate_allowed_total"),
    (Count::Denied, "mlgate_denied_total"),
    (Count::Unauthenticated, "mlgate_unauthenticated_total"),
    (Count::Throttled, "mlgate_throttled_total"),
    (Count::HeldOff, "mlgate_held_off_total"),
    (Count::Refused, "mlgate_refused_total"),
    (Count::Unavailable, "mlgate_unavailable_total"),
    (Count::OutOfScope, "mlgate_out_of_scope_total"),
    (Count::Public, "mlgate_public_total"),
    (Count::ShadowDenied, "mlgate_shadow_denied_total"),
    (Count::HitWorker, "mlgate_cache_hit_worker_total"),
    (Count::HitShared, "mlgate_cache_hit_shared_total"),
    (Count::Miss, "mlgate_cache_miss_total"),
    (Count::SharedFlight, "mlgate_cache_shared_flight_total"),
    (Count::PolicyCalls, "mlgate_policy_calls_total"),
    (Count::PolicyQuestions, "mlgate_policy_questions_total"),
    (Count::PolicyErrors, "mlgate_policy_errors_total"),
    (Count::JwtVerified, "mlgate_jwt_verified_total"),
    (Count::JwtRefused, "mlgate_jwt_refused_total"),
    (Count::KeysAsked, "mlgate_keys_asked_total"),
    (Count::Timeouts, "mlgate_timeouts_total"),
    (Count::ResponsesFiltered, "mlgate_responses_filtered_total"),
    (Count::PagesFetched, "mlgate_pages_fetched_total"),
    (Count::ResponsesRefused, "mlgate_responses_refused_total"),
    (Count::RecordsFailed, "mlgate_records_failed_total"),
    (Count::StreamOpened, "mlgate_watch_opened_total"),
    (Count::StreamClosed, "mlgate_watch_closed_total"),
    (Count::Invalidations, "mlgate_invalidations_total"),
];

#[derive(Debug, Default)]
pub struct Metrics {
    /// By the number of their [`Count`].
    counters: [Option<MetricId>; COUNTERS.len()],
    policy_ms: Option<MetricId>,
    heard_age_ms: Option<MetricId>,
    cache_slots: Option<MetricId>,
    memory_bytes: Option<MetricId>,
}

impl Metrics {
    /// Defining a metric twice gives the same one.
    pub fn define<H: Host>(host: &H) -> Self {
        let mut counters = [None; COUNTERS.len()];
        for &(count, name) in COUNTERS {
            if let Some(counter) = counters.get_mut(count as usize) {
                *counter = host.define_metric(Metric::Counter, name);
            }
        }
        Self {
            counters,
            policy_ms: host.define_metric(Metric::Histogram, "mlgate_policy_call_ms"),
            heard_age_ms: host.define_metric(Metric::Gauge, "mlgate_watch_heard_age_ms"),
            cache_slots: host.define_metric(Metric::Gauge, "mlgate_cache_slots_used"),
            memory_bytes: host.define_metric(Metric::Gauge, "mlgate_vm_memory_bytes"),
        }
    }

    pub fn count<H: Host>(&self, host: &H, count: Count) {
        if let Some(&Some(id)) = self.counters.get(count as usize) {
            host.add(id, 1);
        }
    }

    /// How long a call to the policy server took, in ms.
    pub fn policy_call<H: Host>(&self, host: &H, milliseconds: u64) {
        if let Some(id) = self.policy_ms {
            host.record(id, milliseconds);
        }
    }

    /// The time since changes were last heard of, in ms.
    pub fn heard_age<H: Host>(&self, host: &H, milliseconds: u64) {
        if let Some(id) = self.heard_age_ms {
            host.record(id, milliseconds);
        }
    }

    /// A slot of shared data was used for the first time. None is ever given back.
    pub fn slot_used<H: Host>(&self, host: &H) {
        if let Some(id) = self.cache_slots {
            host.add(id, 1);
        }
    }

    /// The linear memory of this VM; of the workers' the one that was told last is seen.
    pub fn memory<H: Host>(&self, host: &H) {
        if let Some(id) = self.memory_bytes {
            host.record(id, host.memory_bytes());
        }
    }
}
