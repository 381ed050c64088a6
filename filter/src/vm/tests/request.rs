use super::*;

#[test]
fn a_request_is_held_until_it_is_allowed_and_then_goes_on_with_the_gates_identity() {
    let mut world = World::new();
    let spoofed = [
        BASIC,
        ("x-mlgate-user", "root"),
        ("x-forwarded-user", "root"),
        ("x-mlflow-assistant-delegation", "t"),
        ("x-kept", "1"),
    ];
    let (request, flow) = world.start("GET", GET_EXPERIMENT, &spoofed, true);
    assert_eq!(flow, Flow::Hold);
    assert!(!world.resumed(request, Request));
    world.allow();
    assert!(world.resumed(request, Request));
    assert_eq!(world.host.request_header("x-mlgate-user").as_deref(), Some("alice"));
    assert_eq!(world.host.request_header("x-kept").as_deref(), Some("1"));
    for gone in ["authorization", "x-forwarded-user", "x-mlflow-assistant-delegation"] {
        assert_eq!(world.host.request_header(gone), None, "{gone}");
    }
}

#[test]
fn every_outcome_but_allowed_is_refused_with_its_own_status() {
    for (outcome, status) in [
        (pb::Outcome::Denied, 403),
        (pb::Outcome::Unauthenticated, 401),
        (pb::Outcome::Throttled, 429),
        (pb::Outcome::Unavailable, 503),
        (pb::Outcome::NotFound, 404),
        (pb::Outcome::BadWorkspace, 400),
        (pb::Outcome::Unspecified, 503),
    ] {
        let mut world = World::new();
        let (request, _) = world.get(GET_EXPERIMENT);
        let token = world.last_token();
        world.answer(token, &decision(outcome));
        assert_eq!(world.status_of(request), Some(status), "{outcome:?}");
        assert!(!world.resumed(request, Request), "{outcome:?}");
    }
}

#[test]
fn an_answer_that_is_none_lets_nothing_pass() {
    let nobody = pb::AuthorizeResponse { principal: None, ..decision(pb::Outcome::Allowed) };
    let unnamed = pb::AuthorizeResponse {
        principal: Some(pb::Principal::default()),
        ..decision(pb::Outcome::Allowed)
    };
    let unknown = pb::AuthorizeResponse { outcome: 99, ..decision(pb::Outcome::Allowed) };
    for answer in [nobody, unnamed, unknown] {
        let mut world = World::new();
        let (request, _) = world.get(GET_EXPERIMENT);
        let token = world.last_token();
        world.answer(token, &answer);
        assert_eq!(world.status_of(request), Some(503));
        assert!(!world.resumed(request, Request));
    }
    let mut world = World::new();
    let (request, _) = world.get(GET_EXPERIMENT);
    let token = world.last_token();
    *world.host.0.received.borrow_mut() = vec![0xff; 9];
    world.vm.on_grpc(token, GrpcEvent::Message);
    assert_eq!(world.status_of(request), Some(503));
}

#[test]
fn a_policy_server_that_cannot_be_reached_is_a_503_with_retry_after() {
    let mut world = World::new();
    world.host.0.refuses_calls.set(true);
    let (unsent, flow) = world.get(GET_EXPERIMENT);
    assert_eq!((world.status_of(unsent), flow), (Some(503), Flow::Hold));
    world.host.0.refuses_calls.set(false);
    let (failed, _) = world.get(GET_EXPERIMENT);
    world.fail(14);
    assert_eq!(world.status_of(failed), Some(503));
    let replies = world.host.0.replies.borrow();
    let waits = |headers: &[(String, String)]| headers.iter().any(|(n, _)| n == "retry-after");
    assert!(replies.iter().all(|(_, reply)| waits(&reply.headers)));
}

#[test]
fn nobody_gets_a_challenge_and_costs_no_call() {
    let mut world = World::new();
    for headers in [
        &[][..],
        &[("authorization", "Basic !!!")],
        &[("authorization", "Basic YWxpY2U6")],
        &[("authorization", "Bearer eyJhbGciOiJub25lIn0.e30.")],
    ] {
        let (request, _) = world.start("GET", GET_EXPERIMENT, headers, true);
        assert_eq!(world.status_of(request), Some(401), "{headers:?}");
        let (unknown, _) = world.start("GET", "/no/such/route", headers, true);
        assert_eq!(world.status_of(unknown), Some(401), "{headers:?}");
    }
    assert_eq!(world.calls("Authorize"), 0);
}

#[test]
fn an_unknown_route_is_refused_whoever_asks_unless_admins_may() {
    let mut world = World::new();
    let (request, _) = world.get("/no/such/route");
    assert_eq!(world.status_of(request), Some(403));
    let mut world = World::with(r#"{"unknown_routes_for_admins": true}"#);
    let (request, flow) = world.get("/no/such/route");
    assert_eq!((world.status_of(request), flow), (None, Flow::Hold));
    let (_, asked): (_, pb::AuthorizeRequest) = world.last_call();
    let standing = pb::requirement::Condition::Standing(pb::Standing::SuperAdmin.into());
    assert_eq!(asked.requirements[0].condition, Some(standing));
}

#[test]
fn a_body_is_read_to_its_end_before_anybody_is_asked() {
    let mut world = World::new();
    let (request, flow) = world.post(LOG_METRIC, &metric());
    assert_eq!(flow, Flow::Buffer);
    assert_eq!(world.body(request, Request, false), Flow::Buffer);
    assert_eq!(world.calls("Authorize"), 0);
    assert_eq!(world.body(request, Request, true), Flow::Buffer);
    assert_eq!(world.calls("Authorize"), 1);
    assert!(!world.resumed(request, Request));
    world.allow();
    assert!(world.resumed(request, Request));
}

#[test]
fn trailers_end_a_body_and_pass_nothing_before_the_decision() {
    let mut world = World::new();
    let (request, _) = world.post(LOG_METRIC, &metric());
    assert_eq!(world.body(request, Request, false), Flow::Buffer);
    assert_ne!(world.vm.on_trailers(request, Request), Flow::Continue);
    assert_eq!(world.calls("Authorize"), 1);
    assert_ne!(world.vm.on_trailers(request, Request), Flow::Continue);
    let token = world.last_token();
    world.answer(token, &decision(pb::Outcome::Denied));
    assert_eq!(world.status_of(request), Some(403));
    assert_ne!(world.vm.on_trailers(request, Request), Flow::Continue);
    assert_ne!(world.body(request, Request, true), Flow::Continue);
}

#[test]
fn a_body_beyond_the_limit_is_refused_announced_or_not() {
    let mut world = World::with(r#"{"body_limit_bytes": 1024}"#);
    let large = format!(r#"{{"run_id":"{RUN}","key":"{}"}}"#, "k".repeat(2000));
    let (announced, _) = world.post(LOG_METRIC, &large);
    assert_eq!(world.status_of(announced), Some(413));
    let json = ("content-type", "application/json");
    let (chunked, flow) = world.start("POST", LOG_METRIC, &[BASIC, json], false);
    assert_eq!((world.status_of(chunked), flow), (None, Flow::Buffer));
    assert_eq!(world.body(chunked, Request, false), Flow::Hold);
    assert_eq!(world.status_of(chunked), Some(413));
    assert_eq!(world.calls("Authorize"), 0);
}

#[test]
fn without_the_option_that_shows_bodies_the_request_is_refused_and_does_not_hang() {
    let mut world = World::new();
    let (request, _) = world.post(LOG_METRIC, &metric());
    world.host.advance(4_999);
    world.tick();
    assert_eq!(world.status_of(request), None);
    world.host.advance(1);
    world.tick();
    let (status, body) = world.reply_to(request).unwrap();
    assert_eq!(status, 503);
    assert!(body.contains("not set up to read bodies"), "{body}");
}

#[test]
fn a_client_that_stops_in_the_middle_of_its_body_is_ended() {
    let mut world = World::new();
    let (request, _) = world.post(LOG_METRIC, &metric());
    assert_eq!(world.body(request, Request, false), Flow::Buffer);
    world.host.advance(59_999);
    world.tick();
    assert_eq!(world.status_of(request), None);
    world.host.advance(1);
    world.tick();
    assert_eq!(world.status_of(request), Some(408));
}

#[test]
fn a_call_that_never_ends_is_ended_by_the_sweep() {
    let mut world = World::new();
    let (request, _) = world.get(GET_EXPERIMENT);
    let token = world.last_token();
    world.host.advance(1_500);
    world.tick();
    assert_eq!(world.status_of(request), Some(503));
    assert!(world.host.0.cancelled.borrow().contains(&token));
    world.answer(token, &decision(pb::Outcome::Allowed));
    assert!(!world.resumed(request, Request), "too late");
}

#[test]
fn uploads_are_decided_by_their_head_and_stream_afterwards() {
    let mut world = World::new();
    let path = format!("/api/2.0/mlflow-artifacts/artifacts/1/{RUN}/artifacts/model.bin");
    let (request, flow) = world.start("PUT", &path, &[BASIC], false);
    assert_eq!(flow, Flow::Hold, "nothing is buffered");
    *world.host.0.request_body.borrow_mut() = vec![0; 100_000];
    assert_eq!(world.body(request, Request, false), Flow::Hold);
    world.allow();
    assert!(world.resumed(request, Request));
    assert_eq!(world.body(request, Request, false), Flow::Continue);
    assert_eq!(world.vm.on_trailers(request, Request), Flow::Continue);
}

#[test]
fn a_burst_on_one_cold_key_asks_once_and_all_go_on() {
    let mut world = World::new();
    let requests: Vec<ContextId> = (0..20).map(|_| world.get(GET_EXPERIMENT).0).collect();
    assert_eq!(world.calls("Authorize"), 1);
    world.vm.on_delete(requests[0]);
    assert!(world.host.0.cancelled.borrow().is_empty(), "others still wait");
    world.allow();
    assert!(!world.resumed(requests[0], Request));
    assert!(requests[1..].iter().all(|request| world.resumed(*request, Request)));
    let (_, flow) = world.get(GET_EXPERIMENT);
    assert_eq!((flow, world.calls("Authorize")), (Flow::Continue, 1), "from the cache");
}

#[test]
fn a_client_that_leaves_alone_cancels_its_call() {
    let mut world = World::new();
    let (request, _) = world.get(GET_EXPERIMENT);
    world.vm.on_delete(request);
    let token = world.last_token();
    assert_eq!(*world.host.0.cancelled.borrow(), [token]);
    world.allow();
    assert!(!world.resumed(request, Request));
}

#[test]
fn another_password_is_another_question() {
    let mut world = World::new();
    world.get(GET_EXPERIMENT);
    world.allow();
    let wrong = ("authorization", "Basic YWxpY2U6cHg=");
    let (request, flow) = world.start("GET", GET_EXPERIMENT, &[wrong], true);
    assert_eq!((flow, world.calls("Authorize")), (Flow::Hold, 2));
    let token = world.last_token();
    world.answer(token, &decision(pb::Outcome::Unauthenticated));
    assert_eq!(world.status_of(request), Some(401));
}

#[test]
fn connect_and_upgrades_are_refused() {
    let mut world = World::new();
    let context = world.context();
    world.host.set_request(&[(":method", "CONNECT"), (":authority", "h:443"), BASIC]);
    world.host.0.effective.set(context.0);
    assert_eq!(world.vm.on_headers(context, Request, false), Flow::Hold);
    assert_eq!(world.status_of(context), Some(501));
    let upgrade = [BASIC, ("upgrade", "websocket")];
    let (request, _) = world.start("GET", "/", &upgrade, false);
    assert_eq!(world.status_of(request), Some(501));
}

#[test]
fn public_routes_pass_without_a_credential_and_without_anything_spoofed() {
    let mut world = World::new();
    let (_, flow) = world.start("GET", "/health", &[("x-mlgate-user", "root"), BASIC], true);
    assert_eq!(flow, Flow::Continue);
    assert_eq!(world.host.request_header("x-mlgate-user"), None);
    assert_eq!(world.host.request_header("authorization"), None);
}

#[test]
fn requests_for_others_pass_untouched() {
    let mut world = World::with(r#"{"scope": {"hosts": ["mlflow.example"]}}"#);
    let (request, flow) = world.start("POST", "/x", &[("x-mlgate-user", "theirs")], false);
    assert_eq!(flow, Flow::Continue);
    assert_eq!(world.body(request, Request, true), Flow::Continue);
    assert_eq!(world.host.request_header("x-mlgate-user").as_deref(), Some("theirs"));
}

#[test]
fn without_a_configuration_nothing_passes() {
    let host = Mock::new();
    let mut vm = Vm::new(host.clone());
    vm.on_create(ROOT, ContextId(0));
    assert_eq!(vm.on_configure(ROOT, b"{}"), None);
    vm.on_create(ContextId(2), ROOT);
    host.set_request(&[(":method", "GET"), (":path", "/health"), (":authority", "h")]);
    assert_eq!(vm.on_headers(ContextId(2), Request, true), Flow::Hold);
    assert_eq!(vm.on_body(ContextId(2), Request, 0, true), Flow::Hold);
    assert_eq!(vm.on_headers(ContextId(3), Request, true), Flow::Hold, "an unknown context");
}

#[test]
fn headers_that_are_not_utf_8_do_no_harm() {
    let mut world = World::new();
    let context = world.context();
    let mut headers = crate::mock::pairs(&[(":method", "GET"), (":path", GET_EXPERIMENT)]);
    headers.push(b"authorization", b"Basic \xff\xff");
    headers.push(b"x-\xff", b"\xfe");
    *world.host.0.request.borrow_mut() = headers;
    world.host.0.effective.set(context.0);
    assert_eq!(world.vm.on_headers(context, Request, true), Flow::Hold);
    assert_eq!(world.status_of(context), Some(401));
}

#[test]
fn shadow_mode_blocks_nothing_but_still_strips() {
    let mut world = World::with(r#"{"mode": "shadow"}"#);
    let spoofed = [BASIC, ("x-mlgate-user", "root")];
    let (request, _) = world.start("GET", GET_EXPERIMENT, &spoofed, true);
    let token = world.last_token();
    world.answer(token, &decision(pb::Outcome::Denied));
    assert!(world.resumed(request, Request));
    assert_eq!(world.host.request_header("x-mlgate-user"), None);
    assert_eq!(world.host.count("mlgate_shadow_denied_total"), 1);
}

#[test]
fn administration_is_answered_by_the_policy_server_and_never_forwarded() {
    let mut world = World::new();
    let (request, flow) = world.get("/api/2.0/mlflow/users/get?username=bob");
    assert_eq!((flow, world.calls("Administer")), (Flow::Hold, 1));
    let header = |name: &str, value: &str| pb::Parameter { name: name.into(), value: value.into() };
    let answer = pb::AdministerResponse {
        status: 200,
        headers: vec![header("content-type", "application/json"), header("x", "a\r\nb: c")],
        body: b"{}".to_vec(),
        revision: 0,
    };
    let token = world.last_token();
    world.answer(token, &answer);
    assert_eq!(world.reply_to(request), Some((200, "{}".to_owned())));
    assert!(!world.resumed(request, Request));
    let replies = world.host.0.replies.borrow();
    assert_eq!(replies[0].1.headers.len(), 1, "a header that would split the response is dropped");
}

#[test]
fn with_a_buffer_filter_headers_go_on_stripped_and_the_body_waits() {
    let mut world = World::with(r#"{"body_mode": "buffer_filter"}"#);
    let (request, flow) = world.post(LOG_METRIC, &metric());
    assert_eq!(flow, Flow::Continue);
    assert_eq!(world.host.request_header("authorization"), None);
    assert_eq!(world.host.request_header("content-length"), None);
    assert_eq!(world.body(request, Request, true), Flow::Buffer);
    world.allow();
    assert!(world.resumed(request, Request));
}

#[test]
fn a_missing_buffer_filter_is_noticed_and_later_bodies_are_refused_at_once() {
    let mut world = World::with(r#"{"body_mode": "buffer_filter"}"#);
    let (request, _) = world.post(LOG_METRIC, &metric());
    let upstream = ("upstream.address".to_owned(), b"10.0.0.1:80".to_vec());
    world.host.0.properties.borrow_mut().extend([upstream]);
    assert_eq!(world.body(request, Request, true), Flow::Hold);
    assert_eq!(world.status_of(request), Some(503));
    let (later, flow) = world.post(LOG_METRIC, &metric());
    assert_eq!((world.status_of(later), flow), (Some(503), Flow::Hold));
    assert_eq!(world.calls("Authorize"), 0);
}

#[test]
fn a_body_in_its_canonical_form_is_forwarded_as_it_came_and_any_other_is_replaced() {
    const PATH: &str = "/api/2.0/mlflow/experiments/update";
    for (body, replaced) in [
        (r#"{"experiment_id": "1", "new_name": "x"}"#, 0),
        (r#"{"experiment_id":"1","new_name":"x"}"#, 1),
        (r#"{"experiment\u005fid": "1", "new_name": "x"}"#, 1),
    ] {
        let mut world = World::new();
        let (request, _) = world.post(PATH, body);
        world.body(request, Request, true);
        world.allow();
        assert!(world.resumed(request, Request), "{body}");
        assert_eq!(world.host.0.bodies_set.get(), replaced, "{body}");
        let forwarded = world.host.0.request_body.borrow().clone();
        assert_eq!(forwarded, br#"{"experiment_id": "1", "new_name": "x"}"#, "{body}");
    }
}

#[test]
fn a_chunked_body_gets_its_length_even_in_its_canonical_form() {
    let body = r#"{"experiment_id": "1", "new_name": "x"}"#;
    let mut world = World::new();
    *world.host.0.request_body.borrow_mut() = body.as_bytes().to_vec();
    let chunked = [("content-type", "application/json"), ("transfer-encoding", "chunked"), BASIC];
    let path = "/api/2.0/mlflow/experiments/update";
    let (request, _) = world.start("POST", path, &chunked, false);
    world.body(request, Request, true);
    world.allow();
    assert!(world.resumed(request, Request));
    assert_eq!(world.host.request_header("content-length"), Some(body.len().to_string()));
    assert_eq!(world.host.request_header("transfer-encoding"), None);
}

#[test]
fn an_answer_that_was_old_when_it_came_is_distrusted_sooner() {
    let mut world = World::new();
    world.get(GET_EXPERIMENT);
    let token = world.last_token();
    let old = pb::AuthorizeResponse { age_ms: 4_000, ..decision(pb::Outcome::Allowed) };
    world.answer(token, &old);
    world.host.advance(900);
    world.get(GET_EXPERIMENT);
    assert_eq!(world.calls("Authorize"), 1);
    world.host.advance(200);
    world.get(GET_EXPERIMENT);
    assert_eq!(world.calls("Authorize"), 2);
}
