//! The kinds of things that routes need, and how ids become requirements (semantics §3, §4).

use crate::refusal::Refusal;
use crate::requirement::{
    Action, Key, Naming, Reference, ReferenceKind, Requirement, ResourceType, Rung, Standing,
};
use crate::surface::inputs::{Arity, Field, Inputs};

/// One need of a route. All needs of a route must hold.
#[derive(Debug, Clone, Copy)]
pub enum Need {
    Standing(Standing),
    /// MLflow's administration API, which the policy server answers.
    Administration,
    /// `action` on the object whose grants name it by this id.
    On {
        resource: ResourceType,
        action: Action,
        id: Field,
    },
    /// `action` on the object that owns what the id names, e.g. the experiment of an issue.
    OnOwner {
        resource: ResourceType,
        action: Action,
        id: Field,
        kind: ReferenceKind,
    },
    /// READ on the owning experiment, and `action` on the tier or, without a grant on the tier,
    /// `fallback` on the experiment.
    Tier {
        tier: ResourceType,
        action: Action,
        fallback: Action,
        id: Field,
        kind: ReferenceKind,
    },
    /// The same where the experiment itself is named.
    TierOf {
        tier: ResourceType,
        action: Action,
        fallback: Action,
        experiment: Field,
    },
    /// No DENY on `*` of this type.
    NotDenied(ResourceType),
    /// The rules for names permit the one in the field, if there is one.
    Nameable(ResourceType, Field),
    /// The caller created what the id names.
    Owned {
        id: Field,
        kind: ReferenceKind,
    },
    /// Anything else; the text is for people.
    Rule(&'static str, &'static [Field], super::route::Rule<Vec<Requirement>>),
}

impl Need {
    /// The fields that it takes ids from.
    pub fn fields(&self) -> Vec<Field> {
        match *self {
            Self::Standing(_) | Self::Administration | Self::NotDenied(_) => Vec::new(),
            Self::On { id, .. }
            | Self::OnOwner { id, .. }
            | Self::Tier { id, .. }
            | Self::TierOf { experiment: id, .. }
            | Self::Nameable(_, id)
            | Self::Owned { id, .. } => vec![id],
            Self::Rule(_, fields, _) => fields.to_vec(),
        }
    }

    pub fn requirements(&self, inputs: &Inputs) -> Result<Vec<Requirement>, Refusal> {
        Ok(match *self {
            Self::Standing(standing) => vec![Requirement::Standing(standing)],
            // Never forwarded; if it were decided on, only for a super admin.
            Self::Administration => vec![Requirement::Standing(Standing::SuperAdmin)],
            Self::NotDenied(resource) => vec![not_denied(resource)],
            Self::Nameable(resource, name) => {
                each(inputs, name, |name| vec![nameable(resource, name.to_owned())])?
            }
            Self::On { resource, action, id } => {
                each(inputs, id, |id| vec![on(resource, action, id)])?
            }
            Self::OnOwner { resource, action, id, kind } => {
                each(inputs, id, |id| vec![on_owner(resource, action, &Reference::new(kind, id))])?
            }
            Self::Tier { tier, action, fallback, id, kind } => each(inputs, id, |id| {
                tier_of_owner(tier, action, fallback, &Reference::new(kind, id))
            })?,
            Self::TierOf { tier, action, fallback, experiment } => {
                each(inputs, experiment, |id| tier_of(tier, action, fallback, id))?
            }
            Self::Owned { id, kind } => {
                each(inputs, id, |id| vec![Requirement::Owned(Reference::new(kind, id))])?
            }
            Self::Rule(_, _, rule) => rule(inputs)?,
        })
    }
}

fn each(
    inputs: &Inputs,
    field: Field,
    requirements: impl Fn(&str) -> Vec<Requirement>,
) -> Result<Vec<Requirement>, Refusal> {
    let ids = inputs.all(field)?;
    if ids.is_empty() && field.arity == Arity::AtLeastOne {
        return Ok(vec![nobody_but_admins()]);
    }
    Ok(ids.iter().flat_map(|id| requirements(id)).collect())
}

/// For requests that name nothing to decide on.
pub fn nobody_but_admins() -> Requirement {
    Requirement::Standing(Standing::SuperAdmin)
}

/// `action` by grants on this id.
pub fn on(resource: ResourceType, action: Action, id: &str) -> Requirement {
    Requirement::Ladder(vec![rung(resource, action, id)])
}

/// `action` by grants on the owner of what is referenced.
pub fn on_owner(resource: ResourceType, action: Action, reference: &Reference) -> Requirement {
    Requirement::Ladder(vec![owner_rung(resource, action, reference)])
}

/// No DENY on `*` of this type; a positive grant is not needed.
pub fn not_denied(resource: ResourceType) -> Requirement {
    Requirement::Ladder(vec![every(resource, Action::NotDenied)])
}

/// The rules for names permit this one.
pub fn nameable(resource: ResourceType, name: String) -> Requirement {
    Requirement::Nameable(Naming { resource, name, current: None })
}

/// The same for an object that has a name already.
pub fn renamable(resource: ResourceType, name: &str, current: &str) -> Requirement {
    let (name, current) = (name.to_owned(), Some(current.to_owned()));
    Requirement::Nameable(Naming { resource, name, current })
}

/// READ on the owning experiment, and the tier's action with its fallback.
pub fn tier_of_owner(
    tier: ResourceType,
    action: Action,
    fallback: Action,
    reference: &Reference,
) -> Vec<Requirement> {
    vec![
        on_owner(ResourceType::Experiment, Action::Read, reference),
        Requirement::Ladder(vec![
            every(tier, action),
            owner_rung(ResourceType::Experiment, fallback, reference),
        ]),
    ]
}

/// The same where the experiment is known.
pub fn tier_of(
    tier: ResourceType,
    action: Action,
    fallback: Action,
    experiment: &str,
) -> Vec<Requirement> {
    vec![
        on(ResourceType::Experiment, Action::Read, experiment),
        Requirement::Ladder(vec![
            every(tier, action),
            rung(ResourceType::Experiment, fallback, experiment),
        ]),
    ]
}

pub fn rung(resource: ResourceType, action: Action, id: &str) -> Rung {
    Rung { resource, action, key: Key::Id(id.to_owned()) }
}

pub fn owner_rung(resource: ResourceType, action: Action, reference: &Reference) -> Rung {
    Rung { resource, action, key: Key::OwnerOf(reference.clone()) }
}

pub fn every(resource: ResourceType, action: Action) -> Rung {
    Rung { resource, action, key: Key::Every }
}
