//! What MLflow 3.18's skill registry needs, route by route, as its own auth app decides it.

use mlgate_filter::catalogue;
use mlgate_filter::operation::{BodyNeed, Effect, EffectId, Operation, RawHead, ResponseWork};
use mlgate_filter::refusal::Refusal;
use mlgate_filter::requirement::{
    Action, Key, Naming, Requirement, ResourceType::Skill, Rung, Selection, Standing,
};
use mlgate_filter::surface::narrow::{Narrowed, narrow};
use mlgate_filter::surface::{Reading, SurfaceSettings, read_head};

fn send(method: &str, path: &str, body: &str) -> Result<Operation, Refusal> {
    let headers = [("content-type", &b"application/json"[..])].into_iter().collect();
    let head = RawHead {
        method: method.as_bytes(),
        path: path.as_bytes(),
        headers: &headers,
        end_of_stream: body.is_empty(),
    };
    match read_head(&SurfaceSettings::default(), head)? {
        Reading::Routed(routed) => {
            let whole = matches!(routed.body_need(), BodyNeed::Whole { .. });
            routed.read((whole && !body.is_empty()).then_some(body.as_bytes()))
        }
        Reading::Unknown(operation) => Ok(operation),
        other => panic!("{method} {path}: {other:?}"),
    }
}

fn on(action: Action, id: &str) -> Requirement {
    let key = Key::Id(id.to_owned());
    Requirement::Ladder(vec![Rung { resource: Skill, action, key }])
}

/// Both prefixes, with and without an organization.
fn paths(rest: &str) -> [(String, &'static str); 4] {
    let path = |prefix, skill| format!("/{prefix}/3.0/mlflow/skills/{skill}{rest}");
    [
        (path("api", "reviewer"), "reviewer"),
        (path("ajax-api", "reviewer"), "reviewer"),
        (path("api", "@acme.com/reviewer"), "@acme.com/reviewer"),
        (path("ajax-api", "@acme.com/reviewer"), "@acme.com/reviewer"),
    ]
}

#[test]
fn every_route_of_a_skill_needs_what_mlflow_asks_of_the_skill() {
    use Action::{Manage, Read, Update};
    for (method, rest, body, action) in [
        ("GET", "", "", Read),
        ("PATCH", "", r#"{"description":"d"}"#, Update),
        ("DELETE", "", "", Manage),
        ("GET", "/versions?max_results=5&order_by=a&order_by=b", "", Read),
        ("POST", "/versions", "--anything, the archive streams", Update),
        ("GET", "/versions/1", "", Read),
        ("PATCH", "/versions/1", r#"{"status":"deprecated"}"#, Update),
        ("PATCH", "/versions/1", "{}", Update),
        ("PATCH", "/versions/1", r#"{"status":"deleted"}"#, Manage),
        ("PATCH", "/versions/1", r#"{"status":" DELETED"}"#, Manage),
        ("DELETE", "/versions/1", "", Manage),
        ("POST", "/versions/1/tags", r#"{"key":"k","value":"v"}"#, Update),
        ("DELETE", "/versions/1/tags/a/b", "", Manage),
        ("POST", "/tags", r#"{"key":"k","value":"v"}"#, Update),
        ("DELETE", "/tags/a/b", "", Update),
        ("POST", "/aliases", r#"{"alias":"prod","version":1}"#, Update),
        ("GET", "/aliases/prod", "", Read),
        ("DELETE", "/aliases/prod", "", Manage),
    ] {
        for (path, key) in paths(rest) {
            let operation = send(method, &path, body).unwrap();
            assert_eq!(operation.requirements, [on(action, key)], "{method} {path} {body}");
        }
    }
}

#[test]
fn a_path_names_one_skill_and_nothing_else_has_a_say() {
    for path in [
        "/api/3.0/mlflow/skills/secret?name=mine",
        "/api/3.0/mlflow/skills/Secret",
        "/api/3.0/mlflow/skills/*",
        "/api/3.0/mlflow/skills/a--b",
        "/api/3.0/mlflow/skills/@acme%2Fsecret",
        "/api/3.0/mlflow/skills/%40ACME/secret",
        "/api/3.0/mlflow/skills/@/secret",
        "/api/3.0/mlflow/skills/@acme//secret",
        "/api/3.0/mlflow/skills/@acme/versions/1",
    ] {
        let closed = send("GET", path, "").map_or(true, |operation| {
            operation.requirements == [Requirement::Standing(Standing::SuperAdmin)]
        });
        assert!(closed, "{path}");
    }
    // MLflow does not look at it.
    let query = send("GET", "/api/3.0/mlflow/skills/secret?organization=mine", "").unwrap();
    assert_eq!(query.requirements, [on(Action::Read, "secret")]);
    // Starlette decodes before it matches, as the gate does.
    let encoded = send("GET", "/api/3.0/mlflow/skills/%40acme/reviewer", "").unwrap();
    assert_eq!(encoded.requirements, [on(Action::Read, "@acme/reviewer")]);
    // `@acme` is no name, so that only one of MLflow's two templates can be meant.
    let twice = send("GET", "/api/3.0/mlflow/skills/@acme/versions", "").unwrap();
    assert_eq!(twice.requirements, [on(Action::Read, "@acme/versions")]);
    assert!(send("POST", "/api/3.0/mlflow/skills/@acme/versions", "x").is_err());
    let update = r#"{"name":"other","description":"d"}"#;
    let patched = send("PATCH", "/api/3.0/mlflow/skills/reviewer", update).unwrap();
    assert_eq!(patched.requirements, [on(Action::Update, "reviewer")]);
}

#[test]
fn whoever_creates_a_skill_manages_it() {
    for (body, key) in [
        (r#"{"name":"reviewer"}"#, "reviewer"),
        (r#"{"name":"reviewer","organization":""}"#, "reviewer"),
        (r#"{"name":"reviewer","organization":"acme"}"#, "@acme/reviewer"),
    ] {
        let created = send("POST", "/api/3.0/mlflow/skills", body).unwrap();
        let naming = Naming { resource: Skill, name: key.to_owned(), current: None };
        assert_eq!(
            created.requirements,
            [
                Requirement::Standing(Standing::WorkspaceCreate),
                on(Action::NotDenied, key),
                Requirement::Nameable(naming),
            ]
        );
        let (id, name) = (EffectId::Known(key.to_owned()), key.to_owned());
        assert_eq!(created.effects, [Effect::Created { resource: Skill, id, name }]);
    }
    for body in [
        "{}",
        r#"{"name":"*"}"#,
        r#"{"name":"@acme/reviewer"}"#,
        r#"{"name":"a","name":"b"}"#,
        r#"{"name":"a","organization":"A"}"#,
        r#"{"name":"a","organization":1}"#,
        r#"{"name":"a","organization":"x","organization":""}"#,
    ] {
        assert!(send("POST", "/api/3.0/mlflow/skills", body).is_err(), "{body}");
    }
    for (path, key) in paths("") {
        let deleted = send("DELETE", &path, "").unwrap();
        assert_eq!(deleted.effects, [Effect::Deleted { resource: Skill, id: key.to_owned() }]);
    }
}

#[test]
fn registering_many_needs_update_on_each() {
    let path = "/ajax-api/3.0/mlflow/skills/bulk-register";
    let body = r#"{"organization":"acme","skills":[{"name":"a"},{"name":"b"},{"name":"a"}]}"#;
    let registered = send("POST", path, body).unwrap();
    let update = |key| on(Action::Update, key);
    assert_eq!(registered.requirements, [update("@acme/a"), update("@acme/b")]);
    assert!(registered.effects.is_empty());
    for body in [
        "{}",
        r#"{"skills":[]}"#,
        r#"{"skills":["a"]}"#,
        r#"{"skills":{"name":"a"}}"#,
        r#"{"skills":[{"name":"a"},{"name":"B"}]}"#,
        r#"{"organization":["acme"],"skills":[{"name":"a"}]}"#,
    ] {
        assert!(send("POST", path, body).is_err(), "{body}");
    }
}

#[test]
fn a_search_is_for_everybody_and_its_rows_are_judged() {
    let path = "/api/3.0/mlflow/skills?include_skill_identities=a&include_skill_identities=@b/c";
    let search = send("GET", path, "").unwrap();
    assert_eq!(search.requirements, [Requirement::Standing(Standing::Authenticated)]);
    assert!(matches!(search.response, ResponseWork::Rewrite(_)));
    assert!(search.effects.is_empty());
}

/// Rows that are dropped afterwards would still be seen: in the page token of a filter that only
/// they fit.
#[test]
fn a_search_is_narrowed_to_what_is_readable_before_mlflow_counts_its_page() {
    let sent = |query: &str, left: &[&str]| {
        let search = send("GET", &format!("/api/3.0/mlflow/skills{query}"), "").unwrap();
        let left = Selection::Only(left.iter().map(|&key| key.to_owned()).collect());
        (search.scopes, narrow(search.forward, &[left], false))
    };
    let forwarded = |query: &str, left: &[&str]| match sent(query, left) {
        (scopes, Narrowed::Forward(forward)) => {
            assert!(scopes.iter().all(|scope| scope.resource == Skill && scope.rungs.is_empty()));
            let every: Vec<_> = scopes.iter().map(|scope| scope.every).collect();
            (every, forward.path)
        }
        (_, other) => panic!("{query}: {other:?}"),
    };
    let plain = "?filter_string=name%20LIKE%20%27a%25%27&max_results=1";
    let listed = "&include_skill_identities=a&include_skill_identities=%40acme%2Fb";
    assert_eq!(
        forwarded(plain, &["a", "@acme/b"]),
        (vec![true], format!("/api/3.0/mlflow/skills{plain}{listed}"))
    );
    let given = "?include_skill_identities=a&include_skill_identities=secret";
    let left = "/api/3.0/mlflow/skills?include_skill_identities=a".to_owned();
    assert_eq!(forwarded(given, &["a"]), (vec![false], left));
    for (query, left) in [(plain, &[][..]), (given, &[]), ("?include_skill_identities=", &[])] {
        let (_, narrowed) = sent(query, left);
        let nothing = r#"{"skills":[],"next_page_token":null}"#;
        assert_eq!(narrowed, Narrowed::Answer(nothing), "{query}");
    }
    for id in ["A", "*", "a&include_skill_identities=", "@acme", "acme/a"] {
        let path = format!("/api/3.0/mlflow/skills?include_skill_identities={id}");
        assert!(send("GET", &path, "").is_err(), "{id}");
    }
}

#[test]
fn what_is_uploaded_for_a_skill_needs_the_skill() {
    let artifacts = "/api/2.0/mlflow-artifacts/artifacts";
    for (method, action) in
        [("GET", Action::Read), ("PUT", Action::Update), ("DELETE", Action::Manage)]
    {
        let body = if method == "PUT" { "bytes" } else { "" };
        let path = format!("{artifacts}/skills/@acme/reviewer/0123/SKILL.md");
        let operation = send(method, &path, body).unwrap();
        assert_eq!(operation.requirements, [on(action, "@acme/reviewer")], "{method}");
    }
    let listed = send("GET", &format!("{artifacts}?path=skills/reviewer"), "").unwrap();
    assert_eq!(listed.requirements, [on(Action::Read, "reviewer")]);
    let presigned = "/api/2.0/mlflow-artifacts/presigned/skills/reviewer/x";
    assert_eq!(send("GET", presigned, "").unwrap().requirements, [on(Action::Read, "reviewer")]);
    let version = r#"{"name":"m","source":"mlflow-artifacts:/skills/reviewer/0123"}"#;
    let made = send("POST", "/api/2.0/mlflow/model-versions/create", version).unwrap();
    assert!(made.requirements.contains(&on(Action::Read, "reviewer")));
}

#[test]
fn the_registry_has_the_33_routes_of_3_18() {
    let lines = catalogue::routes().filter(|route| route.path.starts_with("/3.0/mlflow/skills"));
    assert_eq!(lines.count(), 33);
}
