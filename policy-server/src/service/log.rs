//! The decision log: every refusal, and a sample of what was allowed. Never a credential.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::contract as pb;
use crate::policy::{Check, Decision};

/// One in so many allowed requests is logged.
const ALLOWED_SAMPLE: u64 = 100;

static ALLOWED: AtomicU64 = AtomicU64::new(0);

/// What a decision came from, in words.
#[derive(Debug, Default)]
pub struct Grounds {
    /// What was not met, or all that was asked for.
    required: String,
    /// The grant that decided, where one did.
    grant: String,
}

impl Grounds {
    /// `decide` decides on one check alone.
    pub fn new(decision: &Decision, checks: &[Check], decide: impl Fn(&Check) -> Decision) -> Self {
        let failing = (!decision.allowed).then(|| checks.iter().find(|c| !decide(c).allowed));
        let required = match failing.flatten() {
            Some(check) => check.to_string(),
            None => checks.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "),
        };
        let grant = decision.deciding.as_ref().map(ToString::to_string).unwrap_or_default();
        Self { required, grant }
    }
}

/// Whether a decision goes into the log. Counts the allowed ones.
pub fn is_logged(outcome: pb::Outcome) -> bool {
    outcome != pb::Outcome::Allowed
        || ALLOWED.fetch_add(1, Ordering::Relaxed).is_multiple_of(ALLOWED_SAMPLE)
}

/// Logs one decision.
pub fn decision(
    request: &pb::AuthorizeRequest,
    response: &pb::AuthorizeResponse,
    grounds: &Grounds,
) {
    let info = request.info.clone().unwrap_or_default();
    let principal = response.principal.as_ref().map_or("", |who| who.username.as_str());
    tracing::info!(
        target: "mlgate::decision",
        outcome = response.outcome().as_str_name(),
        reason = response.reason,
        principal,
        credential = credential(request.subject.as_ref()),
        workspace = request.workspace,
        method = info.method,
        route = info.route,
        required = grounds.required,
        grant = grounds.grant,
        request_id = info.request_id,
        trace_id = trace_id(&info.traceparent),
        client = info.client_address,
        revision = response.revision,
        ttl_ms = response.ttl_ms,
        "decision"
    );
}

fn credential(subject: Option<&pb::Subject>) -> &'static str {
    use pb::subject::Kind;
    match subject.and_then(|subject| subject.kind.as_ref()) {
        None | Some(Kind::Anonymous(_)) => "none",
        Some(Kind::Basic(_)) => "basic",
        Some(Kind::Bearer(_)) => "token",
        Some(Kind::Verified(_)) => "jwt",
    }
}

/// The trace's id of a W3C trace context.
fn trace_id(traceparent: &str) -> &str {
    traceparent.split('-').nth(1).unwrap_or_default()
}
