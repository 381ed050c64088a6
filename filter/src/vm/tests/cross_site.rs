use super::*;

const CREATE: &str = "/ajax-api/2.0/mlflow/experiments/create";
const FOREIGN: (&str, &str) = ("origin", "https://attacker.example");

/// The status of the gate's own answer to a POST by a browser that remembers a password.
fn status(world: &mut World, headers: &[(&str, &str)]) -> Option<u16> {
    let mut all = vec![BASIC, ("content-type", "application/json"), ("content-length", "12")];
    all.extend_from_slice(headers);
    let (request, _) = world.start("POST", CREATE, &all, false);
    world.status_of(request)
}

#[test]
fn what_another_sites_page_sends_is_refused_before_anybody_is_asked() {
    for headers in [&[FOREIGN][..], &[("sec-fetch-site", "cross-site")]] {
        let mut world = World::new();
        assert_eq!(status(&mut world, headers), Some(403));
        assert!(world.host.0.calls.borrow().is_empty());
    }
    let mut world = World::new();
    let own = [("origin", "http://h"), ("sec-fetch-site", "same-origin")];
    assert_eq!(status(&mut world, &own), None);
    assert_eq!(status(&mut world, &[]), None);
}

#[test]
fn a_token_is_no_excuse_since_it_may_be_made_of_a_cookie() {
    let mut world = World::new();
    let token = ("authorization", "Bearer mlg_token");
    let json = ("content-type", "application/json");
    let (request, _) = world.start("POST", CREATE, &[token, json, FOREIGN], false);
    assert_eq!(world.status_of(request), Some(403));
}

#[test]
fn the_administration_and_unknown_routes_are_no_exception() {
    for path in ["/api/2.0/mlflow/users/create", "/no/such/route"] {
        let mut world = World::with(r#"{"unknown_routes_for_admins": true}"#);
        let (request, _) = world.start("POST", path, &[BASIC, FOREIGN], true);
        assert_eq!(world.status_of(request), Some(403), "{path}");
        assert!(world.host.0.calls.borrow().is_empty());
    }
}

#[test]
fn a_listed_origin_may_write_and_others_still_may_not() {
    let mut world = World::with(r#"{"allowed_origins": ["https://notebooks.example"]}"#);
    let listed = [("origin", "https://notebooks.example"), ("sec-fetch-site", "cross-site")];
    assert_eq!(status(&mut world, &listed), None);
    assert_eq!(status(&mut world, &[FOREIGN]), Some(403));
}
