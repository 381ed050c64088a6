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
        /// Since 3.18.
        Skill = "skill",
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

    /// Types whose ids are names that people choose, so that a glob on them means something.
    pub const fn granted_by_name(self) -> bool {
        matches!(
            self,
            Self::RegisteredModel | Self::Prompt | Self::Scorer | Self::McpServer | Self::Skill
        )
    }
}

/// The object that has a name, as MLflow knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Incumbent {
    /// As grants spell it.
    pub id: String,
    /// When MLflow made it, in milliseconds since the epoch; `None` where MLflow does not say.
    pub born: Option<i64>,
}

/// The workspace that is meant when workspaces are off or none is named.
pub const DEFAULT_WORKSPACE: &str = "default";

/// Which objects of a type a grant is about.
///
/// The kind is stored beside the text: MLflow lets anyone create a model called `*` or `a*`, and
/// the grant that its creator receives must not become a grant on everybody's models.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Pattern {
    /// Every object of the type; written `*`.
    Every,
    /// The object with exactly this id, whatever characters it is made of.
    Exact(String),
    /// Every object whose name fits, where each `*` stands for any run of characters, also none
    /// and also with `/`. Ours; MLflow has none.
    Glob(String),
}

impl Pattern {
    /// As MLflow reads a `resource_pattern`: `*` is every object, anything else one exact id.
    /// For input whose author may only be entitled to one object.
    pub fn literal(text: &str) -> Self {
        if text == "*" { Self::Every } else { Self::Exact(text.to_owned()) }
    }

    /// As administrators write patterns: like [`Pattern::literal`], but a `*` within other text
    /// makes a glob.
    pub fn parse(text: &str) -> Self {
        match text {
            "*" => Self::Every,
            _ if text.contains('*') => Self::Glob(text.to_owned()),
            _ => Self::Exact(text.to_owned()),
        }
    }

    /// The text without its kind, as MLflow's `resource_pattern` shows it.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Every => "*",
            Self::Exact(text) | Self::Glob(text) => text,
        }
    }

    /// Whether the pattern covers the object. Case-sensitive, in time linear in both lengths.
    pub fn matches(&self, id: &str) -> bool {
        match self {
            Self::Every => true,
            Self::Exact(exact) => exact == id,
            Self::Glob(glob) => glob_matches(glob, id),
        }
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// Anchors the first and the last piece, and takes every piece between them at its first
/// occurrence; with `*` as the only wildcard that never has to be taken back.
fn glob_matches(glob: &str, id: &str) -> bool {
    let mut pieces = glob.split('*');
    let Some(mut rest) = pieces.next().and_then(|first| id.strip_prefix(first)) else {
        return false;
    };
    let Some(last) = pieces.next_back() else { return rest.is_empty() };
    for piece in pieces {
        match rest.split_once(piece) {
            Some((_, after)) => rest = after,
            None => return false,
        }
    }
    rest.ends_with(last)
}

/// Why a grant can not be stored. `field` is MLflow's name of the offending parameter.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {why}")]
pub struct InvalidGrant {
    pub field: &'static str,
    pub why: String,
}

/// Longest `resource_pattern`, in bytes.
pub const MAX_PATTERN_BYTES: usize = 1024;

/// Checks what MLflow's `_validate_permission_for_resource_type` and `_validate_resource_pattern`
/// check, and that globs are only put on types that are granted by name. A row that the evaluator
/// would ignore must not be storable: a DENY that protects nothing looks like protection.
pub fn validate_grant(
    resource: ResourceType,
    pattern: &Pattern,
    level: Level,
) -> Result<(), InvalidGrant> {
    let invalid = |field, why: String| Err(InvalidGrant { field, why });
    let text = pattern.as_str();
    if level == Level::NoPermissions {
        return invalid(
            "permission",
            "NO_PERMISSIONS can not be granted; DENY is the explicit refusal".to_owned(),
        );
    }
    if resource == ResourceType::Workspace && !matches!(level, Level::Use | Level::Manage) {
        return invalid(
            "permission",
            format!("{level} is not a workspace permission; expected USE or MANAGE"),
        );
    }
    if resource.wildcard_only() && *pattern != Pattern::Every {
        return invalid("resource_pattern", format!("a grant on {resource} takes only '*'"));
    }
    if matches!(pattern, Pattern::Glob(_)) && !resource.granted_by_name() {
        return invalid(
            "resource_pattern",
            format!("{text:?}: {resource} is granted by id, which takes '*' or one exact id"),
        );
    }
    if let (ResourceType::Skill, Pattern::Exact(id)) = (resource, pattern)
        && skill_of_id(id).is_none()
    {
        return invalid(
            "resource_pattern",
            format!("{id:?}: a skill is name or @organization/name"),
        );
    }
    if text.is_empty() || text.len() > MAX_PATTERN_BYTES || text.chars().any(char::is_control) {
        return invalid(
            "resource_pattern",
            format!("expected 1 to {MAX_PATTERN_BYTES} bytes without control characters"),
        );
    }
    Ok(())
}

/// The organization, if any, and the name of a skill's id in grants (MLflow:
/// `_parse_skill_registry_resource_key`).
pub fn skill_of_id(id: &str) -> Option<(Option<&str>, &str)> {
    let (organization, name) = match id.strip_prefix('@') {
        Some(rest) => {
            rest.split_once('/').map(|(organization, name)| (Some(organization), name))?
        }
        None => (None, id),
    };
    (organization != Some("") && !name.is_empty() && !name.contains('/'))
        .then_some((organization, name))
}

/// One row of a role's permissions, as the evaluator sees it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Grant {
    pub workspace: String,
    pub resource: ResourceType,
    pub pattern: Pattern,
    pub level: Level,
}

/// Fewest characters of a new password, as in MLflow's `_validate_password`.
pub const MIN_PASSWORD_CHARS: usize = 12;

/// The password that MLflow shipped as its administrator's default up to 3.16.0. Known to
/// everybody, so nobody may have it.
pub const LEGACY_DEFAULT_PASSWORD: &str = "password1234";

/// Why a password can not be set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum WeakPassword {
    /// In MLflow's words, which its UI shows.
    #[error("Password must be at least {MIN_PASSWORD_CHARS} characters.")]
    TooShort,
    #[error("this password was MLflow's shipped default; choose another one")]
    LegacyDefault,
}

/// Checks a password that is about to be set. Imported hashes are not subject to it.
pub fn check_new_password(password: &str) -> Result<(), WeakPassword> {
    if password.chars().count() < MIN_PASSWORD_CHARS {
        return Err(WeakPassword::TooShort);
    }
    if password == LEGACY_DEFAULT_PASSWORD {
        return Err(WeakPassword::LegacyDefault);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_glob_matches_prefixes_suffixes_and_pieces_in_order() {
        let glob = |text: &str| Pattern::parse(text);
        for (pattern, id, expected) in [
            ("team-a/*", "team-a/x", true),
            ("team-a/*", "team-a/", true),
            ("team-a/*", "team-b/x", false),
            ("*-prod", "fraud-prod", true),
            ("*-prod", "fraud-prod2", false),
            ("a*b*c", "a1b2c", true),
            ("a*b*c", "abc", true),
            ("a*b*c", "acb", false),
            ("a*ba", "aba", true),
            ("a*a", "a", false),
            ("ab*ba", "aba", false),
            ("**x", "x", true),
            ("A*", "abc", false),
        ] {
            assert_eq!(glob(pattern).matches(id), expected, "{pattern} on {id}");
        }
    }

    #[test]
    fn a_glob_of_many_stars_stays_linear() {
        let pattern = Pattern::Glob(format!("{}b", "*a".repeat(500)));
        let started = std::time::Instant::now();
        assert!(!pattern.matches(&"a".repeat(100_000)));
        assert!(started.elapsed() < std::time::Duration::from_secs(1));
    }

    #[test]
    fn a_password_is_long_and_not_the_shipped_one() {
        assert_eq!(check_new_password("elevenchars"), Err(WeakPassword::TooShort));
        assert_eq!(check_new_password("twelve chars"), Ok(()));
        assert_eq!(check_new_password("password1234"), Err(WeakPassword::LegacyDefault));
        assert_eq!(check_new_password("ééééééééééé"), Err(WeakPassword::TooShort));
    }

    #[test]
    fn a_literal_is_never_a_glob() {
        assert_eq!(Pattern::literal("a*"), Pattern::Exact("a*".to_owned()));
        assert!(!Pattern::literal("a*").matches("ab"));
        assert_eq!(Pattern::literal("*"), Pattern::Every);
        assert!(!Pattern::Exact("*".to_owned()).matches("ab"));
    }

    #[test]
    fn a_grant_that_the_evaluator_would_ignore_is_refused() {
        use ResourceType::*;
        let field = |resource, pattern: &str, level| {
            validate_grant(resource, &Pattern::parse(pattern), level).err().map(|error| error.field)
        };
        assert_eq!(field(Run, "abc", Level::Deny), Some("resource_pattern"));
        assert_eq!(field(Run, "*", Level::Deny), None);
        assert_eq!(field(Workspace, "*", Level::Read), Some("permission"));
        assert_eq!(field(Workspace, "*", Level::Deny), Some("permission"));
        assert_eq!(field(Workspace, "*", Level::Manage), None);
        assert_eq!(field(Experiment, "1*", Level::Read), Some("resource_pattern"));
        assert_eq!(field(RegisteredModel, "team-*", Level::Read), None);
        assert_eq!(field(Skill, "@acme/reviewer", Level::Read), None);
        assert_eq!(field(Skill, "@acme/*", Level::Deny), None);
        for id in ["@acme", "@/reviewer", "acme/reviewer", "@acme/a/b", "@acme/"] {
            assert_eq!(field(Skill, id, Level::Deny), Some("resource_pattern"), "{id}");
        }
        assert_eq!(field(Experiment, "1", Level::NoPermissions), Some("permission"));
        assert_eq!(field(Experiment, "", Level::Read), Some("resource_pattern"));
    }
}
