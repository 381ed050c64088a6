//! Traces that come through OpenTelemetry's protocol.

use crate::refusal::Refusal;
use crate::requirement::{
    Reference, ReferenceKind, Requirement, ResourceType::Run, ResourceType::Trace,
};
use crate::surface::inputs::Inputs;
use crate::surface::otlp;

use super::super::Route;
use super::super::field::*;
use super::super::need::{Need, not_denied, on, tier_of_owner};
use super::super::route::{Mount::*, post};
use super::traces::new_or_own;

/// The experiment is in a header; MLflow does not look at the trace ids (PD-11a) or at the run
/// that the traces are linked to (PD-11b).
fn ingest(inputs: &Inputs) -> Result<Vec<Requirement>, Refusal> {
    let experiment = inputs
        .headers
        .experiment_id
        .as_deref()
        .ok_or_else(|| Refusal::invalid("x-mlflow-experiment-id", "is required"))?;
    let mut needs = vec![
        on(crate::requirement::ResourceType::Experiment, UPDATE, experiment),
        not_denied(Trace),
    ];
    if let Some(run) = &inputs.headers.run_id {
        let run = Reference::new(ReferenceKind::RunId, run.as_str());
        needs.extend(tier_of_owner(Run, UPDATE, UPDATE, &run));
    }
    for id in otlp::trace_ids(&inputs.headers, &inputs.raw_body)? {
        needs.push(new_or_own(Trace, Reference::new(ReferenceKind::TraceId, id)));
    }
    Ok(needs)
}

const INGEST: Need = Need::Rule(
    "experiment:update on X-Mlflow-Experiment-Id, trace '*' not denied, run:update on \
     X-Mlflow-Run-Id; traces that exist must be the caller's to change",
    &[],
    ingest,
);

pub const ROUTES: &[Route] = &[post(Root, "/v1/traces", &[INGEST]).bytes()];
