//! Key sets: what is taken from them, and how long it counts.

use super::*;

#[test]
fn keys_of_a_jwks_are_pinned_and_odd_ones_skipped() {
    let idp = Idp::new();
    let point = idp.ec.public_key().public_key().to_bytes_uncompressed();
    let ec = |extra: Value| {
        let mut key = json!({"kty": "EC", "crv": "P-256", "kid": "j1",
            "x": b64(&point[1..33]), "y": b64(&point[33..65])});
        for (name, value) in extra.as_object().unwrap() {
            key[name] = value.clone();
        }
        key
    };
    let allowed = [crate::config::Algorithm::ES256, crate::config::Algorithm::RS256];
    let count = |key: Value| key::from_jwks(&json!({"keys": [key]}), &allowed).unwrap().len();
    assert_eq!(count(ec(json!({}))), 1);
    assert_eq!(count(ec(json!({"use": "sig", "alg": "ES256", "key_ops": ["verify"]}))), 1);
    assert_eq!(count(ec(json!({"use": "enc"}))), 0);
    assert_eq!(count(ec(json!({"alg": "ES384"}))), 0);
    assert_eq!(count(ec(json!({"alg": "HS256"}))), 0);
    assert_eq!(count(ec(json!({"key_ops": ["sign"]}))), 0);
    assert_eq!(count(ec(json!({"x": b64(&[0; 32])}))), 0, "not on the curve");
    assert_eq!(count(json!({"kty": "oct", "k": "AAAA", "kid": "j1"})), 0);
    assert_eq!(count(json!({"kty": "RSA", "n": b64(&[0xff; 64]), "e": "AQAB"})), 0, "512 bits");
    assert!(key::from_jwks(&json!({"keys": vec![json!({}); 65]}), &allowed).is_err());
    assert!(key::from_jwks(&json!("<html>"), &allowed).is_err());
}

fn pushed_token(idp: &Idp, kid: &str) -> String {
    let mut claims = with("iss", json!("https://plain.example"));
    claims["sub"] = json!("carol");
    raw(idp, &format!(r#"{{"alg":"ES256","kid":"{kid}"}}"#), &claims.to_string())
}

#[test]
fn pushed_keys_count_until_newer_ones_come_or_they_expire() {
    let idp = Idp::new();
    let mut issuers = idp.issuers();
    let token = pushed_token(&idp, "j1");
    assert_eq!(verify(&mut issuers, &token).unwrap_err(), "unknown key");
    let keys = json!({"keys": [json!({"kty": "oct"}), jwk(&idp, "j1")]}).to_string();
    issuers.push(&set(&keys, 2));
    assert_eq!(verify(&mut issuers, &token).unwrap().username, "carol");
    issuers.push(&set(r#"{"keys":[]}"#, 1));
    assert!(verify(&mut issuers, &token).is_ok(), "an older set does not replace a newer one");
    issuers.push(&pb::KeySet { expires_at_ms: Mock::START_MS + 2_000, ..set(&keys, 3) });
    let host = Mock::new();
    let at = |issuers: &mut Issuers, ms| whose(issuers, &host, &token, Mock::START_MS + ms);
    assert!(at(&mut issuers, 1_999).is_ok());
    let expired = at(&mut issuers, 2_000);
    assert!(matches!(expired, Err(Unproven::UnknownKey(_))), "although it was verified before");
    issuers.push(&set(r#"{"keys":[]}"#, 4));
    assert_eq!(verify(&mut issuers, &token).unwrap_err(), "unknown key", "a key that is gone");
}

#[test]
fn keys_are_taken_only_for_the_issuer_they_were_fetched_from() {
    let idp = Idp::new();
    let mut issuers = idp.issuers();
    let keys = json!({"keys": [jwk(&idp, "j1")]}).to_string();
    for url in ["https://plain.example/", "https://idp.example", ""] {
        issuers.push(&pb::KeySet { url: url.to_owned(), ..set(&keys, 1) });
        assert!(verify(&mut issuers, &pushed_token(&idp, "j1")).is_err(), "{url}");
    }
    // Configured keys are the only ones.
    issuers.push(&pb::KeySet {
        issuer: "other".to_owned(),
        url: "https://other.example".to_owned(),
        ..set(&keys, 1)
    });
    let other = with("iss", json!("https://other.example")).to_string();
    let other = raw(&idp, r#"{"alg":"ES256","kid":"j1"}"#, &other);
    assert_eq!(verify(&mut issuers, &other).unwrap_err(), "jwt_kid");
}

#[test]
fn the_server_is_asked_once_a_second_and_its_word_holds_in_between() {
    let idp = Idp::new();
    let mut issuers = idp.issuers();
    let now = Mock::START_MS;
    assert_eq!(issuers.next("plain", now), Next::Ask);
    issuers.answered("plain", None, now);
    assert_eq!(issuers.next("plain", now + 999), Next::Unavailable);
    assert_eq!(issuers.next("plain", now + 1_000), Next::Ask);
    let keys = json!({"keys": [jwk(&idp, "j1")]}).to_string();
    let answer = |retry_after_ms, keys| pb::KeysResponse { keys, retry_after_ms };
    issuers.answered("plain", Some(&answer(0, None)), now);
    assert_eq!(issuers.next("plain", now), Next::Unavailable, "no keys are no word on a key");
    issuers.answered("plain", Some(&answer(0, Some(set(&keys, 1)))), now);
    assert_eq!(issuers.next("plain", now), Next::Refuse);
    assert!(verify(&mut issuers, &pushed_token(&idp, "j1")).is_ok());
    issuers.answered("plain", Some(&answer(500, Some(set(&keys, 1)))), now);
    assert_eq!(issuers.next("plain", now), Next::Unavailable);
}
