//! The words of the policy: levels, resource types, actions and grants.
//!
//! Source: MLflow 3.17.2 `mlflow.server.auth.permissions` and `mlflow.server.auth.db`.

use std::fmt;
use std::str::FromStr;

/// A value that is not one of the known words.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown {what} {value:?}; expected one of {expected}")]
pub struct UnknownWord {
    pub what: &'static str,
    pub value: String,
    pub expected: String,
}

macro_rules! words {
    ($(#[$meta:meta])* $name:ident, $what:literal, { $($(#[$vmeta:meta])* $variant:ident = $word:literal),+ $(,)? }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum $name { $($(#[$vmeta])* $variant),+ }

        impl $name {
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// As MLflow spells it in its API and database.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word),+ }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result { f.pad(self.as_str()) }
        }

        impl FromStr for $name {
            type Err = UnknownWord;
            fn from_str(s: &str) -> Result<Self, UnknownWord> {
                match s {
                    $($word => Ok(Self::$variant),)+
                    _ => Err(UnknownWord {
                        what: $what,
                        value: s.to_owned(),
                        expected: Self::ALL.iter().map(|w| w.as_str()).collect::<Vec<_>>().join(", "),
                    }),
                }
            }
        }
    };
}

words! {
    /// A grant's level, ordered by MLflow's priority (DENY -1 … MANAGE 4).
    Level, "permission", {
        Deny = "DENY",
        /// Only as a default, never as a grant.
        NoPermissions = "NO_PERMISSIONS",
        Read = "READ",
        Use = "USE",
        Edit = "EDIT",
        Manage = "MANAGE",
    }
}

words! {
    /// What a requirement wants to do.
    Action, "action", {
        Read = "read",
        Use = "use",
        Update = "update",
        Delete = "delete",
        Manage = "manage",
        NotDenied = "not_denied",
    }
}

words! {
    /// What grants are about.
    ResourceType, "resource type", {
        Experiment = "experiment",
        RegisteredModel = "registered_model",
        Prompt = "prompt",
        Scorer = "scorer",
        GatewaySecret = "gateway_secret",
        GatewayEndpoint = "gateway_endpoint",
        GatewayModelDefinition = "gateway_model_definition",
        McpServer = "mcp_server",
        Workspace = "workspace",
        Run = "run",
        Trace = "trace",
        Assessment = "assessment",
        LoggedModel = "logged_model",
        ReviewQueue = "review_queue",
        RegisteredModelVersion = "registered_model_version",
        PromptVersion = "prompt_version",
        ScorerVersion = "scorer_version",
        McpServerVersion = "mcp_server_version",
    }
}

impl Level {
    /// Whether this level permits the action (semantics §3, table of levels).
    pub const fn permits(self, action: Action) -> bool {
        match action {
            Action::Read => matches!(self, Self::Read | Self::Use | Self::Edit | Self::Manage),
            Action::Use => matches!(self, Self::Use | Self::Edit | Self::Manage),
            Action::Update => matches!(self, Self::Edit | Self::Manage),
            Action::Delete | Action::Manage => matches!(self, Self::Manage),
            Action::NotDenied => !matches!(self, Self::Deny),
        }
    }
}

impl ResourceType {
    /// Types whose grants exist only for `*` (MLflow: wildcard-only sub-resources).
    pub const fn wildcard_only(self) -> bool {
        matches!(
            self,
            Self::Workspace
                | Self::Run
                | Self::Trace
                | Self::Assessment
                | Self::LoggedModel
                | Self::ReviewQueue
                | Self::RegisteredModelVersion
                | Self::PromptVersion
                | Self::ScorerVersion
                | Self::McpServerVersion
        )
    }
}

/// The workspace that is meant when workspaces are off or none is named.
pub const DEFAULT_WORKSPACE: &str = "default";

/// One row of a role's permissions, as the evaluator sees it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Grant {
    pub workspace: String,
    pub resource: ResourceType,
    /// `*`, an exact id, or a glob (ours; MLflow has none).
    pub pattern: String,
    pub level: Level,
}
