//! The decision itself.

use super::check::{Check, Fact, RungCheck, Standing};
use super::grants::{Deciding, Grants, RowKey, WorkspaceGrants};
use super::reach::Reach;
use crate::domain::{Action, DEFAULT_WORKSPACE, Level, ResourceType};

/// The policy-wide settings that decisions depend on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// Applies where nothing is granted, and as a floor under positive grants.
    pub default_permission: Level,
    /// MLflow runs with workspaces.
    pub workspaces: bool,
    /// With workspaces: `default_permission` applies in the workspace `default`.
    pub grant_default_workspace_access: bool,
}

/// Who is being decided about.
#[derive(Debug, Clone, Copy)]
pub struct Principal<'a> {
    pub super_admin: bool,
    pub disabled: bool,
    /// How far the credential reaches, whatever is granted.
    pub reach: &'a Reach,
    pub grants: &'a Grants,
}

/// Why; the text is stable, for logs and `x-mlgate-reason`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Reason {
    SuperAdmin,
    WorkspaceAdmin,
    /// A grant row permits it.
    Granted,
    /// `default_permission` permits it.
    Default,
    /// A standing or a fact about the principal holds.
    Holds,
    /// Nothing was required.
    NothingRequired,
    Disabled,
    /// A DENY row decided.
    ExplicitDeny,
    /// A positive row decided, of too low a level.
    InsufficientGrant,
    /// No row, and `default_permission` does not reach.
    NoGrant,
    /// A standing or a fact does not hold.
    DoesNotHold,
    UnknownObject,
    /// What an id belongs to cannot be found out through MLflow's REST API.
    Untold,
    /// The reference names nothing although something must be there.
    NotFound,
    /// The reference names something although nothing may be there.
    AlreadyExists,
    Malformed,
    /// The credential is scoped to less than what is required.
    CredentialScope,
    /// No rule for names permits the one that is given.
    NameNotAllowed,
}

impl Reason {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::SuperAdmin => "super_admin",
            Self::WorkspaceAdmin => "workspace_admin",
            Self::Granted => "granted",
            Self::Default => "default_permission",
            Self::Holds => "holds",
            Self::NothingRequired => "nothing_required",
            Self::Disabled => "disabled",
            Self::ExplicitDeny => "explicit_deny",
            Self::InsufficientGrant => "insufficient_grant",
            Self::NoGrant => "no_grant",
            Self::DoesNotHold => "does_not_hold",
            Self::UnknownObject => "unknown_object",
            Self::Untold => "needs_tracking_database",
            Self::NotFound => "not_found",
            Self::AlreadyExists => "already_exists",
            Self::Malformed => "malformed",
            Self::CredentialScope => "credential_scope",
            Self::NameNotAllowed => "name_not_allowed",
        }
    }
}

/// The outcome, with the row that decided it where one did.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub struct Decision {
    pub allowed: bool,
    pub reason: Reason,
    pub deciding: Option<Deciding>,
}

impl Decision {
    fn allow(reason: Reason) -> Self {
        Self { allowed: true, reason, deciding: None }
    }

    pub(crate) fn deny(reason: Reason) -> Self {
        Self { allowed: false, reason, deciding: None }
    }
}

/// Whether the principal satisfies every check in the workspace.
///
/// The first check that fails gives the reason of a denial, the last one that of an allow.
pub fn evaluate(
    settings: &Settings,
    principal: &Principal<'_>,
    workspace: &str,
    checks: &[Check],
) -> Decision {
    if principal.disabled {
        return Decision::deny(Reason::Disabled);
    }
    let workspace = if settings.workspaces { workspace } else { DEFAULT_WORKSPACE };
    let grants = principal.grants.in_workspace(workspace);
    Evaluation { settings, principal, workspace, grants }.all(checks, Reason::NothingRequired)
}

struct Evaluation<'a> {
    settings: &'a Settings,
    principal: &'a Principal<'a>,
    workspace: &'a str,
    grants: Option<&'a WorkspaceGrants>,
}

impl Evaluation<'_> {
    fn all(&self, checks: &[Check], when_empty: Reason) -> Decision {
        let mut last = Decision::allow(when_empty);
        for check in checks {
            last = self.one(check);
            if !last.allowed {
                break;
            }
        }
        last
    }

    fn any(&self, checks: &[Check]) -> Decision {
        let mut last = Decision::deny(Reason::Malformed);
        for check in checks {
            last = self.one(check);
            if last.allowed {
                break;
            }
        }
        last
    }

    fn one(&self, check: &Check) -> Decision {
        match check {
            Check::AllOf(checks) if checks.is_empty() => Decision::deny(Reason::Malformed),
            Check::AllOf(checks) => self.all(checks, Reason::Malformed),
            Check::AnyOf(checks) => self.any(checks),
            Check::Fact(fact @ (Fact::Absent | Fact::Present), holds) => {
                about_object(*fact, *holds)
            }
            _ if !self.within_reach(check) => Decision::deny(Reason::CredentialScope),
            _ if self.principal.super_admin => Decision::allow(Reason::SuperAdmin),
            Check::Unresolved => Decision::deny(Reason::UnknownObject),
            Check::Untold => Decision::deny(Reason::Untold),
            Check::Missing => Decision::deny(Reason::NotFound),
            Check::Fact(Fact::Nameable, false) => Decision::deny(Reason::NameNotAllowed),
            Check::Fact(_, holds) => holding(*holds),
            Check::Standing(standing) => self.standing(*standing),
            Check::Floor(action) => self.floor(*action),
            Check::Ladder { rungs, explicit_only } => self.ladder(rungs, *explicit_only),
        }
    }

    /// Whether the credential itself reaches as far as what is checked. Where it is not known what
    /// a passed check permits, the credential must not be limited to reading.
    fn within_reach(&self, check: &Check) -> bool {
        let reach = self.principal.reach;
        match check {
            Check::Ladder { rungs, .. } => reach.covers(rungs),
            Check::Floor(action) => reach.permits_action_anywhere(*action),
            Check::Standing(Standing::Authenticated) | Check::Fact(Fact::Myself, _) => true,
            Check::Standing(Standing::WorkspaceCreate)
            | Check::Fact(..)
            | Check::Unresolved
            | Check::Untold => reach.permits_anywhere(Level::Edit),
            Check::Standing(_) => reach.permits_anywhere(Level::Manage),
            Check::Missing => true,
            // Their parts are checked one by one.
            Check::AnyOf(_) | Check::AllOf(_) => true,
        }
    }

    fn standing(&self, standing: Standing) -> Decision {
        match standing {
            Standing::Authenticated => holding(true),
            Standing::SuperAdmin => holding(false),
            Standing::WorkspaceAdmin => holding(self.administers()),
            Standing::AnyWorkspaceAdmin => {
                holding(self.principal.grants.administers_any_workspace())
            }
            Standing::WorkspaceCreate if !self.settings.workspaces => holding(true),
            Standing::WorkspaceCreate => self.workspace_grant(Action::Use),
        }
    }

    fn floor(&self, action: Action) -> Decision {
        if self.settings.workspaces {
            self.workspace_grant(action)
        } else {
            by_default(self.settings.default_permission, action)
        }
    }

    /// Decides by the `(workspace, *)` rows alone, unfloored; without any, by what absence means.
    fn workspace_grant(&self, action: Action) -> Decision {
        if self.administers() {
            return Decision::allow(Reason::WorkspaceAdmin);
        }
        match self.row(ResourceType::Workspace, &RowKey::Every) {
            Some(row) => by_row(row, action, Level::NoPermissions),
            None => by_default(self.absent(), action),
        }
    }

    fn ladder(&self, rungs: &[RungCheck], explicit_only: bool) -> Decision {
        let Some(last) = rungs.last() else { return Decision::deny(Reason::Malformed) };
        if self.administers() {
            return Decision::allow(Reason::WorkspaceAdmin);
        }
        for rung in rungs {
            if let Some(row) = self.row(rung.resource, &rung.key) {
                return by_row(row, rung.action, self.settings.default_permission);
            }
        }
        if explicit_only {
            return Decision::deny(Reason::NoGrant);
        }
        by_default(self.absent(), last.action)
    }

    fn row(&self, resource: ResourceType, key: &RowKey) -> Option<Deciding> {
        self.grants?.at(resource, key)
    }

    fn administers(&self) -> bool {
        self.grants.is_some_and(WorkspaceGrants::administers)
    }

    /// The level where nothing is granted.
    fn absent(&self) -> Level {
        let inherits = !self.settings.workspaces
            || (self.settings.grant_default_workspace_access
                && self.workspace == DEFAULT_WORKSPACE);
        if inherits { self.settings.default_permission } else { Level::NoPermissions }
    }
}

fn by_row(row: Deciding, action: Action, floor: Level) -> Decision {
    let level = if row.level == Level::Deny { Level::Deny } else { row.level.max(floor) };
    let allowed = level.permits(action);
    let reason = match (allowed, level) {
        (true, _) if row.level.permits(action) => Reason::Granted,
        (true, _) => Reason::Default,
        (false, Level::Deny) => Reason::ExplicitDeny,
        (false, _) => Reason::InsufficientGrant,
    };
    Decision { allowed, reason, deciding: Some(row) }
}

fn by_default(level: Level, action: Action) -> Decision {
    if level.permits(action) {
        Decision::allow(Reason::Default)
    } else {
        Decision::deny(Reason::NoGrant)
    }
}

fn holding(holds: bool) -> Decision {
    if holds { Decision::allow(Reason::Holds) } else { Decision::deny(Reason::DoesNotHold) }
}

fn about_object(fact: Fact, holds: bool) -> Decision {
    match (fact, holds) {
        (_, true) => Decision::allow(Reason::Holds),
        (Fact::Present, false) => Decision::deny(Reason::NotFound),
        (_, false) => Decision::deny(Reason::AlreadyExists),
    }
}
