//! What is done to the rows of list responses (semantics §7, §8).
//!
//! Rows are dropped where they name something the caller may not read; fields are cleared where
//! only a DENY grant on a sub-resource type hides them. Searches over experiment ids that the
//! client sent (runs, logged models) need no row test: their ids are cut down in the request.

use crate::operation::{
    Otherwise, Paging, Path, Redaction, ResponseWork, Rewrite, RowId, RowTest, Rows, When,
};
use crate::requirement::{Action, ReferenceKind, ResourceType as R};

macro_rules! rewrite {
    ($name:ident, $paging:expr, [$($rows:expr),* $(,)?], [$($redaction:expr),* $(,)?]) => {
        pub const $name: ResponseWork = {
            static REWRITE: Rewrite =
                Rewrite { rows: &[$($rows),*], redactions: &[$($redaction),*], paging: $paging };
            ResponseWork::Rewrite(&REWRITE)
        };
    };
}

macro_rules! rows_then {
    ($name:ident, $rows:expr) => {
        pub const $name: ResponseWork = {
            static REWRITE: Rewrite =
                Rewrite { rows: &$rows, redactions: &[], paging: Paging::AsTheyCome };
            ResponseWork::Rewrite(&REWRITE)
        };
    };
}

mod gateway;
mod mcp;

pub use self::gateway::*;
pub use self::mcp::*;

const fn may_read(resource: R, id: Path) -> RowTest {
    RowTest::May { resource, action: Action::Read, id: RowId::Field(id) }
}

const fn not_denied(resource: R, id: RowId) -> RowTest {
    RowTest::May { resource, action: Action::NotDenied, id }
}

const fn drop_unless(at: Path, keep: &'static [RowTest]) -> Rows {
    Rows { at, keep, otherwise: Otherwise::Drop }
}

const fn clear_unless(at: Path, keep: &'static [RowTest], fields: &'static [Path]) -> Rows {
    Rows { at, keep, otherwise: Otherwise::Clear(fields) }
}

const fn denied(resource: R, path: Path) -> Redaction {
    Redaction { when: When::Denied(resource), path }
}

// --- experiments, runs, logged models -------------------------------------------------------

rewrite!(
    EXPERIMENTS,
    Paging::Refill { default_size: None },
    [drop_unless(&["experiments", "[]"], &[may_read(R::Experiment, &["experiment_id"])])],
    []
);

pub const RUN: ResponseWork = ResponseWork::Redact(&[
    denied(R::LoggedModel, &["run", "inputs", "model_inputs"]),
    denied(R::LoggedModel, &["run", "outputs", "model_outputs"]),
    denied(R::LoggedModel, &["run", "data", "metrics", "[]", "model_id"]),
]);

pub const RUNS: ResponseWork = ResponseWork::Redact(&[
    denied(R::LoggedModel, &["runs", "[]", "inputs", "model_inputs"]),
    denied(R::LoggedModel, &["runs", "[]", "outputs", "model_outputs"]),
    denied(R::LoggedModel, &["runs", "[]", "data", "metrics", "[]", "model_id"]),
]);

pub const METRICS: ResponseWork =
    ResponseWork::Redact(&[denied(R::LoggedModel, &["metrics", "[]", "model_id"])]);

/// Create, get, finalize and tag a logged model.
pub const LOGGED_MODEL: ResponseWork = ResponseWork::Redact(&[
    denied(R::Run, &["model", "info", "source_run_id"]),
    denied(R::Run, &["model", "data", "metrics", "[]", "run_id"]),
]);

/// Search; its experiment ids are scoped with a veto on LOGGED_MODEL.
pub const LOGGED_MODELS: ResponseWork = ResponseWork::Redact(&[
    denied(R::Run, &["models", "[]", "info", "source_run_id"]),
    denied(R::Run, &["models", "[]", "data", "metrics", "[]", "run_id"]),
]);

// --- model registry and prompts -------------------------------------------------------------

macro_rules! version_siblings {
    ($($at:literal),+) => {
        &[
            denied(R::Run, &[$($at),+, "run_id"]),
            denied(R::Run, &[$($at),+, "run_link"]),
            denied(R::LoggedModel, &[$($at),+, "model_id"]),
            denied(R::LoggedModel, &[$($at),+, "model_params"]),
            denied(R::LoggedModel, &[$($at),+, "model_metrics"]),
        ]
    };
}

macro_rules! embedded_versions {
    ($($at:literal),+) => {
        &[
            denied(R::ModelOrPromptVersion, &[$($at),+, "latest_versions"]),
            denied(R::Run, &[$($at),+, "latest_versions", "[]", "run_id"]),
            denied(R::Run, &[$($at),+, "latest_versions", "[]", "run_link"]),
            denied(R::LoggedModel, &[$($at),+, "latest_versions", "[]", "model_id"]),
            denied(R::LoggedModel, &[$($at),+, "latest_versions", "[]", "model_params"]),
            denied(R::LoggedModel, &[$($at),+, "latest_versions", "[]", "model_metrics"]),
        ]
    };
}

/// Get, update, rename.
pub const REGISTERED_MODEL: ResponseWork =
    ResponseWork::Redact(embedded_versions!["registered_model"]);

pub const REGISTERED_MODELS: ResponseWork = {
    static REWRITE: Rewrite = Rewrite {
        rows: &[drop_unless(
            &["registered_models", "[]"],
            &[RowTest::MayReadModelOrPrompt { name: RowId::Field(&["name"]), version: false }],
        )],
        redactions: embedded_versions!["registered_models", "[]"],
        paging: Paging::Refill { default_size: Some(100) },
    };
    ResponseWork::Rewrite(&REWRITE)
};

/// Create, get, update, transition, by alias.
pub const MODEL_VERSION: ResponseWork = ResponseWork::Redact(version_siblings!["model_version"]);

/// `get-latest-versions`: one parent, which the request names.
pub const LATEST_VERSIONS: ResponseWork =
    ResponseWork::Redact(version_siblings!["model_versions", "[]"]);

/// Search over all parents. MLflow 3.17.2 leaves short pages.
pub const MODEL_VERSIONS: ResponseWork = {
    static REWRITE: Rewrite = Rewrite {
        rows: &[drop_unless(
            &["model_versions", "[]"],
            &[RowTest::MayReadModelOrPrompt { name: RowId::Field(&["name"]), version: true }],
        )],
        redactions: version_siblings!["model_versions", "[]"],
        paging: Paging::AsTheyCome,
    };
    ResponseWork::Rewrite(&REWRITE)
};

// --- scorers, issues, review queues, traces -------------------------------------------------

const SCORER: RowId = RowId::Scorer { experiment_id: &["experiment_id"], name: &["scorer_name"] };

rewrite!(
    SCORERS,
    Paging::AsTheyCome,
    [drop_unless(
        &["scorers", "[]"],
        &[
            RowTest::NotDenied(R::ScorerVersion),
            may_read(R::Experiment, &["experiment_id"]),
            RowTest::May { resource: R::Scorer, action: Action::Read, id: SCORER },
        ]
    )],
    []
);

/// Create, get, update.
pub const ISSUE: ResponseWork =
    ResponseWork::Redact(&[denied(R::Run, &["issue", "source_run_id"])]);

pub const ISSUES: ResponseWork =
    ResponseWork::Redact(&[denied(R::Run, &["issues", "[]", "source_run_id"])]);

// The operation's scope 0 is the experiment with UPDATE on the queue tier: who has that sees all.
// A DENY on the tier hides a queue from its own users too.
rewrite!(
    REVIEW_QUEUES,
    Paging::AsTheyCome,
    [drop_unless(
        &["review_queues", "[]"],
        &[RowTest::NotDenied(R::ReviewQueue), RowTest::ListedUnlessScoped(&["users"])]
    )],
    []
);

/// v2: metadata is a list of `{key, value}`.
macro_rules! v2_trace {
    ($($at:literal),+) => {
        &[
            denied(R::Run, &[$($at),+, "request_metadata", "=mlflow.sourceRun"]),
            denied(R::LoggedModel, &[$($at),+, "request_metadata", "=mlflow.modelId"]),
        ]
    };
}

/// v3: metadata is a map.
macro_rules! v3_trace {
    ($($at:literal),+) => {
        &[
            denied(R::Assessment, &[$($at),+, "assessments"]),
            denied(R::Run, &[$($at),+, "trace_metadata", "mlflow.sourceRun"]),
            denied(R::LoggedModel, &[$($at),+, "trace_metadata", "mlflow.modelId"]),
        ]
    };
}

/// v2 start, end, get info.
pub const TRACE_INFO_V2: ResponseWork = ResponseWork::Redact(v2_trace!["trace_info"]);
/// v2 search.
pub const TRACES_V2: ResponseWork = ResponseWork::Redact(v2_trace!["traces", "[]"]);
/// v3 start, get info, get.
pub const TRACE: ResponseWork = ResponseWork::Redact(v3_trace!["trace", "trace_info"]);
/// v3 `batchGet`.
pub const TRACE_BATCH: ResponseWork = ResponseWork::Redact(v3_trace!["traces", "[]", "trace_info"]);
/// v3 `batchGetInfos`.
pub const TRACE_INFOS: ResponseWork = ResponseWork::Redact(v3_trace!["trace_infos", "[]"]);
/// v3 search.
pub const TRACES: ResponseWork = ResponseWork::Redact(v3_trace!["traces", "[]"]);

// --- jobs, workspaces, artifacts ------------------------------------------------------------

// MLflow itself does not know who submitted a job that came through the gate: the recorded
// creator decides, not the `creator` field.
rows_then!(
    JOBS,
    [drop_unless(
        &["jobs", "[]"],
        &[RowTest::Owned { kind: ReferenceKind::JobId, id: RowId::Field(&["job_id"]) }]
    )]
);

rows_then!(WORKSPACES, [drop_unless(&["workspaces", "[]"], &[may_read(R::Workspace, &["name"])])]);

/// The artifact listing of an experiment's root.
pub const EXPERIMENT_ROOT: ResponseWork = {
    static REWRITE: Rewrite = Rewrite {
        rows: &[drop_unless(&["files", "[]"], &[RowTest::RunDirectory(&["path"])])],
        redactions: &[],
        paging: Paging::AsTheyCome,
    };
    ResponseWork::Rewrite(&REWRITE)
};

/// The artifact listing of the destination's root. MLflow shows every experiment's directory.
pub const ARTIFACT_ROOT: ResponseWork = {
    static REWRITE: Rewrite = Rewrite {
        rows: &[drop_unless(&["files", "[]"], &[RowTest::ExperimentDirectory(&["path"])])],
        redactions: &[],
        paging: Paging::AsTheyCome,
    };
    ResponseWork::Rewrite(&REWRITE)
};
