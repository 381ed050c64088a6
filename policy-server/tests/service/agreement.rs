//! Several servers on one Postgres are one policy.

use mlgate_policy_server::contract as pb;
use mlgate_policy_server::contract::policy_client::PolicyClient;
use mlgate_policy_server::contract::{Action, Outcome, ResourceType as R};
use tokio::task::JoinSet;
use tonic::transport::Channel;

use crate::support::*;

const WRITERS: usize = 300;
/// Names that all writers want.
const CONTESTED: usize = 5;

fn experiment_of(writer: usize) -> String {
    (1000 + writer).to_string()
}

async fn post(client: &PolicyClient<Channel>, path: &str, body: serde_json::Value) -> u32 {
    let request = pb::AdministerRequest {
        subject: Some(basic("root", PASSWORD)),
        method: "POST".to_owned(),
        path: path.to_owned(),
        content_type: "application/json".to_owned(),
        body: body.to_string().into_bytes(),
        ..Default::default()
    };
    client.clone().administer(request).await.unwrap().into_inner().status
}

/// Creates an experiment as somebody new, shares it with `reader`, and tries for a role and an
/// experiment that others want too. Says whether it got the role.
async fn race(client: PolicyClient<Channel>, writer: usize) -> bool {
    let (username, id) = (format!("writer{writer}"), experiment_of(writer));
    let record = |username: &str, id: &str| pb::RecordRequest {
        username: username.to_owned(),
        effects: vec![created(R::Experiment, id)],
        ..Default::default()
    };
    client.clone().record(record(&username, &id)).await.unwrap();
    let permission = serde_json::json!(
        { "experiment_id": id, "username": "reader", "permission": "READ" });
    let path = "/api/2.0/mlflow/experiments/permissions/create";
    assert_eq!(post(&client, path, permission).await, 200, "{writer}");
    client.clone().record(record("everybody", "777")).await.unwrap();
    let role = serde_json::json!(
        { "name": format!("contested{}", writer % CONTESTED), "workspace": "default" });
    match post(&client, "/api/3.0/mlflow/roles/create", role).await {
        200 => true,
        // RESOURCE_ALREADY_EXISTS
        400 | 409 => false,
        other => panic!("{other}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn two_servers_on_one_postgres_agree_after_hundreds_of_racing_writes() {
    if postgres_server().is_none() {
        return;
    }
    let first = fixture(On::Postgres, &[]).await;
    let (second_store, second, _running) = first.beside().await;
    let known = first.store.revision().await.unwrap();
    let clients = [first.client.clone(), second];
    let watchers = [watched(&clients[0], known).await, watched(&clients[1], known).await];

    let mut racing = JoinSet::new();
    for writer in 0..WRITERS {
        racing.spawn(race(clients[writer % 2].clone(), writer));
    }
    let winners = racing.join_all().await.into_iter().filter(|&won| won).count();
    assert_eq!(winners, CONTESTED, "each role was created once");

    // A user with a grant, another grant, and once for all: somebody's grant, and the roles.
    let newest = first.store.revision().await.unwrap();
    assert_eq!(newest, known + 2 * WRITERS as u64 + 1 + CONTESTED as u64);
    let expected: Vec<u64> = (known + 1..=newest).collect();
    for (server, seen) in watchers.iter().enumerate() {
        let what = format!("the watcher of server {server} has seen revision {newest}");
        eventually(&what, || async { seen.lock().unwrap().last() == Some(&newest) }).await;
        assert_eq!(*seen.lock().unwrap(), expected, "server {server}");
    }

    for store in [&first.store, &second_store] {
        let grants = async |user: &str| store.principal(user, &[]).await.unwrap().grants.len();
        assert_eq!(grants("reader").await, 1 + WRITERS);
        assert_eq!(grants("everybody").await, 1);
        let roles = store.roles(None).await.unwrap();
        let named = roles.iter().filter(|role| role.name.starts_with("contested")).count();
        assert_eq!(named, CONTESTED);
    }
    for writer in 0..WRITERS {
        let username = format!("writer{writer}");
        let jwt = pb::VerifiedIdentity {
            username: username.clone(),
            expires_at: 1 << 40,
            ..Default::default()
        };
        let jwt = pb::Subject { kind: Some(pb::subject::Kind::Verified(jwt)) };
        for (user, subject, action, expected) in [
            (username.as_str(), jwt, Action::Manage, Outcome::Allowed),
            ("reader", basic("reader", PASSWORD), Action::Read, Outcome::Allowed),
            ("reader", basic("reader", PASSWORD), Action::Update, Outcome::Denied),
            ("owner", basic("owner", PASSWORD), Action::Read, Outcome::Denied),
        ] {
            for (server, client) in clients.iter().enumerate() {
                let asked = experiment(&experiment_of(writer), action);
                let question = pb::AuthorizeRequest {
                    min_revision: newest,
                    ..request(subject.clone(), vec![asked])
                };
                let answer = client.clone().authorize(question).await.unwrap().into_inner();
                assert_eq!(answer.outcome(), expected, "{user} {action:?} of server {server}");
            }
        }
    }
    assert_gapless(&first.store_url, known).await;
}
