use serde_json::{Value, json};

use super::fixture::World;
use crate::domain::{DEFAULT_WORKSPACE, Level, ResourceType};

const LIST: &str = "GET /api/2.0/mlgate/groups/list";
const ADD_MEMBER: &str = "POST /api/2.0/mlgate/groups/add-member";
const REMOVE_MEMBER: &str = "POST /api/2.0/mlgate/groups/remove-member";
const ADD_ROLE: &str = "POST /api/2.0/mlgate/groups/add-role";
const REMOVE_ROLE: &str = "POST /api/2.0/mlgate/groups/remove-role";

fn names(listed: &Value) -> Vec<&str> {
    listed["groups"].as_array().unwrap().iter().map(|row| row["name"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn a_group_gives_its_members_its_roles_until_they_are_taken_away() {
    let world = World::new().await;
    let role = world.role(DEFAULT_WORKSPACE, "readers").await;
    let (of_role, of_alice) = (
        json!({ "group": "science", "role_id": role }),
        json!({ "group": "science", "username": "alice" }),
    );
    let roles = async || {
        let principal = world.store().principal("alice", &[]).await.unwrap();
        principal.roles.iter().map(|role| role.0).collect::<Vec<_>>()
    };
    world.call("admin", ADD_ROLE, of_role.clone()).await.expect(200);
    world.call("admin", ADD_MEMBER, of_alice.clone()).await.expect(200);
    assert_eq!(roles().await, [role]);
    let listed = world.call("admin", LIST, json!({})).await.expect(200);
    assert_eq!(listed["groups"][0]["members"], json!(["alice"]));
    assert_eq!(listed["groups"][0]["roles"][0]["name"], "readers");
    world.call("admin", ADD_MEMBER, of_alice.clone()).await.expect(400);
    world.call("admin", REMOVE_MEMBER, of_alice.clone()).await.expect(200);
    assert!(roles().await.is_empty());
    world.call("admin", REMOVE_MEMBER, of_alice).await.expect(404);
    world.call("admin", REMOVE_ROLE, of_role.clone()).await.expect(200);
    world.call("admin", REMOVE_ROLE, of_role).await.expect(404);
    let audit = world.store().audit_log(None, 1).await.unwrap().remove(0);
    assert_eq!((audit.actor.as_str(), audit.action.as_str()), ("admin", "group.remove_role"));
    let delete = "POST /api/2.0/mlgate/groups/delete";
    world.call("admin", delete, json!({ "group": "science" })).await.expect(200);
    let listed = world.call("admin", LIST, json!({})).await.expect(200);
    assert!(names(&listed).is_empty());
}

#[tokio::test]
async fn a_workspaces_administrator_maps_its_roles_and_no_others() {
    let world = World::new().await.with_workspaces().await;
    let own = world.role(DEFAULT_WORKSPACE, "readers").await;
    let foreign = world.role("elsewhere", "owners").await;
    let admins = world.role("elsewhere", "admins").await;
    let map = |group: &str, role: i64| json!({ "group": group, "role_id": role });
    world.call("wanda", ADD_ROLE, map("science", own)).await.expect(200);
    for (call, role) in [(ADD_ROLE, foreign), (REMOVE_ROLE, foreign), (ADD_ROLE, 999_999)] {
        world.call("wanda", call, map("science", role)).await.expect(403);
    }
    world.call("admin", ADD_ROLE, map("science", foreign)).await.expect(200);
    world.call("admin", ADD_ROLE, map("leads", admins)).await.expect(200);
    let member = json!({ "group": "leads", "username": "bob" });
    world.call("admin", ADD_MEMBER, member.clone()).await.expect(200);
    // Who is in a group has consequences in every workspace.
    for call in [ADD_MEMBER, REMOVE_MEMBER] {
        let herself = json!({ "group": "leads", "username": "wanda" });
        world.call("wanda", call, herself).await.expect(403);
        world.call("wanda", call, member.clone()).await.expect(403);
    }
    for call in ["POST /api/2.0/mlgate/groups/create", "POST /api/2.0/mlgate/groups/delete"] {
        world.call("wanda", call, json!({ "group": "leads" })).await.expect(403);
    }
    let listed = world.call("wanda", LIST, json!({})).await.expect(200);
    assert_eq!(names(&listed), ["science"]);
    assert_eq!(listed["groups"][0]["roles"].as_array().unwrap().len(), 1);
    assert_eq!(listed["groups"][0]["members"], json!([]));
    world.call("wanda", REMOVE_ROLE, map("science", own)).await.expect(200);
}

#[tokio::test]
async fn who_administers_nothing_learns_nothing_of_groups() {
    let world = World::new().await;
    let role = world.role(DEFAULT_WORKSPACE, "readers").await;
    world.call("bob", LIST, json!({})).await.expect(403);
    world.call("bob", ADD_ROLE, json!({ "group": "g", "role_id": role })).await.expect(403);
    world.call("bob", ADD_MEMBER, json!({ "group": "g", "username": "bob" })).await.expect(403);
}

#[tokio::test]
async fn a_users_own_permissions_are_given_to_no_group() {
    let world = World::new().await;
    world.grant("alice", ResourceType::Experiment, "7", Level::Manage).await;
    let hidden = world.store().principal("alice", &[]).await.unwrap().roles;
    assert_eq!(hidden.len(), 1);
    for role in hidden {
        let told = world.call("admin", ADD_ROLE, json!({ "group": "g", "role_id": role.0 })).await;
        assert!(matches!(told.status, 400 | 404), "{:?}", told.body);
    }
    assert!(world.store().groups().await.unwrap().is_empty());
}
