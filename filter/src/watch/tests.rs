use super::*;
use crate::config::Config;
use crate::mock::Mock;

struct Vm {
    host: Mock,
    watch: Watch,
    client: PolicyClient,
    metrics: Metrics,
    watermarks: Watermarks,
}

impl Vm {
    /// A VM of the process whose shared data is the host's.
    fn of(host: &Mock) -> Self {
        let config = Config::parse(br#"{"policy":{"cluster":"p"}}"#).unwrap();
        Self {
            host: host.clone(),
            watch: Watch::new("mlgate/test/"),
            client: PolicyClient::new(&config.policy),
            metrics: Metrics::define(host),
            watermarks: Watermarks::new("mlgate/test/w/".to_owned()),
        }
    }

    fn parts(&mut self) -> (&mut Watch, Means<'_, Mock>) {
        let means = Means {
            host: &self.host,
            client: &self.client,
            metrics: &self.metrics,
            watermarks: &mut self.watermarks,
        };
        (&mut self.watch, means)
    }

    fn tick(&mut self) {
        let now_ms = self.host.now_ms();
        let (watch, means) = self.parts();
        watch.tick(means, now_ms);
    }

    fn hears(&mut self, event: Event) {
        let event = pb::WatchEvent { event: Some(event) };
        *self.host.0.received.borrow_mut() = event.encode_to_vec();
        let (watch, mut means) = self.parts();
        watch.on_message(&mut means);
    }

    fn closed(&mut self, code: u32) {
        let (watch, means) = self.parts();
        watch.on_closed(&means, code);
    }

    fn streams(&self) -> bool {
        self.watch.stream.is_some()
    }
}

fn opened(host: &Mock) -> Vec<pb::WatchRequest> {
    let sent = host.0.sent.borrow();
    sent.iter().map(|(_, message)| pb::WatchRequest::decode(message.as_slice()).unwrap()).collect()
}

/// Lets time pass in ticks of 100 ms.
fn run(vms: &mut [&mut Vm], milliseconds: u64) {
    for _ in 0..milliseconds / 100 {
        for vm in vms.iter_mut() {
            vm.tick();
        }
        vms[0].host.advance(100);
    }
}

fn heartbeat(revision: u64) -> Event {
    Event::Heartbeat(pb::Heartbeat { revision, interval_ms: 1000, age_ms: 0 })
}

#[test]
fn of_many_vms_one_holds_the_stream_and_another_takes_over_when_it_traps() {
    let host = Mock::new();
    let (mut a, mut b, mut c) = (Vm::of(&host), Vm::of(&host), Vm::of(&host));
    run(&mut [&mut a, &mut b, &mut c], 1_000);
    let holding = [a.streams(), b.streams(), c.streams()];
    assert_eq!(holding.iter().filter(|streams| **streams).count(), 1);
    assert_eq!(opened(&host).len(), 1);
    // The holder ticks no more.
    let mut others: Vec<&mut Vm> =
        [&mut a, &mut b, &mut c].into_iter().filter(|vm| !vm.streams()).collect();
    run(&mut others, 3_000);
    assert_eq!(others.iter().filter(|vm| vm.streams()).count(), 1);
}

#[test]
fn a_stream_resumes_where_it_was_heard_and_not_where_others_have_been() {
    let host = Mock::new();
    let mut vm = Vm::of(&host);
    run(&mut [&mut vm], 300);
    assert_eq!(opened(&host)[0].last_revision, 0);
    vm.hears(Event::Reset(pb::Reset { revision: 5 }));
    vm.hears(heartbeat(6));
    // Somebody's record has revision 9; what came between has not been told yet.
    vm.watermarks.apply(&host, &Change::Scopes { revision: 9, scopes: vec![1] });
    vm.closed(14);
    assert_eq!(host.0.closed.borrow().len(), 1, "or Envoy keeps its memory");
    assert_eq!(opened(&host).len(), 1, "never from the close callback");
    run(&mut [&mut vm], 500);
    assert_eq!(opened(&host)[1].last_revision, 6);
}

#[test]
fn attempts_to_reach_a_dead_server_get_rarer() {
    let host = Mock::new();
    let mut vm = Vm::of(&host);
    for _ in 0..600 {
        vm.tick();
        if vm.streams() {
            vm.closed(14);
        }
        host.advance(100);
    }
    let attempts = opened(&host).len();
    assert!((15..=80).contains(&attempts), "{attempts} in a minute");
}

#[test]
fn a_heartbeat_dates_what_is_known_by_the_store_and_not_by_its_arrival() {
    let host = Mock::new();
    let mut vm = Vm::of(&host);
    run(&mut [&mut vm], 300);
    vm.hears(Event::Reset(pb::Reset { revision: 5 }));
    vm.hears(Event::Heartbeat(pb::Heartbeat { revision: 5, interval_ms: 1000, age_ms: 700 }));
    vm.watermarks.refresh(&host);
    assert_eq!(vm.watermarks.heard_ms(), host.now_ms() - 700);
}

#[test]
fn a_silent_stream_is_given_up() {
    let host = Mock::new();
    let mut vm = Vm::of(&host);
    run(&mut [&mut vm], 300);
    vm.hears(Event::Reset(pb::Reset { revision: 5 }));
    vm.hears(heartbeat(5));
    run(&mut [&mut vm], 2_500);
    assert!(vm.streams() && host.0.closed.borrow().is_empty());
    run(&mut [&mut vm], 1_000);
    assert_eq!(host.0.closed.borrow().len(), 1);
}

#[test]
fn an_event_that_cannot_be_read_forgets_what_was_known() {
    let host = Mock::new();
    let mut vm = Vm::of(&host);
    run(&mut [&mut vm], 300);
    vm.hears(Event::Reset(pb::Reset { revision: 5 }));
    vm.hears(heartbeat(5));
    *host.0.received.borrow_mut() = vec![0xff; 5];
    let (watch, mut means) = vm.parts();
    watch.on_message(&mut means);
    assert!(!vm.streams());
    run(&mut [&mut vm], 500);
    assert_eq!(opened(&host)[1].last_revision, 0);
}

#[test]
fn pushed_keys_reach_every_worker() {
    let host = Mock::new();
    let (mut holder, mut other) = (Vm::of(&host), Vm::of(&host));
    run(&mut [&mut holder], 300);
    let before = other.watermarks.keys();
    holder.hears(Event::Keys(keys(3)));
    other.watermarks.refresh(&host);
    assert_ne!(other.watermarks.keys(), before);
    assert_eq!(shared_keys(&host, "mlgate/test/", "corp"), Some(keys(3)));
}

fn keys(version: u64) -> pb::KeySet {
    pb::KeySet {
        issuer: "corp".to_owned(),
        jwks: r#"{"keys":[]}"#.to_owned(),
        version,
        ..pb::KeySet::default()
    }
}

#[test]
fn a_server_with_older_keys_does_not_take_back_what_another_has_sent() {
    let host = Mock::new();
    let mut vm = Vm::of(&host);
    run(&mut [&mut vm], 300);
    for (sent, kept) in [(3, 3), (2, 3), (4, 4)] {
        vm.hears(Event::Keys(keys(sent)));
        assert_eq!(shared_keys(&host, "mlgate/test/", "corp"), Some(keys(kept)));
    }
}

#[test]
fn a_root_that_goes_takes_its_stream_with_it() {
    let host = Mock::new();
    let mut vm = Vm::of(&host);
    run(&mut [&mut vm], 300);
    vm.watch.stop(&host);
    assert!(!vm.streams());
    assert_eq!(host.0.closed.borrow().len(), 1);
}
