//! Questions on the worker's stream.

use super::*;

const UNIMPLEMENTED: u32 = 12;

impl World {
    /// Streams of questions that were opened, closed ones too.
    fn lanes(&self) -> Vec<Token> {
        let streams = self.host.0.streams.borrow();
        streams.iter().filter(|(_, name)| name == "Decide").map(|(token, _)| *token).collect()
    }

    /// Opens the stream; the server has greeted.
    fn lane(&mut self) -> Token {
        self.tick();
        let lane = *self.lanes().last().unwrap();
        self.answer(lane, &pb::DecideResponse::default());
        lane
    }

    fn asked(&self) -> Vec<pb::DecideRequest> {
        let lanes = self.lanes();
        let sent = self.host.0.sent.borrow();
        let asked = sent.iter().filter(|(stream, _)| lanes.contains(stream));
        asked.map(|(_, bytes)| pb::DecideRequest::decode(bytes.as_slice()).unwrap()).collect()
    }

    fn decide(&mut self, lane: Token, id: u32, outcome: pb::Outcome) {
        let response = Some(decision(outcome));
        self.answer(lane, &pb::DecideResponse { id, response, code: 0 });
    }

    fn end(&mut self, lane: Token, code: u32) {
        self.host.0.effective.set(ROOT.0);
        self.vm.on_grpc(lane, GrpcEvent::Closed(code));
    }
}

fn experiment(id: u32) -> String {
    format!("/api/2.0/mlflow/experiments/get?experiment_id={id}")
}

#[test]
fn a_question_goes_on_the_stream_once_the_server_has_greeted() {
    let mut world = World::new();
    world.tick();
    let (early, _) = world.get(&experiment(1));
    assert_eq!((world.calls("Authorize"), world.asked().len()), (1, 0), "nobody may be there");
    let lane = world.lanes()[0];
    world.answer(lane, &pb::DecideResponse::default());
    let (request, flow) = world.get(&experiment(2));
    assert_eq!((flow, world.calls("Authorize"), world.asked().len()), (Flow::Hold, 1, 1));
    let id = world.asked()[0].id;
    world.decide(lane, id, pb::Outcome::Allowed);
    assert!(world.resumed(request, Request));
    assert!(!world.resumed(early, Request));
    let (_, flow) = world.get(&experiment(2));
    assert_eq!((flow, world.asked().len()), (Flow::Continue, 1), "from the cache");
}

#[test]
fn answers_find_their_requests_in_any_order() {
    let mut world = World::new();
    let lane = world.lane();
    let requests: Vec<_> = (1..4).map(|id| world.get(&experiment(id)).0).collect();
    let ids: Vec<_> = world.asked().iter().map(|question| question.id).collect();
    world.decide(lane, ids[2], pb::Outcome::Denied);
    world.decide(lane, ids[0], pb::Outcome::Allowed);
    assert_eq!(world.status_of(requests[2]), Some(403));
    assert!(world.resumed(requests[0], Request));
    assert!(!world.resumed(requests[1], Request) && world.status_of(requests[1]).is_none());
    assert_eq!(world.calls("Authorize"), 0);
}

#[test]
fn the_same_question_is_put_once() {
    let mut world = World::new();
    let lane = world.lane();
    let requests: Vec<_> = (0..3).map(|_| world.get(&experiment(1)).0).collect();
    assert_eq!(world.asked().len(), 1);
    let id = world.asked()[0].id;
    world.decide(lane, id, pb::Outcome::Allowed);
    assert!(requests.iter().all(|request| world.resumed(*request, Request)));
}

#[test]
fn questions_of_a_stream_that_ends_are_put_again_as_calls() {
    for code in [0, 14] {
        let mut world = World::new();
        let lane = world.lane();
        let (request, _) = world.get(&experiment(1));
        let question = world.asked()[0].request.clone().unwrap();
        world.end(lane, code);
        let (_, call): (_, pb::AuthorizeRequest) = world.last_call();
        assert_eq!(call, question);
        assert!(!world.resumed(request, Request));
        let (joined, _) = world.get(&experiment(1));
        assert_eq!(world.calls("Authorize"), 1);
        world.allow();
        assert!(world.resumed(request, Request) && world.resumed(joined, Request));
    }
}

#[test]
fn a_question_that_cannot_be_put_again_is_refused() {
    let mut world = World::new();
    let lane = world.lane();
    let (request, _) = world.get(&experiment(1));
    world.host.0.refuses_calls.set(true);
    world.end(lane, 14);
    assert_eq!(world.status_of(request), Some(503));
}

#[test]
fn an_older_server_is_not_asked_for_a_stream_again_soon() {
    let mut world = World::new();
    world.tick();
    let lane = world.lanes()[0];
    world.end(lane, UNIMPLEMENTED);
    for _ in 0..50 {
        world.host.advance(1_000);
        world.tick();
    }
    assert_eq!(world.lanes().len(), 1);
    world.get(&experiment(1));
    assert_eq!(world.calls("Authorize"), 1);
    world.host.advance(11_000);
    world.tick();
    assert_eq!(world.lanes().len(), 2);
}

#[test]
fn a_stream_that_ended_is_opened_anew_from_a_tick() {
    let mut world = World::new();
    let lane = world.lane();
    world.end(lane, 14);
    assert_eq!(world.lanes().len(), 1);
    assert!(world.host.0.closed.borrow().contains(&lane), "Envoy keeps what is not closed");
    world.host.advance(5_000);
    let again = world.lane();
    assert_ne!(again, lane);
    world.get(&experiment(1));
    assert_eq!(world.asked().len(), 1);
}

#[test]
fn a_silent_stream_is_given_up_and_its_younger_questions_are_put_as_calls() {
    let mut world = World::new();
    let lane = world.lane();
    let (old, _) = world.get(&experiment(1));
    world.host.advance(500);
    let (young, _) = world.get(&experiment(2));
    world.host.advance(500);
    world.tick();
    assert!(world.host.0.closed.borrow().contains(&lane));
    assert_eq!(world.status_of(old), Some(503), "its time is over");
    assert_eq!((world.status_of(young), world.calls("Authorize")), (None, 1));
    world.decide(lane, 2, pb::Outcome::Allowed);
    assert!(!world.resumed(young, Request), "that stream is nobody's");
    world.allow();
    assert!(world.resumed(young, Request));
}

#[test]
fn one_slow_answer_does_not_end_a_stream_on_which_others_come() {
    let mut world = World::new();
    let lane = world.lane();
    let (slow, _) = world.get(&experiment(1));
    world.host.advance(600);
    world.get(&experiment(2));
    world.decide(lane, 2, pb::Outcome::Allowed);
    world.host.advance(400);
    world.tick();
    assert_eq!(world.status_of(slow), Some(503));
    assert!(!world.host.0.closed.borrow().contains(&lane));
    world.get(&experiment(1));
    assert_eq!((world.asked().len(), world.calls("Authorize")), (3, 0), "asked anew");
}

#[test]
fn a_stream_that_nobody_greets_on_is_closed() {
    let mut world = World::new();
    world.tick();
    let lane = world.lanes()[0];
    world.host.advance(1_100);
    world.tick();
    assert!(world.host.0.closed.borrow().contains(&lane));
}

#[test]
fn an_answer_that_cannot_be_read_ends_the_stream() {
    let mut world = World::new();
    let lane = world.lane();
    let (request, _) = world.get(&experiment(1));
    *world.host.0.received.borrow_mut() = vec![0xff; 9];
    world.host.0.effective.set(ROOT.0);
    world.vm.on_grpc(lane, GrpcEvent::Message);
    assert!(world.host.0.closed.borrow().contains(&lane));
    assert_eq!((world.resumed(request, Request), world.calls("Authorize")), (false, 1));
}

#[test]
fn an_answer_without_a_response_is_a_failure_and_one_to_no_question_is_nothing() {
    let mut world = World::new();
    let lane = world.lane();
    let (request, _) = world.get(&experiment(1));
    world.decide(lane, 4711, pb::Outcome::Allowed);
    assert!(!world.resumed(request, Request));
    let id = world.asked()[0].id;
    world.answer(lane, &pb::DecideResponse { id, response: None, code: 3 });
    assert_eq!(world.status_of(request), Some(503));
}

#[test]
fn a_client_that_goes_leaves_its_question_behind() {
    let mut world = World::new();
    let lane = world.lane();
    let (request, _) = world.get(&experiment(1));
    world.vm.on_delete(request);
    let id = world.asked()[0].id;
    world.decide(lane, id, pb::Outcome::Allowed);
    assert!(!world.resumed(request, Request));
    world.get(&experiment(1));
    assert_eq!(world.asked().len(), 2, "nothing was remembered for nobody");
}
