//! What is looked up, what is found, and for how long that stays true.

use std::sync::Arc;
use std::time::Duration;

use crate::contract::ReferenceKind;
use crate::domain::ResourceType;

/// An id that names something whose owner grants are about.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Reference {
    pub kind: ReferenceKind,
    pub id: String,
    /// Set where `id` is unique only within a parent.
    pub parent: Option<String>,
}

/// One place in which the referenced thing lives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The id of its experiment, in canonical decimal form.
    pub experiment: Option<String>,
    /// `None` when it could not be determined, which with workspaces on must deny.
    pub workspace: Option<String>,
    /// The object itself, where grants can be about it directly.
    pub named: Option<(ResourceType, String)>,
}

/// All places of a reference; empty when it names nothing.
pub type Places = Arc<[Place]>;

/// Why a lookup gave no answer. The text is for logs; it holds no secrets.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LookupError {
    #[error("MLflow's {source_name} cannot be read: {why}")]
    Unavailable { source_name: &'static str, why: String },
    /// MLflow's REST API does not say what such an id belongs to; its database would.
    #[error(
        "MLflow's REST API does not tell what {kind} belongs to; set tracking_uri to its database"
    )]
    Untold { kind: &'static str },
    /// A database that ignores case or trailing blanks has found another name than was asked for,
    /// and grants are compared to the letter (PD-22).
    #[error("MLflow has the name in another spelling")]
    Misspelt,
    #[error("neither a tracking database nor a tracking server is configured")]
    Unconfigured,
}

/// How long what was found stays true.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stability {
    /// MLflow never changes the mapping.
    Immutable,
    /// It can change. The duration is how long it is reused here; a cache above may add as much.
    Brief(Duration),
}

/// Trace to experiment can change (start_trace merges, semantics §15).
pub(super) const TRACE_REUSE: Duration = Duration::from_millis(1000);
/// Dataset links, names, and the prompt tag.
pub(super) const NAME_REUSE: Duration = Duration::from_millis(500);

/// How long the mapping of a kind of reference stays true.
pub const fn stability(kind: ReferenceKind) -> Stability {
    use ReferenceKind as K;
    match kind {
        K::RunId
        | K::LoggedModelId
        | K::LabelSchemaId
        | K::ReviewQueueId
        | K::IssueId
        | K::ScorerId
        | K::JobId
        | K::PromptOptimizationJobId => Stability::Immutable,
        K::TraceId | K::AssessmentId => Stability::Brief(TRACE_REUSE),
        _ => Stability::Brief(NAME_REUSE),
    }
}
