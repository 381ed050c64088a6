use serde_json::{Value, json};

use super::fixture::{World, request};
use crate::admin::{AdminRequest, Caller, Means};
use crate::domain::{Level, ResourceType};
use crate::policy::{EVERYTHING, Reach, TokenScope};

const CREATE: &str = "POST /api/2.0/mlflow/users/create";
const UPDATE_PASSWORD: &str = "PATCH /api/2.0/mlflow/users/update-password";

#[tokio::test]
async fn a_change_is_told_with_its_revision_and_a_read_without() {
    let world = World::new().await;
    let before = world.store().revision().await.unwrap();
    let new = json!({ "username": "carl", "password": "carl-password-1" });
    let created = world.call("admin", CREATE, new.clone()).await;
    assert_eq!(created.response.revision, before + 1);
    let refused = world.call("admin", CREATE, new).await;
    assert_eq!((refused.status, refused.response.revision), (400, 0));
    let read = world.call("admin", "GET /api/2.0/mlflow/users/current", json!({})).await;
    assert_eq!(read.response.revision, 0);
}

#[tokio::test]
async fn a_password_is_stored_as_argon2id_and_told_nowhere() {
    use secrecy::ExposeSecret;
    let world = World::new().await;
    let new = json!({ "username": "carl", "password": "carl-password-1" });
    let created = world.call("admin", CREATE, new).await;
    let user = world.store().user("carl").await.unwrap().unwrap();
    let hash = user.password_hash.unwrap();
    assert!(hash.expose_secret().starts_with("$argon2id$"));
    let body = created.expect(200).to_string();
    assert!(!body.contains("argon2") && !body.contains("carl-password-1"), "{body}");
    let audit = world.store().audit_log(None, 100).await.unwrap();
    let audit = serde_json::to_string(&audit).unwrap();
    assert!(!audit.contains("argon2") && !audit.contains("carl-password-1"), "{audit}");
}

#[tokio::test]
async fn a_change_is_audited_under_its_callers_name() {
    let world = World::new().await;
    let new = json!({ "username": "carl", "password": "carl-password-1" });
    world.call("wanda", CREATE, new).await.expect(200);
    let latest = world.store().audit_log(None, 1).await.unwrap().remove(0);
    assert_eq!((latest.actor.as_str(), latest.channel.as_str()), ("wanda", "api"));
    assert_eq!((latest.action.as_str(), latest.target.as_str()), ("user.create", "carl"));
}

#[tokio::test]
async fn names_and_flags_of_the_wrong_type_are_refused_by_name() {
    let world = World::new().await;
    let told = world.call("admin", CREATE, json!({ "username": 5, "password": "x" })).await;
    assert_eq!(told.message(), "Parameter 'username' must be a string. Got: 5");
    let update = "PATCH /api/2.0/mlflow/users/update-admin";
    let told = world.call("admin", update, json!({ "username": "bob", "is_admin": "yes" })).await;
    assert_eq!(told.message(), "Parameter 'is_admin' must be a boolean. Got: 'yes'");
    assert!(!world.store().user("bob").await.unwrap().unwrap().is_admin);
}

#[tokio::test]
async fn a_null_username_is_an_empty_one() {
    let world = World::new().await;
    let new = json!({ "username": null, "password": "carl-password-1" });
    let told = world.call("admin", CREATE, new).await;
    assert_eq!(told.status, 400);
    assert_eq!(told.body, "Username and password cannot be empty.");
}

#[tokio::test]
async fn a_password_of_a_megabyte_is_refused_before_it_is_hashed() {
    let world = World::new().await;
    let new = json!({ "username": "carl", "password": "x".repeat(1 << 20) });
    let told = world.call("admin", CREATE, new).await;
    assert_eq!(told.message(), "Password must be at most 1024 bytes.");
}

#[tokio::test]
async fn the_user_of_an_identity_provider_has_no_password_to_change() {
    let world = World::new().await;
    let change = json!({
        "username": "bob", "password": "bob-password-1", "current_password": "anything-at-all",
    });
    let told = world.call("bob", UPDATE_PASSWORD, change).await;
    assert_eq!((told.status, told.message()), (400, "Current password does not match."));
    assert!(world.store().user("bob").await.unwrap().unwrap().password_hash.is_none());
}

#[tokio::test]
async fn a_current_password_of_another_type_is_no_password() {
    let world = World::new().await;
    for given in [json!(null), json!(""), json!(0), json!(false)] {
        let change = json!({
            "username": "admin", "password": "new-password-1", "current_password": given,
        });
        let told = world.call("admin", UPDATE_PASSWORD, change).await;
        let required = "Current password is required when changing your own password.";
        assert_eq!((told.status, told.message()), (400, required));
    }
    let change = json!({
        "username": "admin", "password": "new-password-1", "current_password": ["x"],
    });
    world.call("admin", UPDATE_PASSWORD, change).await.expect(400);
}

fn from_identity_provider(groups: &[&str]) -> Caller {
    Caller {
        username: "okta:dora".to_owned(),
        super_admin: false,
        groups: groups.iter().map(|&group| group.to_owned()).collect(),
        means: Means::IdentityProvider,
        reach: EVERYTHING.clone(),
    }
}

#[tokio::test]
async fn a_credential_that_only_reads_changes_nothing_even_as_an_administrators() {
    let world = World::new().await;
    for level in [Level::Read, Level::Use, Level::Edit] {
        let reach = Reach::of([TokenScope::Level(level)]);
        let admin = Caller { reach, ..world.caller("admin").await };
        let list = request("GET /api/2.0/mlflow/users/list", json!({}));
        world.send(&admin, list).await.expect(200);
        for call in
            ["DELETE /api/2.0/mlflow/users/delete", "PATCH /api/2.0/mlflow/users/update-admin"]
        {
            let change = request(call, json!({ "username": "bob", "is_admin": true }));
            world.send(&admin, change).await.expect(403);
        }
    }
    assert!(!world.store().user("bob").await.unwrap().unwrap().is_admin);
}

#[tokio::test]
async fn a_credential_for_one_experiment_is_told_who_it_is_and_nothing_of_others() {
    let world = World::new().await;
    let reach = Reach::of([TokenScope::Experiment("7".to_owned())]);
    let admin = Caller { reach, ..world.caller("admin").await };
    let current = request("GET /api/2.0/mlflow/users/current", json!({}));
    world.send(&admin, current).await.expect(200);
    for call in ["GET /api/2.0/mlflow/users/list", "GET /api/3.0/mlflow/roles/list"] {
        world.send(&admin, request(call, json!({}))).await.expect(403);
    }
}

#[tokio::test]
async fn a_user_without_a_row_is_told_who_it_is() {
    let world = World::new().await;
    let current = request("GET /ajax-api/2.0/mlflow/users/current", json!({}));
    let told = world.send(&from_identity_provider(&[]), current).await.expect(200);
    let dora = json!({ "id": null, "username": "okta:dora", "is_admin": false });
    assert_eq!(told, json!({ "user": dora, "is_basic_auth": false }));
}

#[tokio::test]
async fn an_administrator_by_group_is_one_in_every_call() {
    let world = World::new().await;
    let dora = Caller { super_admin: true, ..from_identity_provider(&["admins"]) };
    let current = request("GET /ajax-api/2.0/mlflow/users/current", json!({}));
    let told = world.send(&dora, current).await.expect(200);
    assert_eq!(told["user"]["is_admin"], true);
    let held = request("GET /ajax-api/3.0/mlflow/users/current/permissions", json!({}));
    assert_eq!(world.send(&dora, held).await.expect(200)["is_admin"], true);
    let delete = request("DELETE /api/2.0/mlflow/users/delete", json!({ "username": "bob" }));
    world.send(&dora, delete).await.expect(200);
}

#[tokio::test]
async fn a_disabled_administrator_administers_nothing() {
    let world = World::new().await;
    let listing = "GET /api/2.0/mlflow/users/list";
    world.call("wanda", listing, json!({})).await.expect(200);
    world.disable("wanda").await;
    world.disable("admin").await;
    for who in ["wanda", "admin"] {
        world.call(who, listing, json!({})).await.expect(403);
    }
}

#[tokio::test]
async fn everybody_lists_users_only_where_they_may_create() {
    let world = World::new().await.with_workspaces().await;
    let listing = "GET /api/2.0/mlflow/users/list";
    world.call("bob", listing, json!({})).await.expect(403);
    world.call("wanda", listing, json!({})).await.expect(200);
    world.call_in("elsewhere", "wanda", listing, json!({})).await.expect(403);
    world.grant_in("elsewhere", "bob", ResourceType::Workspace, "*", Level::Use).await;
    world.call_in("elsewhere", "bob", listing, json!({})).await.expect(200);
    world.call("bob", listing, json!({})).await.expect(403);
}

#[tokio::test]
async fn who_does_not_manage_a_workspace_sees_its_members_only() {
    let world = World::new().await.with_workspaces().await;
    world.grant_in("elsewhere", "bob", ResourceType::Workspace, "*", Level::Use).await;
    world.grant_in("elsewhere", "alice", ResourceType::Experiment, "7", Level::Read).await;
    let seen = async |who: &str| -> Vec<String> {
        let listing = "GET /api/2.0/mlflow/users/list";
        let told = world.call_in("elsewhere", who, listing, json!({})).await.expect(200);
        let users = told["users"].as_array().unwrap().iter();
        users.map(|user| user["username"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(seen("bob").await, ["admin", "alice", "bob"]);
    assert_eq!(seen("admin").await, ["admin", "alice", "bob", "wanda"]);
    world.grant_in("elsewhere", "bob", ResourceType::Workspace, "*", Level::Manage).await;
    assert_eq!(seen("bob").await, ["admin", "alice", "bob", "wanda"]);
}

#[tokio::test]
async fn a_workspace_is_not_named_where_there_are_none() {
    let world = World::new().await;
    let told =
        world.call_in("elsewhere", "admin", "GET /api/2.0/mlflow/users/current", json!({})).await;
    assert_eq!((told.status, told.error_code()), (500, "FEATURE_DISABLED"));
    world.call_in(" ", "admin", "GET /api/2.0/mlflow/users/current", json!({})).await.expect(200);
}

#[tokio::test]
async fn the_sign_up_form_is_not_served() {
    let world = World::new().await;
    let form = AdminRequest {
        content_type: "application/x-www-form-urlencoded".to_owned(),
        body: b"username=carl&password=carl-password-1".to_vec(),
        ..request("POST /api/2.0/mlflow/users/create-ui", json!({}))
    };
    for (who, status) in [("bob", 403), ("wanda", 403), ("admin", 404)] {
        let caller = world.caller(who).await;
        world.send(&caller, request("GET /signup", json!({}))).await.expect(status);
        world.send(&caller, form.clone()).await.expect(status);
    }
    assert!(world.store().user("carl").await.unwrap().is_none());
}

#[tokio::test]
async fn an_unknown_path_and_an_unknown_method_are_denied_before_they_are_unknown() {
    let world = World::new().await;
    let unknown = "GET /api/2.0/mlflow/users/search";
    let wrong = "PUT /api/2.0/mlflow/users/get";
    for call in [unknown, wrong] {
        let told = world.call("bob", call, json!({})).await;
        assert_eq!((told.status, told.message()), (403, "Permission denied"));
    }
    assert_eq!(world.call("admin", unknown, json!({})).await.error_code(), "ENDPOINT_NOT_FOUND");
    let told = world.call("admin", wrong, json!({})).await;
    let allow = ("allow".to_owned(), "GET".to_owned());
    assert!(told.status == 405 && told.response.headers.contains(&allow), "{told:?}");
}

#[tokio::test]
async fn a_denial_is_the_same_bytes_for_absent_and_not_yours() {
    let world = World::new().await;
    let far = world.role("elsewhere", "readers").await;
    let mut bodies = Vec::new();
    for role_id in [far, 99_999] {
        let told =
            world.call("wanda", "GET /api/3.0/mlflow/roles/get", json!({ "role_id": role_id }));
        let told = told.await;
        assert_eq!(told.status, 403);
        bodies.push((told.response.headers, told.response.body));
    }
    assert_eq!(bodies[0], bodies[1]);
}

#[tokio::test]
async fn a_refusal_has_mlflows_shape() {
    let world = World::new().await;
    let told = world.call("bob", "GET /api/2.0/mlflow/users/get", json!({ "username": "x" })).await;
    let expected: Value = json!({
        "error_code": "PERMISSION_DENIED",
        "message": "Permission denied",
        "sqlstate": "KAM00",
        "error_class": "PERMISSION_DENIED",
    });
    assert_eq!(told.body, expected);
    let json_type = ("content-type".to_owned(), "application/json".to_owned());
    assert!(told.response.headers.contains(&json_type));
}
