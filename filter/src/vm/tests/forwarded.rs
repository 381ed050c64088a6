use super::*;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

const EASY_AUTH: &str = r#"{"reason_header": true, "forwarded_identity": {
    "name": "easyauth", "headers": "easy_auth", "identity_providers": ["aad"],
    "trusted": {"addresses": ["10.0.0.0/8"]}, "username_prefix": "entra:"
}}"#;

fn principal() -> String {
    let claims = r#"[{"typ":"preferred_username","val":"ana"}]"#;
    STANDARD.encode(format!(r#"{{"auth_typ":"aad","claims":{claims}}}"#))
}

fn world(address: &str) -> World {
    let world = World::with(EASY_AUTH);
    let address = address.as_bytes().to_vec();
    world.host.0.properties.borrow_mut().insert("source.address".to_owned(), address);
    world
}

fn reason(world: &World) -> String {
    let replies = world.host.0.replies.borrow();
    let (_, reply) = replies.last().unwrap();
    let header = reply.headers.iter().find(|(name, _)| name == "x-mlgate-reason");
    format!("{} {}", reply.status, header.map_or("", |(_, value)| value))
}

#[test]
fn who_the_trusted_proxy_names_is_asked_about_as_a_verified_identity() {
    let mut world = world("10.0.0.1:4711");
    let sent = [
        ("x-ms-client-principal", principal()),
        ("x-ms-client-principal-name", "ana".to_owned()),
        ("x-forwarded-user", "root".to_owned()),
    ];
    let sent: Vec<_> = sent.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let (request, _) = world.start("GET", GET_EXPERIMENT, &sent, true);
    let (_, asked) = world.last_call::<pb::AuthorizeRequest>();
    match asked.subject.unwrap().kind.unwrap() {
        pb::subject::Kind::Verified(who) => {
            assert_eq!((who.issuer.as_str(), who.username.as_str()), ("easyauth", "entra:ana"));
        }
        other => panic!("{other:?}"),
    }
    world.allow();
    assert!(world.resumed(request, Request));
    for (gone, _) in sent {
        assert_eq!(world.host.request_header(gone), None, "{gone}");
    }
}

#[test]
fn from_elsewhere_the_headers_are_nothing_and_do_not_reach_mlflow() {
    for address in ["192.0.2.1:4711", "10.0.0.1:0"] {
        let mut world = world(address);
        let principal = principal();
        let forged = ("x-ms-client-principal", principal.as_str());
        world.start("GET", GET_EXPERIMENT, &[forged], true);
        assert_eq!(reason(&world), "401 forwarded_untrusted");
        assert!(world.host.0.calls.borrow().is_empty());
        // Beside a credential of one's own they do no harm.
        let twin = ("x_ms_client_principal_id", "root");
        let (request, _) = world.start("GET", GET_EXPERIMENT, &[BASIC, forged, twin], true);
        let (_, asked) = world.last_call::<pb::AuthorizeRequest>();
        assert!(matches!(asked.subject.unwrap().kind, Some(pb::subject::Kind::Basic(_))));
        world.allow();
        assert!(world.resumed(request, Request));
        for gone in ["x-ms-client-principal", "x_ms_client_principal_id"] {
            assert_eq!(world.host.request_header(gone), None, "{gone}");
        }
    }
}

#[test]
fn the_proxys_word_beside_another_credential_is_refused_whoever_they_name() {
    for credential in [BASIC, ("authorization", "Bearer mlg_x"), ("authorization", "")] {
        let mut world = world("10.0.0.1:4711");
        let principal = principal();
        let sent = [credential, ("x-ms-client-principal", principal.as_str())];
        world.start("GET", GET_EXPERIMENT, &sent, true);
        assert_eq!(reason(&world), "401 forwarded_and_authorization");
        assert!(world.host.0.calls.borrow().is_empty());
    }
}

#[test]
fn without_the_setting_the_headers_name_nobody() {
    let mut world = World::with(r#"{"reason_header": true}"#);
    let address = b"10.0.0.1:4711".to_vec();
    world.host.0.properties.borrow_mut().insert("source.address".to_owned(), address);
    let principal = principal();
    let sent = [("x-ms-client-principal", principal.as_str()), ("x-auth-request-user", "root")];
    world.start("GET", GET_EXPERIMENT, &sent, true);
    assert_eq!(reason(&world), "401 no_credential");
}

#[test]
fn who_a_trusted_proxy_named_is_nobody_from_another_address() {
    let mut world = world("10.0.0.1:4711");
    let sent =
        [("x-ms-client-principal", principal()), ("x-ms-client-principal-name", "ana".to_owned())];
    let sent: Vec<_> = sent.iter().map(|(name, value)| (*name, value.as_str())).collect();
    world.start("GET", GET_EXPERIMENT, &sent, true);
    world.allow();
    for _ in 0..3 {
        assert_eq!(world.start("GET", GET_EXPERIMENT, &sent, true).1, Flow::Continue);
    }
    let elsewhere = b"192.0.2.1:4711".to_vec();
    world.host.0.properties.borrow_mut().insert("source.address".to_owned(), elsewhere);
    let (request, _) = world.start("GET", GET_EXPERIMENT, &sent, true);
    assert_eq!(world.status_of(request), Some(401), "although the head is the same");
}
