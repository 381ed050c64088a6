//! From the contract's requirements to checks that the evaluator understands.

mod artifact;
mod named;
mod words;

use std::collections::HashMap;
use std::time::Duration;

use self::named::Called;
pub use self::words::{action, resource};
use self::words::{check_id, is_canonical, standing};
use crate::contract as pb;
use crate::domain::ResourceType;
use crate::policy::{Check, Fact, RowKey, RungCheck};
use crate::resolver::{
    LookupError, ModelKind, Place, Places, Reference, Resolver, Stability, stability,
};
use crate::store::{Store, StoreError};

const MAX_DEPTH: u32 = 8;
/// As many as the filter lets through: what an export of 512 traces needs, or 1,400 ids.
const MAX_NODES: u32 = 3_000;
const MAX_RUNGS: usize = 4;

/// Why no checks could be made.
#[derive(Debug)]
pub enum Unresolved {
    /// The peer sent something that means nothing, or that this server is too old to know.
    Malformed(&'static str),
    Lookup(LookupError),
    Store(StoreError),
}

impl From<LookupError> for Unresolved {
    fn from(error: LookupError) -> Self {
        Self::Lookup(error)
    }
}

impl From<StoreError> for Unresolved {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

type Result<T> = std::result::Result<T, Unresolved>;

/// What the translation of one request depends on.
pub struct Translation<'a> {
    pub resolver: &'a Resolver,
    pub store: &'a Store,
    pub username: &'a str,
    /// Super admins need no lookups, and so work without a tracking database; unless their
    /// credential is for some experiments only.
    pub super_admin: bool,
    pub workspaces: bool,
    pub workspace: &'a str,
    memo: HashMap<Reference, Places>,
    /// How long what was looked up may be reused; `None` for ever.
    reuse: Option<Duration>,
    nodes: u32,
}

impl<'a> Translation<'a> {
    pub fn new(
        resolver: &'a Resolver,
        store: &'a Store,
        username: &'a str,
        super_admin: bool,
        workspaces: bool,
        workspace: &'a str,
    ) -> Self {
        Self {
            resolver,
            store,
            username,
            super_admin,
            workspaces,
            workspace,
            memo: HashMap::new(),
            reuse: None,
            nodes: 0,
        }
    }

    /// How long the checks made so far stay those of the request; `None` for ever.
    pub fn reuse(&self) -> Option<Duration> {
        self.reuse
    }

    /// Translates all of them.
    ///
    /// # Errors
    /// `Unresolved`.
    pub async fn checks(&mut self, requirements: &[pb::Requirement]) -> Result<Vec<Check>> {
        let mut checks = Vec::with_capacity(requirements.len());
        for requirement in requirements {
            checks.push(Box::pin(self.check(requirement, 1)).await?);
        }
        Ok(checks)
    }

    async fn check(&mut self, requirement: &pb::Requirement, depth: u32) -> Result<Check> {
        use pb::requirement::Condition as C;
        self.nodes += 1;
        if depth > MAX_DEPTH || self.nodes > MAX_NODES {
            return Err(Unresolved::Malformed("too many or too deep requirements"));
        }
        match requirement.condition.as_ref() {
            None => Err(Unresolved::Malformed("a requirement without a condition")),
            Some(C::Ladder(ladder)) => self.ladder(&ladder.rungs, ladder.explicit_only).await,
            Some(C::Standing(value)) => standing(*value).map(Check::Standing),
            Some(C::Floor(value)) => action(*value).map(Check::Floor),
            Some(C::Self_(username)) => {
                Ok(Check::Fact(Fact::Myself, !username.is_empty() && username == self.username))
            }
            Some(C::Owned(reference)) => Box::pin(self.owned(reference)).await,
            Some(C::Assigned(reference)) => Box::pin(self.assigned(reference)).await,
            Some(C::Absent(reference)) => {
                // What nobody can say is there may be.
                let found = self.places(&self.reference(reference)?).await?;
                let found = found.is_none_or(|places| !places.is_empty());
                // What is absent now may be there in a moment.
                self.limit_reuse(Duration::ZERO);
                Ok(Check::Fact(Fact::Absent, !found))
            }
            Some(C::Present(reference)) => {
                let found = self.places(&self.reference(reference)?).await?;
                let found = found.is_some_and(|places| !places.is_empty());
                Ok(Check::Fact(Fact::Present, found))
            }
            Some(C::Nameable(naming)) => Box::pin(self.nameable(naming)).await,
            Some(C::AnyOf(items)) => Ok(Check::AnyOf(self.parts(items, depth).await?)),
            Some(C::AllOf(items)) => Ok(Check::AllOf(self.parts(items, depth).await?)),
        }
    }

    async fn parts(&mut self, parts: &pb::Requirements, depth: u32) -> Result<Vec<Check>> {
        if parts.items.is_empty() {
            return Err(Unresolved::Malformed("an empty any_of or all_of"));
        }
        let mut checks = Vec::with_capacity(parts.items.len());
        for item in &parts.items {
            checks.push(Box::pin(self.check(item, depth + 1)).await?);
        }
        Ok(checks)
    }

    /// Whether the principal is the recorded creator of what is referenced.
    ///
    /// # Errors
    /// `Unresolved`.
    pub async fn owned(&mut self, reference: &pb::Reference) -> Result<Check> {
        let reference = self.reference(reference)?;
        if self.super_admin {
            return Ok(Check::Fact(Fact::Owned, true));
        }
        let Some(reference) = self.by_id(reference).await? else {
            return Ok(Check::Fact(Fact::Owned, false));
        };
        let owner = self.store.owner_of(reference.kind, &reference.id).await?;
        let owned = owner.is_some_and(|owner| owner.username == self.username);
        if !owned {
            // The creator may be about to be recorded.
            self.limit_reuse(Duration::ZERO);
        }
        Ok(Check::Fact(Fact::Owned, owned))
    }

    /// Whether the rules for names let the principal give this one.
    async fn nameable(&mut self, naming: &pb::Naming) -> Result<Check> {
        let open = naming.r#type == pb::ResourceType::ModelOrPrompt as i32;
        let family = match open && !self.super_admin {
            true => self.called(&naming.current).await?,
            false => Called::Is(ModelKind::Model),
        };
        let family = match family {
            Called::Is(kind) => kind,
            // MLflow renames nothing, then.
            Called::Nothing => ModelKind::Model,
            Called::Otherwise => return Ok(Check::Unresolved),
        };
        let resource = resource(naming.r#type, family)?;
        let rules = self.store.creation_rules().await?;
        let permitted = rules.names.permit(resource, &naming.name, self.username);
        Ok(Check::Fact(Fact::Nameable, permitted))
    }

    /// Authorship and assignment are kept by id: a queue's name is looked up first.
    async fn by_id(&mut self, reference: Reference) -> Result<Option<Reference>> {
        if reference.kind != pb::ReferenceKind::ReviewQueueName {
            return Ok(Some(reference));
        }
        // Another queue may have the name by the next request.
        self.limit_reuse(Duration::ZERO);
        let id = self.resolver.queue_id(&reference, self.workspace).await?;
        Ok(id.map(|id| Reference { kind: pb::ReferenceKind::ReviewQueueId, id, parent: None }))
    }

    async fn assigned(&mut self, reference: &pb::Reference) -> Result<Check> {
        let reference = self.reference(reference)?;
        if !matches!(
            reference.kind,
            pb::ReferenceKind::ReviewQueueId | pb::ReferenceKind::ReviewQueueName
        ) {
            return Err(Unresolved::Malformed("only review queues have assigned users"));
        }
        if self.super_admin {
            return Ok(Check::Fact(Fact::Assigned, true));
        }
        let Some(reference) = self.by_id(reference).await? else {
            return Ok(Check::Fact(Fact::Assigned, false));
        };
        self.limit_reuse(Duration::ZERO);
        let assigned =
            self.resolver.is_assigned(&reference.id, self.username, self.workspace).await?;
        Ok(Check::Fact(Fact::Assigned, assigned))
    }

    /// Translates one ladder; a reference with several owners becomes a ladder for each.
    pub async fn ladder(&mut self, rungs: &[pb::Rung], explicit_only: bool) -> Result<Check> {
        use pb::rung::Key as K;
        if rungs.is_empty() || rungs.len() > MAX_RUNGS {
            return Err(Unresolved::Malformed("a ladder has 1 to 4 rungs"));
        }
        let mut referenced: Option<Reference> = None;
        for rung in rungs {
            let Some(K::OwnerOf(reference)) = &rung.key else { continue };
            let reference = self.reference(reference)?;
            match &referenced {
                Some(earlier) if *earlier != reference => {
                    return Err(Unresolved::Malformed("a ladder refers to two things"));
                }
                _ => referenced = Some(reference),
            }
        }
        let Some(reference) = referenced else {
            return self.rungs(rungs, explicit_only, None).await;
        };
        if reference.kind == pb::ReferenceKind::ArtifactUri {
            return Box::pin(self.artifact(rungs, &reference)).await;
        }
        if self.super_admin {
            return self.rungs(rungs, explicit_only, None).await;
        }
        let Some(places) = self.places(&reference).await? else { return Ok(Check::Untold) };
        let mut ladders = Vec::with_capacity(places.len());
        for place in places.iter() {
            ladders.push(self.rungs(rungs, explicit_only, Some(place)).await?);
        }
        match (ladders.len(), reference.kind) {
            (0, pb::ReferenceKind::ExperimentName) => Ok(Check::Missing),
            (0, _) => Ok(Check::Unresolved),
            (1, _) => Ok(ladders.remove(0)),
            _ => Ok(Check::AllOf(ladders)),
        }
    }

    async fn rungs(
        &mut self,
        rungs: &[pb::Rung],
        explicit_only: bool,
        place: Option<&Place>,
    ) -> Result<Check> {
        if let Some(place) = place
            && !self.is_here(place.workspace.as_deref())
        {
            return Ok(Check::Unresolved);
        }
        let Some(family) = self.family(rungs).await? else { return Ok(Check::Unresolved) };
        let mut checks = Vec::with_capacity(rungs.len());
        for rung in rungs {
            let resource = resource(rung.r#type, family)?;
            let action = action(rung.action)?;
            let Some(key) = self.key(rung, resource, place).await? else {
                return Ok(Check::Unresolved);
            };
            checks.push(RungCheck { resource, action, key });
        }
        Ok(Check::Ladder { rungs: checks, explicit_only })
    }

    /// `None` when the object is not here.
    async fn key(
        &mut self,
        rung: &pb::Rung,
        resource: ResourceType,
        place: Option<&Place>,
    ) -> Result<Option<RowKey>> {
        use pb::rung::Key as K;
        match rung.key.as_ref() {
            None => Err(Unresolved::Malformed("a rung without a key")),
            Some(K::Every(_)) => Ok(Some(RowKey::Every)),
            Some(K::Id(id)) => {
                check_id(id)?;
                self.own_id(resource, id).await
            }
            Some(K::OwnerOf(_)) if resource.wildcard_only() || self.super_admin => {
                Ok(Some(RowKey::Every))
            }
            Some(K::OwnerOf(_)) => {
                let Some(place) = place else {
                    return Err(Unresolved::Malformed("an owner of nothing"));
                };
                match (resource, &place.experiment, &place.named) {
                    (ResourceType::Experiment, Some(id), _) => Ok(Some(RowKey::Id(id.clone()))),
                    (ResourceType::Experiment, None, _) => Ok(None),
                    (wanted, _, Some((found, id))) if wanted == *found => {
                        Ok(Some(RowKey::Id(id.clone())))
                    }
                    _ => Err(Unresolved::Malformed("the referenced thing has no such owner")),
                }
            }
        }
    }

    async fn own_id(&mut self, resource: ResourceType, id: &str) -> Result<Option<RowKey>> {
        let experiment = match resource {
            ResourceType::Experiment => Some(id),
            ResourceType::Scorer => id.split_once('/').map(|(experiment, _)| experiment),
            _ => None,
        };
        if let Some(experiment) = experiment {
            // "02" is experiment 2 to MLflow, and no grant is about "02".
            if !is_canonical(experiment) {
                return Err(Unresolved::Malformed("an experiment id is not canonical"));
            }
            if self.workspaces && !self.super_admin {
                let workspace = self.resolver.experiment_workspace(experiment, self.workspace);
                let workspace = Box::pin(workspace).await?;
                if !self.is_here(workspace.as_deref()) {
                    self.limit_reuse(Duration::ZERO);
                    return Ok(None);
                }
            }
        }
        Ok(Some(RowKey::Id(id.to_owned())))
    }

    /// `None` where what is asked cannot tell.
    async fn places(&mut self, reference: &Reference) -> Result<Option<Places>> {
        if let Some(known) = self.memo.get(reference) {
            return Ok(Some(known.clone()));
        }
        let places = match self.resolver.locate(reference, self.workspace).await {
            Err(error @ LookupError::Untold { .. }) => {
                tracing::info!(%error, "a request is denied");
                return Ok(None);
            }
            found => found?,
        };
        if places.is_empty() {
            self.limit_reuse(Duration::ZERO);
        } else {
            self.note(stability(reference.kind));
        }
        self.memo.insert(reference.clone(), places.clone());
        Ok(Some(places))
    }

    /// With workspaces on, what is in another one does not exist here (MLflow's workspace store
    /// filters every query by the request's workspace).
    fn is_here(&self, workspace: Option<&str>) -> bool {
        !self.workspaces || workspace == Some(self.workspace)
    }

    fn reference(&self, reference: &pb::Reference) -> Result<Reference> {
        let kind = pb::ReferenceKind::try_from(reference.kind)
            .ok()
            .filter(|&kind| kind != pb::ReferenceKind::Unspecified)
            .ok_or(Unresolved::Malformed("unknown reference kind"))?;
        check_id(&reference.id)?;
        let parent = (!reference.parent.is_empty()).then(|| reference.parent.clone());
        Ok(Reference { kind, id: reference.id.clone(), parent })
    }

    fn note(&mut self, stability: Stability) {
        if let Stability::Brief(reuse) = stability {
            self.limit_reuse(reuse);
        }
    }

    fn limit_reuse(&mut self, reuse: Duration) {
        self.reuse = Some(self.reuse.map_or(reuse, |known| known.min(reuse)));
    }
}
