//! The fields MLflow takes ids from, and short words for the lines of the catalogue.

use crate::requirement::{Action, ReferenceKind, ResourceType};
use crate::surface::id::Form;
use crate::surface::inputs::Field;

use super::need::Need;

pub const READ: Action = Action::Read;
pub const USE: Action = Action::Use;
pub const UPDATE: Action = Action::Update;
pub const DELETE: Action = Action::Delete;
pub const MANAGE: Action = Action::Manage;

pub const EXPERIMENT_ID: Field = Field::one("experiment_id", Form::Experiment);
pub const EXPERIMENT_IDS: Field = Field::some("experiment_ids", Form::Experiment);
pub const EXPERIMENT_NAME: Field = Field::one("experiment_name", Form::Name);
pub const RUN_ID: Field = Field::one("run_id", Form::Run);
pub const RUN_IDS: Field = Field::some("run_ids", Form::Run);

/// `action` on the experiment that is named.
pub const fn experiment(action: Action) -> Need {
    Need::On { resource: ResourceType::Experiment, action, id: EXPERIMENT_ID }
}

/// `action` on every experiment that is named.
pub const fn experiments(action: Action) -> Need {
    Need::On { resource: ResourceType::Experiment, action, id: EXPERIMENT_IDS }
}

/// READ on the run's experiment, and `action` on the run tier or that experiment.
pub const fn run(action: Action) -> Need {
    run_in(RUN_ID, action)
}

/// The same for runs named by another field.
pub const fn run_in(id: Field, action: Action) -> Need {
    let kind = ReferenceKind::RunId;
    Need::Tier { tier: ResourceType::Run, action, fallback: action, id, kind }
}

/// READ on the logged model's experiment, and `action` on its tier or that experiment.
pub const fn logged_model_in(id: Field, action: Action) -> Need {
    let kind = ReferenceKind::LoggedModelId;
    Need::Tier { tier: ResourceType::LoggedModel, action, fallback: action, id, kind }
}
