//! The registry of MCP servers. A server's name is `namespace/slug`: two segments of the path.

use crate::operation::{Effect, EffectId};
use crate::refusal::Refusal;
use crate::requirement::{
    Action, Requirement,
    ResourceType::{McpServer, McpServerVersion},
    Standing,
};
use crate::surface::id::Form;
use crate::surface::inputs::{Field, Inputs};

use super::super::field::*;
use super::super::need::{Need, every, nameable, not_denied, on, rung};
use super::super::route::{EffectSpec, Mount::*, delete, get, patch, post};
use super::super::{Route, rows};

const NAMESPACE: Field = Field::one("namespace", Form::Name);
const SLUG: Field = Field::one("slug", Form::Name);
const BODY_NAME: Field = Field::one("name", Form::NewName);

/// Words with a meaning in these paths: FastAPI would split such a path elsewhere.
const RESERVED: [&str; 4] = ["versions", "endpoints", "tags", "aliases"];

/// MLflow's pattern for each half of a name.
fn check_half(half: &str) -> Result<(), Refusal> {
    let ends = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric());
    let inner = half.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_'));
    let reserved = RESERVED.iter().any(|word| half.eq_ignore_ascii_case(word));
    if !inner || !ends(half.chars().next()) || !ends(half.chars().last()) || reserved {
        return Err(Refusal::invalid("name", "must be a server's namespace/slug"));
    }
    Ok(())
}

fn check_name(name: &str) -> Result<(), Refusal> {
    let (namespace, slug) = name
        .split_once('/')
        .ok_or_else(|| Refusal::invalid("name", "must be a server's namespace/slug"))?;
    check_half(namespace)?;
    check_half(slug)
}

fn name(inputs: &Inputs) -> Result<String, Refusal> {
    for param in ["version", "alias"] {
        if inputs.param(param).is_some_and(|value| RESERVED.contains(&value)) {
            return Err(Refusal::ambiguous(param, "is a word of the path's own"));
        }
    }
    let name = format!("{}/{}", inputs.one(NAMESPACE)?, inputs.one(SLUG)?);
    check_name(&name)?;
    Ok(name)
}

fn version(action: Action, name: &str) -> Requirement {
    Requirement::Ladder(vec![every(McpServerVersion, action), rung(McpServer, action, name)])
}

macro_rules! server {
    ($id:ident, $text:literal, |$name:ident| $needs:expr) => {
        const $id: Need = Need::Rule($text, &[NAMESPACE, SLUG], |inputs| {
            let $name = name(inputs)?;
            Ok($needs)
        });
    };
}

server!(READS, "mcp_server:read", |name| vec![on(McpServer, READ, &name)]);
server!(UPDATES, "mcp_server:update", |name| vec![on(McpServer, UPDATE, &name)]);
server!(DELETES, "mcp_server:delete, mcp_server_version:delete", |name| vec![
    on(McpServer, DELETE, &name),
    on(McpServer, READ, &name),
    version(DELETE, &name),
]);
server!(VERSION_READ, "mcp_server_version:read", |name| vec![version(READ, &name)]);
server!(VERSION_UPDATE, "mcp_server_version:update", |name| vec![version(UPDATE, &name)]);
server!(VERSION_DELETE, "mcp_server_version:delete", |name| vec![version(DELETE, &name)]);
server!(DELETE_ALIAS, "mcp_server:delete", |name| vec![on(McpServer, DELETE, &name)]);

/// Endpoints show what version they resolve to.
const VERSIONS_VISIBLE: Need = Need::NotDenied(McpServerVersion);

const CREATES: Need = Need::Rule("the name not denied", &[BODY_NAME], |inputs| {
    let name = inputs.one(BODY_NAME)?;
    check_name(&name)?;
    Ok(vec![on(McpServer, Action::NotDenied, &name), nameable(McpServer, name)])
});
const OWN: EffectSpec = EffectSpec::By(|inputs| {
    let name = inputs.one(BODY_NAME)?;
    Ok(vec![Effect::Created { resource: McpServer, id: EffectId::Known(name.clone()), name }])
});
const FORGET: EffectSpec =
    EffectSpec::By(|inputs| Ok(vec![Effect::Deleted { resource: McpServer, id: name(inputs)? }]));

/// A version names its server in the body too.
const SAME_SERVER: Need = Need::Rule("path and body name one server", &[], |inputs| {
    let field = Field::optional("server_json.name", Form::Name);
    match inputs.optional(field)? {
        Some(other) if other != name(inputs)? => {
            Err(Refusal::ambiguous("server_json.name", "differs between path and body"))
        }
        _ => Ok(vec![not_denied(McpServerVersion)]),
    }
});

pub const ROUTES: &[Route] = &[
    get(Both, "/3.0/mlflow/mcp-servers", &[Need::Standing(Standing::Authenticated)])
        .response(rows::MCP_SERVERS),
    post(Both, "/3.0/mlflow/mcp-servers", &[Need::Standing(Standing::WorkspaceCreate), CREATES])
        .then(&[OWN]),
    get(Both, "/3.0/mlflow/mcp-servers/endpoints", &[VERSIONS_VISIBLE])
        .telling(&[McpServer])
        .response(rows::MCP_ALL_ENDPOINTS),
    get(Both, "/3.0/mlflow/mcp-servers/{namespace}/{slug}", &[READS]).response(rows::MCP_SERVER),
    patch(Both, "/3.0/mlflow/mcp-servers/{namespace}/{slug}", &[UPDATES])
        .response(rows::MCP_SERVER),
    delete(Both, "/3.0/mlflow/mcp-servers/{namespace}/{slug}", &[DELETES]).then(&[FORGET]),
    get(Both, "/3.0/mlflow/mcp-servers/{namespace}/{slug}/versions", &[READS, VERSION_READ]),
    post(Both, "/3.0/mlflow/mcp-servers/{namespace}/{slug}/versions", &[UPDATES, SAME_SERVER])
        .note("MLflow would make a missing server for anybody who may create; make it first"),
    get(
        Both,
        "/3.0/mlflow/mcp-servers/{namespace}/{slug}/versions/{version}",
        &[READS, VERSION_READ],
    ),
    patch(
        Both,
        "/3.0/mlflow/mcp-servers/{namespace}/{slug}/versions/{version}",
        &[READS, VERSION_UPDATE],
    ),
    delete(
        Both,
        "/3.0/mlflow/mcp-servers/{namespace}/{slug}/versions/{version}",
        &[READS, VERSION_DELETE],
    ),
    post(
        Both,
        "/3.0/mlflow/mcp-servers/{namespace}/{slug}/versions/{version}/tags",
        &[READS, VERSION_UPDATE],
    ),
    delete(
        Both,
        "/3.0/mlflow/mcp-servers/{namespace}/{slug}/versions/{version}/tags/{*key}",
        &[READS, VERSION_DELETE],
    ),
    get(Both, "/3.0/mlflow/mcp-servers/{namespace}/{slug}/endpoints", &[READS, VERSIONS_VISIBLE])
        .response(rows::MCP_ENDPOINTS),
    post(
        Both,
        "/3.0/mlflow/mcp-servers/{namespace}/{slug}/endpoints",
        &[UPDATES, VERSIONS_VISIBLE],
    )
    .response(rows::MCP_ENDPOINT),
    get(
        Both,
        "/3.0/mlflow/mcp-servers/{namespace}/{slug}/endpoints/{endpoint_id}",
        &[READS, VERSIONS_VISIBLE],
    )
    .response(rows::MCP_ENDPOINT),
    patch(
        Both,
        "/3.0/mlflow/mcp-servers/{namespace}/{slug}/endpoints/{endpoint_id}",
        &[UPDATES, VERSIONS_VISIBLE],
    )
    .response(rows::MCP_ENDPOINT),
    delete(Both, "/3.0/mlflow/mcp-servers/{namespace}/{slug}/endpoints/{endpoint_id}", &[DELETES]),
    post(Both, "/3.0/mlflow/mcp-servers/{namespace}/{slug}/tags", &[UPDATES]),
    delete(Both, "/3.0/mlflow/mcp-servers/{namespace}/{slug}/tags/{*key}", &[DELETES]),
    post(Both, "/3.0/mlflow/mcp-servers/{namespace}/{slug}/aliases", &[UPDATES, VERSION_READ]),
    get(Both, "/3.0/mlflow/mcp-servers/{namespace}/{slug}/aliases/{alias}", &[READS, VERSION_READ]),
    delete(
        Both,
        "/3.0/mlflow/mcp-servers/{namespace}/{slug}/aliases/{alias}",
        &[DELETE_ALIAS, VERSION_READ],
    ),
];
