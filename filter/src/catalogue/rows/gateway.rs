//! The rows of the AI gateway's lists.

use super::*;

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
