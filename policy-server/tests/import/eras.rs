//! What each generation of MLflow's auth database becomes.

use std::str::FromStr as _;

use mlgate_policy_server::credentials::PasswordHash;
use mlgate_policy_server::domain::{Level, Pattern, ResourceType};
use mlgate_policy_server::import::{self, ImportError};
use mlgate_policy_server::store::{Actor, Channel, IfExists};
use secrecy::ExposeSecret as _;

use crate::on_both_stores;
use crate::source::{
    ALICE_HASH, DEFAULT_HASH, FIRST, REGISTRY, ROLES, TABLES, add_user, apply, plan, read, run,
    steps,
};
use crate::support::Database;

on_both_stores! {
async fn the_first_generation_keeps_passwords_and_explicit_denials(database: &Database) {
    run(database, FIRST).await;
    add_user(database, 1, "alice", ALICE_HASH, false).await;
    add_user(database, 2, "old-admin", DEFAULT_HASH, true).await;
    add_user(database, 3, "old-user", DEFAULT_HASH, false).await;
    add_user(database, 4, "broken", "md5$nonsense", false).await;
    run(database, &[
        "INSERT INTO experiment_permissions VALUES (1, '5', 1, 'NO_PERMISSIONS')",
        "INSERT INTO experiment_permissions VALUES (2, '6', 1, 'EDIT')",
        "INSERT INTO experiment_permissions VALUES (3, '6', 99, 'EDIT')",
        "INSERT INTO registered_model_permissions VALUES (1, 'm*', 1, 'MANAGE')",
        "INSERT INTO registered_model_permissions VALUES (2, 'n', 1, 'NO_PERMISSIONS')",
    ]).await;

    let target = Database::sqlite();
    let store = target.open().await;
    let planned = plan(&store, database).await;
    assert_eq!(steps(&planned), [
        "create user alice",
        "create user broken, without a password",
        "create administrator old-admin, without a password",
        "create user old-user",
        "grant alice DENY on experiment 5 in default",
        "grant alice EDIT on experiment 6 in default",
        "grant alice MANAGE on registered_model m* in default",
        "grant alice DENY on registered_model n in default",
        "grant alice DENY on prompt n in default",
    ]);
    let noted: Vec<&str> = planned.notes.iter().map(|note| note.what.as_str()).collect();
    assert_eq!(noted, [
        "the password of old-admin",
        "the password of broken",
        "a row of experiment_permissions",
        "1 permissions on registered models",
    ]);
    apply(&store, planned).await;

    let alice = store.principal("alice", &[]).await.unwrap();
    let hash = alice.user.unwrap().password_hash.unwrap();
    assert!(PasswordHash::from_str(hash.expose_secret()).unwrap().verify(b"alice-password-1"));
    let manage = alice.grants.iter().find(|grant| grant.level == Level::Manage).unwrap();
    assert_eq!(manage.pattern, Pattern::Exact("m*".into()), "a name is no pattern");

    let again = plan(&store, database).await;
    assert!(again.steps.is_empty(), "{:?}", steps(&again));
    assert_eq!(again.present, 9);
}
}

on_both_stores! {
async fn the_tables_of_all_resources_are_read_and_workspaces_are_fanned_out(database: &Database) {
    run(database, FIRST).await;
    run(database, TABLES).await;
    run(database, REGISTRY).await;
    add_user(database, 1, "alice", ALICE_HASH, false).await;
    add_user(database, 2, "bob", ALICE_HASH, false).await;
    run(database, &[
        "INSERT INTO registered_model_permissions VALUES (1, 'q', 1, 'EDIT', 'default')",
        "INSERT INTO registered_model_permissions VALUES (2, 'm', 1, 'USE', 'default')",
        "INSERT INTO registered_model_permissions VALUES (3, 'q', 1, 'READ', 'team')",
        "INSERT INTO scorer_permissions VALUES (1, '3', 'a/b', 1, 'READ')",
        "INSERT INTO gateway_secret_permissions VALUES (1, 's-1', 1, 'USE')",
        "INSERT INTO gateway_endpoint_permissions VALUES (1, 'e-1', 1, 'NO_PERMISSIONS')",
        "INSERT INTO gateway_model_definition_permissions VALUES (1, 'd-1', 1, 'MANAGE')",
        "INSERT INTO workspace_permissions VALUES ('team', 1, 'READ')",
        "INSERT INTO workspace_permissions VALUES ('team', 2, 'EDIT')",
        "INSERT INTO workspace_permissions VALUES ('other', 2, 'NO_PERMISSIONS')",
    ]).await;
    let source = read(database, None).await.unwrap();
    let grants: Vec<String> = source
        .grants
        .iter()
        .map(|((user, workspace, resource, pattern), level)| {
            format!("{user} {workspace} {resource} {pattern} {level}")
        })
        .collect();
    assert_eq!(grants, [
        "alice default registered_model m USE",
        "alice default prompt q EDIT",
        "alice default scorer 3/a%2Fb READ",
        "alice default gateway_secret s-1 USE",
        "alice default gateway_endpoint e-1 DENY",
        "alice default gateway_model_definition d-1 MANAGE",
        "alice team registered_model q READ",
        "alice team workspace * USE",
        "bob team experiment * EDIT",
        "bob team registered_model * EDIT",
        "bob team scorer * EDIT",
        "bob team gateway_secret * EDIT",
        "bob team gateway_endpoint * EDIT",
        "bob team gateway_model_definition * EDIT",
        "bob team workspace * USE",
    ]);
    assert_eq!(source.notes.len(), 3, "{:?}", source.notes);
}
}

/// A database of MLflow with roles, at a revision of its migrations.
async fn with_roles(database: &Database, revision: &str) {
    run(database, FIRST).await;
    run(database, TABLES).await;
    run(database, ROLES).await;
    add_user(database, 1, "alice", ALICE_HASH, false).await;
    add_user(database, 2, "bob", ALICE_HASH, false).await;
    let version = format!("UPDATE alembic_version_auth SET version_num = '{revision}'");
    run(
        database,
        &[
            version.as_str(),
            "INSERT INTO experiment_permissions VALUES (1, '5', 1, 'NO_PERMISSIONS')",
            "INSERT INTO experiment_permissions VALUES (2, '6', 1, 'MANAGE')",
            "INSERT INTO roles VALUES (7, 'readers', 'default', 'may look')",
            "INSERT INTO roles VALUES (8, '__user_1__', 'default', NULL)",
            "INSERT INTO role_permissions VALUES (1, 7, 'experiment', '*', 'READ')",
            "INSERT INTO role_permissions VALUES (2, 7, 'run', 'abc', 'DENY')",
            "INSERT INTO role_permissions VALUES (3, 7, 'notebook', '*', 'READ')",
            "INSERT INTO role_permissions VALUES (4, 8, 'experiment', '6', 'EDIT')",
            "INSERT INTO role_permissions VALUES (5, 8, 'trace', '*', 'DENY')",
            "INSERT INTO user_role_assignments VALUES (1, 2, 7)",
            "INSERT INTO user_role_assignments VALUES (2, 1, 8)",
        ],
    )
    .await;
}

on_both_stores! {
async fn since_3_14_only_roles_count_and_old_tables_are_history(database: &Database) {
    with_roles(database, "f1a2b3c4d5e6").await;
    let target = Database::sqlite();
    let store = target.open().await;
    let planned = plan(&store, database).await;
    assert_eq!(steps(&planned), [
        "create user alice",
        "create user bob",
        "create role readers in default",
        "let role readers in default have READ on experiment *",
        "give role readers in default to bob",
        "grant alice EDIT on experiment 6 in default",
        "grant alice DENY on trace * in default",
    ]);
    let noted: Vec<&str> = planned.notes.iter().map(|note| note.what.as_str()).collect();
    assert_eq!(noted, [
        "role permission 2 (DENY on run abc)",
        "role permission 3 (READ on notebook *)",
        "1 NO_PERMISSIONS rows of experiment_permissions",
    ]);
    let revision = apply(&store, planned).await;
    assert_eq!(revision, 2, "one transaction");
}
}

on_both_stores! {
async fn in_3_12_roles_and_tables_count_together(database: &Database) {
    with_roles(database, "c3d4e5f6a7b8").await;
    let source = read(database, None).await.unwrap();
    let key = |id: &str| {
        let pattern = Pattern::Exact(id.into());
        ("alice".to_owned(), "default".to_owned(), ResourceType::Experiment, pattern)
    };
    assert_eq!(source.grants.get(&key("5")), Some(&Level::Deny));
    assert_eq!(source.grants.get(&key("6")), Some(&Level::Manage));
    assert_eq!(source.roles.len(), 1);
}
}

on_both_stores! {
async fn what_could_be_a_misunderstood_restriction_stops_the_import(database: &Database) {
    with_roles(database, "f1a2b3c4d5e6").await;
    for (what, break_it, mend_it) in [
        ("permission 5",
            "UPDATE role_permissions SET permission = 'LESS' WHERE id = 5",
            "UPDATE role_permissions SET permission = 'DENY' WHERE id = 5"),
        ("__user_1__",
            "INSERT INTO user_role_assignments VALUES (3, 2, 8)",
            "DELETE FROM user_role_assignments WHERE id = 3"),
        ("__user_x",
            "INSERT INTO roles VALUES (9, '__user_x', 'default', NULL)",
            "DELETE FROM roles WHERE id = 9"),
        ("alembic_version_auth",
            "DELETE FROM alembic_version_auth",
            "INSERT INTO alembic_version_auth VALUES ('f1a2b3c4d5e6')"),
    ] {
        run(database, &[break_it]).await;
        let error = read(database, None).await.unwrap_err();
        assert!(matches!(error, ImportError::Unclear { .. }), "{error}");
        assert!(error.to_string().contains(what), "{error}");
        run(database, &[mend_it]).await;
        read(database, None).await.unwrap();
    }
}
}

on_both_stores! {
async fn what_was_decided_here_since_is_kept(database: &Database) {
    with_roles(database, "f1a2b3c4d5e6").await;
    let target = Database::sqlite();
    let store = target.open().await;
    apply(&store, plan(&store, database).await).await;
    let actor = Actor::new("tester", Channel::Cli);
    let (kind, pattern) = (ResourceType::Experiment, Pattern::Exact("6".into()));
    store
        .grant(&actor, "alice", "default", kind, &pattern, Level::Deny, IfExists::Replace)
        .await
        .unwrap();
    store.set_password_hash(&actor, "alice", "changed".into()).await.unwrap();
    store.set_admin(&actor, "bob", true).await.unwrap();

    let again = plan(&store, database).await;
    assert!(again.steps.is_empty());
    let noted: Vec<String> =
        again.notes.iter().map(|note| format!("{}: {}", note.what, note.why)).collect();
    assert!(noted.iter().any(|note| note.contains("has DENY here, not EDIT")), "{noted:?}");
    assert!(noted.iter().any(|note| note.starts_with("user bob: is an admin")), "{noted:?}");
}
}

on_both_stores! {
async fn prompts_are_told_apart_by_the_tracking_database(database: &Database) {
    run(database, FIRST).await;
    add_user(database, 1, "alice", ALICE_HASH, false).await;
    run(database, &[
        "INSERT INTO registered_model_permissions VALUES (1, 'q', 1, 'EDIT')",
        "INSERT INTO registered_model_permissions VALUES (2, 'm', 1, 'NO_PERMISSIONS')",
    ]).await;
    let tracking = Database::sqlite();
    run(&tracking, REGISTRY).await;
    let source = read(database, Some(&tracking)).await.unwrap();
    let types: Vec<(ResourceType, Level)> =
        source.grants.iter().map(|(key, level)| (key.2, *level)).collect();
    assert_eq!(types, [
        (ResourceType::RegisteredModel, Level::Deny),
        (ResourceType::Prompt, Level::Edit),
    ]);
    assert!(source.notes.is_empty(), "{:?}", source.notes);
}
}

on_both_stores! {
async fn the_default_permission_comes_along_when_told(database: &Database) {
    with_roles(database, "f1a2b3c4d5e6").await;
    let target = Database::sqlite();
    let store = target.open().await;
    let source = read(database, None).await.unwrap();
    let planned = import::plan(&store, source, Some(Level::Manage)).await.unwrap();
    assert_eq!(steps(&planned)[0], "set default_permission to MANAGE");
    assert!(planned.notes.iter().any(|note| note.what.contains("below default_permission")));
    apply(&store, planned).await;
    assert_eq!(store.settings().await.unwrap().default_permission, Level::Manage);
}
}
