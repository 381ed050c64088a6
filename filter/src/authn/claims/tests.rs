use super::*;
use crate::config::Config;
use crate::surface::json::read_object;
use serde_json::json;

fn issuer(settings: serde_json::Value) -> Issuer {
    let mut issuer = json!({
        "name": "i", "issuer": "https://i", "audiences": ["mlflow"], "algorithms": ["RS256"],
    });
    for (name, value) in settings.as_object().unwrap() {
        issuer[name] = value.clone();
    }
    let config = json!({"policy": {"cluster": "p"}, "jwt": {"issuers": [issuer]}});
    let config = Config::parse(config.to_string().as_bytes()).unwrap();
    config.jwt.unwrap().issuers.remove(0)
}

fn read(claims: serde_json::Value) -> Object {
    read_object(claims.to_string().as_bytes()).unwrap()
}

fn groups_of(settings: serde_json::Value, claims: serde_json::Value) -> Vec<String> {
    groups(&read(claims), &issuer(settings).naming()).unwrap()
}

fn refused(settings: serde_json::Value, claims: serde_json::Value) -> &'static str {
    groups(&read(claims), &issuer(settings).naming()).unwrap_err().of_token().reason
}

#[test]
fn groups_come_as_a_list_or_a_string_of_either_kind_and_from_several_claims() {
    let none: [&str; 0] = [];
    for (settings, claims, expected) in [
        (json!({}), json!({"groups": ["a"]}), &none[..]),
        (json!({"groups_claim": "groups"}), json!({"groups": ["b", "a", "b", ""]}), &["a", "b"]),
        (
            json!({"groups_claim": "groups"}),
            json!({"groups": "Data Science, b,"}),
            &["Data Science", "b"],
        ),
        (
            json!({"groups_claim": "groups", "groups_separator": "space"}),
            json!({"groups": "read  write"}),
            &["read", "write"],
        ),
        (json!({"groups_claim": "groups"}), json!({"groups": null}), &none),
        (
            json!({"groups_claim": "realm_access.roles"}),
            json!({"realm_access": {"roles": ["r"]}, "roles": ["x"]}),
            &["r"],
        ),
        (
            json!({"groups_claim": ["groups", "roles"], "groups_prefix": "corp:"}),
            json!({"groups": ["a"], "roles": "b"}),
            &["corp:a", "corp:b"],
        ),
        (
            json!({"groups_claim": "https://corp.example/groups"}),
            json!({"https://corp.example/groups": ["a"]}),
            &["a"],
        ),
        (
            json!({"groups_claim": "/resource_access/ml~1flow.io/roles"}),
            json!({"resource_access": {"ml/flow.io": {"roles": ["a"]}}}),
            &["a"],
        ),
    ] {
        assert_eq!(groups_of(settings.clone(), claims), expected, "{settings}");
    }
}

#[test]
fn groups_that_cannot_be_read_in_full_refuse_the_token() {
    let groups = json!({"groups_claim": ["groups", "roles"]});
    for claims in [
        json!({"groups": [1]}),
        json!({"groups": {"a": 1}}),
        json!({"groups": 7}),
        json!({"groups": vec!["g"; 300], "roles": vec!["r"; 300]}),
    ] {
        assert_eq!(refused(groups.clone(), claims.clone()), "jwt_groups", "{claims}");
    }
    // Entra ID: more groups than fit.
    for claims in [
        json!({"_claim_names": {"groups": "src1"}, "_claim_sources": {"src1": {}}}),
        json!({"hasgroups": true}),
        json!({"hasgroups": "true"}),
    ] {
        assert_eq!(refused(groups.clone(), claims.clone()), "jwt_groups_overage", "{claims}");
        // Who goes by roles does not need them.
        assert!(groups_of(json!({"groups_claim": "roles"}), claims).is_empty());
    }
}

#[test]
fn the_audience_stands_in_the_first_claim_that_is_there() {
    let cognito = || issuer(json!({"audience_claims": ["aud", "client_id"]}));
    assert!(has_audience(&read(json!({"client_id": "mlflow"})), &cognito()));
    assert!(has_audience(&read(json!({"aud": "mlflow", "client_id": "x"})), &cognito()));
    assert!(!has_audience(&read(json!({"aud": "x", "client_id": "mlflow"})), &cognito()));
    assert!(!has_audience(&read(json!({"client_id": "mlflow"})), &issuer(json!({}))));
}

#[test]
fn a_required_claim_may_have_one_of_several_values() {
    let github = issuer(json!({"required_claims": {
        "repository_owner": "corp",
        "ref": {"any_of": ["refs/heads/main", "refs/heads/release"]},
    }}));
    let holds = |owner: &str, reference: &str| {
        has_required(&read(json!({"repository_owner": owner, "ref": reference})), &github.naming())
    };
    assert!(holds("corp", "refs/heads/release"));
    assert!(!holds("corp", "refs/heads/x") && !holds("evil", "refs/heads/main"));
    assert!(!has_required(&read(json!({"repository_owner": "corp"})), &github.naming()));
}

#[test]
fn a_username_is_found_where_names_have_dots_themselves() {
    let kubernetes = issuer(json!({"username_claims": ["/kubernetes.io/serviceaccount/name"]}));
    let claims = json!({"kubernetes.io": {"serviceaccount": {"name": "trainer"}}});
    assert_eq!(username(&read(claims), &kubernetes.naming()).unwrap(), "trainer");
}
