//! Runs, metrics and the artifacts of runs.

use crate::operation::WhenEmpty;
use crate::refusal::Refusal;
use crate::requirement::ResourceType::Run;
use crate::requirement::{Requirement, ResourceType};
use crate::surface::artifact;
use crate::surface::id::Form;
use crate::surface::inputs::{Field, Inputs};

use super::super::field::*;
use super::super::need::Need;
use super::super::route::{Mount::*, ScopeSpec, get, post};
use super::super::{Route, rows};

/// Models that metrics are logged to: optional, each needs update (CVE-2026-69146 and kin).
const METRIC_MODEL: Need = logged_model_in(Field::optional("model_id", Form::LoggedModel), UPDATE);
const BATCH_MODELS: Need =
    logged_model_in(Field::many("metrics[].model_id", Form::LoggedModel), UPDATE);
const LINKED_MODELS: Need =
    logged_model_in(Field::many("models[].model_id", Form::LoggedModel), UPDATE);

/// Paths inside a run's artifacts: one reading, and never out of them.
pub const SAFE_PATH: Need =
    Need::Rule("a path without dot segments", &[Field::optional("path", Form::Text)], |inputs| {
        if let Some(path) = inputs.text("path")? {
            artifact::read_value("path", &path)?;
        }
        Ok(Vec::new())
    });

/// `get-history-bulk` takes `run_id` many times.
const RUN_ID_BULK: Field = Field::some("run_id", Form::Run);

/// Exactly one of a run and a logged model, as MLflow has it.
fn upload_target(inputs: &Inputs) -> Result<Vec<Requirement>, Refusal> {
    let run_id = inputs.optional(Field::optional("run_id", Form::Run))?;
    let model_id = inputs.optional(Field::optional("model_id", Form::LoggedModel))?;
    match (run_id, model_id) {
        (Some(_), None) => run(UPDATE).requirements(inputs),
        (None, Some(_)) => {
            logged_model_in(Field::one("model_id", Form::LoggedModel), UPDATE).requirements(inputs)
        }
        _ => Err(Refusal::invalid("run_id", "or model_id must be given, and not both")),
    }
}

/// Runs are found by experiment; the ids are cut down to those the caller may read.
const SEARCHED: ScopeSpec = ScopeSpec {
    field: Field::many("experiment_ids", Form::Experiment),
    resource: ResourceType::Experiment,
    vetoes: &[Run],
    when_empty: WhenEmpty::Answer("{}"),
};

pub const ROUTES: &[Route] = &[
    post(Both, "/2.0/mlflow/runs/create", &[experiment(UPDATE), Need::NotDenied(Run)]),
    post(
        Ajax,
        "/2.0/mlflow/runs/create-promptlab-run",
        &[experiment(UPDATE), Need::NotDenied(Run)],
    ),
    get(Both, "/2.0/mlflow/runs/get", &[run(READ)]).response(rows::RUN),
    post(Both, "/2.0/mlflow/runs/update", &[run(UPDATE)]),
    post(Both, "/2.0/mlflow/runs/delete", &[run(DELETE)]),
    post(Both, "/2.0/mlflow/runs/restore", &[run(DELETE)]),
    post(Both, "/2.0/mlflow/runs/search", super::super::route::ANYONE)
        .scoped(&[SEARCHED])
        .response(rows::RUNS),
    post(Both, "/2.0/mlflow/runs/set-tag", &[run(UPDATE)]),
    post(Both, "/2.0/mlflow/runs/delete-tag", &[run(UPDATE)]),
    post(Both, "/2.0/mlflow/runs/log-metric", &[run(UPDATE), METRIC_MODEL]),
    post(Both, "/2.0/mlflow/runs/log-parameter", &[run(UPDATE)]),
    post(Both, "/2.0/mlflow/runs/log-batch", &[run(UPDATE), BATCH_MODELS]),
    post(Both, "/2.0/mlflow/runs/log-inputs", &[run(UPDATE), LINKED_MODELS]),
    post(Both, "/2.0/mlflow/runs/outputs", &[run(UPDATE), LINKED_MODELS]),
    post(Both, "/2.0/mlflow/runs/log-model", &[run(UPDATE)]),
    get(Both, "/2.0/mlflow/metrics/get-history", &[run(READ)]).response(rows::METRICS),
    get(Ajax, "/2.0/mlflow/metrics/get-history-bulk", &[run_in(RUN_ID_BULK, READ)])
        .repeated(&["run_id"])
        .response(rows::METRICS),
    get(Both, "/2.0/mlflow/metrics/get-history-bulk-interval", &[run_in(RUN_IDS, READ)])
        .response(rows::METRICS),
    get(Both, "/2.0/mlflow/artifacts/list", &[run(READ), SAFE_PATH]),
    get(Root, "/get-artifact", &[run(READ), SAFE_PATH]),
    post(Ajax, "/2.0/mlflow/upload-artifact", &[run(UPDATE), SAFE_PATH])
        .streamed()
        .note("PD-02: run_id and run_uuid must be equal, the handler reads only the latter"),
    post(Both, "/2.0/mlflow/artifacts/presigned-download-url", &[run(READ), SAFE_PATH]),
    post(
        Both,
        "/2.0/mlflow/artifacts/presigned-upload-url",
        &[
            Need::Rule(
                "update on the run or on the logged model",
                &[
                    Field::optional("run_id", Form::Run),
                    Field::optional("model_id", Form::LoggedModel),
                ],
                upload_target,
            ),
            SAFE_PATH,
        ],
    ),
];
