//! What an artifact's URI is about.

use super::words::action;
use super::{Called, Result, Translation};
use crate::contract as pb;
use crate::domain::{Action, ResourceType};
use crate::policy::{Check, RowKey, RungCheck};
use crate::resolver::{ArtifactSource, ModelKind, Reference, Within, is_below, parse_artifact_uri};

impl Translation<'_> {
    /// What a URI is about decides which tiers are asked; the action is that of the last rung.
    pub(super) async fn artifact(
        &mut self,
        rungs: &[pb::Rung],
        reference: &Reference,
    ) -> Result<Check> {
        let action = action(rungs.last().map_or(0, |rung| rung.action))?;
        let tiered = |tier, experiment: String| {
            let on = |resource, action, key| RungCheck { resource, action, key };
            let own = RowKey::Id(experiment);
            let read = on(ResourceType::Experiment, Action::Read, own.clone());
            let ladder =
                vec![on(tier, action, RowKey::Every), on(ResourceType::Experiment, action, own)];
            Check::AllOf(vec![
                Check::Ladder { rungs: vec![read], explicit_only: false },
                Check::Ladder { rungs: ladder, explicit_only: false },
            ])
        };
        let (kind, id, within, tier) = match parse_artifact_uri(&reference.id) {
            ArtifactSource::Undeterminable => return Ok(Check::Unresolved),
            _ if self.super_admin => return Ok(Check::Unresolved),
            ArtifactSource::RegisteredModel { name } => {
                let resource = match self.called(&name).await? {
                    Called::Is(ModelKind::Model) => ResourceType::RegisteredModel,
                    Called::Is(ModelKind::Prompt) => ResourceType::Prompt,
                    Called::Nothing | Called::Otherwise => return Ok(Check::Unresolved),
                };
                let rung = RungCheck { resource, action, key: RowKey::Id(name) };
                return Ok(Check::Ladder { rungs: vec![rung], explicit_only: false });
            }
            ArtifactSource::Experiment { id } => {
                let resource = ResourceType::Experiment;
                let Some(key) = self.own_id(resource, &id).await? else {
                    return Ok(Check::Unresolved);
                };
                let rung = RungCheck { resource, action, key };
                return Ok(Check::Ladder { rungs: vec![rung], explicit_only: false });
            }
            ArtifactSource::Run { id, within } => {
                (pb::ReferenceKind::RunId, id, within, ResourceType::Run)
            }
            ArtifactSource::LoggedModel { id, within } => {
                (pb::ReferenceKind::LoggedModelId, id, within, ResourceType::LoggedModel)
            }
        };
        let owner = Reference { kind, id, parent: None };
        let Some(places) = self.places(&owner).await? else { return Ok(Check::Untold) };
        let [place] = &*places else { return Ok(Check::Unresolved) };
        let Some(experiment) = place.experiment.clone() else { return Ok(Check::Unresolved) };
        let agrees = match within {
            Within::Anything => true,
            Within::Experiment(named) => named == experiment,
            Within::RecordedRoot => self
                .resolver
                .artifact_root(kind, &owner.id, self.workspace)
                .await?
                .is_some_and(|root| is_below(&reference.id, &root)),
        };
        if !agrees || !self.is_here(place.workspace.as_deref()) {
            return Ok(Check::Unresolved);
        }
        Ok(tiered(tier, experiment))
    }
}
