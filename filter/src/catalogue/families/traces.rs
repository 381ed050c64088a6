//! Traces of both versions, and their assessments.

use crate::refusal::Refusal;
use crate::requirement::{
    Reference, ReferenceKind, Requirement,
    ResourceType::{self, *},
};
use crate::surface::id::Form;
use crate::surface::inputs::{Field, Inputs, member};
use crate::surface::json::Value;
use crate::surface::otlp;

use super::super::field::*;
use super::super::need::{Need, every, nobody_but_admins, not_denied, on, tier_of, tier_of_owner};
use super::super::oracle::{FILTER, trace_search, trace_texts};
use super::super::route::{ADMIN, Mount::*, delete, get, patch, post};
use super::super::{Route, rows};

const STARTED_IN: Field =
    Field::one("trace.trace_info.trace_location.mlflow_experiment.experiment_id", Form::Experiment);
const STARTED: Field = Field::optional("trace.trace_info.trace_id", Form::Trace);
const STARTED_ASSESSMENTS: Field =
    Field::many("trace.trace_info.assessments[].assessment_id", Form::Token);
const STARTED_PARENTS: Field = Field::many("trace.trace_info.assessments[].trace_id", Form::Trace);
const LOCATIONS: Field =
    Field::some("locations[].mlflow_experiment.experiment_id", Form::Experiment);
const CORRELATED: &[Field] = &[
    Field::optional("filter_string1", Form::Text),
    Field::optional("filter_string2", Form::Text),
    Field::optional("base_filter", Form::Text),
];
const MEASURED: &[Field] = &[
    Field::many("filters", Form::Text),
    Field::many("dimensions", Form::Text),
    Field::optional("metric_name", Form::Text),
];
const ASSESSMENT_ID: Field = Field::one("assessment_id", Form::Token);

/// New, or already the caller's to change (PD-10, PD-11a). A trace may come in parts.
pub fn new_or_own(tier: ResourceType, reference: Reference) -> Requirement {
    let own = tier_of_owner(tier, UPDATE, UPDATE, &reference);
    Requirement::AnyOf(vec![Requirement::Absent(reference), Requirement::AllOf(own)])
}

fn start(inputs: &Inputs) -> Result<Vec<Requirement>, Refusal> {
    let mut needs = vec![on(Experiment, UPDATE, &inputs.one(STARTED_IN)?), not_denied(Trace)];
    let trace = inputs.optional(STARTED)?;
    for parent in inputs.all(STARTED_PARENTS)? {
        if Some(&parent) != trace.as_ref() {
            return Err(Refusal::ambiguous("assessments", "name another trace"));
        }
    }
    if let Some(id) = trace {
        needs.push(new_or_own(Trace, Reference::new(ReferenceKind::TraceId, id)));
    }
    if started(inputs, "assessments")?.is_some_and(|list| *list != Value::Array(Vec::new())) {
        needs.push(not_denied(Assessment));
    }
    match started(inputs, "tags")? {
        // Clients send the location on that a copied trace had; MLflow sets its own instead.
        Some(Value::Object(tags)) if tags.0.iter().any(|(key, _)| archives(key)) => {
            needs.push(nobody_but_admins());
        }
        None | Some(Value::Object(_)) => {}
        Some(_) => return Err(Refusal::invalid("tags", "must be an object")),
    }
    for id in inputs.all(STARTED_ASSESSMENTS)? {
        needs.push(new_or_own(Assessment, Reference::new(ReferenceKind::AssessmentId, id)));
    }
    Ok(needs)
}

fn started<'a>(inputs: &'a Inputs, name: &str) -> Result<Option<&'a Value>, Refusal> {
    let Some(Value::Object(trace)) = inputs.member("trace")? else { return Ok(None) };
    let Some(Value::Object(info)) = member(trace, "trace_info")? else { return Ok(None) };
    member(info, name)
}

fn archives(tag: &str) -> bool {
    tag.trim().eq_ignore_ascii_case(otlp::ARCHIVE)
}

/// MLflow's parser stops at a location that it cannot take, and forgets those behind it.
fn only_experiments(inputs: &Inputs) -> Result<(), Refusal> {
    let Some(Value::Array(locations)) = inputs.member("locations")? else { return Ok(()) };
    for location in locations {
        let Value::Object(location) = location else { continue };
        if member(location, "mlflow_experiment")?.is_none() {
            return Err(Refusal::invalid("locations", "must all be experiments"));
        }
    }
    Ok(())
}

fn search(
    inputs: &Inputs,
    experiments: Field,
    filters: &[Field],
) -> Result<Vec<Requirement>, Refusal> {
    let ids = inputs.all(experiments)?;
    if ids.is_empty() {
        return Ok(vec![nobody_but_admins()]);
    }
    let reads = ids.iter().flat_map(|id| tier_of(Trace, READ, READ, id));
    let texts = trace_texts(inputs, filters)?;
    Ok(reads.chain(trace_search(&ids, &texts)).collect())
}

const SEARCH: Need = Need::Rule(
    "trace:read on every experiment, and the tiers that filter and order name",
    &[EXPERIMENT_IDS],
    |inputs| search(inputs, EXPERIMENT_IDS, &[FILTER]),
);
const SEARCH_V3: Need = Need::Rule(
    "trace:read on every experiment, and the tiers that filter and order name",
    &[LOCATIONS],
    |inputs| {
        only_experiments(inputs)?;
        search(inputs, LOCATIONS, &[FILTER])
    },
);
const CORRELATE: Need = Need::Rule(
    "trace:read on every experiment, and the tiers that the filters name",
    &[EXPERIMENT_IDS],
    |inputs| search(inputs, EXPERIMENT_IDS, CORRELATED),
);
const METRICS: Need = Need::Rule(
    "trace:read on every experiment, and the tiers that view, filters and dimensions name",
    &[EXPERIMENT_IDS],
    |inputs| {
        let mut needs = search(inputs, EXPERIMENT_IDS, MEASURED)?;
        let plain = match inputs.member("view_type")? {
            // MLflow's parser stops at a number that is no view's.
            Some(Value::String(view)) if !view.starts_with(|c: char| c.is_ascii_uppercase()) => {
                return Err(Refusal::invalid("view_type", "must be a view's name"));
            }
            Some(Value::String(view)) => matches!(view.as_str(), "TRACES" | "SPANS"),
            _ => false,
        };
        if !plain {
            for id in inputs.all(EXPERIMENT_IDS)? {
                needs.extend(tier_of(Assessment, READ, READ, &id));
            }
        }
        Ok(needs)
    },
);

/// The store deletes only traces of this experiment, and their assessments with them.
const DELETE_TRACES: &[Need] = &[
    Need::TierOf { tier: Trace, action: DELETE, fallback: DELETE, experiment: EXPERIMENT_ID },
    Need::TierOf { tier: Assessment, action: DELETE, fallback: UPDATE, experiment: EXPERIMENT_ID },
];

/// Assessing needs UPDATE on the experiment or, explicitly, on traces.
const CREATE_ASSESSMENT: Need = Need::Rule(
    "trace:read, assessment '*' not denied, and experiment:update or an explicit trace:update",
    &[TRACE_ID],
    |inputs| {
        let trace = Reference::new(ReferenceKind::TraceId, inputs.one(TRACE_ID)?);
        let mut needs = tier_of_owner(Trace, READ, READ, &trace);
        needs.push(not_denied(Assessment));
        needs.push(Requirement::AnyOf(vec![
            super::super::need::on_owner(Experiment, UPDATE, &trace),
            Requirement::ExplicitLadder(vec![every(Trace, UPDATE)]),
        ]));
        let id = Field::optional("assessment.assessment_id", Form::Token);
        if let Some(id) = inputs.optional(id)? {
            let reference = Reference::new(ReferenceKind::AssessmentId, id);
            needs.push(new_or_own(Assessment, reference));
        }
        Ok(needs)
    },
);

/// What the body says of an assessment must be what the path says.
const SAME_ASSESSMENT: Need = Need::Rule("path and body agree", &[], |inputs| {
    let nested = [
        ("trace_id", Field::optional("assessment.trace_id", Form::Trace)),
        ("assessment_id", Field::optional("assessment.assessment_id", Form::Token)),
    ];
    for (name, field) in nested {
        if let Some(id) = inputs.optional(field)?
            && let Some(param) = inputs.param(name)
            && param != id
        {
            return Err(Refusal::ambiguous(name, "differs between path and body"));
        }
    }
    Ok(Vec::new())
});

const fn assessment(
    action: crate::requirement::Action,
    fallback: crate::requirement::Action,
) -> Need {
    Need::Tier { tier: Assessment, action, fallback, id: TRACE_ID, kind: ReferenceKind::TraceId }
}

/// The form of an assessment's id in a path.
const ASSESSMENT: Need = Need::Rule("an assessment id", &[ASSESSMENT_ID], |inputs| {
    inputs.one(ASSESSMENT_ID).map(|_| Vec::new())
});

/// Linking shows a prompt's name and version to whoever reads the trace; MLflow asks nothing.
const LINKED_PROMPTS: Need = Need::On {
    resource: ModelOrPrompt,
    action: READ,
    id: Field::many("prompt_versions[].name", Form::Name),
};

const BATCH: &[Need] = &[
    trace_in(TRACE_IDS, READ),
    Need::On {
        resource: Experiment,
        action: READ,
        id: Field::many("experiment_ids", Form::Experiment),
    },
];

const TAG_KEY: Field = Field::optional("key", Form::Text);
const TAG_KEYS: Field = Field::many("tags[].key", Form::Text);

/// MLflow would read from there, with its own credentials, for whoever may read the trace.
fn relocated(inputs: &Inputs, tags: Field) -> Result<Vec<Requirement>, Refusal> {
    let relocated = inputs.all(tags)?.iter().any(|tag| otlp::is_location(tag));
    Ok(if relocated { vec![nobody_but_admins()] } else { Vec::new() })
}

const TAG: Need = Need::Rule(
    "a super admin for a tag that says where the trace's files are",
    &[TAG_KEY],
    |inputs| relocated(inputs, TAG_KEY),
);
const TAGS: Need = Need::Rule(
    "a super admin for a tag that says where the trace's files are",
    &[TAG_KEYS],
    |inputs| relocated(inputs, TAG_KEYS),
);

const START: Need = Need::Rule(
    "experiment:update, trace '*' not denied; a trace or assessment that exists must be the caller's to change",
    &[STARTED_IN, STARTED, STARTED_ASSESSMENTS],
    start,
);

const ASSESSMENT_PATH: &str = "/3.0/mlflow/traces/{trace_id}/assessments/{assessment_id}";

pub const ROUTES: &[Route] = &[
    // 2.x
    post(Both, "/2.0/mlflow/traces", &[experiment(UPDATE), Need::NotDenied(Trace), TAGS])
        .response(rows::TRACE_INFO_V2),
    get(Both, "/2.0/mlflow/traces", &[SEARCH]).response(rows::TRACES_V2),
    patch(Both, "/2.0/mlflow/traces/{request_id}", &[trace_in(REQUEST_ID, UPDATE), TAGS])
        .response(rows::TRACE_INFO_V2),
    get(Both, "/2.0/mlflow/traces/{request_id}/info", &[trace_in(REQUEST_ID, READ)])
        .response(rows::TRACE_INFO_V2),
    patch(Both, "/2.0/mlflow/traces/{request_id}/tags", &[trace_in(REQUEST_ID, UPDATE), TAG]),
    delete(Both, "/2.0/mlflow/traces/{request_id}/tags", &[trace_in(REQUEST_ID, UPDATE)]),
    post(Both, "/2.0/mlflow/traces/delete-traces", DELETE_TRACES),
    post(Both, "/2.0/mlflow/traces/link-to-run", &[run(UPDATE), trace_in(TRACE_IDS, READ)]),
    post(Both, "/2.0/mlflow/traces/link-prompts", &[trace_in(TRACE_ID, UPDATE), LINKED_PROMPTS])
        .note("MLflow does not authorize prompt_versions"),
    get(Both, "/2.0/mlflow/unified-traces", ADMIN).note("MLflow does not implement it"),
    get(Both, "/2.0/mlflow/get-online-trace-details", ADMIN).note("MLflow does not implement it"),
    get(Ajax, "/2.0/mlflow/get-trace-artifact", &[trace_in(REQUEST_ID, READ)]),
    get(Ajax, "/3.0/mlflow/get-trace-artifact", &[trace_in(REQUEST_ID, READ)]),
    // The forms of 3.0, which 2.22 has under its own prefix and does not authorize.
    get(Both, "/2.0/mlflow/traces/{request_id}", ADMIN).note("MLflow 2.22 alone has it"),
    post(Both, "/2.0/mlflow/traces/{request_id}/assessments", ADMIN)
        .note("MLflow 2.22 alone has it"),
    patch(Both, "/2.0/mlflow/traces/{request_id}/assessments/{assessment_id}", ADMIN)
        .note("MLflow 2.22 alone has it"),
    delete(Both, "/2.0/mlflow/traces/{request_id}/assessments/{assessment_id}", ADMIN)
        .note("MLflow 2.22 alone has it"),
    // 3.x
    post(Both, "/3.0/mlflow/traces", &[START]).response(rows::TRACE),
    get(Both, "/3.0/mlflow/traces/{trace_id}", &[trace_in(TRACE_ID, READ)]).response(rows::TRACE),
    get(Both, "/3.0/mlflow/traces/get", &[trace_in(TRACE_ID, READ)]).response(rows::TRACE),
    get(Both, "/3.0/mlflow/traces/batchGet", BATCH).response(rows::TRACE_BATCH),
    post(Both, "/3.0/mlflow/traces/batchGetInfos", BATCH).response(rows::TRACE_INFOS),
    post(Both, "/3.0/mlflow/traces/search", &[SEARCH_V3]).response(rows::TRACES),
    post(Both, "/3.0/mlflow/traces/delete-traces", DELETE_TRACES),
    post(Both, "/3.0/mlflow/traces/calculate-filter-correlation", &[CORRELATE]),
    post(Both, "/3.0/mlflow/traces/metrics", &[METRICS]),
    patch(Both, "/3.0/mlflow/traces/{trace_id}/tags", &[trace_in(TRACE_ID, UPDATE), TAG]),
    delete(Both, "/3.0/mlflow/traces/{trace_id}/tags", &[trace_in(TRACE_ID, UPDATE)]),
    post(Both, "/3.0/mlflow/traces/{trace_id}/assessments", &[CREATE_ASSESSMENT, SAME_ASSESSMENT]),
    get(Both, ASSESSMENT_PATH, &[trace_in(TRACE_ID, READ), assessment(READ, READ), ASSESSMENT]),
    patch(
        Both,
        ASSESSMENT_PATH,
        &[trace_in(TRACE_ID, READ), assessment(UPDATE, UPDATE), ASSESSMENT, SAME_ASSESSMENT],
    ),
    delete(
        Both,
        ASSESSMENT_PATH,
        &[trace_in(TRACE_ID, READ), assessment(DELETE, UPDATE), ASSESSMENT],
    ),
];
