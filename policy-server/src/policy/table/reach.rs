//! Credentials that reach less far than their owners.

use super::*;

#[test]
fn a_scoped_credential_does_no_more_than_its_scope_even_for_a_super_admin() {
    let reader = || policy(Level::Manage).super_admin().scopes(&[TokenScope::Level(Level::Read)]);
    reader().allows(on_experiment(Action::Read));
    reader().denies(on_experiment(Action::Update), Reason::CredentialScope);
    reader().denies(Check::Standing(Standing::SuperAdmin), Reason::CredentialScope);
    reader().denies(Check::Standing(Standing::WorkspaceCreate), Reason::CredentialScope);
    reader().denies(Check::Floor(Action::Update), Reason::CredentialScope);
    reader().allows(Check::Standing(Standing::Authenticated));
    let editor = || policy(Level::Manage).scopes(&[TokenScope::Level(Level::Edit)]);
    editor().allows(on_experiment(Action::Update));
    editor().denies(on_experiment(Action::Delete), Reason::CredentialScope);
}

#[test]
fn a_scope_gives_nothing_that_is_not_granted() {
    policy(Level::NoPermissions)
        .scopes(&[TokenScope::Level(Level::Manage)])
        .denies(on_experiment(Action::Read), Reason::NoGrant);
}

#[test]
fn a_credential_for_one_experiment_reaches_nothing_else() {
    let scoped = |case: Case| case.scopes(&[TokenScope::Experiment("7".to_owned())]);
    let other = || ladder(vec![rung(R::Experiment, "8", Action::Read)]);
    for case in [
        || policy(Level::Manage),
        || policy(Level::Manage).super_admin(),
        || policy(Level::NoPermissions).grant(R::Workspace, "*", Level::Manage),
    ] {
        scoped(case()).allows(on_experiment(Action::Manage));
        scoped(case()).allows(on_run(Action::Delete));
        scoped(case()).allows(ladder(vec![rung(R::Scorer, "7/exact", Action::Read)]));
        // Which by itself gives nothing.
        scoped(case()).allows(ladder(vec![rung(R::Run, "*", Action::NotDenied)]));
        scoped(case()).allows(Check::Standing(Standing::Authenticated));
        for beyond in [
            other(),
            ladder(vec![rung(R::Run, "*", Action::Read), rung(R::Experiment, "8", Action::Read)]),
            ladder(vec![rung(R::Run, "*", Action::Read)]),
            ladder(vec![rung(R::Experiment, "*", Action::Read)]),
            ladder(vec![rung(R::Scorer, "70/exact", Action::Read)]),
            ladder(vec![rung(R::RegisteredModel, "7", Action::Read)]),
            Check::AllOf(vec![on_experiment(Action::Read), other()]),
            Check::Floor(Action::Read),
            Check::Standing(Standing::WorkspaceCreate),
            Check::Standing(Standing::WorkspaceAdmin),
            Check::Standing(Standing::SuperAdmin),
            Check::Fact(Fact::Owned, true),
            Check::Fact(Fact::Assigned, true),
            Check::Unresolved,
        ] {
            scoped(case()).denies(beyond, Reason::CredentialScope);
        }
    }
}

#[test]
fn a_credential_may_read_one_experiment_only() {
    let scopes = [TokenScope::Level(Level::Read), TokenScope::Experiment("7".to_owned())];
    let case = || policy(Level::Manage).scopes(&scopes);
    case().allows(on_experiment(Action::Read));
    case().denies(on_experiment(Action::Update), Reason::CredentialScope);
    case().denies(ladder(vec![rung(R::Experiment, "8", Action::Read)]), Reason::CredentialScope);
}
