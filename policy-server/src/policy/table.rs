//! Semantics §3, clause by clause.

mod reach;

use super::*;
use crate::domain::{Action, Grant, Level, Pattern, ResourceType as R};

struct Case {
    settings: Settings,
    rows: Vec<Grant>,
    super_admin: bool,
    disabled: bool,
    reach: Reach,
    workspace: &'static str,
}

fn policy(default_permission: Level) -> Case {
    Case {
        settings: Settings {
            default_permission,
            workspaces: false,
            grant_default_workspace_access: false,
        },
        rows: Vec::new(),
        super_admin: false,
        disabled: false,
        reach: EVERYTHING.clone(),
        workspace: "default",
    }
}

impl Case {
    fn workspaces(mut self, workspace: &'static str) -> Self {
        self.settings.workspaces = true;
        self.workspace = workspace;
        self
    }

    fn default_workspace_access(mut self) -> Self {
        self.settings.grant_default_workspace_access = true;
        self
    }

    fn super_admin(mut self) -> Self {
        self.super_admin = true;
        self
    }

    fn scopes(mut self, scopes: &[TokenScope]) -> Self {
        self.reach = Reach::of(scopes.iter().cloned());
        self
    }

    fn disabled(mut self) -> Self {
        self.disabled = true;
        self
    }

    fn grant(self, resource: R, pattern: &str, level: Level) -> Self {
        self.grant_in("default", resource, pattern, level)
    }

    fn grant_in(mut self, workspace: &str, resource: R, pattern: &str, level: Level) -> Self {
        let (workspace, pattern) = (workspace.to_owned(), Pattern::parse(pattern));
        self.rows.push(Grant { workspace, resource, pattern, level });
        self
    }

    fn decide(&self, checks: &[Check]) -> Decision {
        let grants = Grants::new(&self.rows);
        let principal = Principal {
            super_admin: self.super_admin,
            disabled: self.disabled,
            reach: &self.reach,
            grants: &grants,
        };
        evaluate(&self.settings, &principal, self.workspace, checks)
    }

    #[track_caller]
    fn allows(&self, check: Check) {
        let decision = self.decide(std::slice::from_ref(&check));
        assert!(decision.allowed, "{check:?} was denied: {decision:?}");
    }

    #[track_caller]
    fn denies(&self, check: Check, reason: Reason) {
        let decision = self.decide(std::slice::from_ref(&check));
        assert!(!decision.allowed, "{check:?} was allowed: {decision:?}");
        assert_eq!(decision.reason, reason);
    }
}

fn rung(resource: R, id: &str, action: Action) -> RungCheck {
    let key = if id == "*" { RowKey::Every } else { RowKey::Id(id.to_owned()) };
    RungCheck { resource, action, key }
}

fn ladder(rungs: Vec<RungCheck>) -> Check {
    Check::Ladder { rungs, explicit_only: false }
}

fn on_experiment(action: Action) -> Check {
    ladder(vec![rung(R::Experiment, "7", action)])
}

/// A run of experiment 7: the tier's own rows, else the experiment's.
fn on_run(action: Action) -> Check {
    ladder(vec![rung(R::Run, "*", action), rung(R::Experiment, "7", action)])
}

#[test]
fn levels_permit_exactly_what_the_table_of_levels_says() {
    let actions = [Action::Read, Action::Use, Action::Update, Action::Delete, Action::Manage];
    for (level, permitted) in
        [(Level::Read, 1), (Level::Use, 2), (Level::Edit, 3), (Level::Manage, 5), (Level::Deny, 0)]
    {
        let case = policy(Level::NoPermissions).grant(R::Experiment, "7", level);
        for (index, action) in actions.into_iter().enumerate() {
            let decision = case.decide(&[on_experiment(action)]);
            assert_eq!(decision.allowed, index < permitted, "{level} {action}");
        }
    }
}

#[test]
fn super_admin_stands_above_workspace_admin_above_deny_above_positive_above_default() {
    let denied = || policy(Level::Read).grant(R::Experiment, "*", Level::Deny);
    denied().super_admin().allows(on_experiment(Action::Manage));
    denied().grant(R::Workspace, "*", Level::Manage).allows(on_experiment(Action::Manage));
    denied()
        .grant(R::Experiment, "7", Level::Manage)
        .denies(on_experiment(Action::Read), Reason::ExplicitDeny);
    policy(Level::Read)
        .grant(R::Experiment, "7", Level::Edit)
        .allows(on_experiment(Action::Update));
    policy(Level::Read).allows(on_experiment(Action::Read));
    policy(Level::Read).denies(on_experiment(Action::Update), Reason::NoGrant);
}

#[test]
fn a_positive_grant_never_lowers_a_user_below_default_permission() {
    policy(Level::Edit)
        .grant(R::Experiment, "7", Level::Read)
        .allows(on_experiment(Action::Update));
}

#[test]
fn only_deny_restricts_below_the_default() {
    policy(Level::Manage)
        .grant(R::Experiment, "7", Level::Deny)
        .denies(on_experiment(Action::Read), Reason::ExplicitDeny);
    // Kept by an import from before 3.14, where it meant an explicit denial.
    policy(Level::Manage)
        .grant(R::Experiment, "7", Level::NoPermissions)
        .denies(on_experiment(Action::Read), Reason::ExplicitDeny);
}

#[test]
fn within_one_rung_deny_on_every_beats_manage_on_the_exact_id() {
    let case = policy(Level::NoPermissions).grant(R::Experiment, "7", Level::Manage).grant(
        R::Experiment,
        "*",
        Level::Deny,
    );
    case.denies(on_experiment(Action::Read), Reason::ExplicitDeny);
    let decision = case.decide(&[on_experiment(Action::Read)]);
    assert_eq!(decision.deciding.map(|row| row.pattern), Some(Pattern::Every));
}

#[test]
fn within_one_rung_the_highest_positive_row_decides() {
    policy(Level::NoPermissions)
        .grant(R::Experiment, "*", Level::Read)
        .grant(R::Experiment, "7", Level::Edit)
        .allows(on_experiment(Action::Update));
}

#[test]
fn deny_on_every_run_blocks_run_routes_even_for_an_experiment_manage_holder() {
    let case = policy(Level::Read).grant(R::Experiment, "7", Level::Manage).grant(
        R::Run,
        "*",
        Level::Deny,
    );
    case.denies(on_run(Action::Read), Reason::ExplicitDeny);
    case.allows(on_experiment(Action::Read));
}

#[test]
fn deny_on_the_experiment_is_never_rescued_by_a_run_grant() {
    let case = policy(Level::Read).grant(R::Experiment, "7", Level::Deny).grant(
        R::Run,
        "*",
        Level::Manage,
    );
    let decision = case.decide(&[on_experiment(Action::Read), on_run(Action::Read)]);
    assert!(!decision.allowed);
    assert_eq!(decision.reason, Reason::ExplicitDeny);
}

#[test]
fn tier_override_cuts_both_ways() {
    policy(Level::NoPermissions)
        .grant(R::Experiment, "7", Level::Edit)
        .grant(R::Run, "*", Level::Read)
        .denies(on_run(Action::Update), Reason::InsufficientGrant);
    policy(Level::NoPermissions)
        .grant(R::Experiment, "7", Level::Read)
        .grant(R::Run, "*", Level::Edit)
        .allows(on_run(Action::Update));
}

#[test]
fn a_rung_without_rows_falls_to_the_next_with_that_rungs_own_action() {
    let check = || {
        ladder(vec![rung(R::Run, "*", Action::Delete), rung(R::Experiment, "7", Action::Update)])
    };
    policy(Level::NoPermissions).grant(R::Experiment, "7", Level::Edit).allows(check());
    policy(Level::NoPermissions)
        .grant(R::Run, "*", Level::Edit)
        .denies(check(), Reason::InsufficientGrant);
}

#[test]
fn absent_means_default_permission_with_the_action_of_the_last_rung() {
    let check =
        || ladder(vec![rung(R::Run, "*", Action::Delete), rung(R::Experiment, "7", Action::Read)]);
    policy(Level::Read).allows(check());
    policy(Level::NoPermissions).denies(check(), Reason::NoGrant);
}

#[test]
fn with_workspaces_absent_means_no_permissions() {
    policy(Level::Manage).workspaces("team").denies(on_experiment(Action::Read), Reason::NoGrant);
    policy(Level::Manage)
        .workspaces("default")
        .denies(on_experiment(Action::Read), Reason::NoGrant);
}

#[test]
fn grant_default_workspace_access_reaches_the_default_workspace_only() {
    policy(Level::Read)
        .workspaces("default")
        .default_workspace_access()
        .allows(on_experiment(Action::Read));
    policy(Level::Read)
        .workspaces("team")
        .default_workspace_access()
        .denies(on_experiment(Action::Read), Reason::NoGrant);
}

#[test]
fn with_workspaces_a_positive_grant_is_still_floored_by_default_permission() {
    policy(Level::Edit)
        .workspaces("team")
        .grant_in("team", R::Experiment, "7", Level::Read)
        .allows(on_experiment(Action::Update));
}

#[test]
fn grants_of_another_workspace_do_not_count() {
    policy(Level::NoPermissions)
        .workspaces("team")
        .grant_in("other", R::Experiment, "*", Level::Manage)
        .grant_in("other", R::Workspace, "*", Level::Manage)
        .denies(on_experiment(Action::Read), Reason::NoGrant);
}

#[test]
fn with_workspaces_disabled_only_roles_of_the_default_workspace_matter() {
    let mut case = policy(Level::NoPermissions).grant_in("team", R::Experiment, "7", Level::Manage);
    case.workspace = "team";
    case.denies(on_experiment(Action::Read), Reason::NoGrant);
}

#[test]
fn not_denied_passes_unless_the_level_is_deny() {
    let check = || ladder(vec![rung(R::Experiment, "*", Action::NotDenied)]);
    policy(Level::NoPermissions).allows(check());
    policy(Level::NoPermissions).workspaces("team").allows(check());
    policy(Level::Manage)
        .grant(R::Experiment, "*", Level::Deny)
        .denies(check(), Reason::ExplicitDeny);
    // A DENY on one experiment does not take away creating others.
    policy(Level::NoPermissions).grant(R::Experiment, "7", Level::Deny).allows(check());
}

#[test]
fn a_key_of_every_sees_only_wildcard_rows() {
    policy(Level::NoPermissions)
        .grant(R::Experiment, "7", Level::Manage)
        .grant(R::Experiment, "*7", Level::Manage)
        .denies(ladder(vec![rung(R::Experiment, "*", Action::Read)]), Reason::NoGrant);
}

#[test]
fn patterns_other_than_every_mean_nothing_on_wildcard_only_types() {
    policy(Level::NoPermissions)
        .grant(R::Run, "7", Level::Manage)
        .denies(ladder(vec![rung(R::Run, "7", Action::Read)]), Reason::NoGrant);
}

#[test]
fn globs_decide_on_the_same_rung_as_exact_rows() {
    let case = policy(Level::NoPermissions).grant(R::RegisteredModel, "prod-*", Level::Read).grant(
        R::RegisteredModel,
        "*-secret",
        Level::Deny,
    );
    let model = |name| ladder(vec![rung(R::RegisteredModel, name, Action::Read)]);
    case.allows(model("prod-fraud"));
    case.denies(model("prod-secret"), Reason::ExplicitDeny);
    case.denies(model("dev-fraud"), Reason::NoGrant);
}

#[test]
fn a_creator_grant_on_a_name_with_a_star_covers_that_name_only() {
    let mut case = policy(Level::NoPermissions);
    case.rows.push(Grant {
        workspace: "default".to_owned(),
        resource: R::RegisteredModel,
        pattern: Pattern::Exact("prod-*".to_owned()),
        level: Level::Manage,
    });
    case.allows(ladder(vec![rung(R::RegisteredModel, "prod-*", Action::Manage)]));
    case.denies(
        ladder(vec![rung(R::RegisteredModel, "prod-fraud", Action::Read)]),
        Reason::NoGrant,
    );
}

#[test]
fn an_explicit_ladder_fails_without_any_row() {
    let check = || Check::Ladder {
        rungs: vec![rung(R::Experiment, "7", Action::Read)],
        explicit_only: true,
    };
    policy(Level::Manage).denies(check(), Reason::NoGrant);
    policy(Level::NoPermissions).grant(R::Experiment, "7", Level::Read).allows(check());
}

#[test]
fn workspace_use_gives_creation_but_not_point_reads() {
    let case = || {
        policy(Level::NoPermissions).workspaces("team").grant_in(
            "team",
            R::Workspace,
            "*",
            Level::Use,
        )
    };
    case().allows(Check::Standing(Standing::WorkspaceCreate));
    case().denies(on_experiment(Action::Read), Reason::NoGrant);
    // A list falls back to the workspace grant at any level.
    case().allows(ladder(vec![
        rung(R::Experiment, "7", Action::Read),
        rung(R::Workspace, "*", Action::Read),
    ]));
}

#[test]
fn with_workspaces_disabled_anyone_authenticated_may_create() {
    policy(Level::NoPermissions).allows(Check::Standing(Standing::WorkspaceCreate));
    policy(Level::Manage)
        .workspaces("team")
        .denies(Check::Standing(Standing::WorkspaceCreate), Reason::NoGrant);
}

#[test]
fn creation_in_the_default_workspace_needs_a_default_that_can_use() {
    let case = |level| policy(level).workspaces("default").default_workspace_access();
    case(Level::Use).allows(Check::Standing(Standing::WorkspaceCreate));
    case(Level::Read).denies(Check::Standing(Standing::WorkspaceCreate), Reason::NoGrant);
}

#[test]
fn the_floor_is_the_default_without_workspaces_and_the_workspace_grant_with_them() {
    policy(Level::Read).allows(Check::Floor(Action::Read));
    policy(Level::Read).denies(Check::Floor(Action::Update), Reason::NoGrant);
    let team =
        |level| policy(Level::Manage).workspaces("team").grant_in("team", R::Workspace, "*", level);
    team(Level::Use).allows(Check::Floor(Action::Use));
    team(Level::Use).denies(Check::Floor(Action::Update), Reason::InsufficientGrant);
    team(Level::Manage).allows(Check::Floor(Action::Manage));
    policy(Level::Manage).workspaces("team").denies(Check::Floor(Action::Read), Reason::NoGrant);
}

#[test]
fn standings_are_held_by_whom_they_name() {
    let nobody = || policy(Level::Manage);
    nobody().allows(Check::Standing(Standing::Authenticated));
    nobody().denies(Check::Standing(Standing::SuperAdmin), Reason::DoesNotHold);
    nobody().denies(Check::Standing(Standing::WorkspaceAdmin), Reason::DoesNotHold);
    nobody().denies(Check::Standing(Standing::AnyWorkspaceAdmin), Reason::DoesNotHold);
    let team = || {
        policy(Level::NoPermissions).workspaces("default").grant_in(
            "team",
            R::Workspace,
            "*",
            Level::Manage,
        )
    };
    team().denies(Check::Standing(Standing::WorkspaceAdmin), Reason::DoesNotHold);
    team().allows(Check::Standing(Standing::AnyWorkspaceAdmin));
    team().denies(Check::Standing(Standing::SuperAdmin), Reason::DoesNotHold);
}

#[test]
fn an_unresolved_object_is_denied_to_everyone_but_a_super_admin() {
    policy(Level::Manage)
        .grant(R::Workspace, "*", Level::Manage)
        .denies(Check::Unresolved, Reason::UnknownObject);
    policy(Level::NoPermissions).super_admin().allows(Check::Unresolved);
}

#[test]
fn absent_and_present_bind_super_admins_too() {
    let root = || policy(Level::Manage).super_admin();
    root().denies(Check::Fact(Fact::Absent, false), Reason::AlreadyExists);
    root().denies(Check::Fact(Fact::Present, false), Reason::NotFound);
    root().allows(Check::Fact(Fact::Absent, true));
    root().allows(Check::Fact(Fact::Owned, false));
    policy(Level::Manage).denies(Check::Fact(Fact::Owned, false), Reason::DoesNotHold);
}

#[test]
fn ownership_is_not_replaced_by_workspace_administration() {
    policy(Level::Manage)
        .grant(R::Workspace, "*", Level::Manage)
        .denies(Check::Fact(Fact::Owned, false), Reason::DoesNotHold);
}

#[test]
fn a_disabled_user_is_denied_everything_even_as_super_admin() {
    policy(Level::Manage)
        .super_admin()
        .disabled()
        .denies(Check::Standing(Standing::Authenticated), Reason::Disabled);
    assert!(!policy(Level::Manage).disabled().decide(&[]).allowed);
}

#[test]
fn empty_formulas_are_malformed_and_deny() {
    let case = policy(Level::Manage).super_admin();
    case.denies(Check::AnyOf(vec![]), Reason::Malformed);
    case.denies(Check::AllOf(vec![]), Reason::Malformed);
    policy(Level::Manage).denies(ladder(vec![]), Reason::Malformed);
}

#[test]
fn any_of_needs_one_and_all_of_needs_each() {
    let case = policy(Level::Read);
    let (yes, no) = (on_experiment(Action::Read), on_experiment(Action::Update));
    case.allows(Check::AnyOf(vec![no.clone(), yes.clone()]));
    case.denies(Check::AnyOf(vec![no.clone(), no.clone()]), Reason::NoGrant);
    case.allows(Check::AllOf(vec![yes.clone(), yes.clone()]));
    case.denies(Check::AllOf(vec![yes, no]), Reason::NoGrant);
}
