//! How often the root ticks.

use super::*;

const OFTEN: u32 = 100;
const RARELY: u32 = 500;

impl World {
    /// Everything is open and well.
    fn at_rest(settings: &str) -> Self {
        let mut world = Self::with(settings);
        world.pass(100);
        world.pass(100);
        let lane = world.stream("Decide");
        world.answer(lane, &pb::DecideResponse::default());
        world.beat();
        world.pass(100);
        world
    }

    /// Lets time pass, and ticks.
    fn pass(&mut self, milliseconds: u64) {
        self.host.advance(milliseconds);
        self.tick();
    }

    fn stream(&self, method: &str) -> Token {
        let streams = self.host.0.streams.borrow();
        streams.iter().rev().find(|(_, name)| name == method).unwrap().0
    }

    fn opened(&self, method: &str) -> usize {
        self.host.0.streams.borrow().iter().filter(|(_, name)| name == method).count()
    }

    fn beat(&mut self) {
        let heartbeat = pb::Heartbeat { revision: 1, interval_ms: 1_000, age_ms: 0 };
        let event = pb::watch_event::Event::Heartbeat(heartbeat);
        let watch = self.stream("Watch");
        self.answer(watch, &pb::WatchEvent { event: Some(event) });
    }

    fn close(&mut self, token: Token) {
        self.host.0.effective.set(9);
        self.vm.on_grpc(token, GrpcEvent::Closed(14));
    }

    fn period(&self) -> u32 {
        self.host.0.tick_period.get().0
    }
}

#[test]
fn a_root_with_nothing_to_do_ticks_rarely_and_is_told_so_once() {
    let mut world = World::at_rest("{}");
    assert_eq!(world.host.0.tick_period.get(), (RARELY, 1));
    for _ in 0..20 {
        world.pass(500);
        world.beat();
    }
    assert_eq!(world.host.0.tick_period.get(), (RARELY, 1));
}

#[test]
fn a_stream_that_ends_makes_ticks_frequent_at_once_and_until_it_is_back() {
    for method in ["Watch", "Decide"] {
        let mut world = World::at_rest("{}");
        let stream = world.stream(method);
        world.close(stream);
        assert_eq!(world.period(), OFTEN, "{method}");
        assert_eq!(world.host.0.effective.get(), ROOT.0, "the period is the root's");
        while world.stream(method) == stream {
            assert_eq!(world.period(), OFTEN, "{method}");
            world.pass(100);
        }
        if method == "Decide" {
            assert_eq!(world.period(), OFTEN, "nobody has greeted yet");
            let lane = world.stream(method);
            world.answer(lane, &pb::DecideResponse::default());
        }
        world.beat();
        world.pass(100);
        assert_eq!(world.period(), RARELY, "{method}");
    }
}

#[test]
fn a_stream_whose_heartbeat_is_missing_is_watched_closely() {
    let mut world = World::at_rest("{}");
    for (passed, period) in [(500, RARELY), (500, RARELY), (500, OFTEN), (100, OFTEN)] {
        world.pass(passed);
        assert_eq!(world.period(), period);
    }
    world.beat();
    world.pass(100);
    assert_eq!(world.period(), RARELY);
}

#[test]
fn a_question_that_is_open_is_given_up_in_time() {
    let mut world = World::at_rest("{}");
    let (request, _) = world.get(GET_EXPERIMENT);
    world.beat();
    world.pass(500);
    assert_eq!(world.period(), OFTEN);
    for _ in 0..4 {
        world.pass(100);
        assert_eq!(world.status_of(request), None);
    }
    world.pass(100);
    assert_eq!(world.status_of(request), Some(503));
}

#[test]
fn ticks_are_frequent_when_a_held_request_is_nearly_overdue() {
    let mut world = World::at_rest(r#"{"body_timeout_ms": 2000}"#);
    let (request, flow) = world.post(LOG_METRIC, &metric());
    assert_eq!(flow, Flow::Buffer);
    for (passed, period) in [(500, RARELY), (500, RARELY), (500, OFTEN), (400, OFTEN)] {
        world.pass(passed);
        world.beat();
        assert_eq!((world.period(), world.status_of(request)), (period, None));
    }
    world.pass(100);
    assert!(world.status_of(request).is_some());
    world.pass(100);
    assert_eq!(world.period(), RARELY);
}

#[test]
fn rare_ticks_are_no_rarer_than_the_shortest_time_a_request_is_held() {
    for (settings, period) in [
        (r#"{"body_timeout_ms": 300}"#, 300),
        (r#"{"body_timeout_ms": 100}"#, OFTEN),
        (r#"{"body_timeout_ms": 600}"#, RARELY),
    ] {
        let world = World::at_rest(settings);
        // It is told only what is not so already.
        let told = world.host.0.tick_period.get();
        assert_eq!(if told.1 == 0 { OFTEN } else { told.0 }, period, "{settings}");
    }
}

#[test]
fn a_root_without_the_lease_leaves_the_stream_to_the_one_that_has_it() {
    let first = World::at_rest("{}");
    let mut second = World { host: first.host.clone(), vm: Vm::new(first.host.clone()), next: 2 };
    second.vm.on_create(ROOT, ContextId(0));
    assert!(second.vm.on_configure(ROOT, br#"{"policy":{"cluster":"policy"}}"#).is_some());
    second.pass(100);
    let lane = second.stream("Decide");
    second.answer(lane, &pb::DecideResponse::default());
    second.pass(100);
    assert_eq!(second.period(), RARELY);
    assert_eq!(second.opened("Watch"), 1);
    // The holder's VM has trapped: it ticks no more.
    for _ in 0..3 {
        second.pass(500);
    }
    assert_eq!(second.period(), OFTEN);
    second.pass(100);
    assert_eq!(second.opened("Watch"), 2);
}
