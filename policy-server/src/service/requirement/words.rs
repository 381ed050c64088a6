//! The contract's words in the domain's terms.

use super::{Result, Unresolved};
use crate::contract as pb;
use crate::domain::{Action, ResourceType};
use crate::policy::Standing;
use crate::resolver::ModelKind;

/// Longest id, in bytes.
const MAX_ID_BYTES: usize = 2048;

pub(super) fn check_id(id: &str) -> Result<()> {
    if id.is_empty() || id.len() > MAX_ID_BYTES {
        return Err(Unresolved::Malformed("an id is empty or over-long"));
    }
    Ok(())
}

pub(super) fn is_canonical(id: &str) -> bool {
    id.parse::<u64>().is_ok_and(|number| number.to_string() == id)
}

pub fn action(value: i32) -> Result<Action> {
    match pb::Action::try_from(value) {
        Ok(pb::Action::Read) => Ok(Action::Read),
        Ok(pb::Action::Use) => Ok(Action::Use),
        Ok(pb::Action::Update) => Ok(Action::Update),
        Ok(pb::Action::Delete) => Ok(Action::Delete),
        Ok(pb::Action::Manage) => Ok(Action::Manage),
        Ok(pb::Action::NotDenied) => Ok(Action::NotDenied),
        Ok(pb::Action::Unspecified) | Err(_) => Err(Unresolved::Malformed("unknown action")),
    }
}

pub(super) fn standing(value: i32) -> Result<Standing> {
    match pb::Standing::try_from(value) {
        Ok(pb::Standing::Authenticated) => Ok(Standing::Authenticated),
        Ok(pb::Standing::SuperAdmin) => Ok(Standing::SuperAdmin),
        Ok(pb::Standing::WorkspaceAdmin) => Ok(Standing::WorkspaceAdmin),
        Ok(pb::Standing::AnyWorkspaceAdmin) => Ok(Standing::AnyWorkspaceAdmin),
        Ok(pb::Standing::WorkspaceCreate) => Ok(Standing::WorkspaceCreate),
        Ok(pb::Standing::Unspecified) | Err(_) => Err(Unresolved::Malformed("unknown standing")),
    }
}

/// The domain's type for the contract's, with the two open ones decided by the family.
pub fn resource(value: i32, family: ModelKind) -> Result<ResourceType> {
    use pb::ResourceType as P;
    let model = family == ModelKind::Model;
    Ok(match P::try_from(value) {
        Ok(P::Experiment) => ResourceType::Experiment,
        Ok(P::RegisteredModel) => ResourceType::RegisteredModel,
        Ok(P::Prompt) => ResourceType::Prompt,
        Ok(P::Scorer) => ResourceType::Scorer,
        Ok(P::GatewaySecret) => ResourceType::GatewaySecret,
        Ok(P::GatewayEndpoint) => ResourceType::GatewayEndpoint,
        Ok(P::GatewayModelDefinition) => ResourceType::GatewayModelDefinition,
        Ok(P::McpServer) => ResourceType::McpServer,
        Ok(P::Workspace) => ResourceType::Workspace,
        Ok(P::Run) => ResourceType::Run,
        Ok(P::Trace) => ResourceType::Trace,
        Ok(P::Assessment) => ResourceType::Assessment,
        Ok(P::LoggedModel) => ResourceType::LoggedModel,
        Ok(P::ReviewQueue) => ResourceType::ReviewQueue,
        Ok(P::RegisteredModelVersion) => ResourceType::RegisteredModelVersion,
        Ok(P::PromptVersion) => ResourceType::PromptVersion,
        Ok(P::ScorerVersion) => ResourceType::ScorerVersion,
        Ok(P::McpServerVersion) => ResourceType::McpServerVersion,
        Ok(P::Skill) => ResourceType::Skill,
        Ok(P::ModelOrPrompt) if model => ResourceType::RegisteredModel,
        Ok(P::ModelOrPrompt) => ResourceType::Prompt,
        Ok(P::ModelOrPromptVersion) if model => ResourceType::RegisteredModelVersion,
        Ok(P::ModelOrPromptVersion) => ResourceType::PromptVersion,
        Ok(P::Unspecified) | Err(_) => return Err(Unresolved::Malformed("unknown resource type")),
    })
}
