//! Logged models.

use crate::operation::WhenEmpty;
use crate::requirement::ResourceType::{self, LoggedModel};
use crate::surface::artifact;
use crate::surface::id::Form;
use crate::surface::inputs::Field;

use super::super::field::*;
use super::super::need::Need;
use super::super::oracle::FILTER_ON_RUNS;
use super::super::route::{Mount::*, ScopeSpec, delete, get, patch, post};
use super::super::{Route, rows};

const SEARCHED: ScopeSpec = ScopeSpec {
    field: EXPERIMENT_IDS,
    resource: ResourceType::Experiment,
    vetoes: &[LoggedModel],
    when_empty: WhenEmpty::Answer("{}"),
};

const fn logged_model(action: crate::requirement::Action) -> Need {
    logged_model_in(MODEL_ID, action)
}

const SAFE_PATHS: Need = Need::Rule(
    "paths without dot segments",
    &[
        Field::optional("artifact_directory_path", Form::Text),
        Field::optional("artifact_file_path", Form::Text),
    ],
    |inputs| {
        for name in ["artifact_directory_path", "artifact_file_path"] {
            if let Some(path) = inputs.text(name)? {
                artifact::read_value(name, &path)?;
            }
        }
        Ok(Vec::new())
    },
);

pub const ROUTES: &[Route] = &[
    post(
        Both,
        "/2.0/mlflow/logged-models",
        &[experiment(UPDATE), Need::NotDenied(LoggedModel), READABLE_SOURCE_RUN],
    )
    .response(rows::LOGGED_MODEL),
    post(Both, "/2.0/mlflow/logged-models/search", &[FILTER_ON_RUNS])
        .scoped(&[SEARCHED])
        .response(rows::LOGGED_MODELS),
    get(Both, "/2.0/mlflow/logged-models/{model_id}", &[logged_model(READ)])
        .response(rows::LOGGED_MODEL),
    patch(Both, "/2.0/mlflow/logged-models/{model_id}", &[logged_model(UPDATE)])
        .response(rows::LOGGED_MODEL)
        .note("PD-04: path and body must name the same model"),
    delete(Both, "/2.0/mlflow/logged-models/{model_id}", &[logged_model(DELETE)]),
    post(Both, "/2.0/mlflow/logged-models/{model_id}/params", &[logged_model(UPDATE)]),
    patch(Both, "/2.0/mlflow/logged-models/{model_id}/tags", &[logged_model(UPDATE)])
        .response(rows::LOGGED_MODEL),
    delete(Both, "/2.0/mlflow/logged-models/{model_id}/tags/{tag_key}", &[logged_model(DELETE)]),
    get(
        Both,
        "/2.0/mlflow/logged-models/{model_id}/artifacts/directories",
        &[logged_model(READ), SAFE_PATHS],
    ),
    get(
        Ajax,
        "/2.0/mlflow/logged-models/{model_id}/artifacts/files",
        &[logged_model(READ), SAFE_PATHS],
    )
    .note("CVE-2026-33866"),
];
