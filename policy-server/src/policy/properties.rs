//! What holds for every policy, not only for the table's.

use proptest::prelude::*;

use super::*;
use crate::domain::{Action, Grant, Level, Pattern, ResourceType as R};

const TYPES: [R; 4] = [R::Experiment, R::Run, R::RegisteredModel, R::Workspace];
const POSITIVE: [Level; 4] = [Level::Read, Level::Use, Level::Edit, Level::Manage];

fn level() -> impl Strategy<Value = Level> {
    prop::sample::select(vec![Level::Deny, Level::Read, Level::Use, Level::Edit, Level::Manage])
}

fn grant_of(level: impl Strategy<Value = Level>) -> impl Strategy<Value = Grant> {
    let pattern = prop::sample::select(vec!["*", "1", "2", "*1", "2*"]);
    let workspace = prop::sample::select(vec!["default", "team"]);
    (prop::sample::select(TYPES.to_vec()), pattern, workspace, level).prop_map(
        |(resource, pattern, workspace, level)| Grant {
            workspace: workspace.to_owned(),
            resource,
            pattern: Pattern::parse(pattern),
            level,
        },
    )
}

fn rung() -> impl Strategy<Value = RungCheck> {
    let key = prop::sample::select(vec![
        RowKey::Every,
        RowKey::Id("1".to_owned()),
        RowKey::Id("2".to_owned()),
    ]);
    let action = prop::sample::select(Action::ALL.to_vec());
    (prop::sample::select(TYPES.to_vec()), action, key)
        .prop_map(|(resource, action, key)| RungCheck { resource, action, key })
}

fn ladder() -> impl Strategy<Value = Check> {
    (prop::collection::vec(rung(), 1..4), any::<bool>())
        .prop_map(|(rungs, explicit_only)| Check::Ladder { rungs, explicit_only })
}

fn formula() -> impl Strategy<Value = Check> {
    let standing = prop::sample::select(vec![
        Standing::Authenticated,
        Standing::WorkspaceAdmin,
        Standing::AnyWorkspaceAdmin,
        Standing::WorkspaceCreate,
    ]);
    let leaf = prop_oneof![
        4 => ladder(),
        1 => standing.prop_map(Check::Standing),
        1 => prop::sample::select(Action::ALL.to_vec()).prop_map(Check::Floor),
    ];
    leaf.prop_recursive(3, 12, 3, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 1..3).prop_map(Check::AnyOf),
            prop::collection::vec(inner, 1..3).prop_map(Check::AllOf),
        ]
    })
}

fn settings() -> impl Strategy<Value = Settings> {
    let default = prop::sample::select(vec![
        Level::NoPermissions,
        Level::Read,
        Level::Use,
        Level::Edit,
        Level::Manage,
    ]);
    (default, any::<bool>(), any::<bool>()).prop_map(
        |(default_permission, workspaces, grant_default_workspace_access)| Settings {
            default_permission,
            workspaces,
            grant_default_workspace_access,
        },
    )
}

fn workspace() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec!["default", "team"])
}

fn decide(settings: &Settings, rows: &[Grant], workspace: &str, check: &Check) -> Decision {
    let grants = Grants::new(rows);
    let principal =
        Principal { super_admin: false, disabled: false, reach: &EVERYTHING, grants: &grants };
    evaluate(settings, &principal, workspace, std::slice::from_ref(check))
}

fn effective<'a>(settings: &Settings, workspace: &'a str) -> &'a str {
    if settings.workspaces { workspace } else { "default" }
}

/// The first rung on which any row speaks.
fn deciding_rung(grants: &Grants, workspace: &str, rungs: &[RungCheck]) -> Option<usize> {
    let grants = grants.in_workspace(workspace)?;
    rungs.iter().position(|rung| grants.at(rung.resource, &rung.key).is_some())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    #[test]
    fn adding_a_deny_never_allows_more(
        settings in settings(),
        rows in prop::collection::vec(grant_of(level()), 0..6),
        deny in grant_of(Just(Level::Deny)),
        workspace in workspace(),
        check in formula(),
    ) {
        let before = decide(&settings, &rows, workspace, &check);
        let with: Vec<_> = rows.iter().cloned().chain([deny]).collect();
        let after = decide(&settings, &with, workspace, &check);
        prop_assert!(before.allowed || !after.allowed);
    }

    #[test]
    fn a_deny_on_the_deciding_rung_is_never_rescued(
        settings in settings(),
        rows in prop::collection::vec(grant_of(level()), 0..6),
        workspace in workspace(),
        rungs in prop::collection::vec(rung(), 1..4),
    ) {
        let check = Check::Ladder { rungs: rungs.clone(), explicit_only: false };
        let place = effective(&settings, workspace);
        let grants = Grants::new(&rows);
        let Some(place_grants) = grants.in_workspace(place) else { return Ok(()) };
        let Some(index) = deciding_rung(&grants, place, &rungs) else { return Ok(()) };
        let denying = rows.iter().any(|row| {
            row.workspace == place
                && row.level == Level::Deny
                && row.resource == rungs[index].resource
                && match &rungs[index].key {
                    RowKey::Every => row.pattern == Pattern::Every,
                    RowKey::Id(_) if row.resource.wildcard_only() => row.pattern == Pattern::Every,
                    RowKey::Id(id) => row.pattern.matches(id),
                }
        });
        if denying && !place_grants.administers() {
            prop_assert!(!decide(&settings, &rows, workspace, &check).allowed);
        }
    }

    /// Tier override makes the unrestricted statement false: `(run, *, READ)` takes run updates
    /// away from an experiment EDIT holder. What holds: a positive row takes nothing away unless
    /// it makes an earlier rung speak than the one that spoke before.
    #[test]
    fn adding_a_positive_grant_never_allows_less_unless_it_moves_the_decision_to_an_earlier_rung(
        settings in settings(),
        rows in prop::collection::vec(grant_of(level()), 0..6),
        grant in grant_of(prop::sample::select(POSITIVE.to_vec())),
        workspace in workspace(),
        rungs in prop::collection::vec(rung(), 1..4),
        explicit_only in any::<bool>(),
    ) {
        let check = Check::Ladder { rungs: rungs.clone(), explicit_only };
        let with: Vec<_> = rows.iter().cloned().chain([grant]).collect();
        let place = effective(&settings, workspace);
        // Where no rung speaks the last one's action applies, so that counts as the last.
        let rung = |rows: &[Grant]| {
            deciding_rung(&Grants::new(rows), place, &rungs).unwrap_or(rungs.len() - 1)
        };
        if rung(&with) == rung(&rows) {
            let before = decide(&settings, &rows, workspace, &check);
            let after = decide(&settings, &with, workspace, &check);
            prop_assert!(!before.allowed || after.allowed, "{before:?} {after:?}");
        }
    }

    #[test]
    fn raising_default_permission_never_allows_less(
        settings in settings(),
        higher in prop::sample::select(POSITIVE.to_vec()),
        rows in prop::collection::vec(grant_of(level()), 0..6),
        workspace in workspace(),
        check in formula(),
    ) {
        let raised = Settings {
            default_permission: settings.default_permission.max(higher),
            ..settings
        };
        let before = decide(&settings, &rows, workspace, &check);
        let after = decide(&raised, &rows, workspace, &check);
        prop_assert!(!before.allowed || after.allowed);
    }

    #[test]
    fn the_order_of_rows_does_not_matter(
        settings in settings(),
        rows in prop::collection::vec(grant_of(level()), 0..6),
        workspace in workspace(),
        check in formula(),
    ) {
        let reversed: Vec<_> = rows.iter().rev().cloned().collect();
        let one = decide(&settings, &rows, workspace, &check);
        let other = decide(&settings, &reversed, workspace, &check);
        prop_assert_eq!((one.allowed, one.reason), (other.allowed, other.reason));
    }
}
