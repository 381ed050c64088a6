//! kill -9 of Postgres below a running server.

use crate::crash::*;
use crate::postgres::Postgres;
use crate::support::*;

const ROUNDS: usize = 3;
const WRITES: usize = 60;

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_killed_postgres_has_lost_nothing_that_the_server_acknowledged() {
    let Some(mut postgres) = Postgres::start().await else { return };
    let url = postgres.url();
    let server = fixture_at(url.clone(), tempfile::tempdir().unwrap(), &[]).await;
    let known = server.store.revision().await.unwrap();
    let seen = watched(&server.client, known).await;
    let acknowledged = Acknowledged::default();
    for round in 0..ROUNDS {
        let before = acknowledged.lock().unwrap().len();
        let writers = start_writers(&server.client, round, &acknowledged);
        wait_for_writes(&acknowledged, before + WRITES).await;
        postgres.kill();
        writers.join_all().await;
        postgres.start_again().await;
        assert_whole(&url, &acknowledged).await;
        // The same server goes on by itself.
        eventually("the server answers again", || async {
            let answer = server
                .ask("owner", vec![experiment("1", mlgate_policy_server::contract::Action::Read)])
                .await;
            answer.outcome() == mlgate_policy_server::contract::Outcome::Allowed
        })
        .await;
    }
    let newest = server.store.revision().await.unwrap();
    eventually("the watcher has seen the newest revision", || async {
        seen.lock().unwrap().last() == Some(&newest)
    })
    .await;
    let expected: Vec<u64> = (known + 1..=newest).collect();
    assert_eq!(*seen.lock().unwrap(), expected, "also over the crashes, in order");
}
