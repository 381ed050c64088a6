//! Requests that come again.

use super::*;

/// The request has been asked for, answered, and met again: from here on it is familiar.
fn familiar() -> World {
    let mut world = World::new();
    world.get(GET_EXPERIMENT);
    world.allow();
    for _ in 0..2 {
        assert_eq!(world.get(GET_EXPERIMENT).1, Flow::Continue);
    }
    assert_eq!(world.calls("Authorize"), 1);
    world
}

#[test]
fn a_familiar_request_goes_on_as_any_other_whatever_its_id() {
    let mut world = familiar();
    for id in ["one", "another"] {
        let headers = [BASIC, ("x-request-id", id), ("x-mlgate-user", "root")];
        for _ in 0..3 {
            let (_, flow) = world.start("GET", GET_EXPERIMENT, &headers, true);
            assert_eq!((flow, world.calls("Authorize")), (Flow::Continue, 1));
            assert_eq!(world.host.request_header("x-mlgate-user").as_deref(), Some("alice"));
            assert_eq!(world.host.request_header("authorization"), None);
        }
    }
    assert_eq!(world.host.count("mlgate_cache_hit_worker_total"), 8);
    assert_eq!(world.host.count("mlgate_allowed_total"), 9);
}

#[test]
fn what_differs_in_a_byte_is_read_for_itself() {
    let mut world = familiar();
    let other = "/api/2.0/mlflow/experiments/get?experiment_id=2";
    assert_eq!(world.get(other).1, Flow::Hold);
    let password = ("authorization", "Basic YWxpY2U6cHg=");
    assert_eq!(world.start("GET", GET_EXPERIMENT, &[password], true).1, Flow::Hold);
    assert_eq!(world.calls("Authorize"), 3);
    for odd in [("x_mlgate_user", "root"), ("content-type", "a,b"), ("x-mlflow-workspace", "A")] {
        let (request, _) = world.start("GET", GET_EXPERIMENT, &[BASIC, odd], true);
        assert_eq!(world.status_of(request), Some(400), "{odd:?}");
    }
    let (request, _) = world.start("GET", GET_EXPERIMENT, &[], true);
    assert_eq!(world.status_of(request), Some(401));
    let (request, _) = world.start("GET", GET_EXPERIMENT, &[BASIC], false);
    assert_eq!(world.status_of(request), Some(400), "a body follows");
}

#[test]
fn a_familiar_request_is_asked_for_again_after_a_change() {
    let mut world = familiar();
    let (_, flow) = world.get("/api/2.0/mlflow/users/get?username=alice");
    assert_eq!((flow, world.calls("Administer")), (Flow::Hold, 1));
    let answer = pb::AdministerResponse { status: 200, revision: 8, ..Default::default() };
    let token = world.last_token();
    world.answer(token, &answer);
    let (request, flow) = world.get(GET_EXPERIMENT);
    assert_eq!((flow, world.calls("Authorize")), (Flow::Hold, 2));
    let token = world.last_token();
    world.answer(token, &pb::AuthorizeResponse { revision: 8, ..decision(pb::Outcome::Denied) });
    assert_eq!(world.status_of(request), Some(403));
    for _ in 0..2 {
        let (request, _) = world.get(GET_EXPERIMENT);
        assert_eq!((world.status_of(request), world.calls("Authorize")), (Some(403), 2));
    }
}

#[test]
fn a_familiar_request_is_asked_for_again_when_its_answer_is_old() {
    let mut world = familiar();
    world.host.advance(60_000);
    assert_eq!(world.get(GET_EXPERIMENT).1, Flow::Hold);
    assert_eq!(world.calls("Authorize"), 2);
}

/// The head of a request with a body has been met twice, with the same body: it is familiar.
fn familiar_head() -> World {
    let mut world = World::new();
    assert_eq!(send(&mut world, &metric()), Flow::Buffer);
    world.allow();
    for _ in 0..2 {
        assert_eq!(send(&mut world, &metric()), Flow::Continue);
    }
    assert_eq!(world.calls("Authorize"), 1);
    world
}

/// A POST with this body, whole; what the last callback said.
fn send(world: &mut World, body: &str) -> Flow {
    let (request, flow) = world.post(LOG_METRIC, body);
    assert_eq!(flow, Flow::Buffer, "held until its body is there");
    world.body(request, Request, true)
}

#[test]
fn the_body_of_a_familiar_head_is_read_each_time() {
    let mut world = familiar_head();
    let other = metric().replace(RUN, &"b".repeat(32));
    assert_eq!(send(&mut world, &other), Flow::Buffer);
    let (token, asked): (_, pb::AuthorizeRequest) = world.last_call();
    assert!(format!("{:?}", asked.requirements).contains(&"b".repeat(32)));
    world.answer(token, &decision(pb::Outcome::Denied));
    let (request, _) = world.post(LOG_METRIC, &other);
    world.body(request, Request, true);
    assert_eq!((world.status_of(request), world.calls("Authorize")), (Some(403), 2));
    let twice = metric().replace("value\":1.0", "run_id\":12");
    assert_eq!(twice.len(), metric().len(), "the head is the same");
    let (request, _) = world.post(LOG_METRIC, &twice);
    assert_ne!(world.body(request, Request, true), Flow::Continue);
    assert_eq!(world.status_of(request), Some(400), "a field that is given twice");
    assert_eq!(send(&mut world, &metric()), Flow::Continue);
    assert_eq!(world.host.request_header("x-mlgate-user").as_deref(), Some("alice"));
    assert_eq!(world.host.request_header("authorization"), None);
}

#[test]
fn a_head_that_differs_from_a_familiar_one_is_read_for_itself() {
    let mut world = familiar_head();
    let length = metric().len().to_string();
    let json = ("content-type", "application/json");
    let sized = ("content-length", length.as_str());
    for odd in [
        [BASIC, json, ("content-length", "1"), sized],
        [BASIC, json, ("content-encoding", "gzip"), sized],
        [BASIC, ("content-type", "text/plain"), sized, ("x-kept", "1")],
    ] {
        let (request, flow) = world.start("POST", LOG_METRIC, &odd, false);
        assert_eq!((world.status_of(request), flow), (Some(400), Flow::Hold), "{odd:?}");
    }
    let foreign = [BASIC, json, sized, ("origin", "https://evil.example")];
    let (request, _) = world.start("POST", LOG_METRIC, &foreign, false);
    assert_eq!(world.status_of(request), Some(403));
    let (request, _) = world.start("POST", LOG_METRIC, &[json, sized], false);
    assert_eq!(world.status_of(request), Some(401));
    let (request, flow) = world.start("POST", LOG_METRIC, &[BASIC, json, sized], true);
    assert_ne!(flow, Flow::Continue, "no body follows");
    assert!(!world.resumed(request, Request));
    assert_eq!(world.calls("Authorize"), 1);
}
