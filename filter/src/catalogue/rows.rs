//! What is done to the rows of list responses (semantics §7, §8).

use crate::operation::{
    Otherwise, Paging, Redaction, ResponseWork, Rewrite, RowId, RowTest, Rows, When,
};
use crate::requirement::{Action, ResourceType};

macro_rules! rewrite {
    ($name:ident, $rewrite:expr) => {
        pub const $name: ResponseWork = {
            static REWRITE: Rewrite = $rewrite;
            ResponseWork::Rewrite(&REWRITE)
        };
    };
}

const fn may_read(resource: ResourceType, id: &'static [&'static str]) -> RowTest {
    RowTest::May { resource, action: Action::Read, id: RowId::Field(id) }
}

rewrite!(
    EXPERIMENTS,
    Rewrite {
        rows: &[Rows {
            at: &["experiments", "[]"],
            keep: &[may_read(ResourceType::Experiment, &["experiment_id"])],
            otherwise: Otherwise::Drop,
        }],
        redactions: &[],
        paging: Paging::Refill { default_size: None },
    }
);

const fn without_logged_model(path: &'static [&'static str]) -> Redaction {
    Redaction { when: When::Denied(ResourceType::LoggedModel), path }
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
