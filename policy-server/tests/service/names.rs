//! Rules for what is created, and the list of workspaces.

use mlgate_policy_server::contract as pb;
use mlgate_policy_server::contract::{Action, Outcome, ResourceType as R};
use mlgate_policy_server::domain::{Level, Pattern, ResourceType as Domain};

use crate::on_both_stores;
use crate::support::*;

fn nameable(resource: R, name: &str, current: &str) -> pb::Requirement {
    requirement(pb::requirement::Condition::Nameable(pb::Naming {
        r#type: resource.into(),
        name: name.to_owned(),
        current: current.to_owned(),
    }))
}

on_both_stores! {
async fn a_name_that_no_rule_permits_cannot_be_given(place: On) {
    let server = fixture(place, &[]).await;
    let outcome = async |user: &str, resource, name: &str, current: &str| {
        server.outcome(user, nameable(resource, name, current)).await
    };
    assert_eq!(outcome("reader", R::Experiment, "anything", "").await, Outcome::Allowed);
    let rules = "experiment={user}/*,registered_model=team-*,prompt=p-*";
    server.store.set_setting(&actor(), "creation_names", rules).await.unwrap();
    for (user, resource, name, current, expected) in [
        ("reader", R::Experiment, "reader/x", "", Outcome::Allowed),
        ("reader", R::Experiment, "owner/x", "", Outcome::Denied),
        ("reader", R::Experiment, "", "", Outcome::Denied),
        ("root", R::Experiment, "owner/x", "", Outcome::Allowed),
        ("reader", R::RegisteredModel, "team-x", "", Outcome::Allowed),
        ("reader", R::RegisteredModel, "x", "", Outcome::Denied),
        ("reader", R::GatewaySecret, "x", "", Outcome::Allowed),
        // What is renamed is a prompt or a model.
        ("reader", R::ModelOrPrompt, "p-x", "greeting", Outcome::Allowed),
        ("reader", R::ModelOrPrompt, "p-x", "classifier", Outcome::Denied),
    ] {
        assert_eq!(outcome(user, resource, name, current).await, expected, "{user} {name}");
    }
    for nonsense in ["experiment", "run=x"] {
        assert!(server.store.set_setting(&actor(), "creation_names", nonsense).await.is_err());
    }
}
}

async fn create(server: &Fixture, subject: pb::Subject, user: &str, id: &str) {
    let creation = pb::CreationIntent { r#type: R::Experiment.into(), name: id.to_owned() };
    let intent = pb::Intent { kind: Some(pb::intent::Kind::Creation(creation)) };
    let request = pb::AuthorizeRequest { intents: vec![intent], ..request(subject, vec![]) };
    let allowed = server.request(request).await;
    assert_eq!(allowed.outcome(), Outcome::Allowed, "{allowed:?}");
    let record = pb::RecordRequest {
        username: user.to_owned(),
        effects: vec![created(R::Experiment, id)],
        intent_id: allowed.intent_id,
        ..Default::default()
    };
    server.client.clone().record(record).await.unwrap();
}

on_both_stores! {
async fn a_group_shares_in_what_its_members_create(place: On) {
    let server = fixture(place, &[]).await;
    server.store.set_setting(&actor(), "creation_groups", "science=EDIT").await.unwrap();
    for user in ["owner", "reader"] {
        server.store.add_group_member(&actor(), "science", user).await.unwrap();
    }
    create(&server, basic("owner", PASSWORD), "owner", "60").await;
    create(&server, basic("stranger", PASSWORD), "stranger", "61").await;
    let verified = pb::VerifiedIdentity {
        issuer: "idp".to_owned(),
        username: "idp|carol".to_owned(),
        groups: vec!["science".to_owned()],
        expires_at: i64::MAX / 2000,
    };
    let carol = pb::Subject { kind: Some(pb::subject::Kind::Verified(verified)) };
    create(&server, carol, "idp|carol", "62").await;
    for (user, id, action, expected) in [
        ("owner", "60", Action::Manage, Outcome::Allowed),
        ("reader", "60", Action::Update, Outcome::Allowed),
        ("reader", "60", Action::Manage, Outcome::Denied),
        ("stranger", "60", Action::Read, Outcome::Denied),
        ("reader", "61", Action::Read, Outcome::Denied),
        ("reader", "62", Action::Update, Outcome::Allowed),
    ] {
        let outcome = server.outcome(user, experiment(id, action)).await;
        assert_eq!(outcome, expected, "{user} {id} {action:?}");
    }
}
}

on_both_stores! {
async fn a_workspace_is_listed_to_whoever_has_a_role_in_it(place: On) {
    let server = fixture(place, &[("workspaces", "true")]).await;
    let store = &server.store;
    let role = async |workspace: &str, name: &str| {
        store.create_role(&actor(), workspace, name, None).await.unwrap().value.id
    };
    // Even one that permits nothing, as MLflow has it.
    let empty = role("plain", "guest").await;
    store.assign_role(&actor(), "reader", empty).await.unwrap();
    let grouped = role("grouped", "team").await;
    store.add_group_role(&actor(), "science", grouped).await.unwrap();
    store.add_group_member(&actor(), "science", "reader").await.unwrap();
    role("other", "guest").await;
    // A grant of one's own counts only on the workspace itself.
    let every = Pattern::Every;
    let own = async |workspace: &str, resource, pattern: &Pattern, level| {
        let if_exists = mlgate_policy_server::store::IfExists::Replace;
        let by = actor();
        let granted = store.grant(&by, "reader", workspace, resource, pattern, level, if_exists);
        granted.await.unwrap();
    };
    own("owned", Domain::Workspace, &every, Level::Use).await;
    own("touched", Domain::Experiment, &Pattern::literal("9"), Level::Manage).await;
    let listed = async |user: &str| {
        let names = ["default", "plain", "grouped", "other", "owned", "touched"];
        let question = pb::Question {
            r#type: R::Workspace.into(),
            ids: names.map(str::to_owned).to_vec(),
            action: Action::Read.into(),
            ..Default::default()
        };
        let request = pb::VisibleRequest {
            username: user.to_owned(),
            questions: vec![question],
            min_revision: store.revision().await.unwrap(),
            ..Default::default()
        };
        server.client.clone().visible(request).await.unwrap().into_inner().answers.remove(0).allowed
    };
    assert_eq!(listed("reader").await, ["plain", "grouped", "owned"]);
    assert_eq!(listed("stranger").await, [] as [&str; 0]);
    assert_eq!(listed("root").await.len(), 6);
    store.set_setting(&actor(), "grant_default_workspace_access", "true").await.unwrap();
    assert_eq!(listed("stranger").await, ["default"]);
}
}
