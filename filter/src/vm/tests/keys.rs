//! Tokens whose key is not known yet.

use super::*;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jwt_simple::prelude::*;

const ISSUER: &str = "https://idp.example";

/// A world with one issuer whose keys the policy server discovers.
fn world() -> World {
    World::with(
        r#"{"jwt": {"checks_per_second": 2, "issuers": [{"name": "idp",
            "issuer": "https://idp.example", "audiences": ["mlflow"], "algorithms": ["ES256"]}]}}"#,
    )
}

fn bearer(key: &ES256KeyPair, kid: &str) -> String {
    bearer_of(key, kid, Mock::START_MS / 1000)
}

/// One that was issued at this moment, and holds for ten minutes.
fn bearer_of(key: &ES256KeyPair, kid: &str, now: u64) -> String {
    let mut claims = Claims::create(Duration::from_days(3_650))
        .with_issuer(ISSUER)
        .with_audience("mlflow")
        .with_subject("alice");
    claims.issued_at = Some(Duration::from_secs(now));
    claims.invalid_before = None;
    claims.expires_at = Some(Duration::from_secs(now + 600));
    let named = ES256KeyPair::from_bytes(&key.to_bytes()).unwrap().with_key_id(kid);
    format!("Bearer {}", named.sign(claims).unwrap())
}

fn response(keys: &[(&ES256KeyPair, &str)], retry_after_ms: u32) -> pb::KeysResponse {
    let jwk = |(key, kid): &(&ES256KeyPair, &str)| {
        let point = key.public_key().public_key().to_bytes_uncompressed();
        let encode = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        serde_json::json!({"kty": "EC", "crv": "P-256", "kid": kid,
            "x": encode(&point[1..33]), "y": encode(&point[33..65])})
    };
    let jwks = serde_json::json!({"keys": keys.iter().map(jwk).collect::<Vec<_>>()});
    pb::KeysResponse {
        keys: Some(pb::KeySet {
            issuer: "idp".to_owned(),
            jwks: jwks.to_string(),
            version: keys.len() as u64 + 1,
            url: ISSUER.to_owned(),
            expires_at_ms: Mock::START_MS + 3_600_000,
        }),
        retry_after_ms,
    }
}

#[test]
fn keys_that_are_known_serve_new_tokens_while_their_issuer_is_down_for_an_hour() {
    let (mut world, key) = (world(), ES256KeyPair::generate());
    let ask = |world: &mut World| {
        let token = bearer_of(&key, "k1", world.host.0.now_ms.get() / 1000);
        world.start("GET", GET_EXPERIMENT, &[("authorization", &token)], true).0
    };
    ask(&mut world);
    let asked = world.last_token();
    world.answer(asked, &response(&[(&key, "k1")], 0));
    world.allow();
    for minute in 1..60 {
        world.host.advance(60_000);
        let request = ask(&mut world);
        assert_eq!(world.calls("Keys"), 1, "after {minute} minutes");
        world.allow();
        assert!(world.resumed(request, Request), "after {minute} minutes");
    }
    // That is how long the policy server has said they hold.
    world.host.advance(60_000);
    let request = ask(&mut world);
    assert_eq!(world.calls("Keys"), 2);
    world.fail(14);
    assert_eq!(world.status_of(request), Some(503));
}

#[test]
fn a_request_waits_for_its_key_and_is_then_decided() {
    let (mut world, key) = (world(), ES256KeyPair::generate());
    let token = bearer(&key, "k1");
    let (request, flow) = world.start("GET", GET_EXPERIMENT, &[("authorization", &token)], true);
    assert_eq!((flow, world.calls("Keys"), world.calls("Authorize")), (Flow::Hold, 1, 0));
    let (asked, message) = world.last_call::<pb::KeysRequest>();
    assert_eq!((message.issuer.as_str(), message.kid.as_str()), ("idp", "k1"));
    world.answer(asked, &response(&[(&key, "k1")], 0));
    assert_eq!((world.status_of(request), world.calls("Authorize")), (None, 1));
    world.allow();
    assert!(world.resumed(request, Request));
}

#[test]
fn requests_that_lack_keys_of_one_issuer_wait_for_one_answer() {
    let (mut world, key) = (world(), ES256KeyPair::generate());
    let token = bearer(&key, "k1");
    let headers = [("authorization", token.as_str())];
    let requests = [(); 3].map(|()| world.start("GET", GET_EXPERIMENT, &headers, true).0);
    assert_eq!(world.calls("Keys"), 1);
    let asked = world.last_token();
    world.answer(asked, &response(&[(&key, "k1")], 0));
    world.allow();
    for request in requests {
        assert!(world.resumed(request, Request));
    }
}

#[test]
fn a_key_that_the_issuer_does_not_have_is_401_and_not_asked_for_again_at_once() {
    let (mut world, key) = (world(), ES256KeyPair::generate());
    let token = bearer(&key, "forged");
    let headers = [("authorization", token.as_str())];
    let (request, _) = world.start("GET", GET_EXPERIMENT, &headers, true);
    let asked = world.last_token();
    world.answer(asked, &response(&[(&ES256KeyPair::generate(), "k1")], 0));
    assert_eq!(world.status_of(request), Some(401));
    let (again, _) = world.start("GET", GET_EXPERIMENT, &headers, true);
    assert_eq!((world.status_of(again), world.calls("Keys")), (Some(401), 1));
    world.host.advance(1_000);
    let (later, _) = world.start("GET", GET_EXPERIMENT, &headers, true);
    assert_eq!((world.status_of(later), world.calls("Keys")), (None, 2));
    assert_eq!(world.calls("Authorize"), 0);
}

#[test]
fn where_nobody_can_tell_the_answer_is_503() {
    let key = ES256KeyPair::generate();
    let token = bearer(&key, "k2");
    let headers = [("authorization", token.as_str())];
    let mut down = world();
    let (request, _) = down.start("GET", GET_EXPERIMENT, &headers, true);
    down.fail(14);
    assert_eq!(down.status_of(request), Some(503));
    let mut stale = world();
    let (request, _) = stale.start("GET", GET_EXPERIMENT, &headers, true);
    let asked = stale.last_token();
    stale.answer(asked, &response(&[(&ES256KeyPair::generate(), "k1")], 1_000));
    assert_eq!(stale.status_of(request), Some(503));
    let mut silent = world();
    let (request, _) = silent.start("GET", GET_EXPERIMENT, &headers, true);
    silent.host.advance(2_000);
    silent.tick();
    assert_eq!(silent.status_of(request), Some(503));
}

fn post(world: &mut World, token: &str, body: &str) -> (ContextId, Flow) {
    *world.host.0.request_body.borrow_mut() = body.as_bytes().to_vec();
    let length = body.len().to_string();
    let headers = [
        ("authorization", token),
        ("content-type", "application/json"),
        ("content-length", &length),
    ];
    world.start("POST", LOG_METRIC, &headers, false)
}

#[test]
fn a_body_is_kept_whether_it_or_the_key_comes_first() {
    for key_first in [true, false] {
        let (mut world, key) = (world(), ES256KeyPair::generate());
        let (request, flow) = post(&mut world, &bearer(&key, "k1"), &metric());
        assert_eq!((flow, world.calls("Keys")), (Flow::Buffer, 1));
        let asked = world.last_token();
        if !key_first {
            assert_eq!(world.body(request, Request, true), Flow::Buffer);
            assert_eq!(world.calls("Authorize"), 0, "nobody is known yet");
        }
        world.answer(asked, &response(&[(&key, "k1")], 0));
        if key_first {
            assert_eq!(world.body(request, Request, true), Flow::Buffer);
        }
        assert_eq!(world.calls("Authorize"), 1, "key first: {key_first}");
        world.allow();
        assert!(world.resumed(request, Request), "key first: {key_first}");
    }
}

#[test]
fn a_body_of_nobody_is_refused_as_soon_as_that_is_known() {
    let (mut world, key) = (world(), ES256KeyPair::generate());
    let (request, _) = post(&mut world, &bearer(&key, "forged"), &metric());
    let asked = world.last_token();
    world.answer(asked, &response(&[(&ES256KeyPair::generate(), "k1")], 0));
    assert_eq!(world.status_of(request), Some(401));
    assert_eq!(world.body(request, Request, true), Flow::Hold);
    assert!(!world.resumed(request, Request));
}

#[test]
fn a_client_that_goes_does_not_make_the_next_one_ask_again() {
    let (mut world, key) = (world(), ES256KeyPair::generate());
    let token = bearer(&key, "k1");
    let headers = [("authorization", token.as_str())];
    for _ in 0..3 {
        let (request, _) = world.start("GET", GET_EXPERIMENT, &headers, true);
        world.vm.on_delete(request);
    }
    assert_eq!(world.calls("Keys"), 1);
    assert!(world.host.0.cancelled.borrow().is_empty());
}

#[test]
fn an_unknown_route_learns_first_who_asks() {
    let (mut world, key) = (world(), ES256KeyPair::generate());
    let token = bearer(&key, "k1");
    let headers = [("authorization", token.as_str())];
    let (request, _) = world.start("GET", "/api/9.9/nothing", &headers, true);
    let asked = world.last_token();
    world.answer(asked, &response(&[(&key, "k1")], 0));
    assert_eq!(world.status_of(request), Some(403));
}

#[test]
fn more_tokens_than_are_checked_in_a_second_are_429_and_known_ones_pass() {
    let (mut world, key) = (world(), ES256KeyPair::generate());
    let (known, forged) = (bearer(&key, "k1"), bearer(&ES256KeyPair::generate(), "k1"));
    let get = |world: &mut World, token: &str| {
        let (request, _) = world.start("GET", GET_EXPERIMENT, &[("authorization", token)], true);
        (request, world.status_of(request))
    };
    get(&mut world, &known);
    let asked = world.last_token();
    world.answer(asked, &response(&[(&key, "k1")], 0));
    world.allow();
    assert_eq!(get(&mut world, &forged).1, Some(401));
    let (flooded, status) = get(&mut world, &forged);
    assert_eq!(status, Some(429));
    let replies = world.host.0.replies.borrow();
    let (_, reply) = replies.iter().find(|(to, _)| *to == flooded).unwrap();
    assert!(reply.headers.contains(&("retry-after".to_owned(), "1".to_owned())));
    drop(replies);
    assert_eq!(get(&mut world, &known).1, None, "it need not be checked again");
    world.host.advance(1_000);
    assert_eq!(get(&mut world, &forged).1, Some(401));
}

#[test]
fn a_familiar_request_ends_with_the_key_of_its_token() {
    let (mut world, key, next) = (world(), ES256KeyPair::generate(), ES256KeyPair::generate());
    let token = bearer(&key, "k1");
    let headers = [("authorization", token.as_str())];
    world.start("GET", GET_EXPERIMENT, &headers, true);
    let asked = world.last_token();
    world.answer(asked, &response(&[(&key, "k1")], 0));
    world.allow();
    for _ in 0..3 {
        assert_eq!(world.start("GET", GET_EXPERIMENT, &headers, true).1, Flow::Continue);
    }
    world.host.advance(1_000);
    world.start("GET", GET_EXPERIMENT, &[("authorization", &bearer(&next, "k2"))], true);
    let asked = world.last_token();
    world.answer(asked, &response(&[(&next, "k2"), (&next, "k3")], 0));
    let (request, _) = world.start("GET", GET_EXPERIMENT, &headers, true);
    assert_eq!(world.status_of(request), Some(401), "although its decision is still cached");
}
