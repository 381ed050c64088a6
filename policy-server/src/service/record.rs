//! Makes side effects durable.

use super::authorize::Decider;
use super::error::Refusal;
use super::requirement::{Unresolved, resource};
use crate::contract as pb;
use crate::domain::{DEFAULT_WORKSPACE, Level, ResourceType};
use crate::resolver::{ModelKind, Wanted};
use crate::store::Effect;

/// Most effects of one operation.
const MAX_EFFECTS: usize = 1000;

impl Decider {
    /// Records all effects in one transaction; when this returns, they are durable and in force.
    ///
    /// # Errors
    /// `Refusal`; then nothing was recorded.
    pub async fn record(&self, request: &pb::RecordRequest) -> Result<pb::RecordResponse, Refusal> {
        if request.username.is_empty() {
            return Err(Refusal::Malformed("a record without a principal"));
        }
        if request.effects.len() > MAX_EFFECTS {
            return Err(Refusal::Malformed("too many effects"));
        }
        let settings = self.snapshots.settings().await?;
        let workspace = match request.workspace.as_str() {
            "" => DEFAULT_WORKSPACE,
            _ if !settings.workspaces => DEFAULT_WORKSPACE,
            named => named,
        };
        let mut effects = Vec::with_capacity(request.effects.len());
        for effect in &request.effects {
            self.effect(effect, workspace, &mut effects).await?;
        }
        let intent = (!request.intent_id.is_empty()).then_some(request.intent_id.as_str());
        let store = self.snapshots.store();
        if let Some(intent) = intent
            && store.intents(intent).await?.is_empty()
        {
            self.drop_settled(workspace, &mut effects).await?;
        }
        let committed = store.record(&request.username, workspace, &effects, intent).await?;
        // The creator's very next request must find the grant, also on this server's cache.
        let revision = self.snapshots.at_least(committed.revision).await?;
        Ok(pb::RecordResponse { revision: revision.max(committed.revision) })
    }

    async fn effect(
        &self,
        effect: &pb::Effect,
        workspace: &str,
        effects: &mut Vec<Effect>,
    ) -> Result<(), Refusal> {
        use pb::effect::Kind as K;
        match effect.kind.as_ref() {
            None => return Err(Refusal::Malformed("an effect without a kind")),
            Some(K::Created(created)) => {
                let id = id(&created.id)?;
                let resource = self.family(created.r#type, &id, workspace).await?;
                effects.push(Effect::Created { resource, id });
            }
            Some(K::Deleted(deleted)) => {
                let id = id(&deleted.id)?;
                for resource in families(deleted.r#type)? {
                    effects.push(Effect::Deleted { resource, id: id.clone() });
                }
            }
            Some(K::Renamed(renamed)) => {
                let (from, to) = (id(&renamed.from)?, id(&renamed.to)?);
                for resource in families(renamed.r#type)? {
                    let (from, to) = (from.clone(), to.clone());
                    effects.push(Effect::Renamed { resource, from, to });
                }
            }
            Some(K::Owned(reference)) => {
                let kind = pb::ReferenceKind::try_from(reference.kind)
                    .ok()
                    .filter(|&kind| kind != pb::ReferenceKind::Unspecified)
                    .ok_or(Refusal::Malformed("unknown reference kind"))?;
                effects.push(Effect::Owned { kind, id: id(&reference.id)? });
            }
        }
        Ok(())
    }

    /// The intents are settled already: this is a repetition, or what was lost was made up for
    /// before this came, perhaps by the creation of a namesake. A namesake's grants must not go
    /// with its predecessor's, nor those that were moved here be taken for leftovers.
    async fn drop_settled(
        &self,
        workspace: &str,
        effects: &mut Vec<Effect>,
    ) -> Result<(), Refusal> {
        let mut open = Vec::with_capacity(effects.len());
        for effect in std::mem::take(effects) {
            let (resource, wanted) = match &effect {
                Effect::Deleted { resource, id } => (*resource, Wanted::Id(id)),
                Effect::Renamed { resource, from, .. } => (*resource, Wanted::Named(from)),
                Effect::Created { .. } | Effect::Owned { .. } => {
                    open.push(effect);
                    continue;
                }
            };
            let found = self.resolver.incumbent(resource, wanted, workspace).await;
            let namesake = found.map_err(Unresolved::Lookup)?.is_some();
            let left = match &effect {
                Effect::Renamed { resource, from, .. } => {
                    let store = self.snapshots.store();
                    let levels = store.levels_on(*resource, workspace, from).await?;
                    // Denials stay on a name that was left.
                    levels.iter().any(|level| *level != Level::Deny)
                }
                _ => true,
            };
            if left && !namesake {
                open.push(effect);
            }
        }
        *effects = open;
        Ok(())
    }

    /// What was just created under the name: its tag says so.
    async fn family(
        &self,
        kind: i32,
        name: &str,
        workspace: &str,
    ) -> Result<ResourceType, Refusal> {
        let family = if kind == pb::ResourceType::ModelOrPrompt as i32 {
            let found = self.resolver.model_kind(name, workspace).await;
            found.map_err(Unresolved::Lookup)?.unwrap_or(ModelKind::Model)
        } else {
            ModelKind::Model
        };
        Ok(resource(kind, family)?)
    }
}

/// What is gone or renamed can no longer be asked whether it was a model or a prompt; a name is
/// only one of them, so the other has no grants to lose.
fn families(kind: i32) -> Result<Vec<ResourceType>, Refusal> {
    if kind == pb::ResourceType::ModelOrPrompt as i32 {
        return Ok(vec![ResourceType::RegisteredModel, ResourceType::Prompt]);
    }
    Ok(vec![resource(kind, ModelKind::Model)?])
}

fn id(id: &str) -> Result<String, Refusal> {
    if id.is_empty() { Err(Refusal::Malformed("an effect on nothing")) } else { Ok(id.to_owned()) }
}
