//! What single writes do, and what they refuse.

use mlgate_policy_server::contract::ReferenceKind;
use mlgate_policy_server::domain::{Level, Pattern, ResourceType};
use mlgate_policy_server::store::{
    Author, Effect, Entity, IfExists, NewToken, NewUser, Prior, Step, Store, StoreError,
};

use crate::on_both_stores;
use crate::support::{Database, actor, new_user};

async fn grant(store: &Store, user: &str, pattern: Pattern, level: Level) {
    store
        .grant(
            &actor(),
            user,
            "default",
            ResourceType::RegisteredModel,
            &pattern,
            level,
            IfExists::Replace,
        )
        .await
        .unwrap();
}

/// Notes that the user is about to create an experiment; gives the intent's id.
async fn announce(store: &Store, user: &str, prior: Prior) -> String {
    let author =
        Author { username: user.to_owned(), groups: Vec::new(), workspace: "default".to_owned() };
    let step = Step::Create { resource: ResourceType::Experiment, name: "e".to_owned() };
    store.put_intents(&author, &[(step, prior)]).await.unwrap()
}

fn exact(id: &str) -> Pattern {
    Pattern::Exact(id.to_owned())
}

/// What the principal has on registered models, as `pattern=level`.
async fn levels(store: &Store, user: &str, groups: &[&str]) -> Vec<String> {
    let groups: Vec<String> = groups.iter().map(|group| (*group).to_owned()).collect();
    let mut levels: Vec<String> = store
        .principal(user, &groups)
        .await
        .unwrap()
        .grants
        .iter()
        .map(|grant| format!("{}={}", grant.pattern, grant.level))
        .collect();
    levels.sort();
    levels
}

on_both_stores! {
async fn a_principal_has_the_grants_of_their_own_their_roles_and_their_groups(database: &Database) {
    let store = database.open().await;
    new_user(&store, "alice").await;
    new_user(&store, "bob").await;
    grant(&store, "alice", exact("own"), Level::Read).await;
    grant(&store, "bob", exact("bobs"), Level::Manage).await;
    let model = ResourceType::RegisteredModel;
    for (role, level) in [("assigned", Level::Use), ("claimed", Level::Edit), ("kept", Level::Deny)] {
        let id = store.create_role(&actor(), "default", role, None).await.unwrap().value.id;
        store.add_role_permission(&actor(), id, model, &exact(role), level).await.unwrap();
        match role {
            "assigned" => {
                store.assign_role(&actor(), "alice", id).await.unwrap();
            }
            _ => {
                store.add_group_role(&actor(), role, id).await.unwrap();
            }
        }
    }
    store.add_group_member(&actor(), "kept", "alice").await.unwrap();

    assert_eq!(levels(&store, "alice", &[]).await, ["assigned=USE", "kept=DENY", "own=READ"]);
    assert_eq!(
        levels(&store, "alice", &["claimed", "unknown", "x", "y", "z"]).await,
        ["assigned=USE", "claimed=EDIT", "kept=DENY", "own=READ"],
    );
    assert_eq!(levels(&store, "nobody", &["claimed"]).await, ["claimed=EDIT"]);
    assert_eq!(levels(&store, "nobody", &[]).await, [] as [&str; 0]);

    let principal = store.principal("alice", &["claimed".to_owned()]).await.unwrap();
    assert_eq!(principal.groups, ["claimed", "kept"]);
    assert_eq!(principal.roles.len(), 4);
    assert_eq!(principal.revision, store.revision().await.unwrap());
    assert_eq!(principal.user.as_ref().unwrap().username, "alice");
    let by_id = store
        .principal_grants(principal.user.as_ref().map(|user| user.id), &["claimed".to_owned()])
        .await
        .unwrap();
    assert_eq!(by_id.grants, principal.grants);
}
}

on_both_stores! {
async fn a_pattern_keeps_its_kind(database: &Database) {
    let store = database.open().await;
    new_user(&store, "alice").await;
    let patterns = [Pattern::Every, exact("*"), exact("a*"), Pattern::Glob("a*".to_owned())];
    for pattern in &patterns {
        grant(&store, "alice", pattern.clone(), Level::Read).await;
    }
    let mut found: Vec<Pattern> =
        store.principal("alice", &[]).await.unwrap().grants.into_iter().map(|g| g.pattern).collect();
    found.sort();
    let mut expected = patterns.to_vec();
    expected.sort();
    assert_eq!(found, expected);
}
}

on_both_stores! {
async fn a_grant_replaces_or_refuses_as_it_is_told(database: &Database) {
    let store = database.open().await;
    new_user(&store, "alice").await;
    let kind = ResourceType::Experiment;
    let put = async |level, if_exists| {
        store.grant(&actor(), "alice", "default", kind, &exact("12"), level, if_exists).await
    };
    let first = put(Level::Read, IfExists::Refuse).await.unwrap();
    assert!(matches!(
        put(Level::Edit, IfExists::Refuse).await,
        Err(StoreError::AlreadyExists { entity: Entity::UserPermission, .. })
    ));
    let second = put(Level::Edit, IfExists::Replace).await.unwrap();
    assert_eq!((second.value.id, second.value.level), (first.value.id, Level::Edit));
    assert_eq!(second.revision, first.revision + 1, "the refused one took no revision");
    let third = put(Level::Edit, IfExists::Replace).await.unwrap();
    assert_eq!(third.revision, second.revision, "nothing changed");

    store.revoke(&actor(), "alice", "default", kind, &exact("12")).await.unwrap();
    assert!(matches!(
        store.revoke(&actor(), "alice", "default", kind, &exact("12")).await,
        Err(StoreError::NotFound { entity: Entity::UserPermission, .. })
    ));
    assert!(store.principal("alice", &[]).await.unwrap().grants.is_empty());
}
}

on_both_stores! {
async fn deleting_a_user_leaves_nothing_for_a_namesake(database: &Database) {
    let store = database.open().await;
    let first = new_user(&store, "alice").await;
    grant(&store, "alice", exact("m"), Level::Manage).await;
    let role = store.create_role(&actor(), "default", "r", None).await.unwrap().value.id;
    store.assign_role(&actor(), "alice", role).await.unwrap();
    store.add_group_member(&actor(), "g", "alice").await.unwrap();
    store.add_group_role(&actor(), "g", role).await.unwrap();
    let new = NewToken { username: "alice".into(), name: "ci".into(), ..NewToken::default() };
    let (_, secret) = store.create_token(&actor(), &new).await.unwrap().value;
    store.set_owner(&actor(), ReferenceKind::JobId, "j1", "alice").await.unwrap();
    announce(&store, "alice", Prior::Absent).await;

    store.delete_user(&actor(), "alice").await.unwrap();
    assert!(store.user("alice").await.unwrap().is_none());
    let second = new_user(&store, "alice").await;
    assert_ne!(first.id, second.id, "ids are not reused");
    let principal = store.principal("alice", &[]).await.unwrap();
    assert!(principal.grants.is_empty() && principal.roles.is_empty());
    assert!(principal.groups.is_empty());
    assert!(store.token_by_hash(&secret.hash()).await.unwrap().is_none());
    assert!(store.owner_of(ReferenceKind::JobId, "j1").await.unwrap().is_none());
    assert!(store.intents_before(i64::MAX, None, 10).await.unwrap().is_empty());
    assert_eq!(store.roles(None).await.unwrap().len(), 1, "the hidden role is gone");
}
}

on_both_stores! {
async fn a_namesake_of_a_deleted_model_inherits_no_permission_but_every_denial(database: &Database) {
    let store = database.open().await;
    let model = ResourceType::RegisteredModel;
    for user in ["alice", "bob"] {
        new_user(&store, user).await;
    }
    let role = store.create_role(&actor(), "default", "team", None).await.unwrap().value.id;
    store.assign_role(&actor(), "bob", role).await.unwrap();
    let ward = store.create_role(&actor(), "default", "ward", None).await.unwrap().value.id;
    store.assign_role(&actor(), "bob", ward).await.unwrap();
    let created = Effect::Created { resource: model, id: "m".into() };
    store.record("alice", "default", &[created], None).await.unwrap();
    grant(&store, "bob", exact("m"), Level::Edit).await;
    grant(&store, "bob", exact("other"), Level::Edit).await;
    grant(&store, "bob", Pattern::Glob("m*".into()), Level::Read).await;
    store.add_role_permission(&actor(), role, model, &exact("m"), Level::Manage).await.unwrap();
    store.add_role_permission(&actor(), ward, model, &exact("m"), Level::Deny).await.unwrap();

    let deleted = Effect::Deleted { resource: model, id: "m".into() };
    store.record("alice", "default", &[deleted], None).await.unwrap();
    assert_eq!(levels(&store, "alice", &[]).await, [] as [&str; 0]);
    assert_eq!(levels(&store, "bob", &[]).await, ["m*=READ", "m=DENY", "other=EDIT"]);
}
}

on_both_stores! {
async fn a_rename_moves_own_grants_and_stretches_denials(database: &Database) {
    let store = database.open().await;
    let model = ResourceType::RegisteredModel;
    for user in ["alice", "bob"] {
        new_user(&store, user).await;
    }
    let role = store.create_role(&actor(), "default", "ward", None).await.unwrap().value.id;
    store.assign_role(&actor(), "bob", role).await.unwrap();
    let created = Effect::Created { resource: model, id: "old".into() };
    store.record("alice", "default", &[created], None).await.unwrap();
    grant(&store, "bob", exact("new"), Level::Manage).await;
    store.add_role_permission(&actor(), role, model, &exact("old"), Level::Deny).await.unwrap();

    let renamed = Effect::Renamed { resource: model, from: "old".into(), to: "new".into() };
    store.record("alice", "default", &[renamed], None).await.unwrap();
    assert_eq!(levels(&store, "alice", &[]).await, ["new=MANAGE"]);
    assert_eq!(levels(&store, "bob", &[]).await, ["new=DENY", "old=DENY"]);
}
}

on_both_stores! {
async fn no_rename_takes_a_denial_away(database: &Database) {
    let store = database.open().await;
    for user in ["alice", "bob"] {
        new_user(&store, user).await;
    }
    let model = ResourceType::RegisteredModel;
    let created = Effect::Created { resource: model, id: "mine".into() };
    store.record("alice", "default", &[created], None).await.unwrap();
    // On the new name, also where a permission moves there; and on the name that stays.
    grant(&store, "bob", exact("mine"), Level::Edit).await;
    grant(&store, "bob", exact("target"), Level::Deny).await;
    for (from, to) in [("mine", "target"), ("target", "target")] {
        let renamed = Effect::Renamed { resource: model, from: from.into(), to: to.into() };
        store.record("alice", "default", &[renamed], None).await.unwrap();
        assert_eq!(levels(&store, "bob", &[]).await, ["target=DENY"], "{from} to {to}");
        assert_eq!(levels(&store, "alice", &[]).await, ["target=MANAGE"], "{from} to {to}");
    }
}
}

on_both_stores! {
async fn recording_twice_changes_nothing_and_makes_users_where_needed(database: &Database) {
    let store = database.open().await;
    let effects = [
        Effect::Created { resource: ResourceType::Experiment, id: "7".into() },
        Effect::Owned { kind: ReferenceKind::JobId, id: "j".into() },
        Effect::Created { resource: ResourceType::Workspace, id: "team-a".into() },
    ];
    let intent = announce(&store, "idp|eve", Prior::Absent).await;
    let first = store.record("idp|eve", "default", &effects, Some(&intent)).await.unwrap();
    assert!(store.intents(&intent).await.unwrap().is_empty());
    let again = store.record("idp|eve", "default", &effects, Some(&intent)).await.unwrap();
    assert_eq!(again.revision, first.revision);
    let principal = store.principal("idp|eve", &[]).await.unwrap();
    assert!(principal.user.unwrap().password_hash.is_none());
    assert_eq!(principal.grants.len(), 1);
    assert_eq!(store.roles(Some("team-a")).await.unwrap().len(), 2);

    let other = [Effect::Owned { kind: ReferenceKind::JobId, id: "j".into() }];
    store.record("mallory", "default", &other, None).await.unwrap();
    let owner = store.owner_of(ReferenceKind::JobId, "j").await.unwrap().unwrap();
    assert_eq!(owner.username, "idp|eve", "the first creator stays");
}
}

on_both_stores! {
async fn a_hidden_role_takes_no_second_holder(database: &Database) {
    let store = database.open().await;
    for user in ["alice", "bob"] {
        new_user(&store, user).await;
    }
    grant(&store, "alice", exact("m"), Level::Manage).await;
    let hidden = store.roles(None).await.unwrap().pop().unwrap();
    assert!(hidden.user_id.is_some());
    for refused in [
        store.assign_role(&actor(), "bob", hidden.id).await.map(drop),
        store.add_group_role(&actor(), "g", hidden.id).await.map(drop),
        store.update_role(&actor(), hidden.id, Some("mine"), None).await.map(drop),
        store.create_role(&actor(), "default", "__user_2__", None).await.map(drop),
    ] {
        assert!(matches!(refused, Err(StoreError::Invalid { .. })), "{refused:?}");
    }
    assert_eq!(levels(&store, "bob", &["g"]).await, [] as [&str; 0]);
}
}

on_both_stores! {
async fn a_password_upgrade_does_not_undo_a_change(database: &Database) {
    let store = database.open().await;
    new_user(&store, "alice").await;
    store.set_password_hash(&actor(), "alice", "changed".into()).await.unwrap();
    let upgraded = store
        .upgrade_password_hash(&actor(), "alice", &"hash".into(), "better hash".into())
        .await
        .unwrap();
    assert!(!upgraded.value);
    let upgraded = store
        .upgrade_password_hash(&actor(), "alice", &"changed".into(), "better".into())
        .await
        .unwrap();
    assert!(upgraded.value);
}
}

on_both_stores! {
async fn a_token_is_found_by_its_hash_until_it_is_revoked(database: &Database) {
    let store = database.open().await;
    new_user(&store, "ci").await;
    let new = NewToken { username: "ci".into(), name: "build".into(), ..NewToken::default() };
    let (token, secret) = store.create_token(&actor(), &new).await.unwrap().value;
    assert!(secret.expose().starts_with(&token.prefix) && token.prefix.len() < 15);
    let hash = secret.hash();
    let now = token.created_at;
    assert!(store.token_by_hash(&hash).await.unwrap().unwrap().is_valid_at(now));
    assert!(matches!(
        store.create_token(&actor(), &new).await.map(drop),
        Err(StoreError::AlreadyExists { entity: Entity::Token, .. })
    ));
    store.touch_token(&token, now + 5).await.unwrap();
    let revoked = store.revoke_token(&actor(), token.id).await.unwrap();
    assert!(!revoked.value.is_valid_at(now));
    let found = store.token_by_hash(&hash).await.unwrap().unwrap();
    assert!(!found.is_valid_at(now));
    assert_eq!(found.last_used_at, Some(now + 5));
    store.create_token(&actor(), &new).await.expect("the name is free again");
}
}

on_both_stores! {
async fn one_first_administrator_is_created(database: &Database) {
    let store = database.open().await;
    assert!(!store.has_admin().await.unwrap());
    let first = store.create_first_admin(&actor(), "root", "hash".into()).await.unwrap();
    assert!(first.value.unwrap().is_admin);
    let second = store.create_first_admin(&actor(), "other", "hash".into()).await.unwrap();
    assert!(second.value.is_none());
    assert!(store.has_admin().await.unwrap());
}
}

on_both_stores! {
async fn settings_are_checked_and_kept(database: &Database) {
    let store = database.open().await;
    assert_eq!(store.settings().await.unwrap().default_permission, Level::NoPermissions);
    store.set_setting(&actor(), "default_permission", "READ").await.unwrap();
    store.set_setting(&actor(), "workspaces", "true").await.unwrap();
    let settings = store.settings().await.unwrap();
    assert_eq!((settings.default_permission, settings.workspaces), (Level::Read, true));
    for (name, value) in [("default_permission", "DENY"), ("workspaces", "yes"), ("other", "1")] {
        assert!(store.set_setting(&actor(), name, value).await.is_err(), "{name}={value}");
    }
}
}

on_both_stores! {
async fn migrations_may_be_applied_again_and_at_the_same_time(database: &Database) {
    let opened = open_four(database).await;
    new_user(&opened[0], "alice").await;
    let again = database.open().await;
    assert!(again.user("alice").await.unwrap().is_some());
    let applied: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM _sqlx_migrations")
        .fetch_one(&database.raw().await)
        .await
        .unwrap();
    assert_eq!(applied, 2);
}
}

/// Four servers that start at once on a database without a schema.
async fn open_four(database: &Database) -> Vec<Store> {
    let mut starting = tokio::task::JoinSet::new();
    for _ in 0..4 {
        let url = database.url.clone();
        starting.spawn(async move { Store::connect(&url).await.unwrap() });
    }
    starting.join_all().await
}

on_both_stores! {
async fn a_name_with_a_reserved_prefix_never_gets_a_password(database: &Database) {
    let store = database.open().await;
    let actor = &actor();
    new_user(&store, "idp|early").await;
    store.set_setting(actor, "reserved_username_prefixes", "idp|, corp:").await.unwrap();
    let refused = |error: StoreError| {
        assert!(matches!(error, StoreError::Invalid { field: "username", .. }), "{error}");
    };
    for name in ["idp|carol", "corp:carol"] {
        let new = NewUser::with_password_hash(name, "hash".into());
        refused(store.create_user(actor, &new).await.unwrap_err());
        refused(store.create_first_admin(actor, name, "hash".into()).await.unwrap_err());
        assert!(store.user(name).await.unwrap().is_none(), "{name}");
    }
    refused(store.set_password_hash(actor, "idp|early", "new".into()).await.unwrap_err());
    // What the identity provider's user does still leaves a row, without a password.
    let effect = Effect::Created { resource: ResourceType::Experiment, id: "1".into() };
    store.record("idp|carol", "default", &[effect], None).await.unwrap();
    assert!(store.user("idp|carol").await.unwrap().unwrap().password_hash.is_none());
    refused(store.set_password_hash(actor, "idp|carol", "new".into()).await.unwrap_err());
    new_user(&store, "carol").await;
    assert!(store.settings().await.is_ok(), "the other settings are still read");
    store.set_setting(actor, "reserved_username_prefixes", "").await.unwrap();
    store.set_password_hash(actor, "idp|early", "new".into()).await.unwrap();
}
}
