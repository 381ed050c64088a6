//! Every way in which a token may lie, each refused for its own reason, beside a genuine one.

use super::*;
use crate::config::Config;
use crate::mock::Mock;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jwt_simple::prelude::*;
use serde_json::{Value, json};

mod keys;

/// Tokens of a throw-away key that exists nowhere any more; they end in 2096.
const RSA_PUBLIC: &str = "-----BEGIN PUBLIC KEY-----\nMIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEAtxR4oGQPKi2er/nA8+sW\nZUz6gus65PAsv1HC296cEZGXRgHS//lnM1NlQQBT4S8/E2GcndpejNacNAh5cYvY\nu7WAmvPTiAfUsRe1YZWbzR7DImff3acblLXaoynW5OaC6tHUJnpstSo1tvI/jtrT\nM+YD1pdJOFRdP6RV3mX/tqw/h/dhgYQyOUyZzTKHESD2+gvJz4uwOuv/v0S6Ua26\nVMKchQ1SRK+iUJk19ZYGrvT90A51uqs7pJToBgqiWtKcJ8BVy4s+tEkrxbFyUfIW\n3oYCmBlMcf8B0XFiWaa92TFyHDQ6kRUhVO5liwTjrwmfB9eb6IOAEZxH0PzfUqHV\nbQIDAQAB\n-----END PUBLIC KEY-----\n";
const RS256_TOKEN: &str = "eyJhbGciOiJSUzI1NiIsInR5cCI6IkpXVCIsImtpZCI6InIxIn0.eyJpc3MiOiJodHRwczovL2lkcC5leGFtcGxlIiwiYXVkIjoibWxmbG93Iiwic3ViIjoiYWxpY2UiLCJleHAiOjQwMDAwMDAwMDAsImlhdCI6MTcwMDAwMDAwMH0.gaE5UQzqdxjuUDKRAGKTL4Ez7B5uf9XWnrLJDwCKM_Dt3256MtXbLjpe8WCjMKttPmRvNRBPADLvLw1hKlSr9icePg1-KDUYzq5ZdVyWD7WNa1i7RXsU9xjbw6mGkoHizToUze6O6F0y-GrxyBcyUd18FZttvDeEg-jUbFFdIf92kIzUDcQjxEyS8LEkXLhiUoJXNpzGwdqQP-UII7ZaEQCQxGkRfeyXiItFCf4XUFRqR7oEsrEPCAN7QKb1LeDP-0cK31OyBMhzYU0-SI-XVgnncjNTWiIysk1E7dUBH_cUJkxuaQel3dYgvMPyDhy12qWeR8IFOO3c64neFg1qRw";
const PS256_TOKEN: &str = "eyJhbGciOiJQUzI1NiIsInR5cCI6IkpXVCIsImtpZCI6InIxIn0.eyJpc3MiOiJodHRwczovL2lkcC5leGFtcGxlIiwiYXVkIjoibWxmbG93Iiwic3ViIjoiYWxpY2UiLCJleHAiOjQwMDAwMDAwMDAsImlhdCI6MTcwMDAwMDAwMH0.ZadjEIunMUX4gpkCh68hlncu_lenLukLdtdp617hcNYsplmaL58T2ipvwntcaQIdy4mY1SW060I526eMm7h6t-r6rusqU56uuOQZAEATLro26bvn1R2RR_vflBw6r5iXLy51MMRzzmys8gaIrsbd9OIM2I43GP7Vnidz75G3zDrLUMSXY0VgSWOZLWdK96Fzc_wQ1ZD-iYuz2m2AWHscaq5xFEZJOtAuy0ngcaJV6P_ZkwjAgY9eM6dIHFjvL7yNVHIgaArNapBNSRYmpOiFND4NFdXp6NWbytOnzrCUVdW8EXiJRBO0jjuSsngrcVgdZr33QVwxVKkmcVWNWevZNg";

const NOW: u64 = Mock::START_MS / 1000;

struct Idp {
    ec: ES256KeyPair,
    ed: Ed25519KeyPair,
    stranger: ES256KeyPair,
}

impl Idp {
    fn new() -> Self {
        Self {
            ec: ES256KeyPair::generate(),
            ed: Ed25519KeyPair::generate(),
            stranger: ES256KeyPair::generate(),
        }
    }

    fn issuers(&self) -> Issuers {
        let ec = json!({"kid": "e1", "algorithm": "ES256", "key": self.ec.public_key().to_pem().unwrap()});
        let ed = json!({"kid": "d1", "algorithm": "EdDSA", "key": self.ed.public_key().to_pem()});
        let rsa = json!({"kid": "r1", "algorithm": "RS256", "key": RSA_PUBLIC});
        let other = json!({"kid": "e1", "algorithm": "ES256", "key": self.stranger.public_key().to_pem().unwrap()});
        let config = json!({
            "policy": {"cluster": "p"},
            "jwt": {"leeway_seconds": 30, "checks_per_second": 100, "issuers": [
                {"name": "corp", "issuer": "https://idp.example", "audiences": ["mlflow"],
                 "algorithms": ["RS256", "ES256", "EdDSA"], "pem": [ec, ed, rsa],
                 "groups_claim": "realm.groups", "username_prefix": "corp:",
                 "required_claims": {"hd": "example"}},
                {"name": "other", "issuer": "https://other.example", "audiences": ["mlflow"],
                 "algorithms": ["ES256"], "pem": [other]},
                {"name": "plain", "issuer": "https://plain.example", "audiences": ["mlflow"],
                 "algorithms": ["ES256"]},
            ]},
        });
        let config = Config::parse(config.to_string().as_bytes()).unwrap();
        Issuers::new(&config).unwrap()
    }
}

fn claims() -> Value {
    json!({
        "iss": "https://idp.example", "aud": "mlflow", "sub": "alice", "hd": "example",
        "exp": NOW + 600, "iat": NOW - 5, "nbf": NOW - 5, "realm": {"groups": ["b", "a", "b"]},
    })
}

fn b64(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// A token of exactly these bytes, signed with the key behind `e1`.
fn raw(idp: &Idp, header: &str, payload: &str) -> String {
    signed_by(&idp.ec, header, payload)
}

fn signed_by(key: &ES256KeyPair, header: &str, payload: &str) -> String {
    let text = format!("{}.{}", b64(header.as_bytes()), b64(payload.as_bytes()));
    // jwt-simple signs only tokens that it has made itself.
    use p256::ecdsa::signature::Signer;
    let key = p256::ecdsa::SigningKey::from_slice(&key.to_bytes()).unwrap();
    let signature: p256::ecdsa::Signature = key.sign(text.as_bytes());
    format!("{text}.{}", b64(&signature.to_bytes()))
}

fn token(idp: &Idp, claims: &Value) -> String {
    raw(idp, r#"{"alg":"ES256","kid":"e1"}"#, &claims.to_string())
}

/// As the gate asks: verified tokens are known again.
fn whose(
    issuers: &mut Issuers,
    host: &Mock,
    token: &str,
    now_ms: u64,
) -> Result<pb::Subject, Unproven> {
    let mark = issuers.mark(host, token.as_bytes());
    match mark.and_then(|mark| issuers.recall(mark, now_ms)) {
        Some(known) => Ok(known),
        None => issuers.verify(host, token, now_ms),
    }
}

fn verify(issuers: &mut Issuers, token: &str) -> Result<pb::VerifiedIdentity, &'static str> {
    match issuers.verify(&Mock::new(), token, Mock::START_MS) {
        Ok(pb::Subject { kind: Some(Kind::Verified(identity)) }) => Ok(identity),
        other => Err(refused(other)),
    }
}

fn refused(result: Result<pb::Subject, Unproven>) -> &'static str {
    match result {
        Ok(_) => "accepted",
        Err(Unproven::Refused(error)) => error.reason,
        Err(Unproven::UnknownKey(_)) => "unknown key",
        Err(Unproven::Flood { retry_after_ms: 1..=1000 }) => "flood",
        Err(Unproven::Flood { .. }) => "flood without end",
    }
}

/// Keys that the policy server pushes for the issuer `plain`, fetched at this moment.
fn set(jwks: &str, version: u64) -> pb::KeySet {
    pb::KeySet {
        issuer: "plain".to_owned(),
        jwks: jwks.to_owned(),
        version,
        url: "https://plain.example".to_owned(),
        expires_at_ms: Mock::START_MS + 3_600_000,
    }
}

fn reason(idp: &Idp, token: &str) -> &'static str {
    verify(&mut idp.issuers(), token).err().unwrap_or("accepted")
}

fn with(name: &str, value: Value) -> Value {
    let mut claims = claims();
    claims[name] = value;
    claims
}

fn without(name: &str) -> Value {
    let mut claims = claims();
    claims.as_object_mut().unwrap().remove(name);
    claims
}

/// The public half of the key that signs, as a JWK.
fn jwk(idp: &Idp, kid: &str) -> Value {
    let point = idp.ec.public_key().public_key().to_bytes_uncompressed();
    json!({"kty": "EC", "crv": "P-256", "kid": kid,
        "x": b64(&point[1..33]), "y": b64(&point[33..65])})
}

#[test]
fn a_genuine_token_is_accepted_with_prefix_and_groups() {
    let idp = Idp::new();
    let identity = verify(&mut idp.issuers(), &token(&idp, &claims())).unwrap();
    assert_eq!(identity.issuer, "corp");
    assert_eq!(identity.username, "corp:alice");
    assert_eq!(identity.groups, ["a", "b"]);
    // The leeway counts, or the policy server would refuse what the filter accepts.
    assert_eq!(identity.expires_at, (NOW + 600 + 30) as i64);
}

#[test]
fn tokens_of_every_algorithm_are_verified_by_the_rust_verifier() {
    let idp = Idp::new();
    let key = idp.ed.clone().with_key_id("d1");
    let custom = Claims::with_custom_claims(json!({"hd": "example"}), Duration::from_days(3_650))
        .with_issuer("https://idp.example")
        .with_audience("mlflow")
        .with_subject("bob");
    let at_now = |mut claims: JWTClaims<Value>| {
        claims.issued_at = Some(Duration::from_secs(NOW));
        claims.invalid_before = None;
        claims
    };
    let signed = key.sign(at_now(custom)).unwrap();
    assert_eq!(reason(&idp, &signed), "accepted");
    let signed = Signed { token: RS256_TOKEN, text: "", signature: &[], now: NOW };
    let keys = idp.issuers();
    let rsa = &keys.issuers[0].keys[2];
    assert_eq!(RustVerifier.verify(&signed, crate::config::Algorithm::RS256, rsa), Verdict::Good);
    let pss = Signed { token: PS256_TOKEN, ..signed };
    assert_eq!(RustVerifier.verify(&pss, crate::config::Algorithm::PS256, rsa), Verdict::Good);
    assert_eq!(RustVerifier.verify(&pss, crate::config::Algorithm::RS256, rsa), Verdict::Bad);
    assert_eq!(RustVerifier.verify(&signed, crate::config::Algorithm::PS256, rsa), Verdict::Bad);
}

#[test]
fn a_claim_that_is_missing_odd_or_foreign_is_refused_for_its_own_reason() {
    let idp = Idp::new();
    let cases: &[(Value, &str)] = &[
        (without("exp"), "jwt_no_expiry"),
        (with("exp", json!((NOW + 600).to_string())), "jwt_time"),
        (with("exp", json!(u64::MAX)), "jwt_time"),
        (with("exp", json!(-1)), "jwt_time"),
        (with("exp", json!(1e300)), "jwt_time"),
        (with("exp", json!(null)), "jwt_time"),
        (with("exp", json!(NOW - 31)), "jwt_expired"),
        (with("exp", json!(NOW - 30)), "jwt_expired"),
        (with("nbf", json!(NOW + 31)), "jwt_not_yet_valid"),
        (with("nbf", json!("soon")), "jwt_time"),
        (with("iat", json!(NOW + 31)), "jwt_from_the_future"),
        (without("aud"), "jwt_audience"),
        (with("aud", json!("mlflow2")), "jwt_audience"),
        (with("aud", json!("MLFLOW")), "jwt_audience"),
        (with("aud", json!([])), "jwt_audience"),
        (with("aud", json!({"mlflow": 1})), "jwt_audience"),
        (without("iss"), "jwt_issuer"),
        (with("iss", json!("https://idp.example/")), "jwt_issuer"),
        (with("iss", json!("https://idp.example.evil")), "jwt_issuer"),
        (with("iss", json!("HTTPS://idp.example")), "jwt_issuer"),
        (with("iss", json!(["https://idp.example"])), "jwt_issuer"),
        (without("sub"), "jwt_no_username"),
        (with("sub", json!(null)), "jwt_no_username"),
        (with("sub", json!(7)), "jwt_no_username"),
        (with("sub", json!(["alice"])), "jwt_no_username"),
        (with("sub", json!("")), "jwt_username"),
        (with("sub", json!("alice\u{0}")), "jwt_username"),
        (with("sub", json!(" alice")), "jwt_username"),
        (with("sub", json!("a".repeat(300))), "jwt_username"),
        (with("preferred_username", json!(7)), "jwt_no_username"),
        (without("hd"), "jwt_required_claim"),
        (with("hd", json!("example2")), "jwt_required_claim"),
        (with("realm", json!({"groups": [1]})), "jwt_groups"),
        (with("realm", json!({"groups": vec!["g"; 1000]})), "jwt_groups"),
        (with("exp", json!(NOW - 29)), "accepted"),
        (with("exp", json!(NOW as f64 + 600.5)), "accepted"),
        (with("nbf", json!(NOW + 30)), "accepted"),
        (with("aud", json!(["x", "mlflow"])), "accepted"),
        (with("realm", json!({"groups": "a, b"})), "accepted"),
        (without("realm"), "accepted"),
    ];
    for (claims, expected) in cases {
        assert_eq!(reason(&idp, &token(&idp, claims)), *expected, "{claims}");
    }
}

#[test]
fn a_header_that_chooses_its_own_rules_is_refused() {
    let idp = Idp::new();
    let payload = claims().to_string();
    for (header, expected) in [
        (r#"{"alg":"none"}"#, "jwt_algorithm"),
        (r#"{"alg":"None","kid":"e1"}"#, "jwt_algorithm"),
        (r#"{"alg":"HS256","kid":"e1"}"#, "jwt_algorithm"),
        (r#"{"alg":"es256","kid":"e1"}"#, "jwt_algorithm"),
        (r#"{"alg":["ES256"],"kid":"e1"}"#, "jwt_algorithm"),
        (r#"{"kid":"e1"}"#, "jwt_algorithm"),
        (r#"{"alg":"ES384","kid":"e1"}"#, "jwt_algorithm"),
        (r#"{"alg":"RS256","kid":"e1"}"#, "jwt_kid"),
        (r#"{"alg":"EdDSA","kid":"e1"}"#, "jwt_kid"),
        (r#"{"alg":"ES256","kid":"e2"}"#, "jwt_kid"),
        (r#"{"alg":"ES256","kid":"../../e1"}"#, "jwt_kid"),
        (r#"{"alg":"ES256","kid":7}"#, "jwt_kid"),
        (r#"{"alg":"ES256","kid":"e1","jku":"http://evil"}"#, "jwt_header"),
        (r#"{"alg":"ES256","kid":"e1","x5u":"http://evil"}"#, "jwt_header"),
        (r#"{"alg":"ES256","kid":"e1","jwk":{}}"#, "jwt_header"),
        (r#"{"alg":"ES256","kid":"e1","crit":["b64"],"b64":false}"#, "jwt_header"),
        (r#"{"alg":"ES256","kid":"e1","typ":"logout+jwt"}"#, "jwt_type"),
        (r#"{"alg":"ES256","alg":"none","kid":"e1"}"#, "jwt_malformed"),
        (r#"["ES256"]"#, "jwt_malformed"),
        (r#"{"alg":"ES256","kid":"e1","typ":"at+jwt"}"#, "accepted"),
        // Without a kid the one key of the algorithm is meant.
        (r#"{"alg":"ES256"}"#, "accepted"),
    ] {
        assert_eq!(reason(&idp, &raw(&idp, header, &payload)), expected, "{header}");
    }
    let long = format!(r#"{{"alg":"ES256","kid":"{}"}}"#, "k".repeat(10_000));
    assert_eq!(reason(&idp, &raw(&idp, &long, &payload)), "jwt_kid");
}

#[test]
fn what_is_not_signed_by_the_named_issuer_is_refused() {
    let idp = Idp::new();
    let header = r#"{"alg":"ES256","kid":"e1"}"#;
    let genuine = token(&idp, &claims());
    let (text, signature) = genuine.rsplit_once('.').unwrap();
    let other = signed_by(&idp.stranger, header, &claims().to_string());
    assert_eq!(reason(&idp, &other), "jwt_signature", "the same kid at another issuer");
    assert_eq!(reason(&idp, &format!("{text}.")), "jwt_signature");
    assert_eq!(reason(&idp, &format!("{text}.{}", b64(&[0; 64]))), "jwt_signature");
    assert_eq!(reason(&idp, &format!("{text}.{}", b64(&[0; 63]))), "jwt_signature");
    let changed = format!(
        "{}.{}.{signature}",
        b64(header.as_bytes()),
        b64(with("sub", json!("root")).to_string().as_bytes())
    );
    assert_eq!(reason(&idp, &changed), "jwt_signature");
    let replayed = with("iss", json!("https://other.example"));
    assert_eq!(reason(&idp, &token(&idp, &replayed)), "jwt_signature", "cross-issuer");
    let keyless = with("iss", json!("https://plain.example"));
    assert_eq!(reason(&idp, &token(&idp, &keyless)), "unknown key", "an issuer without keys");
}

#[test]
fn malformed_tokens_are_refused() {
    let idp = Idp::new();
    let genuine = token(&idp, &claims());
    let header = r#"{"alg":"ES256","kid":"e1"}"#;
    for malformed in [
        "..".to_owned(),
        format!("{genuine}."),
        format!("{genuine}.x"),
        format!("{genuine}=="),
        genuine.replacen('.', "..", 1),
        raw(&idp, header, r#"{"sub":"a","sub":"b"}"#),
        raw(&idp, header, r#"{"sub":"a","x":{"y":1,"y":2}}"#),
        raw(&idp, header, r#"["sub"]"#),
        raw(&idp, header, "\u{feff}{}"),
        raw(&idp, header, &format!(r#"{{"x":{}{}}}"#, "[".repeat(500), "]".repeat(500))),
    ] {
        assert_eq!(reason(&idp, &malformed), "jwt_malformed", "{malformed:.80}");
    }
}

#[test]
fn a_verified_token_is_not_verified_again_until_it_ends_or_keys_change() {
    let idp = Idp::new();
    let mut issuers = idp.issuers();
    let host = Mock::new();
    *host.0.foreign.borrow_mut() = Some(vec![0x08, 0x01]);
    let genuine = token(&idp, &claims());
    let at = |issuers: &mut Issuers, ms| whose(issuers, &host, &genuine, ms).is_ok();
    assert!(at(&mut issuers, Mock::START_MS));
    // From here on the host calls every signature bad.
    *host.0.foreign.borrow_mut() = Some(vec![0x08, 0x00]);
    assert!(at(&mut issuers, Mock::START_MS + 1000), "remembered");
    let end = Mock::START_MS + (600 + 30) * 1000;
    assert!(!at(&mut issuers, end), "at its end, leeway included, it is checked again");
    issuers.push(&set(r#"{"keys":[]}"#, 1));
    assert!(!at(&mut issuers, Mock::START_MS + 1000), "other keys: checked again");
}

#[test]
fn the_host_is_given_der_and_only_its_plain_yes_counts() {
    let idp = Idp::new();
    let host = Mock::new();
    let genuine = token(&idp, &claims());
    for (answer, good) in [
        (&b"\x08\x01"[..], true),
        (b"\x08\x00", false),
        (b"", false),
        (b"\x12\x02no", false),
        (b"\xff\xff", false),
    ] {
        *host.0.foreign.borrow_mut() = Some(answer.to_vec());
        let verdict = idp.issuers().verify(&host, &genuine, Mock::START_MS).is_ok();
        assert_eq!(verdict, good, "{answer:?}");
    }
    let sent = host.0.foreign_arguments.borrow();
    let spki = idp.ec.public_key().to_der().unwrap();
    assert!(sent.windows(spki.len()).any(|window| window == spki));
}

#[test]
fn an_issuer_cannot_name_the_people_of_another_one() {
    let idp = Idp::new();
    let mut issuers = idp.issuers();
    issuers.push(&set(&json!({"keys": [jwk(&idp, "j1")]}).to_string(), 1));
    // `plain` has no prefix; that of `corp` is `corp:`.
    for (sub, expected) in [("corp:alice", Err("jwt_username")), ("corp", Ok("corp"))] {
        let mut claims = with("iss", json!("https://plain.example"));
        claims["sub"] = json!(sub);
        let token = raw(&idp, r#"{"alg":"ES256","kid":"j1"}"#, &claims.to_string());
        let identity = verify(&mut issuers, &token).map(|identity| identity.username);
        assert_eq!(identity.as_deref().map_err(|reason| *reason), expected, "{sub}");
    }
}

#[test]
fn a_flood_of_forged_tokens_is_refused_without_checking_each() {
    let idp = Idp::new();
    let mut issuers = idp.issuers();
    let host = Mock::new();
    *host.0.foreign.borrow_mut() = Some(vec![0x08, 0x00]);
    let forged = token(&idp, &claims());
    let mut reasons = std::collections::BTreeMap::new();
    for _ in 0..100 + 10 {
        let reason = refused(issuers.verify(&host, &forged, Mock::START_MS));
        *reasons.entry(reason).or_insert(0_u32) += 1;
    }
    assert_eq!(reasons["jwt_signature"], 100);
    assert_eq!(reasons["flood"], 10);
    let later = refused(issuers.verify(&host, &forged, Mock::START_MS + 1000));
    assert_eq!(later, "jwt_signature");
}

#[test]
fn without_an_issuer_every_jwt_is_refused() {
    let mut none = Issuers::new(&Config::parse(br#"{"policy":{"cluster":"p"}}"#).unwrap()).unwrap();
    assert_eq!(verify(&mut none, RS256_TOKEN).unwrap_err(), "jwt_issuer");
}
