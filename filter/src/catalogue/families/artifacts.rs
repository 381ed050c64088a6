//! The artifact proxy: what is stored under the server's artifact root.

use crate::operation::ResponseWork;
use crate::refusal::Refusal;
use crate::requirement::{
    Action, Requirement,
    ResourceType::{Experiment, LoggedModel, Run, Skill, Trace},
};
use crate::surface::artifact::{self, Owner};
use crate::surface::id::Form;
use crate::surface::inputs::{Field, Inputs};

use super::super::field::*;
use super::super::need::{Need, nobody_but_admins, on, tier_of};
use super::super::route::{Mount::*, delete, get, post, put};
use super::super::{Route, rows};

const ARTIFACT_PATH: Field = Field::one("artifact_path", Form::Text);
const PATH: Field = Field::optional("path", Form::Text);

fn on_path(inputs: &Inputs, action: Action) -> Result<Vec<Requirement>, Refusal> {
    let path = artifact::read_value("path", &inputs.one(ARTIFACT_PATH)?)?;
    on_owner_of(inputs, &path, action)
}

fn owner(inputs: &Inputs, path: &str) -> Result<Owner, Refusal> {
    artifact::owner(path, inputs.headers.workspace.as_deref())
}

fn on_owner_of(inputs: &Inputs, path: &str, action: Action) -> Result<Vec<Requirement>, Refusal> {
    Ok(match owner(inputs, path)? {
        Owner::Experiment { id } => in_experiment(&id, action),
        Owner::Tier { experiment, tier, spelt } => {
            let mut needs = tier_of(tier, action, action, &experiment);
            match spelt {
                Some(other) if other == tier => {}
                Some(other) => needs.extend(tier_of(other, action, action, &experiment)),
                None => needs.extend(in_experiment(&experiment, action)),
            }
            needs
        }
        Owner::Skill { key } => vec![on(Skill, action, &key)],
        Owner::Reserved => vec![nobody_but_admins()],
        Owner::Nobody => vec![Requirement::Floor(action)],
    })
}

fn in_experiment(experiment: &str, action: Action) -> Vec<Requirement> {
    match action {
        MANAGE => everything_in(experiment, action),
        _ => vec![on(Experiment, action, experiment)],
    }
}

/// At the root of an experiment, a path reaches every tier below.
pub(super) fn everything_in(experiment: &str, action: Action) -> Vec<Requirement> {
    [Run, Trace, LoggedModel]
        .into_iter()
        .flat_map(|tier| tier_of(tier, action, action, experiment))
        .collect()
}

fn listed(inputs: &Inputs) -> Result<String, Refusal> {
    artifact::read_value("path", &inputs.optional(PATH)?.unwrap_or_default())
}

fn listing(inputs: &Inputs) -> Result<Vec<Requirement>, Refusal> {
    on_owner_of(inputs, &listed(inputs)?, READ)
}

/// The names of directories at a root are the ids of experiments or runs.
fn listed_rows(inputs: &Inputs) -> Result<ResponseWork, Refusal> {
    Ok(match owner(inputs, &listed(inputs)?)? {
        Owner::Nobody => rows::ARTIFACT_ROOT,
        Owner::Experiment { .. } => rows::EXPERIMENT_ROOT,
        Owner::Tier { .. } | Owner::Skill { .. } | Owner::Reserved => ResponseWork::None,
    })
}

/// A multipart upload writes to the URL's path joined with the base name of the body's.
fn multipart(inputs: &Inputs) -> Result<Vec<Requirement>, Refusal> {
    let mut needs = on_path(inputs, UPDATE)?;
    if let Some(path) = inputs.optional(PATH)? {
        let path = artifact::read_value("path", &path)?;
        let base = path.rsplit('/').next().unwrap_or_default();
        let joined = format!("{}/{base}", inputs.one(ARTIFACT_PATH)?);
        needs.extend(on_owner_of(inputs, &artifact::read_value("path", &joined)?, UPDATE)?);
    }
    Ok(needs)
}

const READS: Need =
    Need::Rule("read on the tier that owns the path", &[ARTIFACT_PATH], |i| on_path(i, READ));
const UPDATES: Need =
    Need::Rule("update on the tier that owns the path", &[ARTIFACT_PATH], |i| on_path(i, UPDATE));
/// Deleting is recursive.
const DELETES: Need = Need::Rule(
    "manage on every tier that the path reaches (CVE-2024-4263)",
    &[ARTIFACT_PATH],
    |i| on_path(i, MANAGE),
);
const LISTS: Need = Need::Rule("read on what the path lists", &[PATH], listing);
const MULTIPART: Need =
    Need::Rule("update on the tier that owns the object", &[ARTIFACT_PATH, PATH], multipart);

pub const ROUTES: &[Route] = &[
    get(Both, "/2.0/mlflow-artifacts/artifacts", &[LISTS])
        .responding(listed_rows)
        .note("PD-06: a body is refused"),
    get(Both, "/2.0/mlflow-artifacts/artifacts/{*artifact_path}", &[READS]).note("PD-05"),
    put(Both, "/2.0/mlflow-artifacts/artifacts/{*artifact_path}", &[UPDATES]).streamed(),
    delete(Both, "/2.0/mlflow-artifacts/artifacts/{*artifact_path}", &[DELETES]),
    get(Both, "/2.0/mlflow-artifacts/presigned/{*artifact_path}", &[READS]),
    post(Both, "/2.0/mlflow-artifacts/mpu/create/{*artifact_path}", &[MULTIPART])
        .note("CVE-2026-2651"),
    post(Both, "/2.0/mlflow-artifacts/mpu/complete/{*artifact_path}", &[MULTIPART])
        .note("CVE-2026-2651"),
    post(Both, "/2.0/mlflow-artifacts/mpu/abort/{*artifact_path}", &[MULTIPART])
        .note("CVE-2026-2651"),
];
