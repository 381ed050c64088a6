//! The calls of MLflow 3.10 to 3.13.

use serde_json::{Value, json};

use super::fixture::{World, request};
use crate::domain::{Level, ResourceType};

const PATH: &str = "/api/3.0/mlflow/workspaces/team/permissions";

fn call(method: &str) -> String {
    format!("{method} {PATH}")
}

fn to_bob(permission: &str) -> Value {
    json!({ "username": "bob", "permission": permission })
}

#[tokio::test]
async fn a_workspace_permission_lives_its_life() {
    let world = World::new().await.with_workspaces().await;
    let bob = world.store().user("bob").await.unwrap().unwrap().id.0;
    let set = world.call("admin", &call("POST"), to_bob("USE")).await.expect(200);
    let row = json!({
        "workspace": "team", "user_id": bob, "permission": "USE", "can_use": true,
    });
    assert_eq!(set, json!({ "permission": row }));
    let listed = world.call("admin", &call("GET"), json!({})).await.expect(200);
    assert_eq!(listed, json!({ "permissions": [row] }));
    let mine = "GET /api/3.0/mlflow/workspace-permissions";
    let listed = world.call("admin", mine, json!({ "username": "bob" })).await.expect(200);
    assert_eq!(listed, json!({ "permissions": [row] }));

    let mut delete = request(&call("DELETE"), json!({}));
    delete.content_type.clear();
    delete.body.clear();
    delete.query.push(("username".to_owned(), "bob".to_owned()));
    let admin = world.caller("admin").await;
    let told = world.send(&admin, delete.clone()).await;
    assert_eq!((told.status, told.response.body.len()), (204, 0));
    let told = world.send(&admin, delete).await;
    let missing = "Workspace permission does not exist for workspace='team', username='bob'";
    assert_eq!((told.status, told.message()), (404, missing));
}

#[tokio::test]
async fn only_the_workspaces_administrators_manage_its_permissions() {
    let world = World::new().await.with_workspaces().await;
    world.grant_in("team", "alice", ResourceType::Workspace, "*", Level::Use).await;
    for who in ["alice", "wanda"] {
        world.call(who, &call("POST"), to_bob("MANAGE")).await.expect(403);
        world.call(who, &call("GET"), json!({})).await.expect(403);
        world.call(who, &call("DELETE"), json!({ "username": "alice" })).await.expect(403);
    }
    world.grant_in("team", "alice", ResourceType::Workspace, "*", Level::Manage).await;
    world.call("alice", &call("POST"), to_bob("USE")).await.expect(200);
    let mine = "GET /api/3.0/mlflow/workspace-permissions";
    world.call("alice", mine, json!({ "username": "alice" })).await.expect(403);
}

#[tokio::test]
async fn what_is_no_level_of_a_workspace_any_more_is_refused() {
    let world = World::new().await.with_workspaces().await;
    for level in ["READ", "EDIT", "NO_PERMISSIONS", "DENY"] {
        let told = world.call("admin", &call("POST"), to_bob(level)).await;
        assert_eq!((told.status, told.error_code()), (400, "INVALID_PARAMETER_VALUE"), "{level}");
    }
    let told = world.call("admin", &call("POST"), json!({})).await;
    let missing = "Workspace permission payload missing keys: permission, username";
    assert_eq!((told.status, told.message()), (400, missing));
}

#[tokio::test]
async fn without_workspaces_there_are_no_workspace_permissions() {
    let world = World::new().await;
    let mine = "GET /api/3.0/mlflow/workspace-permissions";
    for (call, with) in
        [(call("GET"), json!({})), (call("POST"), to_bob("USE")), (mine.to_owned(), to_bob("USE"))]
    {
        let told = world.call("admin", &call, with).await;
        assert_eq!((told.status, told.error_code()), (500, "FEATURE_DISABLED"));
    }
}
