//! What is told to Prometheus.

use mlgate_policy_server::contract as pb;
use mlgate_policy_server::contract::Action;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::support::*;

async fn get(port: u16, path: &str) -> String {
    let mut stream = tokio::net::TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

fn value(exposition: &str, series: &str) -> Option<f64> {
    let line = exposition.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '))?;
    line.parse().ok()
}

#[tokio::test]
async fn decisions_calls_caches_watchers_and_the_revision_are_counted() {
    let port = free_port();
    let server = fixture(On::Sqlite, &[("metrics_listen", &format!("127.0.0.1:{port}"))]).await;
    let read = || experiment("1", Action::Read);
    server.outcome("reader", read()).await;
    server.outcome("reader", read()).await;
    server.outcome("stranger", read()).await;
    server.request(request(basic("reader", "wrong"), vec![read()])).await;
    let nothing = pb::VisibleRequest::default();
    assert!(server.client.clone().visible(nothing).await.is_err());
    let _seen = watched(&server.client, server.store.revision().await.unwrap()).await;
    let text = get(port, "/metrics").await;
    assert!(text.starts_with("HTTP/1.1 200"), "{text}");
    for (series, expected) in [
        ("mlgate_decisions_total{outcome=\"ALLOWED\"}", 2.0),
        ("mlgate_decisions_total{outcome=\"DENIED\"}", 1.0),
        ("mlgate_decisions_total{outcome=\"UNAUTHENTICATED\"}", 1.0),
        ("mlgate_decisions_total{outcome=\"THROTTLED\"}", 0.0),
        ("mlgate_rpc_duration_seconds_count{method=\"Authorize\",result=\"ok\"}", 4.0),
        ("mlgate_rpc_duration_seconds_count{method=\"Visible\",result=\"error\"}", 1.0),
        ("mlgate_cache_lookups_total{cache=\"principal\",result=\"hit\"}", 2.0),
        ("mlgate_cache_lookups_total{cache=\"principal\",result=\"miss\"}", 2.0),
        ("mlgate_cache_lookups_total{cache=\"password\",result=\"hit\"}", 1.0),
        ("mlgate_cache_lookups_total{cache=\"password\",result=\"miss\"}", 3.0),
        ("mlgate_watchers", 1.0),
        ("mlgate_revision", server.store.revision().await.unwrap() as f64),
    ] {
        assert_eq!(value(&text, series), Some(expected), "{series} in {text}");
    }
    for name in ["reader", "stranger", "10.0.0.1"] {
        assert!(!text.contains(name), "{name} is in {text}");
    }
    assert!(get(port, "/").await.starts_with("HTTP/1.1 404"));
}

#[tokio::test]
async fn a_watcher_that_left_is_counted_no_more() {
    let port = free_port();
    let server = fixture(On::Sqlite, &[("metrics_listen", &format!("127.0.0.1:{port}"))]).await;
    let request = pb::WatchRequest { node: "test".to_owned(), contract: 1, last_revision: 0 };
    let stream = server.client.clone().watch(request).await.unwrap();
    assert_eq!(value(&get(port, "/metrics").await, "mlgate_watchers"), Some(1.0));
    drop(stream);
    eventually("the watcher is gone", || async {
        value(&get(port, "/metrics").await, "mlgate_watchers") == Some(0.0)
    })
    .await;
}
