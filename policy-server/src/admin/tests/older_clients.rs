//! What the clients of MLflow 2.22 and 3.12 send and expect.

use serde_json::{Value, json};

use super::fixture::World;
use crate::domain::{Level, ResourceType};

const EXPERIMENTS: &str = "/api/2.0/mlflow/experiments/permissions";

fn call(method: &str, collection: &str, operation: &str) -> String {
    format!("{method} {collection}/{operation}")
}

#[tokio::test]
async fn an_experiment_permission_lives_its_life() {
    let world = World::new().await;
    world.grant("alice", ResourceType::Experiment, "7", Level::Manage).await;
    let bob = world.store().user("bob").await.unwrap().unwrap().id.0;
    let of_bob = json!({ "experiment_id": "7", "username": "bob" });
    let with =
        |level: &str| json!({ "experiment_id": "7", "username": "bob", "permission": level });
    let row = |level: &str| {
        let row = json!({ "experiment_id": "7", "user_id": bob, "permission": level });
        json!({ "experiment_permission": row })
    };
    let create = call("POST", EXPERIMENTS, "create");
    assert_eq!(world.call("alice", &create, with("READ")).await.expect(200), row("READ"));
    let told = world.call("alice", &create, with("READ")).await;
    let exists = "Experiment permission (experiment_id=7, username=bob) already exists.";
    assert_eq!((told.status, told.error_code()), (400, "RESOURCE_ALREADY_EXISTS"));
    assert_eq!(told.message(), exists);

    let update = call("PATCH", EXPERIMENTS, "update");
    assert_eq!(world.call("alice", &update, with("EDIT")).await.expect(200), json!({}));
    let get = call("GET", EXPERIMENTS, "get");
    assert_eq!(world.call("alice", &get, of_bob.clone()).await.expect(200), row("EDIT"));

    let delete = call("DELETE", EXPERIMENTS, "delete");
    assert_eq!(world.call("alice", &delete, of_bob.clone()).await.expect(200), json!({}));
    for (call, with) in [(delete, of_bob.clone()), (get, of_bob), (update, with("READ"))] {
        let told = world.call("alice", &call, with).await;
        let missing = "Experiment permission with experiment_id=7 and username=bob not found";
        assert_eq!((told.status, told.message()), (404, missing), "{call}");
    }
}

#[tokio::test]
async fn only_the_manager_of_a_resource_sees_and_changes_its_permissions() {
    let world = World::new().await;
    world.grant("alice", ResourceType::Experiment, "7", Level::Edit).await;
    world.grant("bob", ResourceType::Experiment, "7", Level::Read).await;
    let with = json!({ "experiment_id": "7", "username": "bob", "permission": "MANAGE" });
    for (method, operation) in
        [("POST", "create"), ("GET", "get"), ("PATCH", "update"), ("DELETE", "delete")]
    {
        for who in ["alice", "bob"] {
            let call = call(method, EXPERIMENTS, operation);
            world.call(who, &call, with.clone()).await.expect(403);
        }
    }
    world.call("wanda", &call("PATCH", EXPERIMENTS, "update"), with).await.expect(200);
}

#[tokio::test]
async fn the_star_is_no_experiment() {
    let world = World::new().await;
    world.grant("alice", ResourceType::Experiment, "*", Level::Manage).await;
    let with = json!({ "experiment_id": "*", "username": "bob", "permission": "MANAGE" });
    let create = call("POST", EXPERIMENTS, "create");
    world.call("alice", &create, with).await.expect(200);
    let ask = json!({ "username": "bob", "resource_type": "experiment", "resource_id": "7" });
    let asked = world.call("bob", "GET /api/3.0/mlflow/users/permissions/get", ask).await;
    assert_eq!(asked.expect(200)["permission"], "NO_PERMISSIONS");
}

#[tokio::test]
async fn no_permissions_is_an_explicit_refusal() {
    let world = World::new().await;
    let with =
        |level: &str| json!({ "experiment_id": "7", "username": "bob", "permission": level });
    let create = call("POST", EXPERIMENTS, "create");
    let created = world.call("admin", &create, with("NO_PERMISSIONS")).await.expect(200);
    assert_eq!(created["experiment_permission"]["permission"], "NO_PERMISSIONS");
    let own = world.store().own_permissions("bob").await.unwrap();
    assert_eq!(own[0].1.level, Level::Deny);
    let update = call("PATCH", EXPERIMENTS, "update");
    world.call("admin", &update, with("READ")).await.expect(200);
    world.call("admin", &update, with("NO_PERMISSIONS")).await.expect(200);
    let told = world.call("admin", &update, with("NONE")).await;
    assert!(told.message().starts_with("Invalid permission 'NONE'."), "{}", told.message());
}

const MODELS: &str = "/api/2.0/mlflow/registered-models/permissions";

/// The levels that bob has of his own on the name, as `type=level`.
async fn on_greeting(world: &World) -> Vec<String> {
    let own = world.store().own_permissions("bob").await.unwrap();
    let rows = own.iter().filter(|(_, row)| row.pattern.as_str() == "greeting");
    let mut levels: Vec<_> =
        rows.map(|(_, row)| format!("{}={}", row.resource, row.level)).collect();
    levels.sort();
    levels
}

#[tokio::test]
async fn what_is_refused_on_a_models_name_is_refused_on_a_prompts() {
    let world = World::new().await;
    let with = |level: &str| json!({ "name": "greeting", "username": "bob", "permission": level });
    let (create, update) = (call("POST", MODELS, "create"), call("PATCH", MODELS, "update"));
    let denied = ["prompt=DENY", "registered_model=DENY"];
    world.call("admin", &create, with("NO_PERMISSIONS")).await.expect(200);
    assert_eq!(on_greeting(&world).await, denied);
    world.call("admin", &create, with("NO_PERMISSIONS")).await.expect(400);
    world.call("admin", &update, with("READ")).await.expect(200);
    assert_eq!(on_greeting(&world).await, ["prompt=READ", "registered_model=READ"]);
    let delete = call("DELETE", MODELS, "delete");
    world.call("admin", &delete, with("READ")).await.expect(200);
    assert_eq!(on_greeting(&world).await, [""; 0]);
    world.call("admin", &delete, with("READ")).await.expect(404);
    // Also where only the model's row is there yet.
    world.grant("bob", ResourceType::RegisteredModel, "greeting", Level::Edit).await;
    world.call("admin", &update, with("NO_PERMISSIONS")).await.expect(200);
    assert_eq!(on_greeting(&world).await, denied);
    let get = call("GET", MODELS, "get");
    let got = world.call("admin", &get, json!({ "name": "greeting", "username": "bob" })).await;
    assert_eq!(got.expect(200)["registered_model_permission"]["permission"], "NO_PERMISSIONS");
    let user = world.call("bob", "GET /api/2.0/mlflow/users/get", json!({ "username": "bob" }));
    let user = user.await.expect(200);
    assert_eq!(user["user"]["registered_model_permissions"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn who_manages_models_gives_nothing_on_prompts_and_the_other_way_round() {
    let world = World::new().await;
    world.grant("alice", ResourceType::RegisteredModel, "*", Level::Manage).await;
    world.grant("wanda", ResourceType::Workspace, "*", Level::Use).await;
    world.grant("wanda", ResourceType::Prompt, "greeting", Level::Manage).await;
    world.grant("bob", ResourceType::Prompt, "greeting", Level::Deny).await;
    let with = |level: &str| json!({ "name": "greeting", "username": "bob", "permission": level });
    let (create, update) = (call("POST", MODELS, "create"), call("PATCH", MODELS, "update"));
    world.call("alice", &create, with("READ")).await.expect(200);
    world.call("alice", &update, with("EDIT")).await.expect(200);
    assert_eq!(on_greeting(&world).await, ["prompt=DENY", "registered_model=EDIT"]);
    world.call("alice", &call("DELETE", MODELS, "delete"), with("EDIT")).await.expect(200);
    assert_eq!(on_greeting(&world).await, ["prompt=DENY"]);
    world.call("wanda", &update, with("READ")).await.expect(200);
    assert_eq!(on_greeting(&world).await, ["prompt=READ"]);
    world.call("bob", &update, with("MANAGE")).await.expect(403);
}

#[tokio::test]
async fn every_family_names_its_resource_its_own_way() {
    let world = World::new().await;
    let bob = world.store().user("bob").await.unwrap().unwrap().id.0;
    let families = [
        (
            "/api/2.0/mlflow/registered-models/permissions",
            "registered_model_permission",
            json!({ "name": "fraud" }),
            json!({ "workspace": "default", "name": "fraud" }),
            "Registered model permission with workspace=default, name=fraud and username=bob",
        ),
        (
            "/api/3.0/mlflow/scorers/permissions",
            "scorer_permission",
            json!({ "experiment_id": "7", "scorer_name": "my scorer/x" }),
            json!({ "experiment_id": "7", "scorer_name": "my scorer/x" }),
            "Scorer permission with experiment_id=7, scorer_name=my scorer/x, and username=bob",
        ),
        (
            "/api/3.0/mlflow/gateway/secrets/permissions",
            "gateway_secret_permission",
            json!({ "secret_id": "s-1" }),
            json!({ "secret_id": "s-1" }),
            "Gateway secret permission with secret_id=s-1 and username=bob",
        ),
        (
            "/api/3.0/mlflow/gateway/endpoints/permissions",
            "gateway_endpoint_permission",
            json!({ "endpoint_id": "e-1" }),
            json!({ "endpoint_id": "e-1" }),
            "Gateway endpoint permission with endpoint_id=e-1 and username=bob",
        ),
        (
            "/api/3.0/mlflow/gateway/model-definitions/permissions",
            "gateway_model_definition_permission",
            json!({ "model_definition_id": "d-1" }),
            json!({ "model_definition_id": "d-1" }),
            "Gateway model definition permission with model_definition_id=d-1 and username=bob",
        ),
    ];
    for (collection, entity, named, mut shape, missing) in families {
        let mut with = named;
        with["username"] = json!("bob");
        let get = call("GET", collection, "get");
        let told = world.call("admin", &get, with.clone()).await;
        assert_eq!((told.status, told.message()), (404, format!("{missing} not found").as_str()));
        with["permission"] = json!("EDIT");
        let create = call("POST", collection, "create");
        shape["user_id"] = json!(bob);
        shape["permission"] = json!("EDIT");
        let created = world.call("admin", &create, with.clone()).await.expect(200);
        assert_eq!(created, json!({ entity: shape }));
        assert_eq!(world.call("admin", &get, with).await.expect(200), created);
    }
    let own = world.store().own_permissions("bob").await.unwrap();
    let scorer = own.iter().find(|(_, row)| row.resource == ResourceType::Scorer).unwrap();
    assert_eq!(scorer.1.pattern.as_str(), "7/my%20scorer%2Fx");
}

#[tokio::test]
async fn a_user_comes_with_the_arrays_of_its_permissions() {
    let world = World::new().await;
    let bob = world.store().user("bob").await.unwrap().unwrap().id.0;
    world.grant("bob", ResourceType::Experiment, "7", Level::Deny).await;
    world.grant("bob", ResourceType::RegisteredModel, "fraud", Level::Read).await;
    world.grant_in("elsewhere", "bob", ResourceType::RegisteredModel, "far", Level::Read).await;
    world.grant("bob", ResourceType::Scorer, "7/my%20scorer", Level::Use).await;
    let got = world.call("bob", "GET /api/2.0/mlflow/users/get", json!({ "username": "bob" }));
    let user = &got.await.expect(200)["user"];
    assert_eq!(
        user["experiment_permissions"],
        json!([{ "experiment_id": "7", "user_id": bob, "permission": "NO_PERMISSIONS" }])
    );
    assert_eq!(
        user["registered_model_permissions"],
        json!([{
            "name": "fraud", "user_id": bob, "permission": "READ", "workspace": "default",
        }])
    );
    assert_eq!(
        user["scorer_permissions"],
        json!([{
            "experiment_id": "7", "scorer_name": "my scorer", "user_id": bob, "permission": "USE",
        }])
    );
}

#[tokio::test]
async fn a_new_user_comes_with_empty_arrays() {
    let world = World::new().await;
    let new = json!({ "username": "carl", "password": "carl-password-1" });
    let created = world.call("admin", "POST /api/2.0/mlflow/users/create", new).await.expect(200);
    for array in ["experiment_permissions", "registered_model_permissions", "scorer_permissions"] {
        assert_eq!(created["user"][array], Value::Array(Vec::new()), "{array}");
    }
}
