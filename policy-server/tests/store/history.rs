//! Revisions, changes and the audit log: what is promised of every write.

use std::time::{Duration, Instant};

use mlgate_policy_server::domain::{Level, Pattern, ResourceType};
use mlgate_policy_server::store::{
    ChangesSince, Effect, IfExists, NewToken, NewUser, Store, StoreError, scope,
};
use sqlx::Row;

use crate::on_both_stores;
use crate::support::{Database, actor, new_user};

/// Every revision after `first` has one change row and at least one audit row, and none is
/// missing.
async fn assert_gapless(database: &Database, first: u64) {
    let raw = database.raw().await;
    let newest: i64 =
        sqlx::query_scalar("SELECT value FROM revision").fetch_one(&raw).await.unwrap();
    let first = i64::try_from(first).unwrap();
    for table in ["changes", "audit"] {
        let statement = format!(
            "SELECT COUNT(DISTINCT revision), MIN(revision), MAX(revision) FROM {table} \
             WHERE revision > $1"
        );
        let row =
            sqlx::query(sqlx::AssertSqlSafe(statement)).bind(first).fetch_one(&raw).await.unwrap();
        let found: (i64, i64, i64) = (row.get(0), row.get(1), row.get(2));
        assert_eq!(found, (newest - first, first + 1, newest), "{table}");
    }
    raw.close().await;
}

async fn racing_writer(store: Store, writer: usize) {
    let user = format!("user{writer}");
    new_user(&store, &user).await;
    for experiment in 0..5 {
        let pattern = Pattern::Exact(experiment.to_string());
        let kind = ResourceType::Experiment;
        store
            .grant(&actor(), &user, "default", kind, &pattern, Level::Edit, IfExists::Refuse)
            .await
            .unwrap();
    }
    // All of them want the same three things at once; one gets each.
    for shared in ["a", "b", "c"] {
        match store.create_role(&actor(), "default", shared, None).await {
            Ok(_) | Err(StoreError::AlreadyExists { .. }) => {}
            Err(error) => panic!("{error}"),
        }
    }
    let effect = Effect::Created { resource: ResourceType::Prompt, id: "p".into() };
    store.record("everybody", "default", &[effect], None).await.unwrap();
}

on_both_stores! {
async fn hundreds_of_racing_writers_lose_nothing_and_double_nothing(database: &Database) {
    const WRITERS: usize = 100;
    // Two handles, as two servers would have; they share no lock but the database's.
    let stores = [database.open().await, database.open().await];
    let mut racing = tokio::task::JoinSet::new();
    for writer in 0..WRITERS {
        racing.spawn(racing_writer(stores[writer % 2].clone(), writer));
    }
    racing.join_all().await;

    let store = &stores[0];
    assert_eq!(store.users().await.unwrap().len(), WRITERS + 1);
    for writer in 0..WRITERS {
        let principal = store.principal(&format!("user{writer}"), &[]).await.unwrap();
        assert_eq!((principal.roles.len(), principal.grants.len()), (1, 5), "user{writer}");
    }
    let everybody = store.principal("everybody", &[]).await.unwrap();
    assert_eq!((everybody.roles.len(), everybody.grants.len()), (1, 1));
    let named: Vec<String> = store
        .roles(None)
        .await
        .unwrap()
        .into_iter()
        .filter(|role| role.user_id.is_none())
        .map(|role| role.name)
        .collect();
    assert_eq!(named.len(), 3, "{named:?}");
    // Each writer: a user and five grants; all together: three roles, and a user with a grant.
    assert_eq!(store.revision().await.unwrap(), 1 + (WRITERS as u64) * 6 + 3 + 1);
    assert_gapless(database, 1).await;
}
}

on_both_stores! {
async fn every_write_says_whose_decisions_are_void(database: &Database) {
    let store = database.open().await;
    new_user(&store, "alice").await;
    let actor = &actor();
    let role = store.create_role(actor, "default", "r", None).await.unwrap().value;
    let model = ResourceType::RegisteredModel;
    let exact = Pattern::Exact("m".into());
    let added = store.add_role_permission(actor, role.id, model, &exact, Level::Read).await.unwrap();
    let token = NewToken { username: "alice".into(), name: "t".into(), ..NewToken::default() };

    let (user, group, of_role) = (scope::user("alice"), scope::group("g"), scope::role(role.id));
    let expectations: Vec<(&str, u64, Vec<u64>)> = vec![
        ("add permission", added.revision, vec![of_role]),
        ("assign", store.assign_role(actor, "alice", role.id).await.unwrap().revision, vec![user]),
        ("update permission",
            store.update_role_permission(actor, added.value.id, Level::Deny).await.unwrap().revision,
            vec![of_role]),
        ("group role", store.add_group_role(actor, "g", role.id).await.unwrap().revision, vec![group]),
        ("member", store.add_group_member(actor, "g", "alice").await.unwrap().revision, vec![user]),
        ("delete group", store.delete_group(actor, "g").await.unwrap().revision, vec![user, group]),
        ("grant",
            store.grant(actor, "alice", "default", model, &exact, Level::Use, IfExists::Refuse)
                .await.unwrap().revision,
            vec![user]),
        ("password",
            store.set_password_hash(actor, "alice", "h".into()).await.unwrap().revision, vec![user]),
        ("admin", store.set_admin(actor, "alice", true).await.unwrap().revision, vec![user]),
        ("disable", store.set_disabled(actor, "alice", true).await.unwrap().revision, vec![user]),
        ("token", store.create_token(actor, &token).await.unwrap().revision, vec![user]),
        ("delete role", store.delete_role(actor, role.id).await.unwrap().revision, vec![of_role]),
        ("delete user", store.delete_user(actor, "alice").await.unwrap().revision, vec![user]),
    ];
    let ChangesSince::Events(events) = store.changes_since(1, 1000).await.unwrap() else {
        panic!("the history is short");
    };
    for (what, revision, mut scopes) in expectations {
        let event = events.iter().find(|event| event.revision == revision).unwrap();
        scopes.sort_unstable();
        assert!(!event.everyone, "{what}");
        assert_eq!(event.scopes, scopes, "{what}");
    }
    let set = store.set_setting(actor, "default_permission", "READ").await.unwrap();
    let ChangesSince::Events(events) = store.changes_since(set.revision - 1, 10).await.unwrap()
    else {
        panic!("the history is short");
    };
    assert!(events[0].everyone);
    assert_gapless(database, 1).await;
}
}

on_both_stores! {
async fn the_history_is_complete_or_gone(database: &Database) {
    let store = database.open().await;
    for name in ["a", "b", "c"] {
        new_user(&store, name).await;
    }
    let newest = store.revision().await.unwrap();
    assert_eq!(newest, 4);
    let revisions = |since: ChangesSince| match since {
        ChangesSince::Events(events) => {
            events.iter().map(|event| event.revision).collect::<Vec<_>>()
        }
        ChangesSince::Gone => panic!("gone"),
    };
    assert_eq!(revisions(store.changes_since(1, 100).await.unwrap()), [2, 3, 4]);
    assert_eq!(revisions(store.changes_since(1, 2).await.unwrap()), [2, 3]);
    assert_eq!(revisions(store.changes_since(newest, 100).await.unwrap()), [] as [u64; 0]);
    assert_eq!(store.changes_since(newest + 1, 100).await.unwrap(), ChangesSince::Gone);
    let raw = database.raw().await;
    sqlx::query("DELETE FROM changes WHERE revision <= 2").execute(&raw).await.unwrap();
    assert_eq!(store.changes_since(1, 100).await.unwrap(), ChangesSince::Gone);
    assert_eq!(revisions(store.changes_since(2, 100).await.unwrap()), [3, 4]);
}
}

on_both_stores! {
async fn a_failed_write_leaves_nothing(database: &Database) {
    let store = database.open().await;
    new_user(&store, "alice").await;
    let before = store.revision().await.unwrap();
    let effects = [
        Effect::Created { resource: ResourceType::Experiment, id: "1".into() },
        Effect::Created { resource: ResourceType::Experiment, id: String::new() },
    ];
    assert!(matches!(
        store.record("alice", "default", &effects, None).await,
        Err(StoreError::Invalid { .. })
    ));
    assert!(store.principal("alice", &[]).await.unwrap().grants.is_empty());
    assert_eq!(store.revision().await.unwrap(), before);
    assert_gapless(database, 1).await;
}
}

on_both_stores! {
async fn a_writer_that_vanishes_leaves_nothing_and_blocks_nobody(database: &Database) {
    let store = database.open().await;
    // As a server that is killed within a write: the revision is bumped, rows are written, and
    // the connection goes away.
    let raw = database.raw().await;
    let mut transaction = raw.begin().await.unwrap();
    for statement in [
        "UPDATE revision SET value = value + 1 WHERE id = 1",
        "INSERT INTO users (username, created_at, updated_at) VALUES ('half', 0, 0)",
    ] {
        sqlx::query(statement).execute(&mut *transaction).await.unwrap();
    }
    let waiting = tokio::spawn({
        let store = store.clone();
        async move { new_user(&store, "whole").await }
    });
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert!(!waiting.is_finished(), "the other writer holds the lock");
    assert!(store.user("half").await.unwrap().is_none(), "readers go on, and see nothing of it");
    drop(transaction);
    waiting.await.unwrap();
    assert!(store.user("half").await.unwrap().is_none());
    assert!(store.user("whole").await.unwrap().is_some());
    assert_eq!(store.revision().await.unwrap(), 2);
    assert_gapless(database, 1).await;
}
}

on_both_stores! {
async fn a_cancelled_write_leaves_nothing(database: &Database) {
    let store = database.open().await;
    for attempt in 0..50_u64 {
        let new = NewUser::service_account(format!("user{attempt}"));
        let actor = actor();
        let write = store.create_user(&actor, &new);
        // Cut off at a different point each time.
        let _ = tokio::time::timeout(Duration::from_micros(attempt * 60), write).await;
    }
    let last = new_user(&store, "last").await;
    let users = store.users().await.unwrap();
    assert_eq!(users.last().unwrap().id, last.id);
    assert_eq!(store.revision().await.unwrap(), 1 + users.len() as u64);
    assert_gapless(database, 1).await;
}
}

on_both_stores! {
async fn a_commit_of_another_process_is_noticed_within_100_ms(database: &Database) {
    let (reader, writer) = (database.open().await, database.open().await);
    let mut feed = reader.changes();
    // The first round starts the poller, and on Postgres the listener.
    tokio::time::sleep(Duration::from_millis(300)).await;
    let mut worst = Duration::ZERO;
    for name in ["a", "b", "c", "d", "e"] {
        let new = NewUser::service_account(name);
        let committed = writer.create_user(&actor(), &new).await.unwrap().revision;
        let started = Instant::now();
        while feed.next().await < committed {}
        worst = worst.max(started.elapsed());
    }
    assert!(worst < Duration::from_millis(100), "{worst:?}");
    eprintln!("worst delay of five: {worst:?}");
}
}

on_both_stores! {
async fn the_feed_knows_how_fresh_it_is(database: &Database) {
    let store = database.open().await;
    let feed = store.changes();
    tokio::time::sleep(Duration::from_millis(600)).await;
    assert!(feed.state().confirmed_at.elapsed() < Duration::from_millis(400));
    // Without the table the store can not be asked; what was known must then grow old.
    let raw = database.raw().await;
    sqlx::query("ALTER TABLE revision RENAME TO hidden").execute(&raw).await.unwrap();
    tokio::time::sleep(Duration::from_millis(700)).await;
    assert!(feed.state().confirmed_at.elapsed() > Duration::from_millis(300));
    sqlx::query("ALTER TABLE hidden RENAME TO revision").execute(&raw).await.unwrap();
    tokio::time::sleep(Duration::from_millis(600)).await;
    assert!(feed.state().confirmed_at.elapsed() < Duration::from_millis(400));
}
}

on_both_stores! {
async fn an_unknown_word_in_the_store_is_an_error_and_never_a_default(database: &Database) {
    let store = database.open().await;
    new_user(&store, "alice").await;
    let kind = ResourceType::Experiment;
    let (actor, pattern) = (actor(), Pattern::Exact("1".into()));
    store
        .grant(&actor, "alice", "default", kind, &pattern, Level::Deny, IfExists::Refuse)
        .await
        .unwrap();
    let raw = database.raw().await;
    sqlx::query("UPDATE role_permissions SET permission = 'FORBID'").execute(&raw).await.unwrap();
    assert!(matches!(
        store.principal("alice", &[]).await,
        Err(StoreError::Unreadable { .. })
    ));
}
}
