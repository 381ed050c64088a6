//! Keys of OIDC issuers: found, kept fresh, and given to filters, whatever the issuer does.
//!
//! The store has no keys, but the stream that tells of them tells of its changes too, and whoever
//! waits for an issuer must not make others wait for the store.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use mlgate_policy_server::contract as pb;
use mlgate_policy_server::contract::watch_event::Event;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_stream::StreamExt;
use tonic::Code;

use crate::on_both_stores;
use crate::support::*;

/// What an issuer answers, until it is told otherwise.
#[derive(Clone)]
struct Script {
    /// What the discovery document puts after the issuer's own name.
    suffix: &'static str,
    jwks: String,
    headers: &'static str,
    status: &'static str,
    delay: Duration,
}

struct Idp {
    url: String,
    script: Arc<Mutex<Script>>,
    /// When its keys were asked for.
    asked: Arc<Mutex<Vec<Instant>>>,
}

/// The key of RFC 7517, appendix A.1, under another name.
fn jwk(kid: &str) -> String {
    format!(
        r#"{{"kty": "EC", "crv": "P-256", "use": "sig", "kid": "{kid}",
            "x": "MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4",
            "y": "4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM"}}"#
    )
}

fn jwks(kids: &[&str]) -> String {
    let keys: Vec<String> = kids.iter().map(|kid| jwk(kid)).collect();
    format!(r#"{{"keys": [{}]}}"#, keys.join(","))
}

impl Idp {
    async fn start(kids: &[&str]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/realm", listener.local_addr().unwrap());
        let script = Arc::new(Mutex::new(Script {
            suffix: "",
            jwks: jwks(kids),
            headers: "",
            status: "200 OK",
            delay: Duration::ZERO,
        }));
        let idp = Self { url: url.clone(), script, asked: Arc::default() };
        let (script, asked) = (Arc::clone(&idp.script), Arc::clone(&idp.asked));
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let (script, asked, url) = (Arc::clone(&script), Arc::clone(&asked), url.clone());
                tokio::spawn(async move {
                    let mut request = vec![0; 8192];
                    let read = stream.read(&mut request).await.unwrap_or(0);
                    let line = String::from_utf8_lossy(&request[..read]).into_owned();
                    let Script { suffix, jwks, headers, status, delay } =
                        script.lock().unwrap().clone();
                    tokio::time::sleep(delay).await;
                    let body = if line.starts_with("GET /realm/.well-known/openid-configuration ") {
                        format!(r#"{{"issuer": "{url}{suffix}", "jwks_uri": "{url}/keys"}}"#)
                    } else if line.starts_with("GET /realm/keys ") {
                        asked.lock().unwrap().push(Instant::now());
                        jwks
                    } else {
                        "not here".to_owned()
                    };
                    let head = format!(
                        "HTTP/1.1 {status}\r\n{headers}content-length: {}\r\nconnection: close\r\n\r\n",
                        body.len()
                    );
                    let _ = stream.write_all(format!("{head}{body}").as_bytes()).await;
                });
            }
        });
        idp
    }

    fn set(&self, change: impl FnOnce(&mut Script)) {
        change(&mut self.script.lock().unwrap());
    }

    fn times_asked(&self) -> usize {
        self.asked.lock().unwrap().len()
    }

    async fn server(&self, place: On, flags: &[(&'static str, &str)]) -> Fixture {
        let issuers = format!("corp={}", self.url);
        let mut all = vec![("oidc_issuers", issuers.as_str()), ("oidc_refetch", "300ms")];
        all.extend_from_slice(flags);
        fixture(place, &all).await
    }
}

async fn ask(server: &Fixture, kid: &str) -> pb::KeysResponse {
    let request = pb::KeysRequest { issuer: "corp".to_owned(), kid: kid.to_owned() };
    server.client.clone().keys(request).await.unwrap().into_inner()
}

/// The kids that the server gives out, asked for one that it should have.
async fn kids(server: &Fixture, kid: &str) -> Vec<String> {
    ask(server, kid).await.keys.map_or(Vec::new(), |keys| read(&keys))
}

fn read(keys: &pb::KeySet) -> Vec<String> {
    let jwks: serde_json::Value = serde_json::from_str(&keys.jwks).unwrap();
    let keys = jwks["keys"].as_array().unwrap().iter();
    keys.map(|key| key["kid"].as_str().unwrap().to_owned()).collect()
}

fn now_ms() -> u64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    u64::try_from(now.as_millis()).unwrap()
}

on_both_stores! {
async fn a_watcher_is_given_the_keys_and_every_change_of_them(place: On) {
    let idp = Idp::start(&["k1"]).await;
    idp.set(|script| script.jwks = script.jwks.replace("[", r#"[{"kty": "odd", "kid": "x"}, "#));
    let server = idp.server(place, &[("oidc_refresh", "1s"), ("oidc_stale", "1h")]).await;
    let request = pb::WatchRequest { node: "test".to_owned(), contract: 1, ..Default::default() };
    let mut stream = server.client.clone().watch(request).await.unwrap().into_inner();
    let mut seen: Vec<pb::KeySet> = Vec::new();
    let deadline = Instant::now() + Duration::from_secs(10);
    while !seen.iter().any(|keys| read(keys) == ["k2"]) {
        assert!(Instant::now() < deadline, "{seen:?}");
        if let Event::Keys(keys) = stream.next().await.unwrap().unwrap().event.unwrap() {
            if seen.is_empty() {
                assert_eq!(read(&keys), ["k1"], "the odd key is left out");
                // A key that is taken back stops within oidc_refresh, whatever the issuer allows.
                idp.set(|script| {
                    script.jwks = jwks(&["k2"]);
                    script.headers = "cache-control: max-age=86400\r\n";
                });
            }
            seen.push(keys);
        }
    }
    for keys in &seen {
        assert_eq!((keys.issuer.as_str(), keys.url.as_str()), ("corp", idp.url.as_str()));
        assert_eq!(keys.expires_at_ms, keys.version + 3_600_000);
    }
    assert!(seen.is_sorted_by(|one, next| one.version < next.version));
    assert!(seen.last().unwrap().version <= now_ms());
}
}

on_both_stores! {
async fn an_unknown_key_is_looked_for_at_once_but_not_again_and_again(place: On) {
    let idp = Idp::start(&["k1"]).await;
    let server = idp.server(place, &[]).await;
    assert_eq!(kids(&server, "k1").await, ["k1"]);
    tokio::time::sleep(Duration::from_millis(300)).await;
    idp.set(|script| script.jwks = jwks(&["k1", "k2"]));
    let answer = ask(&server, "k2").await;
    assert_eq!(
        (read(&answer.keys.unwrap()), answer.retry_after_ms),
        (vec!["k1".into(), "k2".into()], 0)
    );
    assert_eq!(idp.times_asked(), 2);
    let before = Instant::now();
    let mut questions = 0;
    while before.elapsed() < Duration::from_secs(1) {
        let many = (0..20).map(|n| {
            let (mut client, kid) = (server.client.clone(), format!("invented-{n}"));
            let request = pb::KeysRequest { issuer: "corp".to_owned(), kid };
            tokio::spawn(async move { client.keys(request).await.unwrap().into_inner() })
        });
        for answer in many.collect::<Vec<_>>() {
            let answer = answer.await.unwrap();
            assert_eq!((read(&answer.keys.unwrap()).len(), answer.retry_after_ms), (2, 0));
            questions += 1;
        }
    }
    let asked = idp.times_asked() - 2;
    eprintln!("{questions} questions in a second made the issuer be asked {asked} times");
    assert!(questions > 50 && (1..=4).contains(&asked), "{questions} {asked}");
    let times = idp.asked.lock().unwrap().clone();
    for pair in times.windows(2) {
        assert!(pair[1] - pair[0] >= Duration::from_millis(250), "{:?}", pair[1] - pair[0]);
    }
}
}

on_both_stores! {
async fn the_first_to_need_the_keys_waits_for_an_issuer_that_is_slow(place: On) {
    let idp = Idp::start(&["k1"]).await;
    idp.set(|script| script.delay = Duration::from_millis(400));
    let server = idp.server(place, &[]).await;
    assert_eq!(kids(&server, "k1").await, ["k1"]);
    // Passwords do not wait for it.
    idp.set(|script| script.delay = Duration::from_secs(30));
    let asked = Instant::now();
    let outcome = server.outcome("reader", experiment("1", pb::Action::Read)).await;
    assert_eq!(outcome, pb::Outcome::Allowed);
    assert!(asked.elapsed() < Duration::from_secs(5));
}
}

on_both_stores! {
async fn known_keys_outlive_every_kind_of_failure_and_nothing_else_is_said(place: On) {
    let idp = Idp::start(&["k1"]).await;
    let server = idp.server(place, &[("oidc_refresh", "1s")]).await;
    assert_eq!(kids(&server, "k1").await, ["k1"]);
    let good = idp.script.lock().unwrap().clone();
    type Fault = (&'static str, fn(&mut Script));
    let faults: [Fault; 8] = [
        ("an error", |script| script.status = "500 Internal Server Error"),
        ("a redirect", |script| {
            script.status = "302 Found";
            script.headers = "location: https://elsewhere.example/\r\n";
        }),
        ("a page", |script| script.jwks = "<html>sign in</html>".to_owned()),
        ("a huge document", |script| script.jwks = jwks(&[&"k".repeat(600 * 1024)])),
        ("too many keys", |script| script.jwks = jwks(&["k"; 65])),
        ("only junk", |script| script.jwks = r#"{"keys": [{"kty": "odd"}]}"#.to_owned()),
        ("another issuer", |script| script.suffix = ".evil.example"),
        ("a look-alike", |script| script.suffix = "/"),
    ];
    for (fault, change) in faults {
        idp.set(|script| {
            script.jwks = jwks(&["k9"]);
            change(script);
        });
        eventually(fault, || async {
            let unknown = ask(&server, "k9").await;
            let known = ask(&server, "k1").await;
            assert_eq!(read(&unknown.keys.unwrap()), ["k1"], "{fault}");
            assert_eq!((read(&known.keys.unwrap()).len(), known.retry_after_ms), (1, 0));
            unknown.retry_after_ms > 0
        })
        .await;
        idp.set(|script| *script = good.clone());
        eventually("it is well again", || async { ask(&server, "k9").await.retry_after_ms == 0 })
            .await;
    }
}
}

on_both_stores! {
async fn keys_of_an_issuer_that_stays_away_end(place: On) {
    let idp = Idp::start(&["k1"]).await;
    let server = idp.server(place, &[("oidc_refresh", "1s"), ("oidc_stale", "2s")]).await;
    assert_eq!(kids(&server, "k1").await, ["k1"]);
    idp.set(|script| script.status = "503 Service Unavailable");
    let down = Instant::now();
    eventually("the keys end", || async { ask(&server, "k1").await.keys.is_none() }).await;
    assert!(down.elapsed() < Duration::from_secs(3), "{:?}", down.elapsed());
    assert!(ask(&server, "k1").await.retry_after_ms > 0);
    idp.set(|script| script.status = "200 OK");
    eventually("they are back", || async { kids(&server, "k1").await == ["k1"] }).await;
}
}

on_both_stores! {
async fn an_issuer_that_is_down_from_the_start_is_found_when_it_comes(place: On) {
    let idp = Idp::start(&["k1"]).await;
    idp.set(|script| script.status = "503 Service Unavailable");
    let server = idp.server(place, &[]).await;
    let answer = ask(&server, "k1").await;
    assert!(answer.keys.is_none() && answer.retry_after_ms > 0, "{answer:?}");
    idp.set(|script| script.status = "200 OK");
    eventually("it is found", || async { kids(&server, "k1").await == ["k1"] }).await;
}
}

on_both_stores! {
async fn an_issuer_that_is_not_configured_is_not_asked(place: On) {
    let idp = Idp::start(&["k1"]).await;
    let server = idp.server(place, &[]).await;
    let request = pb::KeysRequest { issuer: idp.url.clone(), kid: "k1".to_owned() };
    let error = server.client.clone().keys(request).await.unwrap_err();
    assert_eq!(error.code(), Code::NotFound);
}
}
