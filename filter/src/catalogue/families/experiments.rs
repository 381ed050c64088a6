//! Experiments.

use crate::refusal::Refusal;
use crate::requirement::ReferenceKind::ExperimentName;
use crate::requirement::{Key, Reference, Requirement, ResourceType::*, Rung, Standing};
use crate::surface::id::Form;
use crate::surface::inputs::{Field, Inputs};

use super::super::field::*;
use super::super::need::{Need, nobody_but_admins, on_owner};
use super::super::route::{ANYONE, EffectSpec, Mount::*, SelectSpec, get, post};
use super::super::{Route, rows};

/// MLflow 3.18 starts jobs that this tag describes, as the server and not as who set it.
const SCHEDULE_TAG: &str = "mlflow.issuedetection.schedule";

const SCHEDULES: Need = Need::Rule("a super admin for a tag that schedules jobs", &[], |inputs| {
    let mut keys = inputs.all(Field::optional("key", Form::Text))?;
    keys.extend(inputs.all(Field::many("tags[].key", Form::Text))?);
    let schedules = |key: &String| key.trim().to_ascii_lowercase().starts_with(SCHEDULE_TAG);
    Ok(if keys.iter().any(schedules) { vec![nobody_but_admins()] } else { Vec::new() })
});

/// Deleting an experiment takes with it all that is in it; each tier must allow it.
const DELETE_ALL: Need = Need::Rule(
    "experiment:delete, and delete on every tier below it",
    &[EXPERIMENT_ID],
    |inputs| {
        let id = inputs.one(EXPERIMENT_ID)?;
        let own = Rung { resource: Experiment, action: DELETE, key: Key::Id(id) };
        let tiers = [Run, Trace, LoggedModel, Assessment, ReviewQueue, Scorer, ScorerVersion];
        let ladders = tiers.into_iter().map(|tier| {
            let every = Rung { resource: tier, action: DELETE, key: Key::Every };
            Requirement::Ladder(vec![every, own.clone()])
        });
        Ok(std::iter::once(Requirement::Ladder(vec![own.clone()])).chain(ladders).collect())
    },
);

/// MLflow's client creates an experiment when it gets 404 for the name.
fn by_name(inputs: &Inputs) -> Result<Vec<Requirement>, Refusal> {
    let name = Reference::new(ExperimentName, inputs.one(EXPERIMENT_NAME)?);
    let read = on_owner(Experiment, READ, &name);
    Ok(vec![Requirement::Present(name), read])
}

const NEW_EXPERIMENT_NAME: Field = Field::optional("new_name", Form::Text);

const BY_ID: SelectSpec = SelectSpec::Filter { resource: Experiment, attribute: "experiment_id" };

pub const ROUTES: &[Route] = &[
    post(
        Both,
        "/2.0/mlflow/experiments/create",
        &[
            Need::Standing(Standing::WorkspaceCreate),
            Need::NotDenied(Experiment),
            Need::Nameable(Experiment, GIVEN_NAME),
            SCHEDULES,
        ],
    )
    .then(&[EffectSpec::CreatedInResponse(Experiment, &["experiment_id"], GIVEN_NAME)]),
    get(Both, "/2.0/mlflow/experiments/get", &[experiment(READ)]),
    get(
        Both,
        "/2.0/mlflow/experiments/get-by-name",
        &[Need::Rule("experiment:read; 404 where there is none", &[EXPERIMENT_NAME], by_name)],
    ),
    post(
        Both,
        "/2.0/mlflow/experiments/update",
        &[experiment(UPDATE), Need::Nameable(Experiment, NEW_EXPERIMENT_NAME)],
    ),
    post(Both, "/2.0/mlflow/experiments/delete", &[DELETE_ALL]),
    post(Both, "/2.0/mlflow/experiments/restore", &[DELETE_ALL]),
    post(Both, "/2.0/mlflow/experiments/set-experiment-tag", &[experiment(UPDATE), SCHEDULES]),
    post(Both, "/2.0/mlflow/experiments/delete-experiment-tag", &[experiment(UPDATE)]),
    get(Both, "/2.0/mlflow/experiments/search", ANYONE)
        .selecting(BY_ID)
        .response(rows::EXPERIMENTS),
    post(Both, "/2.0/mlflow/experiments/search", ANYONE)
        .selecting(BY_ID)
        .response(rows::EXPERIMENTS),
    post(Ajax, "/2.0/mlflow/experiments/search-datasets", &[experiments(READ)])
        .note("MLflow asks for experiment:read on every id"),
];
