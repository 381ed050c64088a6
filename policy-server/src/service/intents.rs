//! Before a request that creates, deletes or renames: notes what it is about to do and what is
//! there now, so that [`reconcile`](super::reconcile) can find out what came of it.

use super::authorize::{Decider, Interruption};
use super::reconcile::Verdict;
use super::requirement::{Unresolved, resource};
use crate::contract as pb;
use crate::domain::ResourceType;
use crate::resolver::{LookupError, ModelKind, Wanted};
use crate::store::{Author, Prior, Step, now};

/// Most steps of one request.
const MAX_STEPS: usize = 8;

/// What noting the intents came to.
pub(super) enum Noted {
    /// The id of what was noted; empty where there is nothing to note.
    Intents(String),
    /// The new name of a renaming still has grants, which the object must not pick up.
    NameHasGrants,
}

impl Decider {
    pub(super) async fn note(
        &self,
        author: &Author,
        intents: &[pb::Intent],
    ) -> Result<Noted, Interruption> {
        if intents.len() > MAX_STEPS {
            return Err(Unresolved::Malformed("too many intents").into());
        }
        let mut steps = Vec::with_capacity(intents.len());
        for intent in intents {
            let Some(step) = step(intent)? else { continue };
            match &step {
                Step::Create { resource, name } => {
                    self.free(*resource, name, &author.workspace).await?;
                }
                Step::Rename { resource, to, .. } => {
                    if !self.may_take(*resource, to, &author.workspace).await? {
                        return Ok(Noted::NameHasGrants);
                    }
                }
                Step::Delete { .. } => {}
            }
            let prior = self.prior(&step, &author.workspace).await;
            steps.push((step, prior));
        }
        if steps.is_empty() {
            return Ok(Noted::Intents(String::new()));
        }
        Ok(Noted::Intents(self.snapshots.store().put_intents(author, &steps).await?))
    }

    /// What has the name now. That it cannot be told does not hold the request up: then nothing
    /// will be made up for by guessing.
    async fn prior(&self, step: &Step, workspace: &str) -> Prior {
        match self.resolver.incumbent(step.resource(), wanted(step), workspace).await {
            Ok(None) => Prior::Absent,
            Ok(Some(incumbent)) => Prior::Existing(incumbent),
            Err(LookupError::Unconfigured) => Prior::Unknown,
            Err(error) => {
                tracing::warn!(%error, "what has the name now could not be looked up");
                Prior::Unknown
            }
        }
    }

    /// Settles deletions of the name whose answers were lost: the next object of that name must
    /// not inherit from the last one, not even for a moment. Of those still under way nothing
    /// can be said yet; then the record of the creation clears the name.
    async fn free(
        &self,
        resource: ResourceType,
        name: &str,
        workspace: &str,
    ) -> Result<(), Interruption> {
        for removal in self.snapshots.store().removals_of(resource, workspace, name).await? {
            match self.judge(&removal, now()).await.map_err(Unresolved::Lookup)? {
                Verdict::Wait => {}
                verdict => self.carry_out(&removal, &verdict).await?,
            }
        }
        Ok(())
    }

    /// Whether an object may be renamed to this, as MLflow 3.18 has it: what is granted on a name
    /// that nothing has is left over from somebody else's object, and what is denied on it was
    /// not meant for this one. Where something has it, MLflow refuses.
    async fn may_take(
        &self,
        resource: ResourceType,
        name: &str,
        workspace: &str,
    ) -> Result<bool, Interruption> {
        self.free(resource, name, workspace).await?;
        if self.snapshots.store().levels_on(resource, workspace, name).await?.is_empty() {
            return Ok(true);
        }
        let taken = self.resolver.incumbent(resource, Wanted::Named(name), workspace).await;
        Ok(taken.is_ok_and(|incumbent| incumbent.is_some()))
    }
}

/// How the object of a step is looked for.
pub(super) fn wanted(step: &Step) -> Wanted<'_> {
    match step {
        Step::Create { name, .. } => Wanted::Named(name),
        Step::Delete { id, .. } => Wanted::Id(id),
        Step::Rename { from, .. } => Wanted::Named(from),
    }
}

/// `None` for what cannot be found again: an object whose creator gives it no name.
fn step(intent: &pb::Intent) -> Result<Option<Step>, Unresolved> {
    use pb::intent::Kind as K;
    let resource = |kind| resource(kind, ModelKind::Model);
    let step = match intent.kind.as_ref() {
        None => return Err(Unresolved::Malformed("an intent without a kind")),
        Some(K::Creation(creation)) => {
            Step::Create { resource: resource(creation.r#type)?, name: creation.name.clone() }
        }
        Some(K::Deletion(deleted)) => {
            Step::Delete { resource: resource(deleted.r#type)?, id: deleted.id.clone() }
        }
        Some(K::Renaming(renamed)) => Step::Rename {
            resource: resource(renamed.r#type)?,
            from: renamed.from.clone(),
            to: renamed.to.clone(),
        },
    };
    Ok((!step.name().is_empty()).then_some(step))
}
