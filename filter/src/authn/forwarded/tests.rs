use super::*;
use crate::config::Config;
use crate::mock::{Mock, pairs};
use serde_json::json;

const OBJECT_ID: &str = "http://schemas.microsoft.com/identity/claims/objectidentifier";
const HOP: &str = "10.0.0.1:4711";

struct Setup {
    config: Config,
    prefixes: Prefixes,
    host: Mock,
}

impl Setup {
    fn new(headers: &str, settings: serde_json::Value) -> Self {
        let mut forwarded = json!({
            "name": "proxy", "headers": headers, "trusted": {"addresses": ["10.0.0.0/8"]},
        });
        if headers == "easy_auth" {
            forwarded["identity_providers"] = json!(["aad"]);
        }
        for (name, value) in settings.as_object().unwrap() {
            forwarded[name] = value.clone();
        }
        let issuer = json!({
            "name": "corp", "issuer": "https://i", "audiences": ["m"], "algorithms": ["ES256"],
            "username_prefix": "corp:", "groups_prefix": "corp:",
        });
        let config = json!({
            "policy": {"cluster": "p"}, "jwt": {"issuers": [issuer]}, "forwarded_identity": forwarded,
        });
        let config = Config::parse(config.to_string().as_bytes()).unwrap();
        let host = Mock::new();
        host.set_property(&["source", "address"], HOP.as_bytes()).unwrap();
        Self { prefixes: Prefixes::of(&config), config, host }
    }

    fn read(&self, headers: &Headers) -> Result<Forwarded, &'static str> {
        let config = self.config.forwarded_identity.as_ref().unwrap();
        read(config, &self.prefixes, &self.host, headers).map_err(|why| {
            assert_eq!(why.bearer_error, None);
            why.reason
        })
    }

    fn identity(&self, headers: &[(&str, &str)]) -> (String, Vec<String>) {
        match self.read(&pairs(headers)) {
            Ok(Forwarded::Identity(identity)) => (identity.username, identity.groups),
            other => panic!("{other:?}"),
        }
    }

    fn reason(&self, headers: &[(&str, &str)]) -> &'static str {
        self.read(&pairs(headers)).unwrap_err()
    }
}

fn encoded(principal: &serde_json::Value) -> String {
    STANDARD.encode(principal.to_string())
}

fn principal(claims: &[(&str, &str)]) -> serde_json::Value {
    let claims: Vec<_> =
        claims.iter().map(|(kind, value)| json!({"typ": kind, "val": value})).collect();
    json!({"auth_typ": "aad", "name_typ": "name", "role_typ": "roles", "claims": claims})
}

fn ana() -> String {
    encoded(&principal(&[("preferred_username", "ana@corp.example"), (OBJECT_ID, "o1")]))
}

#[test]
fn an_easyauth_principal_is_read_like_a_tokens_claims() {
    let setup = Setup::new(
        "easy_auth",
        json!({"username_prefix": "entra:", "groups_claim": ["groups", "roles"],
               "groups_prefix": "entra:"}),
    );
    let person = encoded(&principal(&[
        ("preferred_username", "ana@corp.example"),
        (OBJECT_ID, "o1"),
        ("groups", "g2"),
        ("groups", "g1"),
        ("roles", "Trainer, and more"),
    ]));
    let headers = [
        ("X-MS-CLIENT-PRINCIPAL", person.as_str()),
        ("x-ms-client-principal-idp", "aad"),
        ("x-ms-client-principal-name", "ana@corp.example"),
        ("x-ms-client-principal-id", "o1"),
    ];
    let groups = ["entra:Trainer, and more", "entra:g1", "entra:g2"].map(str::to_owned).to_vec();
    assert_eq!(setup.identity(&headers), ("entra:ana@corp.example".to_owned(), groups));
    let robot = encoded(&principal(&[(OBJECT_ID, "o2"), ("roles", "Trainer")]));
    let (name, groups) = setup.identity(&[("x-ms-client-principal", &robot)]);
    assert_eq!((name.as_str(), groups), ("entra:o2", vec!["entra:Trainer".to_owned()]));
}

#[test]
fn what_the_headers_say_counts_only_from_the_hop() {
    let setup = Setup::new("easy_auth", json!({}));
    let headers = pairs(&[("x-ms-client-principal", &ana())]);
    assert!(matches!(setup.read(&headers), Ok(Forwarded::Identity(_))));
    for elsewhere in ["10.0.0.1:0", "192.0.2.1:4711", ""] {
        setup.host.set_property(&["source", "address"], elsewhere.as_bytes()).unwrap();
        assert_eq!(setup.read(&headers), Ok(Forwarded::Ignored), "{elsewhere}");
        // Not even read: nobody learns what is wrong with it.
        let odd = pairs(&[("x_ms_client_principal", "%")]);
        assert_eq!(setup.read(&odd), Ok(Forwarded::Ignored));
    }
}

#[test]
fn a_principal_that_could_be_read_in_two_ways_names_nobody() {
    let setup = Setup::new("easy_auth", json!({}));
    let ana = ana();
    let name = "x-ms-client-principal";
    for (headers, reason) in [
        (&[(name, ana.as_str()), (name, &ana)][..], "forwarded_ambiguous"),
        (&[(name, &ana), ("X-Ms-Client-Principal", &ana)], "forwarded_ambiguous"),
        (&[(name, &ana), ("x_ms_client_principal", &ana)], "forwarded_ambiguous"),
        (&[("x_ms_client_principal", &ana)], "forwarded_ambiguous"),
        (&[(name, &ana), ("x-ms-client_principal-name", "root")], "forwarded_ambiguous"),
        (&[(name, &ana), (name, "")], "forwarded_ambiguous"),
        (&[("x-ms-client-principal-name", "ana@corp.example")], "forwarded_incomplete"),
        (&[(name, &ana), ("x-ms-client-principal-idp", "google")], "forwarded_provider"),
        (&[(name, &format!("{ana},{ana}"))], "forwarded_malformed"),
    ] {
        assert_eq!(setup.reason(headers), reason, "{headers:?}");
    }
    let bytes: Headers = [(name.as_bytes(), b"\xff\xfe".as_slice())].into_iter().collect();
    assert_eq!(setup.read(&bytes), Err("forwarded_malformed"));
}

#[test]
fn a_principal_that_is_none_names_nobody() {
    let setup = Setup::new("easy_auth", json!({}));
    let two = principal(&[("preferred_username", "ana"), ("preferred_username", "root")]);
    let deep = format!("{}1{}", "[".repeat(12_000), "]".repeat(12_000));
    let nested = format!(r#"{{"auth_typ":"aad","claims":{deep}}}"#);
    let many = principal(&vec![("a", "b"); 1025]);
    let twice =
        r#"{"auth_typ":"aad","claims":[],"claims":[{"typ":"preferred_username","val":"a"}]}"#;
    for (json, reason) in [
        (two.to_string(), "forwarded_no_username"),
        (nested, "forwarded_malformed"),
        (many.to_string(), "forwarded_malformed"),
        (twice.to_owned(), "forwarded_malformed"),
        (r#"["aad"]"#.to_owned(), "forwarded_malformed"),
        (r#"{"auth_typ":"aad"}"#.to_owned(), "forwarded_malformed"),
        (r#"{"auth_typ":"aad","claims":[{"typ":"a","val":1}]}"#.to_owned(), "forwarded_malformed"),
        (r#"{"auth_typ":"aad","claims":[1]}"#.to_owned(), "forwarded_malformed"),
        (r#"{"auth_typ":"google","claims":[]}"#.to_owned(), "forwarded_provider"),
        (r#"{"claims":[]}"#.to_owned(), "forwarded_provider"),
        (principal(&[]).to_string(), "forwarded_no_username"),
        (principal(&[("preferred_username", " ana")]).to_string(), "forwarded_username"),
        (principal(&[("preferred_username", "a\nb")]).to_string(), "forwarded_username"),
        (principal(&[("preferred_username", "corp:ana")]).to_string(), "forwarded_username"),
        ("\u{feff}{}".to_owned(), "forwarded_malformed"),
        (String::new(), "forwarded_incomplete"),
    ] {
        let value = STANDARD.encode(&json);
        let headers =
            [("x-ms-client-principal", value.as_str()), ("x-ms-client-principal-id", "i")];
        assert_eq!(setup.reason(&headers), reason, "{}", &json[..json.len().min(80)]);
    }
    for raw in ["%%%", "YQ", "e30=\u{e9}", &"A".repeat(MAX_PRINCIPAL + 1), &"A".repeat(60_000)] {
        assert_eq!(setup.reason(&[("x-ms-client-principal", raw)]), "forwarded_malformed");
    }
}

#[test]
fn groups_that_entra_has_left_out_are_not_taken_for_none() {
    let setup = Setup::new("easy_auth", json!({"groups_claim": "groups"}));
    for (kind, value, reason) in [
        ("_claim_names", r#"{"groups":"src1"}"#, "forwarded_groups_overage"),
        ("hasgroups", "true", "forwarded_groups_overage"),
        ("_claim_names", "groups", "forwarded_malformed"),
    ] {
        let json = principal(&[("preferred_username", "ana"), (kind, value)]);
        assert_eq!(setup.reason(&[("x-ms-client-principal", &encoded(&json))]), reason, "{kind}");
    }
}

#[test]
fn what_oauth2_proxy_says_is_read_from_the_headers_that_are_configured() {
    let settings = json!({"groups_claim": "groups", "username_prefix": "sso:"});
    let request = Setup::new("auth_request", settings.clone());
    let forwarded = Setup::new("forwarded", settings);
    for (setup, prefix, other) in [
        (&request, "x-auth-request-", "x-forwarded-"),
        (&forwarded, "x-forwarded-", "x-auth-request-"),
    ] {
        let named = |prefix: &str, rest: &str| format!("{prefix}{rest}");
        let (user, groups) = (named(prefix, "user"), named(prefix, "groups"));
        let preferred = named(prefix, "preferred-username");
        let all = [(user.as_str(), "u1"), (&preferred, "ana"), (&groups, "a,b")];
        let both = ["a", "b"].map(str::to_owned).to_vec();
        assert_eq!(setup.identity(&all), ("sso:ana".to_owned(), both));
        assert_eq!(setup.identity(&[(&user, "u1"), (&preferred, "")]).0, "sso:u1");
        for (headers, reason) in [
            (&[(user.as_str(), "u1"), (user.as_str(), "u2")][..], "forwarded_ambiguous"),
            (&[(&user, "u1, u2")], "forwarded_malformed"),
            (&[(&user, &"u".repeat(1025))], "forwarded_malformed"),
            (&[(&groups, "a")], "forwarded_no_username"),
            (&[(&user, "u1"), (&user.replace('-', "_"), "u1")], "forwarded_ambiguous"),
        ] {
            assert_eq!(setup.reason(headers), reason, "{headers:?}");
        }
        let foreign = named(other, "user");
        assert_eq!(setup.read(&pairs(&[(&foreign, "root")])), Ok(Forwarded::Nothing));
        assert_eq!(setup.read(&pairs(&[(&user, "")])), Ok(Forwarded::Nothing));
    }
}

#[test]
fn a_required_claim_is_required_of_a_proxy_too() {
    let setup = Setup::new("easy_auth", json!({"required_claims": {"tid": "t1"}}));
    let of = |tenant| principal(&[("preferred_username", "ana"), ("tid", tenant)]);
    assert_eq!(setup.identity(&[("x-ms-client-principal", &encoded(&of("t1")))]).0, "ana");
    let other = encoded(&of("t2"));
    assert_eq!(setup.reason(&[("x-ms-client-principal", &other)]), "forwarded_required_claim");
}

#[test]
fn two_requests_within_minutes_ask_the_same_question_and_no_answer_outlives_ten() {
    let setup = Setup::new("easy_auth", json!({}));
    let headers = pairs(&[("x-ms-client-principal", &ana())]);
    let ends = || match setup.read(&headers) {
        Ok(Forwarded::Identity(identity)) => u64::try_from(identity.expires_at).unwrap(),
        other => panic!("{other:?}"),
    };
    let (start, first) = (Mock::START_MS / 1000, ends());
    setup.host.advance(299_000);
    assert_eq!(ends(), first);
    setup.host.advance(2_000);
    assert!(ends() > first);
    assert!((300..=600).contains(&(first - start)));
}
