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

pub const NAME: Field = Field::one("name", Form::Name);
/// What a client calls an object that MLflow gives an id.
pub const GIVEN_NAME: Field = Field::optional("name", Form::Text);
pub const TRACE_ID: Field = Field::one("trace_id", Form::Trace);
pub const REQUEST_ID: Field = Field::one("request_id", Form::Trace);
pub const TRACE_IDS: Field = Field::some("trace_ids", Form::Trace);
pub const MODEL_ID: Field = Field::one("model_id", Form::LoggedModel);
pub const SOURCE_RUN_ID: Field = Field::optional("source_run_id", Form::Run);
pub const DATASET_ID: Field = Field::one("dataset_id", Form::Dataset);
pub const QUEUE_ID: Field = Field::one("queue_id", Form::Token);
pub const ENDPOINT_ID: Field = Field::one("endpoint_id", Form::Token);
pub const SECRET_ID: Field = Field::one("secret_id", Form::Token);
pub const DEFINITION_ID: Field = Field::one("model_definition_id", Form::Token);

/// READ on the trace's experiment, and `action` on the trace tier or that experiment.
pub const fn trace_in(id: Field, action: Action) -> Need {
    let kind = ReferenceKind::TraceId;
    Need::Tier { tier: ResourceType::Trace, action, fallback: action, id, kind }
}

/// READ on each experiment named by the field, and `action` on a tier of it.
pub const fn tier_in(id: Field, tier: ResourceType, action: Action) -> Need {
    Need::TierOf { tier, action, fallback: action, experiment: id }
}

/// `action` on the experiment of what the id names.
pub const fn experiment_of(kind: ReferenceKind, id: Field, action: Action) -> Need {
    Need::OnOwner { resource: ResourceType::Experiment, action, id, kind }
}

/// `action` on an object of the AI gateway, by id.
pub const fn endpoint(action: Action) -> Need {
    Need::On { resource: ResourceType::GatewayEndpoint, action, id: ENDPOINT_ID }
}

pub const fn secret_in(id: Field, action: Action) -> Need {
    Need::On { resource: ResourceType::GatewaySecret, action, id }
}

pub const fn definition_in(id: Field, action: Action) -> Need {
    Need::On { resource: ResourceType::GatewayModelDefinition, action, id }
}

/// `action` on the endpoint that a client knows by name.
pub const fn endpoint_named(id: Field, action: Action) -> Need {
    let kind = ReferenceKind::GatewayEndpointName;
    Need::OnOwner { resource: ResourceType::GatewayEndpoint, action, id, kind }
}

/// `action` on the registered model or prompt called `name`.
pub const fn model(action: Action) -> Need {
    Need::On { resource: ResourceType::ModelOrPrompt, action, id: NAME }
}

/// Optional traces that a request refers to: each must be readable.
pub const READABLE_TRACES: Need = trace_in(Field::many("trace_ids", Form::Trace), READ);
/// An optional run that a request refers to.
pub const READABLE_SOURCE_RUN: Need = run_in(SOURCE_RUN_ID, READ);
