//! Evaluation datasets. One may belong to many experiments; every one of them must allow.

use crate::refusal::Refusal;
use crate::requirement::Action;
use crate::requirement::ReferenceKind::EvaluationDatasetId;

use super::super::Route;
use super::super::field::*;
use super::super::need::Need;
use super::super::route::{ADMIN, Mount::*, delete, get, patch, post};

const fn dataset(action: Action) -> Need {
    experiment_of(EvaluationDatasetId, DATASET_ID, action)
}

/// MLflow's auth app before 3.18 reads the JSON here, and not the message: it denies without this name.
const SPELT: Need = Need::Rule("experiment_ids by this name", &[], |inputs| {
    let camel = inputs.body.as_ref().and_then(|body| body.get("experimentIds"));
    match camel {
        Some(_) => Err(Refusal::invalid("experimentIds", "must be experiment_ids")),
        None => Ok(Vec::new()),
    }
});

pub const ROUTES: &[Route] = &[
    post(Both, "/3.0/mlflow/datasets/create", &[experiments(UPDATE), SPELT]),
    get(Both, "/3.0/mlflow/datasets/search", &[experiments(READ)]),
    post(Both, "/3.0/mlflow/datasets/search", &[experiments(READ), SPELT])
        .note("PD-08: ids in query and body are refused"),
    get(Both, "/3.0/mlflow/datasets/{dataset_id}", &[dataset(READ)]),
    delete(Both, "/3.0/mlflow/datasets/{dataset_id}", &[dataset(DELETE)]),
    get(Both, "/3.0/mlflow/datasets/{dataset_id}/experiment-ids", &[dataset(READ)]),
    get(Both, "/3.0/mlflow/datasets/{dataset_id}/records", &[dataset(READ)]),
    post(Both, "/3.0/mlflow/datasets/{dataset_id}/records", &[dataset(UPDATE)]),
    delete(Both, "/3.0/mlflow/datasets/{dataset_id}/records", &[dataset(UPDATE)]),
    patch(Both, "/3.0/mlflow/datasets/{dataset_id}/tags", &[dataset(UPDATE)]),
    delete(Both, "/3.0/mlflow/datasets/{dataset_id}/tags/{key}", &[dataset(UPDATE)]),
    post(
        Both,
        "/3.0/mlflow/datasets/{dataset_id}/add-experiments",
        &[dataset(UPDATE), experiments(UPDATE), SPELT],
    ),
    post(Both, "/3.0/mlflow/datasets/{dataset_id}/remove-experiments", &[dataset(UPDATE)]),
    post(Both, "/2.0mlflow/experiments/search-datasets", ADMIN)
        .note("a route with a slash missing, as MLflow registers it; not implemented there"),
];
