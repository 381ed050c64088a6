//! Changes reach watchers in order, completely, and at once.

use std::time::{Duration, Instant};

use mlgate_policy_server::contract as pb;
use mlgate_policy_server::contract::watch_event::Event;
use mlgate_policy_server::contract::{Action, Outcome};
use mlgate_policy_server::domain::{Level, Pattern, ResourceType as Domain};
use mlgate_policy_server::store::{IfExists, Store};
use tokio_stream::StreamExt;
use tonic::Streaming;

use crate::on_both_stores;
use crate::support::*;

async fn watch(server: &Fixture, last_revision: u64) -> Streaming<pb::WatchEvent> {
    let request = pb::WatchRequest { last_revision, node: "test".to_owned(), contract: 1 };
    server.client.clone().watch(request).await.unwrap().into_inner()
}

async fn next(stream: &mut Streaming<pb::WatchEvent>) -> Event {
    let event = tokio::time::timeout(Duration::from_secs(5), stream.next()).await;
    event.expect("an event").expect("an open stream").unwrap().event.unwrap()
}

on_both_stores! {
async fn a_new_watcher_is_told_to_forget_and_then_that_all_is_said(place: On) {
    let server = fixture(place, &[]).await;
    let revision = server.store.revision().await.unwrap();
    // So that the server has heard of all revisions.
    server.outcome("owner", experiment("1", Action::Read)).await;
    let mut stream = watch(&server, 0).await;
    assert_eq!(next(&mut stream).await, Event::Reset(pb::Reset { revision }));
    let Event::Heartbeat(heartbeat) = next(&mut stream).await else { panic!("no heartbeat") };
    assert_eq!((heartbeat.revision, heartbeat.interval_ms), (revision, 100));
    assert!(heartbeat.age_ms < 1_000, "the store has just been asked");
}
}

/// Commits of the shown number, and how long each took to reach a watcher of the server.
async fn delays(server: &Fixture, writer: &Store, commits: u64) -> Vec<Duration> {
    let first = writer.revision().await.unwrap();
    let mut stream = watch(server, first).await;
    let mut delays = Vec::new();
    for step in 1..=commits {
        let level = if step % 2 == 0 { Level::Read } else { Level::Edit };
        let one = Pattern::literal("1");
        let (kind, replace) = (Domain::Experiment, IfExists::Replace);
        let actor = actor();
        let granted = writer.grant(&actor, "stranger", "default", kind, &one, level, replace);
        let revision = granted.await.unwrap().revision;
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
        delays.push(committed.elapsed());
    }
    delays.sort_unstable();
    delays
}

fn assert_prompt(what: &str, delays: &[Duration]) {
    let (median, p99) = (delays[delays.len() / 2], delays[delays.len() * 99 / 100 - 1]);
    eprintln!("{what}: median {median:?}, p99 {p99:?}");
    assert!(p99 < Duration::from_millis(100), "{what}: p99 {p99:?}");
}

on_both_stores! {
async fn every_change_arrives_once_in_order_and_within_a_tenth_of_a_second(place: On) {
    let server = fixture(place, &[]).await;
    assert_prompt("own commits", &delays(&server, &server.store, 200).await);
}
}

on_both_stores! {
async fn a_change_made_elsewhere_arrives_within_a_tenth_of_a_second(place: On) {
    let server = fixture(place, &[]).await;
    let (store, _, _running) = server.beside().await;
    // The listener takes a moment to be there.
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_prompt("another server's commits", &delays(&server, &store, 200).await);
}
}

on_both_stores! {
async fn a_watcher_that_was_away_gets_what_it_missed(place: On) {
    let server = fixture(place, &[]).await;
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
}

on_both_stores! {
async fn a_watcher_from_another_history_is_told_to_forget(place: On) {
    let server = fixture(place, &[]).await;
    let mut stream = watch(&server, 1_000_000).await;
    assert!(matches!(next(&mut stream).await, Event::Reset(_)));
}
}

on_both_stores! {
async fn a_revoked_grant_is_denied_at_its_revision_and_soon_without_being_told(place: On) {
    let server = fixture(place, &[]).await;
    assert_eq!(server.outcome("reader", experiment("1", Action::Read)).await, Outcome::Allowed);
    let pattern = Pattern::literal("1");
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
}

on_both_stores! {
async fn an_answer_older_than_asked_for_is_refused(place: On) {
    let server = fixture(place, &[]).await;
    let ahead = server.store.revision().await.unwrap() + 1000;
    let request = pb::AuthorizeRequest {
        min_revision: ahead,
        ..request(basic("owner", PASSWORD), vec![experiment("1", Action::Read)])
    };
    assert_eq!(server.request(request).await.outcome(), Outcome::Unavailable);
}
}

on_both_stores! {
async fn stopping_ends_the_streams_and_the_server_within_the_deadline(place: On) {
    let mut server = fixture(place, &[("drain", "5s")]).await;
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
}
