//! Answers of MLflow's that were lost: creations get their owner, deletions take their grants, and
//! nobody gets what is somebody else's.

use mlgate_policy_server::contract as pb;
use mlgate_policy_server::contract::{Action, Outcome, ResourceType as R};
use mlgate_policy_server::domain::{Level, Pattern, ResourceType as Domain};
use sqlx::{ConnectOptions, Executor};

use crate::on_both_stores;
use crate::support::*;

/// Does to the tracking database what MLflow would have done; `NOW` is the time.
async fn mlflow(server: &Fixture, statement: &str) {
    let now = mlgate_policy_server::store::now();
    let statement = statement.replace("NOW", &now.to_string());
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(&server.tracking);
    let mut connection = options.connect().await.unwrap();
    connection.execute(sqlx::AssertSqlSafe(statement)).await.unwrap();
}

fn creation(resource: R, name: &str) -> pb::Intent {
    let creation = pb::CreationIntent { r#type: resource.into(), name: name.to_owned() };
    pb::Intent { kind: Some(pb::intent::Kind::Creation(creation)) }
}

fn deletion(resource: R, id: &str) -> pb::Intent {
    let deleted = pb::Deleted { r#type: resource.into(), id: id.to_owned() };
    pb::Intent { kind: Some(pb::intent::Kind::Deletion(deleted)) }
}

fn renaming(from: &str, to: &str) -> pb::Intent {
    let (from, to) = (from.to_owned(), to.to_owned());
    let renamed = pb::Renamed { r#type: R::RegisteredModel.into(), from, to };
    pb::Intent { kind: Some(pb::intent::Kind::Renaming(renamed)) }
}

async fn announce(server: &Fixture, user: &str, intent: pb::Intent) -> pb::AuthorizeResponse {
    let min_revision = server.store.revision().await.unwrap();
    let request = pb::AuthorizeRequest {
        intents: vec![intent],
        min_revision,
        ..request(basic(user, PASSWORD), vec![])
    };
    server.request(request).await
}

async fn record(server: &Fixture, user: &str, intent_id: &str, kind: pb::effect::Kind) {
    let request = pb::RecordRequest {
        username: user.to_owned(),
        effects: vec![pb::Effect { kind: Some(kind) }],
        intent_id: intent_id.to_owned(),
        ..Default::default()
    };
    server.client.clone().record(request).await.unwrap();
}

/// Makes what is open so old that it is looked at, or `seconds` older than that.
async fn age(server: &Fixture, seconds: i64) {
    let statement =
        format!("UPDATE intents SET created_at = created_at - {}", 3_000 + seconds * 1000);
    raw(&server.store_url).await.execute(sqlx::AssertSqlSafe(statement)).await.unwrap();
}

async fn open_intents(server: &Fixture) -> i64 {
    count(&raw(&server.store_url).await, "SELECT COUNT(*) FROM intents").await
}

async fn settled(server: &Fixture) {
    eventually("the intents are settled", async || open_intents(server).await == 0).await;
}

const MANAGE: Action = Action::Manage;

on_both_stores! {
async fn a_creation_whose_answer_was_lost_gets_its_creator(place: On) {
    let server = fixture(place, &[]).await;
    for (resource, name, statement, id) in [
        (R::Experiment, "lost",
         "INSERT INTO experiments (experiment_id, name, creation_time, workspace) VALUES (50, 'lost', NOW, 'default')",
         "50"),
        (R::RegisteredModel, "m*",
         "INSERT INTO registered_models (name, creation_time, workspace) VALUES ('m*', NOW, 'default')",
         "m*"),
        (R::Prompt, "hello",
         "INSERT INTO registered_models (name, creation_time, workspace) VALUES ('hello', NOW, 'default'); \
          INSERT INTO registered_model_tags (key, value, name, workspace) VALUES \
          ('mlflow.prompt.is_prompt', 'true', 'hello', 'default')",
         "hello"),
        (R::Scorer, "1/new%20one",
         "INSERT INTO scorers (experiment_id, scorer_name, scorer_id) VALUES (1, 'new one', 's-9'); \
          INSERT INTO scorer_versions (scorer_id, scorer_version, creation_time) VALUES ('s-9', 1, NOW)",
         "1/new%20one"),
        (R::GatewaySecret, "token",
         "INSERT INTO secrets (secret_id, secret_name, created_at, workspace) VALUES ('se-9', 'token', NOW, 'default')",
         "se-9"),
        (R::GatewayEndpoint, "talk",
         "INSERT INTO endpoints (endpoint_id, name, created_at, workspace) VALUES ('e-9', 'talk', NOW, 'default')",
         "e-9"),
        (R::GatewayModelDefinition, "claude",
         "INSERT INTO model_definitions (model_definition_id, name, created_at, workspace) VALUES ('md-9', 'claude', NOW, 'default')",
         "md-9"),
        (R::McpServer, "org/new",
         "INSERT INTO mcp_servers (name, created_at, workspace) VALUES ('org/new', NOW, 'default')",
         "org/new"),
        (R::Skill, "reviewer",
         "INSERT INTO skills (workspace, organization, name, created_at) VALUES ('default', '', 'reviewer', NOW)",
         "reviewer"),
        (R::Skill, "@acme/reviewer",
         "INSERT INTO skills (workspace, organization, name, created_at) VALUES ('default', 'acme', 'reviewer', NOW)",
         "@acme/reviewer"),
    ] {
        let allowed = announce(&server, "stranger", creation(resource, name)).await;
        assert_eq!(allowed.outcome(), Outcome::Allowed);
        assert!(allowed.ttl_ms == 0 && !allowed.intent_id.is_empty());
        mlflow(&server, statement).await;
        age(&server, 0).await;
        settled(&server).await;
        let manage = || on(resource, id, MANAGE);
        assert_eq!(server.outcome("stranger", manage()).await, Outcome::Allowed, "{resource:?}");
        assert_eq!(server.outcome("reader", manage()).await, Outcome::Denied, "{resource:?}");
    }
}
}

const LOST: &str = "INSERT INTO registered_models (name, creation_time, workspace) \
                    VALUES ('lost', NOW, 'default')";

on_both_stores! {
async fn what_somebody_owns_is_given_to_nobody_else(place: On) {
    let server = fixture(place, &[]).await;
    // Both were told that they may; one was faster, and MLflow refused the other.
    announce(&server, "stranger", creation(R::RegisteredModel, "lost")).await;
    let won = announce(&server, "reader", creation(R::RegisteredModel, "lost")).await;
    mlflow(&server, LOST).await;
    let made = pb::Created { r#type: R::RegisteredModel.into(), id: "lost".to_owned() };
    record(&server, "reader", &won.intent_id, pb::effect::Kind::Created(made)).await;
    // Not even after the owner has given it away.
    let (model, lost) = (Domain::RegisteredModel, Pattern::literal("lost"));
    server.store.revoke(&actor(), "reader", "default", model, &lost).await.unwrap();
    age(&server, 0).await;
    settled(&server).await;
    let read = on(R::RegisteredModel, "lost", Action::Read);
    assert_eq!(server.outcome("stranger", read).await, Outcome::Denied);
}
}

on_both_stores! {
async fn what_two_may_have_created_is_given_to_neither(place: On) {
    let server = fixture(place, &[]).await;
    announce(&server, "stranger", creation(R::RegisteredModel, "lost")).await;
    announce(&server, "reader", creation(R::RegisteredModel, "lost")).await;
    mlflow(&server, LOST).await;
    age(&server, 0).await;
    settled(&server).await;
    for user in ["stranger", "reader"] {
        let read = on(R::RegisteredModel, "lost", Action::Read);
        assert_eq!(server.outcome(user, read).await, Outcome::Denied, "{user}");
    }
    let newest = &server.store.audit_log(None, 1).await.unwrap()[0];
    assert_eq!(newest.action, "creation.contested");
}
}

on_both_stores! {
async fn what_was_there_before_is_not_given_to_who_tried_to_create_it(place: On) {
    let server = fixture(place, &[]).await;
    // Nobody's, made around the gate long ago; and one made now, before the attempt.
    mlflow(&server, LOST).await;
    for name in ["classifier", "lost"] {
        announce(&server, "stranger", creation(R::RegisteredModel, name)).await;
    }
    // One that turns up later, but was made at another time.
    announce(&server, "stranger", creation(R::RegisteredModel, "old")).await;
    mlflow(
        &server,
        "INSERT INTO registered_models (name, creation_time, workspace) \
         VALUES ('old', 1700000000000, 'default')",
    )
    .await;
    age(&server, 120).await;
    settled(&server).await;
    for name in ["classifier", "lost", "old"] {
        let read = on(R::RegisteredModel, name, Action::Read);
        assert_eq!(server.outcome("stranger", read).await, Outcome::Denied, "{name}");
    }
}
}

on_both_stores! {
async fn an_unanswered_creation_survives_the_server_that_allowed_it(place: On) {
    let mut server = fixture(place, &[]).await;
    announce(&server, "stranger", creation(R::RegisteredModel, "lost")).await;
    server.stop.take().unwrap().send(()).unwrap();
    (&mut server.server).await.unwrap().unwrap();
    mlflow(&server, LOST).await;
    age(&server, 0).await;
    let (store, mut other, _running) = server.beside().await;
    eventually("the intents are settled", async || open_intents(&server).await == 0).await;
    let manage = vec![on(R::RegisteredModel, "lost", MANAGE)];
    let min_revision = store.revision().await.unwrap();
    let request =
        pb::AuthorizeRequest { min_revision, ..request(basic("stranger", PASSWORD), manage) };
    let answer = other.authorize(request).await.unwrap().into_inner();
    assert_eq!(answer.outcome(), Outcome::Allowed);
}
}

/// MANAGE on `classifier` for `owner`, READ for whoever has the role that `reader` has.
async fn own_classifier(server: &Fixture) {
    let model = Domain::RegisteredModel;
    server.grant("owner", model, "classifier", Level::Manage).await;
    let role = server.store.create_role(&actor(), "default", "team", None).await.unwrap().value.id;
    server.store.assign_role(&actor(), "reader", role).await.unwrap();
    let exact = Pattern::literal("classifier");
    server.store.add_role_permission(&actor(), role, model, &exact, Level::Read).await.unwrap();
}

async fn reads(server: &Fixture, user: &str, name: &str) -> Outcome {
    server.outcome(user, on(R::RegisteredModel, name, Action::Read)).await
}

on_both_stores! {
async fn a_deletion_whose_answer_was_lost_takes_the_grants_with_it(place: On) {
    let server = fixture(place, &[]).await;
    own_classifier(&server).await;
    announce(&server, "owner", deletion(R::RegisteredModel, "classifier")).await;
    age(&server, 0).await;
    tokio::time::sleep(std::time::Duration::from_millis(2500)).await;
    assert_eq!(reads(&server, "owner", "classifier").await, Outcome::Allowed, "it is still there");
    mlflow(&server, "DELETE FROM registered_models WHERE name = 'classifier'").await;
    settled(&server).await;
    for user in ["owner", "reader"] {
        assert_eq!(reads(&server, user, "classifier").await, Outcome::Denied, "{user}");
    }
}
}

on_both_stores! {
async fn a_namesake_inherits_nothing_although_the_deletions_answer_was_lost(place: On) {
    let server = fixture(place, &[]).await;
    own_classifier(&server).await;
    let deleted = announce(&server, "owner", deletion(R::RegisteredModel, "classifier")).await;
    mlflow(&server, "DELETE FROM registered_models WHERE name = 'classifier'").await;
    let made = announce(&server, "stranger", creation(R::RegisteredModel, "classifier")).await;
    // Before the namesake can be there, the grants are gone.
    for user in ["owner", "reader"] {
        assert_eq!(reads(&server, user, "classifier").await, Outcome::Denied, "{user}");
    }
    mlflow(&server, &LOST.replace("lost", "classifier")).await;
    let created = pb::Created { r#type: R::RegisteredModel.into(), id: "classifier".to_owned() };
    record(&server, "stranger", &made.intent_id, pb::effect::Kind::Created(created)).await;
    // The lost answer turns up after all.
    let gone = pb::Deleted { r#type: R::RegisteredModel.into(), id: "classifier".to_owned() };
    record(&server, "owner", &deleted.intent_id, pb::effect::Kind::Deleted(gone)).await;
    assert_eq!(reads(&server, "stranger", "classifier").await, Outcome::Allowed);
    assert_eq!(reads(&server, "owner", "classifier").await, Outcome::Denied);
}
}

on_both_stores! {
async fn what_users_were_granted_on_a_name_does_not_survive_its_creation(place: On) {
    let server = fixture(place, &[]).await;
    // Left over from a model that was deleted around the gate.
    server.grant("owner", Domain::RegisteredModel, "lost", Level::Manage).await;
    server.grant("owner", Domain::Prompt, "lost", Level::Manage).await;
    server.grant("reader", Domain::RegisteredModel, "lost", Level::Deny).await;
    let made = announce(&server, "stranger", creation(R::RegisteredModel, "lost")).await;
    mlflow(&server, LOST).await;
    let created = || pb::Created { r#type: R::RegisteredModel.into(), id: "lost".to_owned() };
    record(&server, "stranger", &made.intent_id, pb::effect::Kind::Created(created())).await;
    assert_eq!(reads(&server, "owner", "lost").await, Outcome::Denied);
    assert_eq!(server.outcome("owner", on(R::Prompt, "lost", Action::Read)).await, Outcome::Denied);
    assert_eq!(reads(&server, "stranger", "lost").await, Outcome::Allowed);
    // A repetition of the record takes nothing that was granted since.
    server.grant("owner", Domain::RegisteredModel, "lost", Level::Read).await;
    record(&server, "stranger", &made.intent_id, pb::effect::Kind::Created(created())).await;
    assert_eq!(reads(&server, "owner", "lost").await, Outcome::Allowed);
    let denied = server.outcome("reader", on(R::RegisteredModel, "lost", Action::NotDenied)).await;
    assert_eq!(denied, Outcome::Denied, "what is denied stays so");
}
}

on_both_stores! {
async fn a_renaming_whose_answer_was_lost_moves_the_grants(place: On) {
    let server = fixture(place, &[]).await;
    own_classifier(&server).await;
    announce(&server, "owner", renaming("classifier", "better")).await;
    mlflow(&server, "UPDATE registered_models SET name = 'better' WHERE name = 'classifier'").await;
    age(&server, 0).await;
    settled(&server).await;
    assert_eq!(reads(&server, "owner", "better").await, Outcome::Allowed);
    for (user, name) in [("owner", "classifier"), ("reader", "classifier"), ("reader", "better")] {
        assert_eq!(reads(&server, user, name).await, Outcome::Denied, "{user} {name}");
    }
}
}

on_both_stores! {
async fn a_renaming_that_is_recorded_twice_keeps_the_grants(place: On) {
    let server = fixture(place, &[]).await;
    own_classifier(&server).await;
    let renamed = announce(&server, "owner", renaming("classifier", "better")).await;
    mlflow(&server, "UPDATE registered_models SET name = 'better' WHERE name = 'classifier'").await;
    for _ in 0..2 {
        let (from, to) = ("classifier".to_owned(), "better".to_owned());
        let moved = pb::Renamed { r#type: R::RegisteredModel.into(), from, to };
        record(&server, "owner", &renamed.intent_id, pb::effect::Kind::Renamed(moved)).await;
        assert_eq!(reads(&server, "owner", "better").await, Outcome::Allowed);
    }
}
}

on_both_stores! {
async fn nothing_is_renamed_onto_a_name_that_still_has_grants(place: On) {
    let server = fixture(place, &[]).await;
    own_classifier(&server).await;
    // What is denied on the name was not meant for this model either.
    for level in [Level::Read, Level::Deny] {
        server.grant("reader", Domain::RegisteredModel, "lost", level).await;
        let refused = announce(&server, "owner", renaming("classifier", "lost")).await;
        let answer = (refused.outcome(), refused.reason.as_str());
        assert_eq!(answer, (Outcome::Denied, "name_has_grants"), "{level}");
        assert_eq!(open_intents(&server).await, 0, "{level}");
    }
    // Where something has the name, MLflow says so itself.
    mlflow(&server, LOST).await;
    let allowed = announce(&server, "owner", renaming("classifier", "lost")).await;
    assert_eq!(allowed.outcome(), Outcome::Allowed);
}
}

on_both_stores! {
async fn without_a_tracking_database_nothing_is_guessed(place: On) {
    let server = fixture(place, &[("tracking_uri", "sqlite:////nowhere/mlflow.db")]).await;
    let allowed = announce(&server, "stranger", creation(R::RegisteredModel, "lost")).await;
    assert_eq!(allowed.outcome(), Outcome::Allowed, "a lookup that fails holds nobody up");
    age(&server, 120).await;
    settled(&server).await;
    assert_eq!(reads(&server, "stranger", "lost").await, Outcome::Denied);
}
}
