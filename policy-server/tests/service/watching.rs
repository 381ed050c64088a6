//! Changes reach watchers in order, completely, and at once.

use std::time::{Duration, Instant};

use mlgate_policy_server::contract as pb;
use mlgate_policy_server::contract::watch_event::Event;
use mlgate_policy_server::contract::{Action, Outcome};
use mlgate_policy_server::domain::{Level, ResourceType as Domain};
use tokio_stream::StreamExt;
use tonic::Streaming;

use crate::support::*;

async fn watch(server: &Fixture, last_revision: u64) -> Streaming<pb::WatchEvent> {
    let request = pb::WatchRequest { last_revision, node: "test".to_owned(), contract: 1 };
    server.client.clone().watch(request).await.unwrap().into_inner()
}

async fn next(stream: &mut Streaming<pb::WatchEvent>) -> Event {
    let event = tokio::time::timeout(Duration::from_secs(5), stream.next()).await;
    event.expect("an event").expect("an open stream").unwrap().event.unwrap()
}

#[tokio::test]
async fn a_new_watcher_is_told_to_forget_and_then_that_all_is_said() {
    let server = fixture(&[]).await;
    let revision = server.store.revision().await.unwrap();
    // So that the server has heard of all revisions.
    server.outcome("owner", experiment("1", Action::Read)).await;
    let mut stream = watch(&server, 0).await;
    assert_eq!(next(&mut stream).await, Event::Reset(pb::Reset { revision }));
    let Event::Heartbeat(heartbeat) = next(&mut stream).await else { panic!("no heartbeat") };
    assert_eq!((heartbeat.revision, heartbeat.interval_ms), (revision, 100));
}

#[tokio::test]
async fn every_change_arrives_once_in_order_and_within_a_tenth_of_a_second() {
    let server = fixture(&[]).await;
    let first = server.store.revision().await.unwrap();
    let mut stream = watch(&server, first).await;
    let mut slowest = Duration::ZERO;
    for step in 1..=20 {
        let level = if step % 2 == 0 { Level::Read } else { Level::Edit };
        let revision = server.grant("stranger", Domain::Experiment, "1", level).await;
        let committed = Instant::now();
        assert_eq!(revision, first + step);
        loop {
            match next(&mut stream).await {
                Event::Changed(changed) => {
                    assert_eq!(changed.revision, revision);
                    assert!(!changed.everyone && !changed.scopes.is_empty());
                    break;
                }
                Event::Heartbeat(heartbeat) => assert!(heartbeat.revision < revision),
                other => panic!("{other:?}"),
            }
        }
        slowest = slowest.max(committed.elapsed());
    }
    assert!(slowest < Duration::from_millis(1000), "{slowest:?}");
}

#[tokio::test]
async fn a_watcher_that_was_away_gets_what_it_missed() {
    let server = fixture(&[]).await;
    let known = server.store.revision().await.unwrap();
    for id in ["5", "6", "7"] {
        server.grant("stranger", Domain::Experiment, id, Level::Read).await;
    }
    let mut stream = watch(&server, known).await;
    for revision in known + 1..=known + 3 {
        loop {
            match next(&mut stream).await {
                Event::Changed(changed) => {
                    assert_eq!(changed.revision, revision);
                    break;
                }
                Event::Heartbeat(heartbeat) => assert_eq!(heartbeat.revision, revision - 1),
                other => panic!("{other:?}"),
            }
        }
    }
}

#[tokio::test]
async fn a_watcher_from_another_history_is_told_to_forget() {
    let server = fixture(&[]).await;
    let mut stream = watch(&server, 1_000_000).await;
    assert!(matches!(next(&mut stream).await, Event::Reset(_)));
}

#[tokio::test]
async fn a_revoked_grant_is_denied_at_its_revision_and_soon_without_being_told() {
    let server = fixture(&[]).await;
    assert_eq!(server.outcome("reader", experiment("1", Action::Read)).await, Outcome::Allowed);
    let pattern = mlgate_policy_server::domain::Pattern::literal("1");
    let resource = Domain::Experiment;
    server.store.revoke(&actor(), "reader", "default", resource, &pattern).await.unwrap();
    assert_eq!(server.outcome("reader", experiment("1", Action::Read)).await, Outcome::Denied);
    server.grant("reader", resource, "1", Level::Read).await;
    eventually("the grant is in force", || async {
        let answer = server.ask("reader", vec![experiment("1", Action::Read)]).await;
        answer.outcome() == Outcome::Allowed
    })
    .await;
}

#[tokio::test]
async fn an_answer_older_than_asked_for_is_refused() {
    let server = fixture(&[]).await;
    let ahead = server.store.revision().await.unwrap() + 1000;
    let request = pb::AuthorizeRequest {
        min_revision: ahead,
        ..request(basic("owner", PASSWORD), vec![experiment("1", Action::Read)])
    };
    assert_eq!(server.request(request).await.outcome(), Outcome::Unavailable);
}

#[tokio::test]
async fn stopping_ends_the_streams_and_the_server_within_the_deadline() {
    let mut server = fixture(&[("drain", "5s")]).await;
    let mut stream = watch(&server, 0).await;
    next(&mut stream).await;
    let started = Instant::now();
    server.stop.take().unwrap().send(()).unwrap();
    let ended = tokio::time::timeout(Duration::from_secs(5), async {
        while let Some(Ok(_)) = stream.next().await {}
    });
    ended.await.expect("the stream ends");
    drop(stream);
    server.server.await.unwrap().unwrap();
    assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
}
