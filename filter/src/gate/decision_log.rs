//! The filter's part of the decision log: one line of JSON in Envoy's log for each refusal, and for
//! a sample of what was allowed. Never a credential, never a raw path.
//!
//! The policy server logs what it is asked. What is answered from the cache only the filter knows;
//! the request's id joins the two.

use super::Gate;
use super::head::Head;
use crate::cache::Layer;

/// What became of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    Allow,
    Deny,
    /// In shadow mode: it would have been refused.
    ShadowDeny,
}

impl Verdict {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::Deny => "deny",
            Self::ShadowDeny => "shadow_deny",
        }
    }
}

/// Where the answer came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Source {
    /// Nobody was asked, or nobody answered.
    #[default]
    Gate,
    Cache(Layer),
    PolicyServer,
    /// What the policy server has refused before. The line stands for so many requests, or another
    /// one for this.
    Held(Option<u32>),
}

impl Source {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Gate => "gate",
            Self::Cache(Layer::Worker) => "worker_cache",
            Self::Cache(Layer::Shared) => "shared_cache",
            Self::PolicyServer => "policy_server",
            Self::Held(_) => "held_off",
        }
    }
}

impl Gate {
    /// `status` is that of the gate's own answer, or the one that it would have given.
    pub(super) fn log_decision(&self, verdict: Verdict, status: Option<u16>, reason: &str) {
        if !log::log_enabled!(log::Level::Info) || self.source == Source::Held(None) {
            return;
        }
        let mut line = serde_json::json!({
            "log": "mlgate.decision",
            "decision": verdict.as_str(),
            "status": status,
            "reason": reason,
            "user": self.username,
            "method": self.method(),
            "route": self.route,
            "request_id": self.head.as_ref().map(Head::request_id).unwrap_or_default(),
            "source": self.source.as_str(),
            "revision": self.revision,
        });
        if let (Source::Held(Some(requests)), Some(fields)) = (self.source, line.as_object_mut()) {
            fields.insert("requests".to_owned(), requests.into());
        }
        log::info!("{line}");
    }
}
