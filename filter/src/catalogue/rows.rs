//! What is done to the rows of list responses (semantics §7, §8).

use crate::operation::{Redaction, ResponseWork, RowFilter};
use crate::requirement::ResourceType;

macro_rules! rows {
    ($name:ident, $filter:expr) => {
        pub const $name: ResponseWork = {
            static FILTER: RowFilter = $filter;
            ResponseWork::FilterRows(&FILTER)
        };
    };
}

rows!(
    EXPERIMENTS,
    RowFilter {
        rows: "experiments",
        id: &["experiment_id"],
        resource: ResourceType::Experiment,
        reference: None,
        also_require: &[],
        redactions: &[],
    }
);

const fn without_logged_model(path: &'static [&'static str]) -> Redaction {
    Redaction { when_denied: ResourceType::LoggedModel, path }
}

pub const RUN: ResponseWork = ResponseWork::Redact(&[
    without_logged_model(&["run", "inputs", "model_inputs"]),
    without_logged_model(&["run", "outputs", "model_outputs"]),
    without_logged_model(&["run", "data", "metrics", "[]", "model_id"]),
]);

pub const RUNS: ResponseWork = ResponseWork::Redact(&[
    without_logged_model(&["runs", "[]", "inputs", "model_inputs"]),
    without_logged_model(&["runs", "[]", "outputs", "model_outputs"]),
    without_logged_model(&["runs", "[]", "data", "metrics", "[]", "model_id"]),
]);

pub const METRICS: ResponseWork =
    ResponseWork::Redact(&[without_logged_model(&["metrics", "[]", "model_id"])]);
