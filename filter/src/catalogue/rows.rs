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
rewrite!(
    REVIEW_QUEUES,
    Paging::AsTheyCome,
    [drop_unless(&["review_queues", "[]"], &[RowTest::ListedUnlessScoped(&["users"])])],
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

// --- AI gateway -----------------------------------------------------------------------------

const DEFINITION_NOT_DENIED: &[RowTest] = &[not_denied(
    R::GatewayModelDefinition,
    RowId::Either(&["model_definition_id"], &["model_definition", "model_definition_id"]),
)];
const SECRET_NOT_DENIED: &[RowTest] = &[not_denied(R::GatewaySecret, RowId::Field(&["secret_id"]))];

/// A mapping may embed a definition, and that a secret, which the endpoint's reader may not know.
const fn mapping_definition(at: Path) -> Rows {
    clear_unless(at, DEFINITION_NOT_DENIED, &[&["model_definition"], &["model_definition_id"]])
}

const fn definition_secret(at: Path) -> Rows {
    clear_unless(at, SECRET_NOT_DENIED, &[&["secret_id"], &["secret_name"]])
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

rows_then!(
    GATEWAY_ENDPOINTS,
    [
        drop_unless(&["endpoints", "[]"], &[may_read(R::GatewayEndpoint, &["endpoint_id"])]),
        mapping_definition(&["endpoints", "[]", "model_mappings", "[]"]),
        definition_secret(&["endpoints", "[]", "model_mappings", "[]", "model_definition"]),
    ]
);
// Create, get, update.
rows_then!(
    GATEWAY_ENDPOINT,
    [
        mapping_definition(&["endpoint", "model_mappings", "[]"]),
        definition_secret(&["endpoint", "model_mappings", "[]", "model_definition"]),
    ]
);
// Attach a model.
rows_then!(
    GATEWAY_MAPPING,
    [mapping_definition(&["mapping"]), definition_secret(&["mapping", "model_definition"])]
);
rows_then!(
    GATEWAY_MODEL_DEFINITIONS,
    [
        drop_unless(
            &["model_definitions", "[]"],
            &[may_read(R::GatewayModelDefinition, &["model_definition_id"])]
        ),
        definition_secret(&["model_definitions", "[]"]),
    ]
);
// Get, update.
rows_then!(GATEWAY_MODEL_DEFINITION, [definition_secret(&["model_definition"])]);
rows_then!(
    GATEWAY_SECRETS,
    [drop_unless(&["secrets", "[]"], &[may_read(R::GatewaySecret, &["secret_id"])])]
);

/// `gateway/secrets/config`: whether the default passphrase is in use is for admins only.
pub const GATEWAY_SECRETS_CONFIG: ResponseWork =
    ResponseWork::Redact(&[Redaction { when: When::Always, path: &["using_default_passphrase"] }]);

const GUARDRAIL_SCORER_READABLE: &[RowTest] = &[
    RowTest::NotDenied(R::ScorerVersion),
    may_read(R::Experiment, &["guardrail", "scorer", "experiment_id"]),
    RowTest::May {
        resource: R::Scorer,
        action: Action::Read,
        id: RowId::Scorer {
            experiment_id: &["guardrail", "scorer", "experiment_id"],
            name: &["guardrail", "scorer", "scorer_name"],
        },
    },
];

const fn guardrail(at: Path) -> Rows {
    clear_unless(at, GUARDRAIL_SCORER_READABLE, &[&["guardrail", "scorer"]])
}

// Add to an endpoint, update the configuration.
rows_then!(GATEWAY_GUARDRAIL, [guardrail(&["config"])]);
rows_then!(GATEWAY_GUARDRAILS, [guardrail(&["configs", "[]"])]);

// `/gateway/mlflow/v1/models`: its ids are endpoint names.
rows_then!(
    GATEWAY_SERVED_MODELS,
    [drop_unless(
        &["data", "[]"],
        &[RowTest::MayByReference {
            resource: R::GatewayEndpoint,
            action: Action::Use,
            kind: ReferenceKind::GatewayEndpointName,
            id: RowId::Field(&["id"]),
        }]
    )]
);

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

// --- MCP servers ----------------------------------------------------------------------------

/// What an access endpoint tells of the server's versions.
macro_rules! mcp_passengers {
    ($($at:literal),*) => {
        [
            denied(R::McpServerVersion, &[$($at,)* "resolved_version"]),
            denied(R::McpServerVersion, &[$($at,)* "tools"]),
            denied(R::McpServerVersion, &[$($at,)* "server_version"]),
            denied(R::McpServerVersion, &[$($at,)* "server_alias"]),
        ]
    };
}

const MCP_PAGES: Paging = Paging::Refill { default_size: Some(100) };

/// Search: every row says what its reader may do with it.
pub const MCP_SERVERS: ResponseWork = {
    static REWRITE: Rewrite = Rewrite {
        rows: &[
            drop_unless(
                &["mcp_servers", "[]"],
                &[RowTest::MayItself {
                    resource: R::McpServer,
                    action: Action::Read,
                    id: RowId::Field(&["name"]),
                }],
            ),
            Rows {
                at: &["mcp_servers", "[]"],
                keep: &[],
                otherwise: Otherwise::Stamp { resource: R::McpServer, id: RowId::Field(&["name"]) },
            },
        ],
        redactions: &mcp_passengers!["mcp_servers", "[]", "access_endpoints", "[]"],
        paging: MCP_PAGES,
    };
    ResponseWork::Rewrite(&REWRITE)
};

/// Get, update.
pub const MCP_SERVER: ResponseWork = {
    static REWRITE: Rewrite = Rewrite {
        rows: &[Rows {
            at: &[],
            keep: &[],
            otherwise: Otherwise::Stamp { resource: R::McpServer, id: RowId::Field(&["name"]) },
        }],
        redactions: &mcp_passengers!["access_endpoints", "[]"],
        paging: Paging::AsTheyCome,
    };
    ResponseWork::Rewrite(&REWRITE)
};

/// Endpoints of all servers.
pub const MCP_ALL_ENDPOINTS: ResponseWork = {
    static REWRITE: Rewrite = Rewrite {
        rows: &[drop_unless(
            &["mcp_access_endpoints", "[]"],
            &[may_read(R::McpServer, &["server_name"])],
        )],
        redactions: &mcp_passengers!["mcp_access_endpoints", "[]"],
        paging: MCP_PAGES,
    };
    ResponseWork::Rewrite(&REWRITE)
};

/// Endpoints of the one server that the path names.
pub const MCP_ENDPOINTS: ResponseWork =
    ResponseWork::Redact(&mcp_passengers!["mcp_access_endpoints", "[]"]);

/// One endpoint: create, get, update.
pub const MCP_ENDPOINT: ResponseWork = ResponseWork::Redact(&mcp_passengers![]);
