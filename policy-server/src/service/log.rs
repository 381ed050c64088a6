//! The decision log: every refusal, and a sample of what was allowed. Never a credential.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::contract as pb;

/// One in so many allowed requests is logged.
const ALLOWED_SAMPLE: u64 = 100;

static ALLOWED: AtomicU64 = AtomicU64::new(0);

/// Logs one decision.
pub fn decision(request: &pb::AuthorizeRequest, response: &pb::AuthorizeResponse) {
    let outcome = response.outcome();
    if outcome == pb::Outcome::Allowed
        && !ALLOWED.fetch_add(1, Ordering::Relaxed).is_multiple_of(ALLOWED_SAMPLE)
    {
        return;
    }
    let info = request.info.clone().unwrap_or_default();
    let principal = response.principal.as_ref().map_or("", |who| who.username.as_str());
    tracing::info!(
        target: "mlgate::decision",
        outcome = outcome.as_str_name(),
        reason = response.reason,
        principal,
        workspace = request.workspace,
        method = info.method,
        route = info.route,
        request_id = info.request_id,
        client = info.client_address,
        revision = response.revision,
        ttl_ms = response.ttl_ms,
        "decision"
    );
}
