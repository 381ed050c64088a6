use serde_json::{Value, json};

use super::fixture::{ADMIN_PASSWORD, World, request};
use crate::admin::{AdminRequest, Caller, Means};
use crate::credentials::Token;
use crate::policy::{EVERYTHING, Reach, TokenScope};
use crate::store::now;

const CREATE: &str = "POST /api/2.0/mlgate/tokens/create";
const LIST: &str = "GET /api/2.0/mlgate/tokens/list";
const REVOKE: &str = "POST /api/2.0/mlgate/tokens/revoke";
const UPDATE_PASSWORD: &str = "PATCH /api/2.0/mlflow/users/update-password";
const DAY: i64 = 86_400_000;

fn from_identity_provider() -> Caller {
    Caller {
        username: "okta:dora".to_owned(),
        super_admin: false,
        groups: Vec::new(),
        means: Means::IdentityProvider,
        reach: EVERYTHING.clone(),
    }
}

/// How many days the token lives; a few of them have passed since it was asked for.
fn days(created: &Value) -> Option<i64> {
    created["token"]["expires_at"].as_i64().map(|at| (at - now() + DAY / 2) / DAY)
}

#[tokio::test]
async fn a_users_own_token_is_shown_once_and_ends_after_ninety_days() {
    let world = World::new().await;
    let new = json!({ "name": "laptop", "scopes": ["read", "experiment:7"] });
    let created = world.call("alice", CREATE, new).await.expect(200);
    let secret = created["secret"].as_str().unwrap();
    let found = world.store().token_by_hash(&Token::parse(secret).unwrap().hash()).await.unwrap();
    let found = found.unwrap();
    assert_eq!((found.username.as_str(), found.name.as_str()), ("alice", "laptop"));
    assert_eq!(found.scopes, ["read", "experiment:7"]);
    assert_eq!(days(&created), Some(90));
    let listed = world.call("alice", LIST, json!({})).await.expect(200);
    assert_eq!(listed["tokens"], json!([created["token"]]));
    assert!(!listed.to_string().contains(secret), "{listed}");
    assert!(secret.starts_with(listed["tokens"][0]["prefix"].as_str().unwrap()));
    let audit = world.store().audit_log(None, 1).await.unwrap().remove(0);
    assert_eq!((audit.actor.as_str(), audit.action.as_str()), ("alice", "token.create"));
    assert!(!serde_json::to_string(&audit).unwrap().contains(secret));
}

#[tokio::test]
async fn users_administer_their_own_tokens_and_super_admins_everybodys() {
    let world = World::new().await;
    let new = json!({ "name": "laptop" });
    let created = world.call("alice", CREATE, new.clone()).await.expect(200);
    let id = created["token"]["id"].clone();
    let of_alice = json!({ "username": "alice" });
    // Neither another user nor a workspace's administrator, and no word of what there is.
    for other in ["bob", "wanda"] {
        world.call(other, LIST, of_alice.clone()).await.expect(403);
        let for_alice = json!({ "username": "alice", "name": "planted" });
        world.call(other, CREATE, for_alice).await.expect(403);
        let refused = world.call(other, REVOKE, json!({ "id": id })).await;
        let absent = world.call(other, REVOKE, json!({ "id": 999 })).await;
        assert_eq!((refused.status, &refused.body), (403, &absent.body));
    }
    let listed = world.call("admin", LIST, of_alice.clone()).await.expect(200);
    assert_eq!(listed["tokens"].as_array().unwrap().len(), 1);
    let for_alice = json!({ "username": "alice", "name": "job", "lifetime_seconds": null });
    let job = world.call("admin", CREATE, for_alice).await.expect(200);
    assert_eq!(job["token"]["expires_at"], json!(null));
    let revoked = world.call("alice", REVOKE, json!({ "id": id })).await.expect(200);
    assert!(revoked["token"]["revoked_at"].is_i64());
    world.call("admin", REVOKE, json!({ "id": job["token"]["id"] })).await.expect(200);
    world.call("admin", REVOKE, json!({ "id": job["token"]["id"] })).await.expect(404);
    world.call("admin", LIST, json!({ "username": "nobody" })).await.expect(404);
    // The name is free again.
    world.call("alice", CREATE, new).await.expect(200);
}

#[tokio::test]
async fn no_token_makes_a_token() {
    let world = World::new().await;
    for who in ["alice", "admin"] {
        let by_token = Caller { means: Means::Token, ..world.caller(who).await };
        let told = world.send(&by_token, request(CREATE, json!({ "name": "heir" }))).await;
        assert_eq!((told.status, told.error_code()), (403, "PERMISSION_DENIED"));
        world.send(&by_token, request(LIST, json!({}))).await.expect(200);
        let limited = Reach::of([TokenScope::Experiment("7".to_owned())]);
        let limited = Caller { reach: limited, ..by_token };
        for call in [CREATE, LIST, REVOKE] {
            let call = request(call, json!({ "name": "heir", "id": 1 }));
            world.send(&limited, call).await.expect(403);
        }
    }
    assert!(world.store().tokens(None).await.unwrap().is_empty());
}

#[tokio::test]
async fn no_token_makes_an_account_a_password_or_an_administrator() {
    let world = World::new().await;
    let before = world.store().revision().await.unwrap();
    let next = "another-password-1";
    for (who, call, with) in [
        (
            "admin",
            "POST /api/2.0/mlflow/users/create",
            json!({ "username": "carl", "password": next }),
        ),
        (
            "wanda",
            "POST /api/2.0/mlflow/users/create",
            json!({ "username": "carl", "password": next }),
        ),
        ("admin", UPDATE_PASSWORD, json!({ "username": "bob", "password": next })),
        (
            "admin",
            UPDATE_PASSWORD,
            json!({ "username": "admin", "password": next, "current_password": ADMIN_PASSWORD }),
        ),
        (
            "admin",
            "PATCH /api/2.0/mlflow/users/update-admin",
            json!({ "username": "bob", "is_admin": true }),
        ),
    ] {
        let caller = world.caller(who).await;
        let by_token = Caller { means: Means::Token, ..caller.clone() };
        let told = world.send(&by_token, request(call, with.clone())).await;
        let refusal = (told.status, told.error_code(), told.message());
        assert_eq!(
            refusal,
            (403, "PERMISSION_DENIED", "A token makes no credentials. Log in."),
            "{call}"
        );
        assert_eq!(world.store().revision().await.unwrap(), before, "{call}");
    }
    // What the same people may who have logged in.
    let with = json!({ "username": "bob", "is_admin": true });
    world.call("admin", "PATCH /api/2.0/mlflow/users/update-admin", with).await.expect(200);
}

#[tokio::test]
async fn only_super_admins_give_tokens_more_than_a_year() {
    let world = World::new().await;
    for (lifetime, own, admins) in [
        (json!(1), 200, 200),
        (json!(366 * 86_400), 200, 200),
        (json!(366 * 86_400 + 1), 400, 200),
        (json!(null), 400, 200),
        (json!(3660 * 86_400 + 1), 400, 400),
        (json!(0), 400, 400),
        (json!(-1), 400, 400),
        (json!("3600"), 400, 400),
        (json!(1.5), 400, 400),
        (json!(u64::MAX), 400, 400),
    ] {
        let new = json!({ "name": lifetime.to_string(), "lifetime_seconds": lifetime });
        for (who, status) in [("alice", own), ("admin", admins)] {
            let told = world.call(who, CREATE, new.clone()).await;
            assert_eq!(told.status, status, "{who} {lifetime}: {:?}", told.body);
        }
    }
}

#[tokio::test]
async fn what_is_no_scope_makes_no_token() {
    let world = World::new().await;
    for scopes in [
        json!("read"),
        json!(["READ"]),
        json!(["experiment:*"]),
        json!(["experiment:07"]),
        json!([7]),
        json!({ "read": true }),
        json!(vec!["read"; 101]),
    ] {
        let told = world.call("alice", CREATE, json!({ "name": "x", "scopes": scopes })).await;
        assert_eq!(told.status, 400, "{scopes}");
        assert!(told.message().contains("scopes"), "{:?}", told.body);
    }
    assert!(world.store().tokens(None).await.unwrap().is_empty());
}

#[tokio::test]
async fn only_json_makes_or_revokes_a_token() {
    let world = World::new().await;
    let created = world.call("alice", CREATE, json!({ "name": "laptop" })).await.expect(200);
    let alice = world.caller("alice").await;
    for (call, with) in
        [(CREATE, json!({ "name": "forged" })), (REVOKE, json!({ "id": created["token"]["id"] }))]
    {
        for content_type in ["", "text/plain", "application/x-www-form-urlencoded"] {
            let query = vec![("name".to_owned(), "forged".to_owned())];
            let forged = AdminRequest {
                content_type: content_type.to_owned(),
                query,
                ..request(call, with.clone())
            };
            world.send(&alice, forged).await.expect(400);
        }
    }
    let tokens = world.store().tokens(None).await.unwrap();
    assert!(tokens.len() == 1 && tokens[0].revoked_at.is_none());
}

#[tokio::test]
async fn a_user_has_a_hundred_valid_tokens_and_no_more() {
    let world = World::new().await;
    for number in 0..100 {
        world.call("alice", CREATE, json!({ "name": format!("{number}") })).await.expect(200);
    }
    let told = world.call("alice", CREATE, json!({ "name": "one more" })).await;
    assert_eq!(told.status, 400);
    assert!(told.message().contains("Revoke"), "{:?}", told.body);
    let first = world.store().tokens(None).await.unwrap().remove(0).id;
    world.call("alice", REVOKE, json!({ "id": first })).await.expect(200);
    world.call("alice", CREATE, json!({ "name": "one more" })).await.expect(200);
}

#[tokio::test]
async fn the_user_of_an_identity_provider_gets_a_row_with_the_first_token() {
    let world = World::new().await;
    let dora = from_identity_provider();
    let listed = world.send(&dora, request(LIST, json!({}))).await.expect(200);
    assert_eq!(listed, json!({ "tokens": [] }));
    world.send(&dora, request(CREATE, json!({ "name": "notebook" }))).await.expect(200);
    let user = world.store().user("okta:dora").await.unwrap().unwrap();
    assert!(user.password_hash.is_none() && !user.is_admin);
}

#[tokio::test]
async fn the_token_of_an_administrator_by_group_is_no_administrators() {
    let world = World::new().await;
    let dora = Caller { super_admin: true, ..from_identity_provider() };
    world.send(&dora, request(CREATE, json!({ "name": "notebook" }))).await.expect(200);
    assert!(!world.store().user("okta:dora").await.unwrap().unwrap().is_admin);
}

#[tokio::test]
async fn a_disabled_user_makes_no_token() {
    let world = World::new().await;
    world.disable("alice").await;
    world.call("alice", CREATE, json!({ "name": "laptop" })).await.expect(403);
}
