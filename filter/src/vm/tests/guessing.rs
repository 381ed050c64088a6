use super::*;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

const CURRENT: &str = "/api/2.0/mlflow/users/current";

fn throttled() -> pb::AuthorizeResponse {
    pb::AuthorizeResponse {
        principal: None,
        retry_after_ms: 6_000,
        ttl_ms: 0,
        ..decision(pb::Outcome::Throttled)
    }
}

impl World {
    fn from(&self, address: &str) {
        use crate::host::Host;
        self.host.set_property(&["source", "address"], address.as_bytes()).unwrap();
    }

    fn guess(&mut self, password: &str, path: &str) -> ContextId {
        let credential = format!("Basic {}", STANDARD.encode(format!("alice:{password}")));
        self.start("GET", path, &[("authorization", &credential)], true).0
    }

    /// A thousand guesses, each refused as the policy server would; says how often it was asked.
    fn flood(&mut self) -> usize {
        let before = self.calls("Authorize");
        for n in 0..1000 {
            let asked = self.calls("Authorize");
            let request = self.guess(&format!("guess {n}"), GET_EXPERIMENT);
            if self.calls("Authorize") > asked {
                let token = self.last_token();
                self.answer(token, &throttled());
            }
            assert_eq!(self.status_of(request), Some(429), "guess {n}");
            assert!(!self.resumed(request, Request));
        }
        self.calls("Authorize") - before
    }
}

#[test]
fn a_flood_of_wrong_passwords_is_no_flood_of_questions() {
    let mut world = World::new();
    world.from("10.0.0.1:4711");
    assert!(world.flood() < 30);
    let held = world.host.0.metrics.borrow()["mlgate_held_off_total"];
    assert!(held > 970, "{held}");
    let replies = world.host.0.replies.borrow();
    let waits = |headers: &[(String, String)]| {
        headers.iter().any(|(name, value)| name == "retry-after" && value == "6")
    };
    assert!(replies.iter().all(|(_, reply)| waits(&reply.headers)));
}

#[test]
fn a_password_that_was_right_here_is_asked_about_while_others_guess_from_the_same_address() {
    let mut world = World::new();
    world.from("10.0.0.1:4711");
    let (before, _) = world.get(GET_EXPERIMENT);
    world.allow();
    assert!(world.resumed(before, Request));
    world.flood();
    let (other, _) = world.get("/api/2.0/mlflow/experiments/get?experiment_id=2");
    assert_eq!(world.status_of(other), None);
    world.allow();
    assert!(world.resumed(other, Request));
}

#[test]
fn the_user_logs_in_from_elsewhere_during_a_flood() {
    let mut world = World::new();
    world.from("10.0.0.1:4711");
    world.flood();
    world.from("10.0.0.2:4711");
    let (request, _) = world.get(GET_EXPERIMENT);
    world.allow();
    assert!(world.resumed(request, Request));
}

#[test]
fn calls_of_the_administration_api_are_held_off_with_the_rest() {
    let mut world = World::new();
    world.from("10.0.0.1:4711");
    world.flood();
    let asked = world.calls("Administer");
    let request = world.guess("guess", CURRENT);
    assert_eq!((world.status_of(request), world.calls("Administer")), (Some(429), asked));
}

#[test]
fn in_shadow_mode_a_flood_passes_as_everything_does() {
    let mut world = World::with(r#"{"mode": "shadow"}"#);
    world.from("10.0.0.1:4711");
    for n in 0..100 {
        let asked = world.calls("Authorize");
        let request = world.guess(&format!("guess {n}"), GET_EXPERIMENT);
        if world.calls("Authorize") > asked {
            let token = world.last_token();
            world.answer(token, &throttled());
        }
        assert_eq!(world.status_of(request), None);
    }
    assert!(world.host.0.metrics.borrow()["mlgate_shadow_denied_total"] == 100);
}
