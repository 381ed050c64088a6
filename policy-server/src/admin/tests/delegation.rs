use serde_json::{Value, json};

use super::fixture::World;
use crate::domain::{Level, ResourceType};

const GRANT: &str = "POST /api/3.0/mlflow/users/permissions/grant";
const REVOKE: &str = "POST /api/3.0/mlflow/users/permissions/revoke";
const ASK: &str = "GET /api/3.0/mlflow/users/permissions/get";

fn to_bob(resource: &str, id: &str, permission: &str) -> Value {
    json!({
        "username": "bob", "resource_type": resource, "resource_id": id, "permission": permission,
    })
}

fn of_bob(resource: &str, id: &str) -> Value {
    json!({ "username": "bob", "resource_type": resource, "resource_id": id })
}

#[tokio::test]
async fn only_manage_lets_one_share() {
    let world = World::new().await;
    for (level, status) in
        [(Level::Read, 403), (Level::Use, 403), (Level::Edit, 403), (Level::Manage, 200)]
    {
        world.grant("alice", ResourceType::Experiment, "7", level).await;
        let told = world.call("alice", GRANT, to_bob("experiment", "7", "READ")).await;
        assert_eq!(told.status, status, "{level}: {:?}", told.body);
    }
}

#[tokio::test]
async fn a_denial_outweighs_the_right_to_share() {
    let world = World::new().await;
    world.grant("alice", ResourceType::Experiment, "7", Level::Manage).await;
    world.grant("alice", ResourceType::Experiment, "*", Level::Deny).await;
    world.call("alice", GRANT, to_bob("experiment", "7", "READ")).await.expect(403);
}

#[tokio::test]
async fn the_manager_of_all_does_not_grant_all() {
    let world = World::new().await;
    world.grant("alice", ResourceType::Experiment, "*", Level::Manage).await;
    world.call("alice", GRANT, to_bob("experiment", "7", "READ")).await.expect(200);
    world.call("alice", GRANT, to_bob("experiment", "*", "READ")).await.expect(403);
    world.call("alice", REVOKE, of_bob("experiment", "*")).await.expect(403);
}

#[tokio::test]
async fn a_name_with_a_star_in_it_is_one_name() {
    let world = World::new().await;
    world.grant("alice", ResourceType::RegisteredModel, "a*", Level::Manage).await;
    world.call("alice", GRANT, to_bob("registered_model", "a*", "READ")).await.expect(200);
    let level = |id: &str| world.call("bob", ASK, of_bob("registered_model", id));
    assert_eq!(level("a*").await.expect(200)["permission"], "READ");
    assert_eq!(level("abc").await.expect(200)["permission"], "NO_PERMISSIONS");
}

#[tokio::test]
async fn a_grant_works_in_the_workspace_of_the_request_and_nowhere_else() {
    let world = World::new().await.with_workspaces().await;
    world.grant_in("a", "alice", ResourceType::RegisteredModel, "m", Level::Manage).await;
    let grant = to_bob("registered_model", "m", "EDIT");
    world.call_in("b", "alice", GRANT, grant.clone()).await.expect(403);
    world.call_in("a", "alice", GRANT, grant).await.expect(200);
    let asked = |workspace| world.call_in(workspace, "bob", ASK, of_bob("registered_model", "m"));
    assert_eq!(asked("a").await.expect(200)["permission"], "EDIT");
    assert_eq!(asked("b").await.expect(200)["permission"], "NO_PERMISSIONS");
    world.call_in("b", "admin", REVOKE, of_bob("registered_model", "m")).await.expect(404);
    world.call_in("a", "admin", REVOKE, of_bob("registered_model", "m")).await.expect(200);
}

#[tokio::test]
async fn the_administrator_of_one_workspace_does_not_ask_in_another() {
    let world = World::new().await.with_workspaces().await;
    world.call("wanda", ASK, of_bob("experiment", "7")).await.expect(200);
    world.call_in("elsewhere", "wanda", ASK, of_bob("experiment", "7")).await.expect(403);
    world.call_in("elsewhere", "wanda", ASK, of_bob("experiment", "*")).await.expect(403);
}

#[tokio::test]
async fn what_is_asked_is_what_a_request_would_be_decided_by() {
    let world = World::new().await;
    world
        .store()
        .set_setting(
            &crate::store::Actor::new("test", crate::store::Channel::Bootstrap),
            "default_permission",
            "READ",
        )
        .await
        .unwrap();
    let level = |id: &str| world.call("bob", ASK, of_bob("experiment", id));
    assert_eq!(
        level("7").await.expect(200),
        json!({ "allowed": false, "permission": "READ" }),
        "by default"
    );
    world.grant("bob", ResourceType::Experiment, "7", Level::Edit).await;
    assert_eq!(level("7").await.expect(200), json!({ "allowed": true, "permission": "EDIT" }));
    world.grant("bob", ResourceType::Experiment, "8", Level::Deny).await;
    assert_eq!(level("8").await.expect(200), json!({ "allowed": false, "permission": "DENY" }));
    world.disable("bob").await;
    let asked = world.call("admin", ASK, of_bob("experiment", "7")).await.expect(200);
    assert_eq!(asked, json!({ "allowed": false, "permission": "DENY" }), "disabled");
}

#[tokio::test]
async fn no_level_and_no_type_is_granted_in_other_letters() {
    let world = World::new().await;
    for (resource, permission) in
        [("Experiment", "READ"), ("experiment", "read"), ("experiment ", "READ"), ("", "READ")]
    {
        let told = world.call("admin", GRANT, to_bob(resource, "7", permission)).await;
        assert_eq!((told.status, told.error_code()), (400, "INVALID_PARAMETER_VALUE"));
    }
    assert!(world.store().own_permissions("bob").await.unwrap().is_empty());
}

#[tokio::test]
async fn racing_grants_of_the_same_permission_are_made_once() {
    let world = World::new().await;
    let calls = (0..8).map(|_| world.call("admin", GRANT, to_bob("experiment", "7", "READ")));
    let mut statuses = Vec::new();
    for told in futures_of(calls).await {
        statuses.push(told);
    }
    statuses.sort_unstable();
    assert_eq!(statuses, [vec![200], vec![400; 7]].concat());
    assert_eq!(world.store().own_permissions("bob").await.unwrap().len(), 1);
}

async fn futures_of<'w>(
    calls: impl Iterator<Item = impl Future<Output = super::fixture::Told> + 'w>,
) -> Vec<u16> {
    let mut calls: Vec<_> = calls.map(Box::pin).collect();
    let mut statuses = Vec::new();
    // Polled together, so that all of them are past their checks before the first one writes.
    std::future::poll_fn(|context| {
        calls.retain_mut(|call| match call.as_mut().poll(context) {
            std::task::Poll::Ready(told) => {
                statuses.push(told.status);
                false
            }
            std::task::Poll::Pending => true,
        });
        if calls.is_empty() { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
    })
    .await;
    statuses
}
