//! The tables of grants, and how their rows name an object.

use crate::domain::ResourceType;

/// Whose a row is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum HolderKind {
    User,
    Group,
}

/// How a row says which objects it is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Naming {
    /// By the columns of the key.
    Key(&'static str),
    /// By a regular expression, with a priority.
    Regex,
}

/// One table of grants.
pub(super) struct Table {
    pub(super) name: &'static str,
    pub(super) resource: ResourceType,
    pub(super) holder: HolderKind,
    pub(super) naming: Naming,
}

macro_rules! tables {
    ($($resource:ident: $key:literal, $user:literal, $group:literal, $($regex:literal, $group_regex:literal)?;)+) => {
        &[$(
            Table { name: $user, resource: ResourceType::$resource, holder: HolderKind::User, naming: Naming::Key($key) },
            Table { name: $group, resource: ResourceType::$resource, holder: HolderKind::Group, naming: Naming::Key($key) },
            $(
                Table { name: $regex, resource: ResourceType::$resource, holder: HolderKind::User, naming: Naming::Regex },
                Table { name: $group_regex, resource: ResourceType::$resource, holder: HolderKind::Group, naming: Naming::Regex },
            )?
        )+]
    };
}

/// mlflow-oidc-auth's `permission_kinds`, of 11.0.2.
pub(super) const TABLES: &[Table] = tables! {
    Experiment: "experiment_id, ''", "experiment_permissions", "experiment_group_permissions",
        "experiment_regex_permissions", "experiment_group_regex_permissions";
    RegisteredModel: "name, ''", "registered_model_permissions",
        "registered_model_group_permissions", "registered_model_regex_permissions",
        "registered_model_group_regex_permissions";
    Scorer: "experiment_id, scorer_name", "scorer_permissions", "scorer_group_permissions",
        "scorer_regex_permissions", "scorer_group_regex_permissions";
    GatewayEndpoint: "endpoint_id, ''", "gateway_endpoint_permissions",
        "gateway_endpoint_group_permissions", "gateway_endpoint_regex_permissions",
        "gateway_endpoint_group_regex_permissions";
    GatewayModelDefinition: "model_definition_id, ''", "gateway_model_definition_permissions",
        "gateway_model_definition_group_permissions",
        "gateway_model_definition_regex_permissions",
        "gateway_model_definition_group_regex_permissions";
    GatewaySecret: "secret_id, ''", "gateway_secret_permissions",
        "gateway_secret_group_permissions", "gateway_secret_regex_permissions",
        "gateway_secret_group_regex_permissions";
    McpServer: "name, ''", "mcp_server_permissions", "mcp_server_group_permissions",;
};

/// Grants on workspaces as a whole. They open what no row of the tables above is about, which
/// nothing here does.
pub(super) const OF_WORKSPACES: &[&str] = &[
    "workspace_permissions",
    "workspace_group_permissions",
    "workspace_regex_permissions",
    "workspace_group_regex_permissions",
];

/// Tables of permissions that this importer was not written for.
pub(super) fn unknown<'a>(there: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    let known =
        |name: &str| TABLES.iter().any(|table| table.name == name) || OF_WORKSPACES.contains(&name);
    let mut unknown: Vec<&str> =
        there.filter(|name| name.ends_with("_permissions") && !known(name)).collect();
    unknown.sort_unstable();
    unknown
}
