//! A filter of the contract's version before: its messages are compiled from that version.

use std::time::Duration;

use mlgate_policy_server::domain::Level;
use mlgate_policy_server::policy::TokenScope;
use mlgate_policy_server::service::contract::{CONTRACT, HEADER};
use mlgate_policy_server::store::NewToken;
use prost::Message;
use tonic::metadata::MetadataValue;
use tonic::{Code, Request};

use crate::support::*;

#[allow(clippy::all, dead_code)]
mod old {
    include!(concat!(env!("OUT_DIR"), "/previous/mlgate.policy.v1.rs"));
}
use old::policy_client::PolicyClient;

/// The same message, as the older version knows it.
fn older<T: Message + Default>(message: &impl Message) -> T {
    T::decode(message.encode_to_vec().as_slice()).unwrap()
}

fn speaking<T>(contract: &str, message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.metadata_mut().insert(HEADER, MetadataValue::try_from(contract).unwrap());
    request
}

fn reading(credential: mlgate_policy_server::contract::Subject) -> old::AuthorizeRequest {
    use mlgate_policy_server::contract::Action;
    older(&request(credential, vec![experiment("1", Action::Read)]))
}

fn previous() -> String {
    (CONTRACT - 1).to_string()
}

#[tokio::test]
async fn a_filter_of_the_version_before_is_answered_in_every_call() {
    let server = fixture(On::Sqlite, &[]).await;
    let mut client = PolicyClient::new(server.channel.clone());
    let ask = |who| speaking(&previous(), reading(basic(who, PASSWORD)));
    let allowed = client.authorize(ask("reader")).await.unwrap().into_inner();
    assert_eq!(allowed.outcome(), old::Outcome::Allowed);
    let denied = client.authorize(ask("stranger")).await.unwrap().into_inner();
    assert_eq!(denied.outcome(), old::Outcome::Denied);

    let listed = old::Question {
        r#type: old::ResourceType::Experiment.into(),
        ids: ["1", "2"].map(str::to_owned).to_vec(),
        action: old::Action::Read.into(),
        ..Default::default()
    };
    let username = "reader".to_owned();
    let question = old::VisibleRequest { username, questions: vec![listed], ..Default::default() };
    let visible = client.visible(speaking(&previous(), question)).await.unwrap().into_inner();
    let old::VisibleResponse { answers, .. } = visible;
    assert_eq!(answers[0].allowed, ["1"]);
    let effects =
        vec![older(&created(mlgate_policy_server::contract::ResourceType::Experiment, "77"))];
    let username = "reader".to_owned();
    let record = old::RecordRequest { username, effects, ..Default::default() };
    let recorded = client.record(speaking(&previous(), record)).await.unwrap().into_inner();
    assert!(recorded.revision > 0);
    let users = old::AdministerRequest {
        method: "GET".to_owned(),
        path: "/api/2.0/mlflow/users/get".to_owned(),
        ..Default::default()
    };
    let page = client.administer(speaking(&previous(), users)).await.unwrap().into_inner();
    assert_eq!(page.status, 401, "nobody asked");
    let keys = old::KeysRequest { issuer: "nobody".to_owned(), kid: String::new() };
    let refused = client.keys(speaking(&previous(), keys)).await.unwrap_err();
    assert_eq!(refused.code(), Code::NotFound);

    let watch = old::WatchRequest { contract: CONTRACT - 1, ..Default::default() };
    let mut events = client.watch(speaking(&previous(), watch)).await.unwrap().into_inner();
    let heard = async {
        loop {
            use old::watch_event::Event;
            if let Some(Event::Heartbeat(beat)) = events.message().await.unwrap().unwrap().event {
                return beat.revision;
            }
        }
    };
    let revision = tokio::time::timeout(Duration::from_secs(10), heard).await.unwrap();
    assert!(revision > 0);
}

#[tokio::test]
async fn one_step_either_way_is_served_and_two_are_refused_with_the_versions() {
    let server = fixture(On::Sqlite, &[]).await;
    let mut client = PolicyClient::new(server.channel.clone());
    for near in [CONTRACT - 1, CONTRACT, CONTRACT + 1] {
        let question = reading(basic("reader", PASSWORD));
        let answer = client.authorize(speaking(&near.to_string(), question)).await.unwrap();
        assert_eq!(answer.into_inner().outcome(), old::Outcome::Allowed, "{near}");
    }
    for far in [(CONTRACT + 2).to_string(), "0".to_owned(), "x".to_owned()] {
        let question = reading(basic("reader", PASSWORD));
        let refused = client.authorize(speaking(&far, question)).await.unwrap_err();
        assert_eq!(refused.code(), Code::FailedPrecondition, "{far}");
        assert!(refused.message().contains(&format!("policy server {CONTRACT}")), "{refused:?}");
        let watch = old::WatchRequest::default();
        let refused = client.watch(speaking(&far, watch)).await.unwrap_err();
        assert_eq!(refused.code(), Code::FailedPrecondition, "{far}");
    }
}

/// It would ask for lists without saying what the token is limited to.
#[tokio::test]
async fn a_limited_token_is_worth_nothing_at_a_filter_that_does_not_pass_its_limits_on() {
    let server = fixture(On::Sqlite, &[]).await;
    let new = NewToken {
        username: "owner".to_owned(),
        name: "limited".to_owned(),
        scopes: vec![TokenScope::Level(Level::Read)],
        ..NewToken::default()
    };
    let (_, secret) = server.store.create_token(&actor(), &new).await.unwrap().value;
    let mut client = PolicyClient::new(server.channel.clone());
    for (contract, expected) in
        [(CONTRACT - 1, old::Outcome::Denied), (CONTRACT, old::Outcome::Allowed)]
    {
        let question = reading(bearer(secret.expose()));
        let answer = client.authorize(speaking(&contract.to_string(), question)).await.unwrap();
        let answer = answer.into_inner();
        assert_eq!(answer.outcome(), expected, "{contract}: {}", answer.reason);
    }
}
