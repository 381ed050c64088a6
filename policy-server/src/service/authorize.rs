//! Authenticates and decides, in one call.

use std::sync::Arc;
use std::time::Duration;

use super::authenticate::{Authenticated, Authenticator, FAILURE_REUSE, Failure};
use super::error::Refusal;
use super::intents::Noted;
use super::log::{self, Grounds, is_logged};
use super::requirement::{Translation, Unresolved};
use super::scope::scopes;
use super::snapshot::{PrincipalSnapshot, Snapshots};
use crate::admin::AdminContext;
use crate::contract as pb;
use crate::domain::{Action, DEFAULT_WORKSPACE, Level, ResourceType};
use crate::policy::{self, Check, Decision, Principal, Reach, Reason, RowKey, RungCheck, evaluate};
use crate::resolver::Resolver;
use crate::store::{Author, StoreError, now, scope};
use crate::traces::step;

/// Most hashes that an answer depends on; with more it cannot be cached.
const MAX_DEPENDENCIES: usize = 32;

/// What decisions are made from.
pub struct Decider {
    pub snapshots: Arc<Snapshots>,
    pub authenticator: Authenticator,
    pub resolver: Resolver,
    pub admin: AdminContext,
    pub decision_ttl: Duration,
}

type Answer = Result<pb::AuthorizeResponse, Refusal>;

/// Where a request is decided, once it is known who asks.
pub(super) struct Situation<'a> {
    pub principal: &'a PrincipalSnapshot,
    pub settings: policy::Settings,
    pub workspace: &'a str,
    pub reach: &'a Reach,
}

impl Situation<'_> {
    pub fn decide(&self, checks: &[Check]) -> Decision {
        let principal = Principal {
            super_admin: self.principal.super_admin(),
            disabled: self.principal.disabled(),
            reach: self.reach,
            grants: &self.principal.grants,
        };
        evaluate(&self.settings, &principal, self.workspace, checks)
    }

    /// Nothing restricts a super admin, nor the administrator of this workspace, unless their
    /// credential is for some experiments only.
    pub fn unrestricted(&self) -> bool {
        let grants = self.principal.grants.in_workspace(self.workspace);
        self.reach.experiments().is_none()
            && (self.principal.super_admin()
                || grants.is_some_and(policy::WorkspaceGrants::administers))
    }

    /// A super admin passes every check, so that nothing need be looked up for them; with a
    /// credential for some experiments, it must be known what belongs to these.
    pub fn passes_everything(&self) -> bool {
        self.principal.super_admin() && self.reach.experiments().is_none()
    }

    pub fn denies(&self, resource: ResourceType) -> bool {
        let Some(grants) = self.principal.grants.in_workspace(self.workspace) else { return false };
        let row = grants.at(resource, &RowKey::Every);
        !self.unrestricted() && row.is_some_and(|row| row.level == Level::Deny)
    }

    /// Sub-resource types that are withheld, of which responses must say nothing.
    pub fn denied_tiers(&self) -> Vec<i32> {
        TIERS
            .iter()
            .filter(|(resource, _)| self.denies(*resource))
            .map(|&(_, tier)| tier as i32)
            .collect()
    }
}

const TIERS: &[(ResourceType, pb::ResourceType)] = &[
    (ResourceType::Run, pb::ResourceType::Run),
    (ResourceType::Trace, pb::ResourceType::Trace),
    (ResourceType::Assessment, pb::ResourceType::Assessment),
    (ResourceType::LoggedModel, pb::ResourceType::LoggedModel),
    (ResourceType::ReviewQueue, pb::ResourceType::ReviewQueue),
    (ResourceType::RegisteredModelVersion, pb::ResourceType::RegisteredModelVersion),
    (ResourceType::PromptVersion, pb::ResourceType::PromptVersion),
    (ResourceType::ScorerVersion, pb::ResourceType::ScorerVersion),
    (ResourceType::McpServerVersion, pb::ResourceType::McpServerVersion),
];

impl Decider {
    /// The answer to one request. What is logged is decided before the answer is given.
    ///
    /// # Errors
    /// `Refusal` for what is no question at all. Everything else, also what cannot be answered,
    /// is an outcome.
    pub async fn authorize(&self, request: &pb::AuthorizeRequest) -> Answer {
        let mut response = pb::AuthorizeResponse::default();
        let grounds = match self.answer(request, &mut response).await {
            Ok(grounds) => grounds,
            Err(interruption) => {
                interruption.into_response(&mut response)?;
                is_logged(response.outcome()).then(Grounds::default)
            }
        };
        if let Some(grounds) = grounds {
            log::decision(request, &response, &grounds);
        }
        Ok(response)
    }

    async fn answer(
        &self,
        request: &pb::AuthorizeRequest,
        response: &mut pb::AuthorizeResponse,
    ) -> Result<Option<Grounds>, Interruption> {
        // Read before anything is decided: a change that comes in meanwhile makes the answer
        // older than it is, never newer.
        let standpoint = self.snapshots.standpoint(request.min_revision).await?;
        response.revision = standpoint.revision;
        response.age_ms = milliseconds(standpoint.age);
        let address = request.info.as_ref().map_or("", |info| info.client_address.as_str());
        let who = self.authenticator.authenticate(request.subject.as_ref(), address);
        let who = step("authenticate", who).await?;
        let settings = self.snapshots.settings().await?;
        response.principal = Some(pb::Principal {
            username: who.username.clone(),
            super_admin: who.principal.super_admin() && who.reach.experiments().is_none(),
            scopes: who.reach.words(),
        });
        let workspace = self.workspace(&settings, &request.workspace).await?;
        let situation =
            Situation { principal: &who.principal, settings, workspace, reach: &who.reach };
        let mut translation = Translation::new(
            &self.resolver,
            self.snapshots.store(),
            &who.username,
            situation.passes_everything(),
            settings.workspaces,
            workspace,
        );
        let checks = translation.checks(&request.requirements).await?;
        let decision = situation.decide(&checks);
        response.reason = decision.reason.as_str().to_owned();
        response.outcome = outcome(&decision).into();
        if decision.allowed {
            if !request.scopes.is_empty() {
                let scopes = scopes(&request.scopes, &mut translation, &situation);
                response.scopes = Box::pin(scopes).await?;
            }
            response.denied_tiers = situation.denied_tiers();
        }
        self.set_reuse(response, &who, translation.reuse());
        if decision.allowed && !request.intents.is_empty() {
            response.ttl_ms = 0;
            let author = Author {
                username: who.username.clone(),
                groups: claimed_groups(request.subject.as_ref()),
                workspace: workspace.to_owned(),
            };
            match Box::pin(self.note(&author, &request.intents)).await? {
                Noted::Intents(id) => response.intent_id = id,
                Noted::NameHasGrants => {
                    response.outcome = pb::Outcome::Denied.into();
                    response.reason = "name_has_grants".to_owned();
                }
            }
        }
        Ok(is_logged(response.outcome()).then(|| {
            let alone = |check: &Check| situation.decide(std::slice::from_ref(check));
            Grounds::new(&decision, &checks, alone)
        }))
    }

    /// The workspace that is meant.
    async fn workspace<'r>(
        &self,
        settings: &policy::Settings,
        named: &'r str,
    ) -> Result<&'r str, Interruption> {
        match named {
            "" | DEFAULT_WORKSPACE => Ok(DEFAULT_WORKSPACE),
            _ if !settings.workspaces => Err(Interruption::BadWorkspace),
            _ => match Box::pin(self.resolver.workspace_exists(named)).await {
                Ok(true) => Ok(named),
                Ok(false) => Err(Interruption::BadWorkspace),
                Err(error) => Err(Unresolved::Lookup(error).into()),
            },
        }
    }

    fn set_reuse(
        &self,
        response: &mut pb::AuthorizeResponse,
        who: &Authenticated,
        lookups: Option<Duration>,
    ) {
        let until_expiry = who
            .expires_at
            .map(|expiry| Duration::from_millis(u64::try_from(expiry - now()).unwrap_or(0)));
        let reuse = [Some(self.decision_ttl), lookups, until_expiry].into_iter().flatten().min();
        // What a super admin may do depends on being one, and on nothing else.
        let dependencies = if who.principal.super_admin() {
            vec![scope::user(&who.username)]
        } else {
            who.principal.scopes.clone()
        };
        if dependencies.len() > MAX_DEPENDENCIES {
            return;
        }
        response.depends_on = dependencies;
        response.ttl_ms = milliseconds(reuse.unwrap_or_default());
    }
}

/// Groups that came with the credential.
fn claimed_groups(subject: Option<&pb::Subject>) -> Vec<String> {
    match subject.and_then(|subject| subject.kind.as_ref()) {
        Some(pb::subject::Kind::Verified(identity)) => identity.groups.clone(),
        _ => Vec::new(),
    }
}

fn outcome(decision: &Decision) -> pb::Outcome {
    match (decision.allowed, decision.reason) {
        (true, _) => pb::Outcome::Allowed,
        (false, Reason::NotFound) => pb::Outcome::NotFound,
        (false, _) => pb::Outcome::Denied,
    }
}

/// How MLflow decides about the rows of a list: by the row's own type, then by the workspace grant
/// at any level (semantics §3, §7).
pub(super) fn listed(resource: ResourceType, id: &str, action: Action) -> [RungCheck; 2] {
    [
        RungCheck { resource, action, key: RowKey::Id(id.to_owned()) },
        RungCheck { resource: ResourceType::Workspace, action, key: RowKey::Every },
    ]
}

pub(super) fn milliseconds(duration: Duration) -> u32 {
    u32::try_from(duration.as_millis()).unwrap_or(u32::MAX)
}

/// What ends a request before it is decided.
pub(super) enum Interruption {
    Authentication(Failure),
    BadWorkspace,
    Unresolved(Unresolved),
    Store(StoreError),
}

impl From<Failure> for Interruption {
    fn from(failure: Failure) -> Self {
        Self::Authentication(failure)
    }
}

impl From<Unresolved> for Interruption {
    fn from(unresolved: Unresolved) -> Self {
        Self::Unresolved(unresolved)
    }
}

impl From<StoreError> for Interruption {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl Interruption {
    fn into_response(self, response: &mut pb::AuthorizeResponse) -> Result<(), Refusal> {
        use pb::Outcome as O;
        let (outcome, reason) = match self {
            Self::Authentication(failure) => unauthenticated(failure, response)?,
            Self::BadWorkspace => (O::BadWorkspace, "bad_workspace"),
            Self::Unresolved(Unresolved::Malformed(what)) => return Err(Refusal::Malformed(what)),
            Self::Unresolved(Unresolved::Lookup(error)) => {
                tracing::warn!(%error, "a lookup failed");
                (O::Unavailable, "lookup_failed")
            }
            Self::Unresolved(Unresolved::Store(error)) | Self::Store(error) => store(error)?,
        };
        response.outcome = outcome.into();
        response.reason = reason.to_owned();
        Ok(())
    }
}

fn unauthenticated(
    failure: Failure,
    response: &mut pb::AuthorizeResponse,
) -> Result<(pb::Outcome, &'static str), Refusal> {
    use pb::Outcome as O;
    Ok(match failure {
        Failure::Anonymous => (O::Unauthenticated, "no_credential"),
        Failure::Wrong { depends_on, reason } => {
            response.depends_on = depends_on.into_iter().collect();
            response.ttl_ms = milliseconds(FAILURE_REUSE);
            (O::Unauthenticated, reason)
        }
        Failure::Throttled { retry_after } => {
            response.retry_after_ms = milliseconds(retry_after).max(1);
            (O::Throttled, "too_many_failures")
        }
        Failure::Disabled { username } => {
            response.depends_on = vec![scope::user(&username)];
            response.principal = Some(pb::Principal { username, ..pb::Principal::default() });
            response.ttl_ms = milliseconds(FAILURE_REUSE);
            (O::Denied, Reason::Disabled.as_str())
        }
        Failure::Unknown { username } => {
            response.depends_on = vec![scope::user(&username)];
            response.principal = Some(pb::Principal { username, ..pb::Principal::default() });
            response.ttl_ms = milliseconds(FAILURE_REUSE);
            (O::Denied, "unknown_user")
        }
        Failure::Busy => {
            response.retry_after_ms = 1000;
            (O::Unavailable, "verification_queue_full")
        }
        Failure::Store(error) => return store(error),
    })
}

fn store(error: StoreError) -> Result<(pb::Outcome, &'static str), Refusal> {
    match error {
        StoreError::Invalid { field: "groups", .. } => Ok((pb::Outcome::Denied, "too_many_groups")),
        error => {
            tracing::error!(%error, "the policy store failed");
            Ok((pb::Outcome::Unavailable, "store_failed"))
        }
    }
}
