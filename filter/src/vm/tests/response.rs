use super::*;

const SEARCH: &str = "/api/2.0/mlflow/experiments/search?max_results=10";
const CREATE: &str = "/api/2.0/mlflow/experiments/create";
pub(super) const OK_JSON: &[(&str, &str)] =
    &[(":status", "200"), ("content-type", "application/json"), ("content-length", "999")];

impl World {
    /// The upstream's answer; gives what the headers and the body callback said.
    pub(super) fn upstream(
        &mut self,
        request: ContextId,
        headers: &[(&str, &str)],
        body: &str,
    ) -> (Flow, Flow) {
        self.host.set_response(headers);
        *self.host.0.response_body.borrow_mut() = body.as_bytes().to_vec();
        self.host.0.effective.set(request.0);
        let head = self.vm.on_headers(request, Response, false);
        let body = self.body(request, Response, true);
        (head, body)
    }

    pub(super) fn response_body(&self) -> String {
        String::from_utf8(self.host.0.response_body.borrow().clone()).unwrap()
    }

    /// A search of experiments that was allowed.
    pub(super) fn searched(&mut self) -> ContextId {
        let (request, _) = self.get(SEARCH);
        let token = self.last_token();
        let unlisted = pb::ScopeResult { unlisted: true, ..pb::ScopeResult::default() };
        let scopes = vec![unlisted; 4];
        self.answer(token, &pb::AuthorizeResponse { scopes, ..decision(pb::Outcome::Allowed) });
        assert!(self.resumed(request, Request), "{:?}", self.reply_to(request));
        request
    }

    /// A creation that was allowed.
    fn created(&mut self) -> ContextId {
        let (request, _) = self.post(CREATE, r#"{"name":"n"}"#);
        self.body(request, Request, true);
        let (token, asked): (_, pb::AuthorizeRequest) = self.last_call();
        let creation = pb::CreationIntent {
            r#type: pb::ResourceType::Experiment.into(),
            name: "n".to_owned(),
        };
        assert_eq!(asked.intents[0].kind, Some(pb::intent::Kind::Creation(creation)));
        let intent_id = "i-7".to_owned();
        self.answer(token, &pb::AuthorizeResponse { intent_id, ..decision(pb::Outcome::Allowed) });
        assert!(self.resumed(request, Request), "{:?}", self.reply_to(request));
        request
    }
}

const ROWS: &str = r#"{"experiments":[{"experiment_id":"1"},{"experiment_id":"2"}]}"#;

#[test]
fn rows_that_may_not_be_read_are_dropped_before_the_client_sees_any() {
    let mut world = World::new();
    let request = world.searched();
    assert_eq!(world.upstream(request, OK_JSON, ROWS), (Flow::Buffer, Flow::Buffer));
    assert!(!world.resumed(request, Response));
    let (token, asked): (_, pb::VisibleRequest) = world.last_call();
    assert_eq!(asked.questions[0].ids, ["1", "2"]);
    let answers = vec![pb::Answer { allowed: vec!["2".to_owned()] }];
    world.answer(token, &pb::VisibleResponse { answers, revision: 7 });
    assert!(world.resumed(request, Response));
    let expected = r#"{"experiments":[{"experiment_id":"2"}]}"#;
    assert_eq!(world.response_body(), expected);
    assert_eq!(world.host.response_header("content-length"), Some(expected.len().to_string()));
}

#[test]
fn a_list_that_cannot_be_judged_is_not_shown() {
    let gzip: &[(&str, &str)] = &[(":status", "200"), ("content-encoding", "gzip")];
    let twice = r#"{"experiments":[],"experiments":[{"experiment_id":"1"}]}"#;
    for (headers, body) in [(gzip, ROWS), (OK_JSON, "<html>"), (OK_JSON, twice)] {
        let mut world = World::new();
        let request = world.searched();
        let (head, flow) = world.upstream(request, headers, body);
        assert!(head != Flow::Continue || flow != Flow::Continue);
        assert_eq!(world.status_of(request), Some(502), "{body}");
        assert!(!world.resumed(request, Response));
    }
    let mut world = World::new();
    let request = world.searched();
    world.upstream(request, OK_JSON, ROWS);
    world.fail(14);
    assert_eq!(world.status_of(request), Some(503));
    assert!(!world.resumed(request, Response));
}

#[test]
fn a_list_whose_body_is_never_shown_is_an_error_and_does_not_hang() {
    let mut world = World::new();
    let request = world.searched();
    world.host.set_response(OK_JSON);
    world.host.0.effective.set(request.0);
    assert_eq!(world.vm.on_headers(request, Response, false), Flow::Buffer);
    world.host.advance(5_000);
    world.tick();
    let (status, body) = world.reply_to(request).unwrap();
    assert_eq!(status, 503);
    assert!(body.contains("not set up to read bodies"), "{body}");
    assert!(!world.resumed(request, Response));
}

#[test]
fn a_list_larger_than_the_limit_is_not_shown() {
    let mut world = World::with(r#"{"body_limit_bytes": 1024}"#);
    let request = world.searched();
    let rows = r#"{"experiment_id":"1"},"#.repeat(100);
    let (_, flow) = world.upstream(request, OK_JSON, &rows);
    assert_eq!((flow, world.status_of(request)), (Flow::Hold, Some(502)));
}

#[test]
fn upstream_is_asked_not_to_compress_what_is_filtered() {
    let mut world = World::new();
    world.start("GET", SEARCH, &[BASIC, ("accept-encoding", "gzip")], true);
    let token = world.last_token();
    let scopes = vec![pb::ScopeResult { unlisted: true, ..pb::ScopeResult::default() }; 4];
    world.answer(token, &pb::AuthorizeResponse { scopes, ..decision(pb::Outcome::Allowed) });
    assert_eq!(world.host.request_header("accept-encoding"), None);
}

#[test]
fn super_admins_see_the_list_as_it_comes() {
    let mut world = World::new();
    let (request, _) = world.get(SEARCH);
    let token = world.last_token();
    let principal =
        Some(pb::Principal { username: "root".to_owned(), super_admin: true, scopes: Vec::new() });
    let scopes = vec![pb::ScopeResult { all_but: true, ..pb::ScopeResult::default() }; 4];
    let answer = pb::AuthorizeResponse { principal, scopes, ..decision(pb::Outcome::Allowed) };
    world.answer(token, &answer);
    assert_eq!(world.upstream(request, OK_JSON, ROWS), (Flow::Continue, Flow::Continue));
}

#[test]
fn a_creation_is_recorded_before_the_client_sees_it() {
    let mut world = World::new();
    let request = world.created();
    let flows = world.upstream(request, OK_JSON, r#"{"experiment_id":"42"}"#);
    assert_eq!(flows, (Flow::Buffer, Flow::Buffer));
    let (token, record): (_, pb::RecordRequest) = world.last_call();
    assert_eq!((record.username.as_str(), record.intent_id.as_str()), ("alice", "i-7"));
    let created = pb::Created { r#type: pb::ResourceType::Experiment.into(), id: "42".to_owned() };
    assert_eq!(record.effects[0].kind, Some(pb::effect::Kind::Created(created)));
    assert!(!world.resumed(request, Response));
    world.answer(token, &pb::RecordResponse { revision: 8 });
    assert!(world.resumed(request, Response));
    assert_eq!(world.response_body(), r#"{"experiment_id":"42"}"#);
}

impl World {
    /// Fails every attempt to record until there are none any more; gives how many there were.
    fn fail_to_record(&mut self, request: ContextId) -> usize {
        for _ in 0..1000 {
            self.fail(14);
            self.host.advance(250);
            self.tick();
            if self.status_of(request).is_some() {
                break;
            }
        }
        self.calls("Record")
    }
}

#[test]
fn a_creation_that_cannot_be_recorded_is_tried_again_and_then_an_error_that_says_so() {
    let mut world = World::new();
    let request = world.created();
    world.upstream(request, OK_JSON, r#"{"experiment_id":"42"}"#);
    let attempts = world.fail_to_record(request);
    assert!((5..100).contains(&attempts), "{attempts}");
    let (status, body) = world.reply_to(request).unwrap();
    assert_eq!(status, 409, "not one that clients repeat");
    assert!(body.contains("experiment \\\"42\\\" exists"), "{body}");
    assert!(body.contains("could not be recorded") && body.contains("mlgate grant"), "{body}");
    assert!(!world.resumed(request, Response));
}

#[test]
fn a_creation_without_an_id_is_an_error_that_says_so() {
    let mut world = World::new();
    let request = world.created();
    world.upstream(request, OK_JSON, "{}");
    let (status, body) = world.reply_to(request).unwrap();
    assert_eq!(status, 409);
    assert!(body.contains("could not be recorded"), "{body}");
    assert!(!world.resumed(request, Response));
}

#[test]
fn a_creation_is_shown_when_the_policy_server_is_back_in_time() {
    let mut world = World::new();
    let request = world.created();
    world.upstream(request, OK_JSON, r#"{"experiment_id":"42"}"#);
    world.fail(14);
    assert_eq!(world.status_of(request), None);
    world.host.advance(250);
    world.tick();
    assert_eq!(world.calls("Record"), 2);
    let (token, record): (_, pb::RecordRequest) = world.last_call();
    assert_eq!(record.intent_id, "i-7");
    world.answer(token, &pb::RecordResponse { revision: 8 });
    assert!(world.resumed(request, Response));
    assert_eq!(world.response_body(), r#"{"experiment_id":"42"}"#);
}

#[test]
fn a_record_is_sent_even_if_the_client_has_left() {
    let mut world = World::new();
    let request = world.created();
    world.upstream(request, OK_JSON, r#"{"experiment_id":"42"}"#);
    world.vm.on_delete(request);
    assert_eq!(world.calls("Record"), 1);
    assert!(world.host.0.cancelled.borrow().is_empty());
}

#[test]
fn a_failed_creation_records_nothing() {
    let mut world = World::new();
    let request = world.created();
    let refused: &[(&str, &str)] = &[(":status", "400"), ("content-type", "application/json")];
    let flows = world.upstream(request, refused, r#"{"error_code":"RESOURCE_ALREADY_EXISTS"}"#);
    assert_eq!(flows, (Flow::Continue, Flow::Continue));
    assert_eq!(world.calls("Record"), 0);
}

#[test]
fn the_creator_does_not_meet_an_older_decision() {
    let mut world = World::new();
    world.get(GET_EXPERIMENT);
    let token = world.last_token();
    let scope = crate::cache::watermarks::user_scope("alice");
    let denied = pb::AuthorizeResponse { depends_on: vec![scope], ..decision(pb::Outcome::Denied) };
    world.answer(token, &denied);
    let request = world.created();
    world.upstream(request, OK_JSON, r#"{"experiment_id":"1"}"#);
    let token = world.last_token();
    world.answer(token, &pb::RecordResponse { revision: 8 });
    let (_, flow) = world.get(GET_EXPERIMENT);
    assert_eq!(flow, Flow::Hold, "asked anew");
    let (_, asked): (_, pb::AuthorizeRequest) = world.last_call();
    assert_eq!(asked.min_revision, 8);
}

#[test]
fn two_creations_are_two_questions() {
    let mut world = World::new();
    world.created();
    world.created();
    assert_eq!(world.calls("Authorize"), 2);
}

#[test]
fn an_answer_of_our_own_is_not_worked_on() {
    let mut world = World::new();
    let (request, _) = world.get(SEARCH);
    let token = world.last_token();
    world.answer(token, &decision(pb::Outcome::Denied));
    let flows = world.upstream(request, &[(":status", "403")], "{}");
    assert_eq!(flows, (Flow::Continue, Flow::Continue));
}

#[test]
fn an_answer_of_the_upstream_to_an_undecided_request_is_not_shown() {
    let mut world = World::with(r#"{"body_mode": "buffer_filter"}"#);
    let (request, _) = world.post(LOG_METRIC, &metric());
    let details = ("response.code_details".to_owned(), b"via_upstream".to_vec());
    world.host.0.properties.borrow_mut().extend([details]);
    world.host.set_response(OK_JSON);
    world.host.0.effective.set(request.0);
    assert_eq!(world.vm.on_headers(request, Response, false), Flow::Hold);
    assert_eq!(world.status_of(request), Some(503));
}

#[test]
fn the_gates_own_answer_to_a_search_is_not_held_back() {
    let mut world = World::new();
    let (request, _) = world.get(SEARCH);
    let token = world.last_token();
    let scopes = vec![pb::ScopeResult::default(); 4];
    world.answer(token, &pb::AuthorizeResponse { scopes, ..decision(pb::Outcome::Allowed) });
    assert_eq!(world.reply_to(request), Some((200, "{}".to_owned())));
    // The proxy shows the filter its own answers too.
    assert_eq!(world.upstream(request, OK_JSON, "{}"), (Flow::Continue, Flow::Continue));
}
