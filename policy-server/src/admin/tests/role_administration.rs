use serde_json::{Value, json};

use super::fixture::{World, request};
use crate::domain::{Level, ResourceType};

const ADD: &str = "POST /api/3.0/mlflow/roles/permissions/add";

/// A permission of a role in a workspace that wanda does not administer.
async fn far_permission(world: &World) -> (i64, i64) {
    let role = world.role("elsewhere", "readers").await;
    let permission = json!({
        "role_id": role, "resource_type": "experiment", "resource_pattern": "7",
        "permission": "READ",
    });
    let added = world.call("admin", ADD, permission).await.expect(200);
    (role, added["role_permission"]["id"].as_i64().unwrap())
}

#[tokio::test]
async fn a_role_id_of_ones_own_does_not_open_the_permission_of_another_role() {
    let world = World::new().await;
    let own = world.role("default", "team").await;
    let (far, permission) = far_permission(&world).await;
    let both = json!({ "role_id": own, "role_permission_id": permission, "permission": "MANAGE" });
    for call in [
        "PATCH /api/3.0/mlflow/roles/permissions/update",
        "DELETE /api/3.0/mlflow/roles/permissions/remove",
    ] {
        world.call("wanda", call, both.clone()).await.expect(403);
    }
    let listed = world
        .call("admin", "GET /api/3.0/mlflow/roles/permissions/list", json!({ "role_id": far }))
        .await
        .expect(200);
    assert_eq!(listed["role_permissions"][0]["permission"], "READ");
}

#[tokio::test]
async fn a_role_id_of_ones_own_does_not_open_another_workspace() {
    let world = World::new().await;
    let own = world.role("default", "team").await;
    let new = json!({ "role_id": own, "workspace": "elsewhere", "name": "mine" });
    world.call("wanda", "POST /api/3.0/mlflow/roles/create", new).await.expect(403);
    assert!(world.store().role_by_name("elsewhere", "mine").await.is_err());
}

#[tokio::test]
async fn identifiers_that_do_not_agree_open_nothing() {
    let world = World::new().await;
    let own = world.role("default", "team").await;
    let other = world.role("default", "guests").await;
    let far = world.role("elsewhere", "readers").await;
    let permission = json!({
        "role_id": own, "resource_type": "experiment", "resource_pattern": "7",
        "permission": "READ",
    });
    let added = world.call("wanda", ADD, permission).await.expect(200);
    let permission = added["role_permission"]["id"].as_i64().unwrap();
    const CREATE: &str = "POST /api/3.0/mlflow/roles/create";
    const UPDATE: &str = "PATCH /api/3.0/mlflow/roles/permissions/update";
    const REMOVE: &str = "DELETE /api/3.0/mlflow/roles/permissions/remove";
    for odd in [far, 4711] {
        let new = json!({ "workspace": "default", "name": "mine", "role_id": odd });
        world.call("wanda", CREATE, new).await.expect(403);
    }
    let beside = |name: &str, value: Value| {
        let mut call = json!({ "role_permission_id": permission, "permission": "EDIT" });
        call[name] = value;
        call
    };
    for odd in [
        beside("role_id", json!(far)),
        beside("role_id", json!(other)),
        beside("role_id", json!(4711)),
        beside("workspace", json!("elsewhere")),
    ] {
        world.call("wanda", UPDATE, odd.clone()).await.expect(403);
        world.call("wanda", REMOVE, odd).await.expect(403);
    }
    let assign = json!({ "username": "bob", "role_id": own, "workspace": "elsewhere" });
    world.call("wanda", "POST /api/3.0/mlflow/roles/assign", assign).await.expect(403);
    let get = json!({ "role_id": own, "workspace": "elsewhere" });
    world.call("wanda", "GET /api/3.0/mlflow/roles/get", get).await.expect(403);
    // Malformed ones are said to be so before anything is looked up.
    for id in [permission, 4711] {
        let odd = json!({ "role_permission_id": id, "role_id": "x", "permission": "EDIT" });
        world.call("wanda", UPDATE, odd).await.expect(400);
    }
    let new = json!({ "workspace": "default", "name": "mine", "role_id": own });
    world.call("wanda", CREATE, new).await.expect(200);
    let agreeing = json!({
        "role_permission_id": permission, "role_id": own, "workspace": "default",
        "permission": "EDIT",
    });
    world.call("wanda", UPDATE, agreeing.clone()).await.expect(200);
    world.call("wanda", REMOVE, agreeing).await.expect(200);
}

#[tokio::test]
async fn a_workspace_is_compared_to_the_letter() {
    let world = World::new().await;
    let listing = "GET /api/3.0/mlflow/roles/list";
    world.call("wanda", listing, json!({ "workspace": "default" })).await.expect(200);
    for padded in ["default ", " default", "Default", "default\u{a0}"] {
        world.call("wanda", listing, json!({ "workspace": padded })).await.expect(403);
        let new = json!({ "workspace": padded, "name": "mine" });
        world.call("wanda", "POST /api/3.0/mlflow/roles/create", new).await.expect(403);
    }
}

#[tokio::test]
async fn a_role_without_permissions_still_makes_a_member() {
    let world = World::new().await;
    let role = world.role("default", "guests").await;
    let get = "GET /api/3.0/mlflow/roles/get";
    world.call("bob", get, json!({ "role_id": role })).await.expect(403);
    world.assign("bob", role).await;
    world.call("bob", get, json!({ "role_id": role })).await.expect(200);
}

#[tokio::test]
async fn a_members_own_role_makes_no_administrator() {
    let world = World::new().await;
    let role = world.role("default", "guests").await;
    world.assign("bob", role).await;
    world.grant("bob", ResourceType::Workspace, "*", Level::Use).await;
    world.grant("bob", ResourceType::Experiment, "*", Level::Manage).await;
    let permission = json!({
        "role_id": role, "resource_type": "workspace", "resource_pattern": "*",
        "permission": "MANAGE",
    });
    world.call("bob", ADD, permission).await.expect(403);
}

#[tokio::test]
async fn a_users_own_role_is_neither_renamed_nor_assigned_to_another() {
    let world = World::new().await;
    let shown = world
        .call("admin", "GET /api/3.0/mlflow/users/roles/list", json!({ "username": "wanda" }))
        .await
        .expect(200);
    let own = shown["roles"][0]["id"].as_i64().unwrap();
    assert!(shown["roles"][0]["name"].as_str().unwrap().starts_with("__user_"));
    let rename = json!({ "role_id": own, "name": "free" });
    world.call("admin", "PATCH /api/3.0/mlflow/roles/update", rename).await.expect(400);
    let assign = json!({ "role_id": own, "username": "bob" });
    world.call("admin", "POST /api/3.0/mlflow/roles/assign", assign.clone()).await.expect(400);
    world
        .call(
            "admin",
            "POST /api/3.0/mlflow/roles/create",
            json!({
                "workspace": "default", "name": "probe",
            }),
        )
        .await
        .expect(200);
    world.call("bob", "POST /api/3.0/mlflow/roles/assign", assign).await.expect(403);
}

#[tokio::test]
async fn a_star_within_a_pattern_is_a_letter_of_the_one_name_as_in_mlflow() {
    let world = World::new().await;
    let role = world.role("default", "team").await;
    let add = |resource: &str| {
        json!({
            "role_id": role, "resource_type": resource, "resource_pattern": "team-*",
            "permission": "READ",
        })
    };
    let added = world.call("admin", ADD, add("registered_model")).await.expect(200);
    assert_eq!(added["role_permission"]["resource_pattern"], "team-*");
    world.assign("bob", role.to_owned()).await;
    for (name, level) in [("team-x", "NO_PERMISSIONS"), ("team-*", "READ")] {
        let asked = world
            .call(
                "bob",
                "GET /api/3.0/mlflow/users/permissions/get",
                json!({
                    "username": "bob", "resource_type": "registered_model", "resource_id": name,
                }),
            )
            .await
            .expect(200);
        assert_eq!(asked["permission"], level, "{name}");
    }
}

#[tokio::test]
async fn a_pattern_of_control_characters_is_refused_by_name() {
    let world = World::new().await;
    let role = world.role("default", "team").await;
    for bad in ["", "a\u{0}b", "a\nb"] {
        let permission = json!({
            "role_id": role, "resource_type": "registered_model", "resource_pattern": bad,
            "permission": "READ",
        });
        let told = world.call("admin", ADD, permission).await;
        assert_eq!(told.status, 400, "{bad:?}");
        assert!(told.message().contains("'resource_pattern'"), "{}", told.message());
    }
}

#[tokio::test]
async fn an_id_beyond_the_databases_range_is_no_role() {
    let world = World::new().await;
    let get = "GET /api/3.0/mlflow/roles/get";
    for id in ["9223372036854775808", "-1", "0x1", "1.0", "1e3"] {
        let told = world.call("admin", get, json!({ "role_id": id })).await;
        assert_eq!((told.status, told.error_code()), (400, "INVALID_PARAMETER_VALUE"), "{id}");
    }
    world.call("admin", get, json!({ "role_id": "9223372036854775807" })).await.expect(404);
}

#[tokio::test]
async fn the_first_of_a_repeated_parameter_is_the_one() {
    let world = World::new().await;
    let (far, _) = far_permission(&world).await;
    let own = world.role("default", "team").await;
    let mut twice = request("GET /api/3.0/mlflow/roles/users/list", json!({ "role_id": own }));
    twice.query.push(("role_id".to_owned(), far.to_string()));
    let wanda = world.caller("wanda").await;
    assert_eq!(world.send(&wanda, twice.clone()).await.expect(200), json!({ "assignments": [] }));
    twice.query.reverse();
    world.send(&wanda, twice).await.expect(403);
}

#[tokio::test]
async fn deleting_a_role_takes_its_power_at_once() {
    let world = World::new().await;
    let role = world.role("default", "stewards").await;
    world.assign("bob", role).await;
    let permission = json!({
        "role_id": role, "resource_type": "workspace", "resource_pattern": "*",
        "permission": "MANAGE",
    });
    world.call("admin", ADD, permission).await.expect(200);
    let new = |name: &str| json!({ "workspace": "default", "name": name });
    let create = "POST /api/3.0/mlflow/roles/create";
    world.call("bob", create, new("one")).await.expect(200);
    let delete = "DELETE /api/3.0/mlflow/roles/delete";
    world.call("admin", delete, json!({ "role_id": role })).await.expect(200);
    world.call("bob", create, new("two")).await.expect(403);
}
