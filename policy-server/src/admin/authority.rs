//! What the caller may administer. Decided by the evaluator from the grants as they are now, not
//! as some cache remembers them.

use std::collections::BTreeSet;

use super::Caller;
use super::answer::Refusal;
use crate::domain::{Action, Level, Pattern, ResourceType};
use crate::policy::{self, Check, EVERYTHING, Grants, Principal, RowKey, RungCheck, Standing};
use crate::store::{PrincipalGrants, RoleId, Settings, Store, User};

pub(super) struct Authority<'a> {
    caller: &'a Caller,
    settings: Settings,
    principal: PrincipalGrants,
    grants: Grants,
}

impl<'a> Authority<'a> {
    pub async fn load(
        store: &Store,
        caller: &'a Caller,
        settings: Settings,
    ) -> Result<Self, Refusal> {
        let principal = store.principal(&caller.username, &caller.groups).await?;
        if principal.user.as_ref().is_some_and(|user| user.disabled) {
            return Err(Refusal::denied());
        }
        let grants = Grants::new(&principal.grants);
        Ok(Self { caller, settings, principal, grants })
    }

    pub fn is_super_admin(&self) -> bool {
        self.caller.super_admin
    }

    /// The caller's row; None for a user of an identity provider who has none yet.
    pub fn user(&self) -> Option<&User> {
        self.principal.user.as_ref()
    }

    /// All that is granted to the caller.
    pub fn principal(&self) -> &PrincipalGrants {
        &self.principal
    }

    /// Roles of the caller's own and of their groups.
    pub fn roles(&self) -> &[RoleId] {
        &self.principal.roles
    }

    /// Whether the caller holds `(workspace, *, MANAGE)` there. The name is compared exactly: a
    /// role in `a ` is no role in `a`.
    pub fn administers(&self, workspace: &str) -> bool {
        self.grants.in_workspace(workspace).is_some_and(|grants| grants.administers())
    }

    pub fn administers_any(&self) -> bool {
        self.grants.administers_any_workspace()
    }

    /// The workspaces that the caller administers.
    pub fn administered(&self) -> BTreeSet<String> {
        let workspaces = self.grants.workspaces().filter(|name| self.administers(name));
        workspaces.map(str::to_owned).collect()
    }

    /// Super admins, and those who administer the workspace.
    pub fn require_admin_of(&self, workspace: &str) -> Result<(), Refusal> {
        self.require(self.administers(workspace))
    }

    pub fn require_super_admin(&self) -> Result<(), Refusal> {
        self.require(false)
    }

    /// Denies, unless it holds or the caller is a super admin.
    pub fn require(&self, holds: bool) -> Result<(), Refusal> {
        if holds || self.is_super_admin() { Ok(()) } else { Err(Refusal::denied()) }
    }

    /// MLflow's `_can_create_in_workspace`.
    pub fn may_create_in(&self, workspace: &str) -> bool {
        self.holds(workspace, Check::Standing(Standing::WorkspaceCreate))
    }

    pub fn manages(&self, workspace: &str, resource: ResourceType, id: &Pattern) -> bool {
        self.holds(workspace, check(resource, id, Action::Manage))
    }

    fn holds(&self, workspace: &str, check: Check) -> bool {
        let principal = Principal {
            reach: &EVERYTHING,
            super_admin: self.caller.super_admin,
            disabled: false,
            grants: &self.grants,
        };
        policy::evaluate(&self.settings, &principal, workspace, &[check]).allowed
    }
}

/// The level at which a user stands to one object, or to all of a type, by grants alone: MLflow's
/// `get_user_permission` does not look at `is_admin`.
pub(super) fn level_of(
    settings: Settings,
    principal: &PrincipalGrants,
    workspace: &str,
    resource: ResourceType,
    id: &Pattern,
) -> Level {
    const BY_ACTION: [(Action, Level); 5] = [
        (Action::Manage, Level::Manage),
        (Action::Update, Level::Edit),
        (Action::Use, Level::Use),
        (Action::Read, Level::Read),
        (Action::NotDenied, Level::NoPermissions),
    ];
    let grants = Grants::new(&principal.grants);
    let disabled = principal.user.as_ref().is_some_and(|user| user.disabled);
    let subject = Principal { super_admin: false, disabled, reach: &EVERYTHING, grants: &grants };
    let permits = |action| {
        let checks = [check(resource, id, action)];
        policy::evaluate(&settings, &subject, workspace, &checks).allowed
    };
    let highest = BY_ACTION.into_iter().find(|(action, _)| permits(*action));
    highest.map_or(Level::Deny, |(_, level)| level)
}

fn check(resource: ResourceType, id: &Pattern, action: Action) -> Check {
    let key = match id {
        Pattern::Every => RowKey::Every,
        Pattern::Exact(id) | Pattern::Glob(id) => RowKey::Id(id.clone()),
    };
    Check::Ladder { rungs: vec![RungCheck { resource, action, key }], explicit_only: false }
}
