//! Requirements after resolution: no reference is left, only grant keys and facts.

use super::grants::RowKey;
use crate::domain::{Action, ResourceType};

/// A requirement whose references have been resolved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Check {
    Ladder {
        rungs: Vec<RungCheck>,
        /// Without any row on any rung the ladder fails instead of falling to the default.
        explicit_only: bool,
    },
    Standing(Standing),
    /// `default_permission`, or with workspaces on the workspace grant, permits the action.
    Floor(Action),
    /// A fact that the resolver or the store has established about the principal.
    Fact(Fact, bool),
    AnyOf(Vec<Check>),
    AllOf(Vec<Check>),
    /// What is referenced does not exist (or not in the request's workspace): nobody but a super
    /// admin passes, whatever the grants.
    Unresolved,
    /// The same for a name whose absence MLflow tells anybody about.
    Missing,
    /// As unresolved, but not known to be absent: nobody can say what is referenced.
    Untold,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RungCheck {
    pub resource: ResourceType,
    pub action: Action,
    pub key: RowKey,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    Authenticated,
    SuperAdmin,
    WorkspaceAdmin,
    AnyWorkspaceAdmin,
    WorkspaceCreate,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fact {
    Owned,
    Assigned,
    Myself,
    /// The rules for names permit the one that is given.
    Nameable,
    /// Holds for super admins too, or fails for them too: it is about the object.
    Absent,
    /// As `Absent`.
    Present,
}
