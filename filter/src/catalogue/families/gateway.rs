//! The AI gateway: its administration, and calls to models through it.

use crate::refusal::Refusal;
use crate::requirement::{
    Action, Reference,
    ReferenceKind::{GatewayEndpointName, GatewaySecretName, GuardrailId},
    Requirement,
    ResourceType::{
        Experiment, GatewayEndpoint, GatewayModelDefinition, GatewaySecret, Scorer, ScorerVersion,
    },
    Standing,
};
use crate::surface::id::Form;
use crate::surface::inputs::{Field, Inputs};
use crate::surface::json::Value;

use super::super::field::*;
use super::super::need::{Need, every, not_denied, on, on_owner, owner_rung};
use super::super::route::{ADMIN, ANYONE, EffectSpec, Mount::*, delete, get, patch, post};
use super::super::{Route, rows};

const CONFIGURED: Field = Field::many("model_configs[].model_definition_id", Form::Token);
const ATTACHED: Field = Field::one("model_config.model_definition_id", Form::Token);
const OPTIONAL_ENDPOINT: Field = Field::optional("endpoint_id", Form::Token);
const OPTIONAL_SECRET: Field = Field::optional("secret_id", Form::Token);
const USAGE_EXPERIMENT: Field = Field::optional("experiment_id", Form::Experiment);
const ENDPOINT_NAME: Field = Field::one("endpoint_name", Form::Name);
const CALLED_MODEL: Field = Field::one("model", Form::Name);
const SECRET_NAME: Field = Field::optional("secret_name", Form::Text);
const GUARDRAIL_ID: Field = Field::one("guardrail_id", Form::Token);

/// Tracking usage writes traces into the experiment; without one MLflow makes one.
fn usage_experiment(inputs: &Inputs, default_on: bool) -> Result<Vec<Requirement>, Refusal> {
    if let Some(id) = inputs.optional(USAGE_EXPERIMENT)? {
        return Ok(vec![on(Experiment, UPDATE, &id)]);
    }
    let tracking = match inputs.member("usage_tracking")? {
        Some(Value::Bool(tracking)) => *tracking,
        None => default_on,
        Some(_) => return Err(Refusal::invalid("usage_tracking", "must be true or false")),
    };
    Ok(if tracking { vec![not_denied(Experiment)] } else { Vec::new() })
}

const CREATES_ENDPOINT: Need = Need::Rule(
    "gateway_model_definition:use for each, or the right to create where there is none",
    &[CONFIGURED, USAGE_EXPERIMENT],
    |inputs| {
        let ids = inputs.all(CONFIGURED)?;
        let mut needs: Vec<Requirement> =
            ids.iter().map(|id| on(GatewayModelDefinition, USE, id)).collect();
        if needs.is_empty() {
            needs.push(Requirement::Standing(Standing::WorkspaceCreate));
        }
        needs.extend(usage_experiment(inputs, true)?);
        Ok(needs)
    },
);
const UPDATES_ENDPOINT: Need = Need::Rule(
    "gateway_model_definition:use for each, and the experiment that is tracked to",
    &[CONFIGURED, USAGE_EXPERIMENT],
    |inputs| {
        let ids = inputs.all(CONFIGURED)?;
        let mut needs: Vec<Requirement> =
            ids.iter().map(|id| on(GatewayModelDefinition, USE, id)).collect();
        needs.extend(usage_experiment(inputs, false)?);
        Ok(needs)
    },
);

/// By id or by name; where both are given, both.
fn by_id_or_name(
    inputs: &Inputs,
    id: Field,
    name: Field,
    by_name: impl Fn(String) -> Requirement,
    by_id: impl Fn(String) -> Requirement,
) -> Result<Vec<Requirement>, Refusal> {
    let id = inputs.optional(id)?;
    let name = inputs.optional(name)?;
    if id.is_none() && name.is_none() {
        return Err(Refusal::invalid("endpoint_id", "or a name is required"));
    }
    Ok(id.map(by_id).into_iter().chain(name.map(by_name)).collect())
}

const READS_ENDPOINT: Need =
    Need::Rule("gateway_endpoint:read, by id or name", &[OPTIONAL_ENDPOINT, NAME], |inputs| {
        by_id_or_name(
            inputs,
            OPTIONAL_ENDPOINT,
            Field::optional("name", Form::Name),
            |name| on_owner(GatewayEndpoint, READ, &Reference::new(GatewayEndpointName, name)),
            |id| on(GatewayEndpoint, READ, &id),
        )
    });
const READS_SECRET: Need = Need::Rule(
    "gateway_secret:read, by id or name",
    &[OPTIONAL_SECRET, Field::optional("secret_name", Form::Name)],
    |inputs| {
        by_id_or_name(
            inputs,
            OPTIONAL_SECRET,
            Field::optional("secret_name", Form::Name),
            |name| on_owner(GatewaySecret, READ, &Reference::new(GatewaySecretName, name)),
            |id| on(GatewaySecret, READ, &id),
        )
    },
);
const LISTS_BINDINGS: Need = Need::Rule(
    "gateway_endpoint:read; all bindings only for super admins",
    &[OPTIONAL_ENDPOINT],
    |inputs| {
        Ok(vec![match inputs.optional(OPTIONAL_ENDPOINT)? {
            Some(id) => on(GatewayEndpoint, READ, &id),
            None => Requirement::Standing(Standing::SuperAdmin),
        }])
    },
);

/// A guardrail runs a scorer's stored code.
const GUARDRAIL_SCORER: Need =
    Need::Rule("the guardrail's scorer and its version not denied", &[GUARDRAIL_ID], |inputs| {
        let guardrail = Reference::new(GuardrailId, inputs.one(GUARDRAIL_ID)?);
        let scorer = owner_rung(Scorer, Action::NotDenied, &guardrail);
        Ok(vec![
            Requirement::Ladder(vec![scorer.clone()]),
            Requirement::Ladder(vec![every(ScorerVersion, Action::NotDenied), scorer]),
        ])
    });

/// Only the list of endpoints, which the UI asks for. Other paths reach a server that knows
/// nothing of the caller (CVE-2025-52967).
const PROXY_LISTS: Need = Need::Rule(
    "any login for the endpoint list; a super admin for any other path",
    &[Field::optional("gateway_path", Form::Text)],
    |inputs| {
        let path = inputs.text("gateway_path")?;
        let list = path.is_some_and(|path| path == "api/2.0/endpoints/");
        let standing = if list { Standing::Authenticated } else { Standing::SuperAdmin };
        Ok(vec![Requirement::Standing(standing)])
    },
);

const fn not_denied_secret(id: Field) -> Need {
    secret_in(id, Action::NotDenied)
}

/// The endpoint in the path; the body goes to the provider as it is.
const CALL: &[Need] = &[endpoint_named(ENDPOINT_NAME, USE)];
/// The endpoint in the body's `model`.
const CALL_MODEL: &[Need] = &[endpoint_named(CALLED_MODEL, USE)];

/// `/gateway/proxy/mlflow/invocations` is a call of an endpoint named `proxy` to MLflow, which
/// tries the other template first.
const NOT_AN_INVOCATION: Need =
    Need::Rule("a path that is no invocation", &[], |inputs| match inputs.param("path") {
        Some(path) if path.trim_matches('/') == "invocations" => {
            Err(Refusal::ambiguous("path", "could name two endpoints"))
        }
        _ => Ok(Vec::new()),
    });

/// `{endpoint_name}:generateContent`, which is one segment.
const GEMINI: Need =
    Need::Rule("gateway_endpoint:use for the name before the colon", &[], |inputs| {
        let call = inputs.param("call").unwrap_or_default();
        let name = call
            .strip_suffix(":generateContent")
            .or_else(|| call.strip_suffix(":streamGenerateContent"))
            .filter(|name| Form::Name.accepts(name) && !name.contains(':'))
            .ok_or(Refusal::Forbidden { why: "is no call of the gateway's" })?;
        Ok(vec![on_owner(GatewayEndpoint, USE, &Reference::new(GatewayEndpointName, name))])
    });

pub const ROUTES: &[Route] = &[
    post(
        Both,
        "/3.0/mlflow/gateway/secrets/create",
        &[
            Need::Standing(Standing::WorkspaceCreate),
            Need::NotDenied(GatewaySecret),
            Need::Nameable(GatewaySecret, SECRET_NAME),
        ],
    )
    .then(&[EffectSpec::CreatedInResponse(
        GatewaySecret,
        &["secret", "secret_id"],
        SECRET_NAME,
    )]),
    get(Both, "/3.0/mlflow/gateway/secrets/get", &[READS_SECRET]),
    get(Both, "/3.0/mlflow/gateway/secrets/list", ANYONE)
        .telling(&[GatewaySecret])
        .response(rows::GATEWAY_SECRETS),
    post(Both, "/3.0/mlflow/gateway/secrets/update", &[secret_in(SECRET_ID, UPDATE)]),
    delete(Both, "/3.0/mlflow/gateway/secrets/delete", &[secret_in(SECRET_ID, DELETE)])
        .then(&[EffectSpec::Deleted(GatewaySecret, SECRET_ID)]),
    get(Ajax, "/3.0/mlflow/gateway/secrets/config", ANYONE).response(rows::GATEWAY_SECRETS_CONFIG),
    post(
        Both,
        "/3.0/mlflow/gateway/model-definitions/create",
        &[
            Need::NotDenied(GatewayModelDefinition),
            secret_in(OPTIONAL_SECRET, USE),
            Need::Nameable(GatewayModelDefinition, GIVEN_NAME),
        ],
    )
    .then(&[EffectSpec::CreatedInResponse(
        GatewayModelDefinition,
        &["model_definition", "model_definition_id"],
        GIVEN_NAME,
    )])
    .response(rows::GATEWAY_MODEL_DEFINITION),
    get(Both, "/3.0/mlflow/gateway/model-definitions/get", &[definition_in(DEFINITION_ID, READ)])
        .response(rows::GATEWAY_MODEL_DEFINITION),
    get(
        Both,
        "/3.0/mlflow/gateway/model-definitions/list",
        &[Need::Standing(Standing::Authenticated), not_denied_secret(OPTIONAL_SECRET)],
    )
    .telling(&[GatewayModelDefinition])
    .response(rows::GATEWAY_MODEL_DEFINITIONS),
    post(
        Both,
        "/3.0/mlflow/gateway/model-definitions/update",
        &[
            definition_in(DEFINITION_ID, UPDATE),
            secret_in(OPTIONAL_SECRET, USE),
            Need::Nameable(GatewayModelDefinition, GIVEN_NAME),
        ],
    )
    .response(rows::GATEWAY_MODEL_DEFINITION),
    delete(
        Both,
        "/3.0/mlflow/gateway/model-definitions/delete",
        &[definition_in(DEFINITION_ID, DELETE)],
    )
    .then(&[EffectSpec::Deleted(GatewayModelDefinition, DEFINITION_ID)]),
    post(
        Both,
        "/3.0/mlflow/gateway/endpoints/create",
        &[
            Need::NotDenied(GatewayEndpoint),
            CREATES_ENDPOINT,
            Need::Nameable(GatewayEndpoint, GIVEN_NAME),
        ],
    )
    .then(&[EffectSpec::CreatedInResponse(
        GatewayEndpoint,
        &["endpoint", "endpoint_id"],
        GIVEN_NAME,
    )])
    .response(rows::GATEWAY_ENDPOINT)
    .note("MLflow lets usage be tracked to any experiment that is not denied"),
    get(Both, "/3.0/mlflow/gateway/endpoints/get", &[READS_ENDPOINT])
        .response(rows::GATEWAY_ENDPOINT),
    get(
        Both,
        "/3.0/mlflow/gateway/endpoints/list",
        &[Need::Standing(Standing::Authenticated), not_denied_secret(OPTIONAL_SECRET)],
    )
    .telling(&[GatewayEndpoint])
    .response(rows::GATEWAY_ENDPOINTS),
    post(
        Both,
        "/3.0/mlflow/gateway/endpoints/update",
        &[endpoint(UPDATE), UPDATES_ENDPOINT, Need::Nameable(GatewayEndpoint, GIVEN_NAME)],
    )
    .response(rows::GATEWAY_ENDPOINT),
    delete(Both, "/3.0/mlflow/gateway/endpoints/delete", &[endpoint(DELETE)])
        .then(&[EffectSpec::Deleted(GatewayEndpoint, ENDPOINT_ID)]),
    post(Both, "/3.0/mlflow/gateway/endpoints/set-tag", &[endpoint(UPDATE)]),
    delete(Both, "/3.0/mlflow/gateway/endpoints/delete-tag", &[endpoint(UPDATE)]),
    post(
        Both,
        "/3.0/mlflow/gateway/endpoints/models/attach",
        &[endpoint(UPDATE), definition_in(ATTACHED, USE)],
    )
    .response(rows::GATEWAY_MAPPING),
    post(
        Both,
        "/3.0/mlflow/gateway/endpoints/models/detach",
        &[
            endpoint(UPDATE),
            definition_in(Field::optional("model_definition_id", Form::Token), Action::NotDenied),
        ],
    ),
    post(Both, "/3.0/mlflow/gateway/endpoints/bindings/create", &[endpoint(UPDATE)]),
    delete(Both, "/3.0/mlflow/gateway/endpoints/bindings/delete", &[endpoint(UPDATE)]),
    get(Both, "/3.0/mlflow/gateway/endpoints/bindings/list", &[LISTS_BINDINGS]),
    post(Both, "/3.0/mlflow/gateway/budgets/create", ADMIN),
    get(Both, "/3.0/mlflow/gateway/budgets/get", ANYONE),
    get(Both, "/3.0/mlflow/gateway/budgets/list", ANYONE),
    get(Both, "/3.0/mlflow/gateway/budgets/windows", ANYONE),
    post(Both, "/3.0/mlflow/gateway/budgets/update", ADMIN),
    delete(Both, "/3.0/mlflow/gateway/budgets/delete", ADMIN),
    post(Both, "/3.0/mlflow/gateway/guardrails/create", ADMIN),
    get(Both, "/3.0/mlflow/gateway/guardrails/get", ADMIN),
    get(Both, "/3.0/mlflow/gateway/guardrails/list", ADMIN),
    delete(Both, "/3.0/mlflow/gateway/guardrails/delete", ADMIN),
    get(Both, "/3.0/mlflow/gateway/guardrails/list-for-endpoint", &[endpoint(READ)])
        .response(rows::GATEWAY_GUARDRAILS),
    post(
        Both,
        "/3.0/mlflow/gateway/guardrails/add-to-endpoint",
        &[endpoint(UPDATE), GUARDRAIL_SCORER],
    )
    .response(rows::GATEWAY_GUARDRAIL),
    patch(
        Both,
        "/3.0/mlflow/gateway/guardrails/update-config",
        &[endpoint(UPDATE), GUARDRAIL_SCORER],
    )
    .response(rows::GATEWAY_GUARDRAIL),
    delete(Both, "/3.0/mlflow/gateway/guardrails/remove-from-endpoint", &[endpoint(UPDATE)]),
    get(Ajax, "/3.0/mlflow/gateway/provider-config", ANYONE),
    get(Ajax, "/3.0/mlflow/gateway/supported-models", ANYONE),
    get(Ajax, "/3.0/mlflow/gateway/supported-providers", ANYONE),
    get(Ajax, "/2.0/mlflow/gateway-proxy", &[PROXY_LISTS])
        .note("MLflow proxies any path for any login"),
    post(Ajax, "/2.0/mlflow/gateway-proxy", ADMIN).note("MLflow proxies any path for any login"),
    // Calls to models.
    get(Root, "/gateway/mlflow/v1/models", ANYONE).response(rows::GATEWAY_SERVED_MODELS),
    post(Root, "/gateway/{endpoint_name}/mlflow/invocations", CALL).streamed(),
    post(
        Root,
        "/gateway/proxy/{endpoint_name}/{*path}",
        &[endpoint_named(ENDPOINT_NAME, USE), NOT_AN_INVOCATION],
    )
    .streamed(),
    post(Root, "/gateway/gemini/v1beta/models/{call}", &[GEMINI]).streamed(),
    post(Root, "/gateway/mlflow/v1/chat/completions", CALL_MODEL),
    post(Root, "/gateway/openai/v1/chat/completions", CALL_MODEL),
    post(Root, "/gateway/openai/v1/embeddings", CALL_MODEL),
    post(Root, "/gateway/openai/v1/responses", CALL_MODEL),
    post(Root, "/gateway/openai/v1/responses/compact", ADMIN)
        .note("MLflow's own check never finds the endpoint and refuses all but admins"),
    post(Root, "/gateway/anthropic/v1/messages", CALL_MODEL),
    post(Root, "/gateway/typesafe/v1/systemone", CALL_MODEL),
];
