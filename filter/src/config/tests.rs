use super::*;

fn error_of(json: &str) -> String {
    Config::parse(json.as_bytes()).unwrap_err().to_string()
}

#[test]
fn the_smallest_configuration_is_secure() {
    let config = Config::parse(br#"{"policy":{"cluster":"p"}}"#).unwrap();
    assert_eq!(config.jwt, None);
    assert_eq!(config.mode, Mode::Enforce);
    assert!(!config.unknown_routes_for_admins && !config.reason_header);
    assert_eq!(config.cache.max_staleness_ms, 5_000);
    assert_eq!(config.body_mode, BodyMode::StopIteration);
    assert!(config.surface().public_routes.contains(&"/health".to_owned()));
}

#[test]
fn an_unknown_field_is_refused_by_name_at_every_level() {
    for (json, field) in [
        (r#"{"policy":{"cluster":"p"},"enforce":true}"#, "enforce"),
        (r#"{"policy":{"cluster":"p","timeout":1}}"#, "timeout"),
        (r#"{"policy":{"cluster":"p"},"cache":{"ttl":1}}"#, "ttl"),
        (r#"{"policy":{"cluster":"p"},"scope":{"host":"a"}}"#, "host"),
        (r#"{"policy":{"cluster":"p"},"jwt":{"issuers":[],"skew":1}}"#, "skew"),
    ] {
        assert!(error_of(json).contains(&format!("`{field}`")), "{}", error_of(json));
    }
}

#[test]
fn a_value_out_of_range_is_refused_with_its_field() {
    for (json, field) in [
        ("", "configuration"),
        ("{}", "policy"),
        (r#"{"policy":{"cluster":""}}"#, "policy.cluster"),
        (r#"{"policy":{"cluster":"p","timeout_ms":0}}"#, "policy.timeout_ms"),
        (r#"{"policy":{"cluster":"p","authority":"a b"}}"#, "policy.authority"),
        (r#"{"policy":{"cluster":"p","token":""}}"#, "policy.token"),
        (
            r#"{"policy":{"cluster":"p"},"cache":{"max_staleness_ms":3600000}}"#,
            "cache.max_staleness_ms",
        ),
        (r#"{"policy":{"cluster":"p"},"scope":{"static_prefix":"x/"}}"#, "scope.static_prefix"),
        (r#"{"policy":{"cluster":"p"},"scope":{"hosts":["A.example"]}}"#, "scope.hosts[0]"),
        (r#"{"policy":{"cluster":"p"},"public_routes":["/*"]}"#, "public_routes[0]"),
        (r#"{"policy":{"cluster":"p"},"allowed_origins":["*"]}"#, "allowed_origins[0]"),
        (r#"{"policy":{"cluster":"p"},"realm":"a\"b"}"#, "realm"),
        (r#"{"policy":{"cluster":"p"},"mode":"permissive"}"#, "permissive"),
        (r#"{"policy":{"cluster":"p"},"jwt":{"issuers":[]}}"#, "jwt.issuers"),
    ] {
        assert!(error_of(json).contains(field), "{json}: {}", error_of(json));
    }
}

#[test]
fn forwarded_identities_need_a_hop_that_somebody_can_prove_to_be() {
    let forwarded = |headers: &str, trusted: &str, more: &str| {
        format!(
            r#"{{"policy":{{"cluster":"p"}},"forwarded_identity":{{"name":"f","headers":"{headers}","trusted":{trusted}{more}}}}}"#
        )
    };
    let hop = r#"{"addresses":["10.0.0.0/8"]}"#;
    assert!(Config::parse(forwarded("auth_request", hop, "").as_bytes()).is_ok());
    let easy = r#","identity_providers":["aad"]"#;
    assert!(Config::parse(forwarded("easy_auth", hop, easy).as_bytes()).is_ok());
    for (json, field) in [
        (forwarded("auth_request", "{}", ""), "forwarded_identity.trusted"),
        (forwarded("auth_request", r#"{"addresses":[]}"#, ""), "forwarded_identity.trusted"),
        (forwarded("auth_request", r#"{"addresses":["0.0.0.0/0"]}"#, ""), "trusted.addresses"),
        (
            forwarded("auth_request", r#"{"addresses":["10.0.0.0/8","::/0"]}"#, ""),
            "trusted.addresses",
        ),
        (forwarded("auth_request", r#"{"addresses":["proxy"]}"#, ""), "configuration"),
        (forwarded("auth_request", r#"{"peers":["*.corp"]}"#, ""), "trusted.peers"),
        (forwarded("auth_request", r#"{"secrets":["short"]}"#, ""), "trusted.secrets"),
        (forwarded("auth_request", r#"{"x_forwarded_for":["10.0.0.1"]}"#, ""), "x_forwarded_for"),
        (forwarded("any", hop, ""), "any"),
        (forwarded("easy_auth", hop, ""), "forwarded_identity.identity_providers"),
        (forwarded("forwarded", hop, easy), "forwarded_identity.identity_providers"),
        (
            forwarded("forwarded", hop, r#","groups_claim":"roles""#),
            "forwarded_identity.groups_claim",
        ),
        (
            forwarded("forwarded", hop, r#","username_claims":["sub"]"#),
            "forwarded_identity.username_claims",
        ),
    ] {
        assert!(error_of(&json).contains(field), "{json}: {}", error_of(&json));
    }
    let nameless =
        r#"{"policy":{"cluster":"p"},"forwarded_identity":{"name":"f","headers":"forwarded"}}"#;
    assert!(error_of(nameless).contains("trusted"));
    let secret = forwarded("forwarded", r#"{"secrets":["0123456789abcdef0123456789abcdef"]}"#, "");
    let shown = format!("{:?}", Config::parse(secret.as_bytes()).unwrap());
    assert!(!shown.contains("0123456789abcdef"), "{shown}");
}

#[test]
fn an_issuer_without_an_audience_or_with_a_twin_is_refused() {
    let issuer = |name: &str, url: &str, audiences: &str| {
        format!(
            r#"{{"name":"{name}","issuer":"{url}","audiences":{audiences},"algorithms":["RS256"]}}"#
        )
    };
    let config = |issuers: &[String]| {
        format!(r#"{{"policy":{{"cluster":"p"}},"jwt":{{"issuers":[{}]}}}}"#, issuers.join(","))
    };
    assert!(
        error_of(&config(&[issuer("a", "https://a", "[]")])).contains("jwt.issuers[0].audiences")
    );
    let twins = [issuer("a", "https://a", r#"["m"]"#), issuer("b", "https://a", r#"["m"]"#)];
    assert!(error_of(&config(&twins)).contains("jwt.issuers[1].issuer"));
    assert!(
        error_of(&config(&[issuer("a", "https://a", r#"["m"]"#).replace("RS256", "HS256")]))
            .contains("HS256")
    );
    assert!(
        error_of(&config(&[issuer("a", "https://a", r#"["m"]"#).replace("RS256", "none")]))
            .contains("none")
    );
}

#[test]
fn filters_take_ids_only_where_the_version_is_known_to() {
    let of = |version: &str| {
        let json = format!(r#"{{"policy":{{"cluster":"p"}},"mlflow_version":{version}}}"#);
        Config::parse(json.as_bytes()).map(|config| config.filters_take_ids())
    };
    for version in [r#""3.17""#, r#""3.17.2""#, r#""3.18.0""#, r#""4.0.0.dev0""#] {
        assert_eq!(of(version), Ok(true), "{version}");
    }
    for version in ["null", r#""2.22.1""#, r#""3.16.9""#, r#""3.9""#] {
        assert_eq!(of(version), Ok(false), "{version}");
    }
    for version in [r#""3""#, r#""latest""#, r#""v3.17""#] {
        assert!(of(version).unwrap_err().to_string().contains("mlflow_version"), "{version}");
    }
}

#[test]
fn an_issuer_that_would_read_nothing_or_anything_is_refused_with_the_field() {
    for (field, value, named) in [
        ("audience_claims", "[]", "jwt.issuers[0].audience_claims"),
        ("username_claims", r#"[""]"#, "jwt.issuers[0].username_claims"),
        ("groups_claim", r#"["a",""]"#, "jwt.issuers[0].groups_claim"),
        ("groups_separator", r#"";""#, "comma"),
        ("required_claims", r#"{"a":{"one_of":["b"]}}"#, "any_of"),
        ("required_claims", r#"{"a":{"any_of":[]}}"#, "any_of"),
    ] {
        let issuer = format!(
            r#"{{"name":"a","issuer":"https://a","audiences":["m"],"algorithms":["RS256"],"{field}":{value}}}"#
        );
        let json = format!(r#"{{"policy":{{"cluster":"p"}},"jwt":{{"issuers":[{issuer}]}}}}"#);
        assert!(error_of(&json).contains(named), "{json}: {}", error_of(&json));
    }
}
