//! What a request needs, in the vocabulary of MLflow's own authorization (semantics §3).

use crate::contract as pb;

pub use crate::contract::{Action, ReferenceKind, ResourceType, Standing};

/// An id that names something whose owner grants are about, e.g. a run.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Reference {
    pub kind: ReferenceKind,
    pub id: String,
    /// Set where `id` is unique only within a parent, e.g. a queue name within an experiment.
    pub parent: Option<String>,
}

impl Reference {
    pub fn new(kind: ReferenceKind, id: impl Into<String>) -> Self {
        Self { kind, id: id.into(), parent: None }
    }
}

/// Which grant rows a rung looks at.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Key {
    /// Rows for this id, and `*` rows.
    Id(String),
    /// Rows for the object that owns what is referenced, and `*` rows.
    OwnerOf(Reference),
    /// Only `*` rows.
    Every,
}

/// One step of MLflow's tier resolution: the first rung that has any row decides.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Rung {
    pub resource: ResourceType,
    pub action: Action,
    pub key: Key,
}

/// A formula over grants. A request is allowed when all of its requirements hold.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Requirement {
    /// The first rung with a row decides; without any, `default_permission` does.
    Ladder(Vec<Rung>),
    /// The same, but without any row the requirement fails.
    ExplicitLadder(Vec<Rung>),
    Standing(Standing),
    /// The principal is the recorded creator.
    Owned(Reference),
    /// The principal is assigned to the review queue.
    Assigned(Reference),
    /// `default_permission` (or the workspace grant, where workspaces are on) allows the action.
    Floor(Action),
    /// The principal has this username.
    Myself(String),
    /// The reference must name nothing yet.
    Absent(Reference),
    /// The reference must name something; else the answer is 404.
    Present(Reference),
    /// The policy's rules for names let the principal give this one.
    Nameable(Naming),
    AnyOf(Vec<Requirement>),
    AllOf(Vec<Requirement>),
}

/// More conditions than this in one request are refused; the policy server takes as many.
pub const MAX_CONDITIONS: usize = 3_000;

/// How many conditions there are, with those inside of others.
pub fn conditions(needs: &[Requirement]) -> usize {
    let inside = |need: &Requirement| match need {
        Requirement::AnyOf(items) | Requirement::AllOf(items) => conditions(items),
        _ => 0,
    };
    needs.iter().map(|need| inside(need).saturating_add(1)).sum()
}

/// A name that the request gives to an object.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Naming {
    pub resource: ResourceType,
    pub name: String,
    /// What the object is called now, where it is renamed.
    pub current: Option<String>,
}

/// Ids in the request that the gate cuts down to those the principal may read.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Scope {
    pub resource: ResourceType,
    pub ids: Vec<String>,
    /// `ids` is empty and means every id of the type: the answer is a [`Selection`].
    pub every: bool,
    /// Checked for each id; empty means READ on `resource`.
    pub rungs: Vec<Rung>,
    /// DENY on `*` of one of these empties the scope.
    pub vetoes: Vec<ResourceType>,
}

/// Which ids of a type a principal may use, without a list of all that exist.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Selection {
    Only(Vec<String>),
    AllBut(Vec<String>),
    /// Too many, or by patterns: rows must be judged one by one.
    Unknown,
}

impl From<&pb::ScopeResult> for Selection {
    fn from(result: &pb::ScopeResult) -> Self {
        if result.unlisted {
            Self::Unknown
        } else if result.all_but {
            Self::AllBut(result.except.clone())
        } else {
            Self::Only(result.allowed.clone())
        }
    }
}

impl From<&Reference> for pb::Reference {
    fn from(reference: &Reference) -> Self {
        Self {
            kind: reference.kind.into(),
            id: reference.id.clone(),
            parent: reference.parent.clone().unwrap_or_default(),
        }
    }
}

impl From<&Rung> for pb::Rung {
    fn from(rung: &Rung) -> Self {
        let key = match &rung.key {
            Key::Id(id) => pb::rung::Key::Id(id.clone()),
            Key::OwnerOf(reference) => pb::rung::Key::OwnerOf(reference.into()),
            Key::Every => pb::rung::Key::Every(pb::Every {}),
        };
        Self { r#type: rung.resource.into(), action: rung.action.into(), key: Some(key) }
    }
}

impl From<&Requirement> for pb::Requirement {
    fn from(requirement: &Requirement) -> Self {
        use pb::requirement::Condition;
        let ladder = |rungs: &[Rung], explicit_only| {
            Condition::Ladder(pb::Ladder {
                rungs: rungs.iter().map(Into::into).collect(),
                explicit_only,
            })
        };
        let all = |items: &[Requirement]| pb::Requirements {
            items: items.iter().map(Into::into).collect(),
        };
        let condition = match requirement {
            Requirement::Ladder(rungs) => ladder(rungs, false),
            Requirement::ExplicitLadder(rungs) => ladder(rungs, true),
            Requirement::Standing(standing) => Condition::Standing((*standing).into()),
            Requirement::Owned(reference) => Condition::Owned(reference.into()),
            Requirement::Assigned(reference) => Condition::Assigned(reference.into()),
            Requirement::Floor(action) => Condition::Floor((*action).into()),
            Requirement::Myself(username) => Condition::Self_(username.clone()),
            Requirement::Absent(reference) => Condition::Absent(reference.into()),
            Requirement::Present(reference) => Condition::Present(reference.into()),
            Requirement::Nameable(naming) => Condition::Nameable(pb::Naming {
                r#type: naming.resource.into(),
                name: naming.name.clone(),
                current: naming.current.clone().unwrap_or_default(),
            }),
            Requirement::AnyOf(items) => Condition::AnyOf(all(items)),
            Requirement::AllOf(items) => Condition::AllOf(all(items)),
        };
        Self { condition: Some(condition) }
    }
}

impl From<&Scope> for pb::Scope {
    fn from(scope: &Scope) -> Self {
        Self {
            r#type: scope.resource.into(),
            ids: scope.ids.clone(),
            every: scope.every,
            rungs: scope.rungs.iter().map(Into::into).collect(),
            vetoes: scope.vetoes.iter().map(|&veto| veto.into()).collect(),
        }
    }
}
