use super::*;
use crate::host::Host;
use crate::mock::Mock;
use std::rc::Rc;

const HERE: &str = "10.0.0.1";

struct Setup {
    host: Mock,
    guessing: Guessing,
}

fn basic(user: &str, password: &str) -> pb::Subject {
    let basic = pb::BasicCredential { username: user.to_owned(), password: password.to_owned() };
    pb::Subject { kind: Some(Kind::Basic(basic)) }
}

fn answer(outcome: Outcome, retry_after_ms: u32) -> pb::AuthorizeResponse {
    let principal = (outcome == Outcome::Allowed).then(pb::Principal::default);
    pb::AuthorizeResponse {
        outcome: outcome.into(),
        principal,
        retry_after_ms,
        ..pb::AuthorizeResponse::default()
    }
}

impl Setup {
    fn new() -> Self {
        Self { host: Mock::new(), guessing: Guessing::default() }
    }

    fn refuses(&mut self, user: &str, password: &str, address: &str) -> Option<Refused> {
        self.from(address);
        self.guessing.refuses(&self.host, &basic(user, password))
    }

    fn heard(&mut self, user: &str, password: &str, address: &str, answer: &pb::AuthorizeResponse) {
        self.from(address);
        let answered = Answered::Authorized(Rc::new(answer.clone()));
        self.guessing.heard(&self.host, &basic(user, password), &answered);
    }

    fn from(&self, address: &str) {
        let address =
            if address.contains(':') { format!("[{address}]:1") } else { format!("{address}:1") };
        self.host.set_property(&["source", "address"], address.as_bytes()).unwrap();
    }

    /// Guesses until one is refused here; says how many were asked about.
    fn asked(&mut self, user: &str, address: &str) -> u32 {
        (0..1000)
            .find(|n| self.refuses(user, &format!("guess {n}"), address).is_some())
            .expect("one is refused")
    }
}

#[test]
fn nothing_is_refused_here_before_the_policy_server_has_refused() {
    let mut setup = Setup::new();
    for outcome in [Outcome::Unauthenticated, Outcome::Unavailable, Outcome::Allowed] {
        for n in 0..1000 {
            let guess = format!("guess {n}");
            assert_eq!(setup.refuses("alice", &guess, HERE), None);
            setup.heard("alice", &guess, HERE, &answer(outcome, 6_000));
        }
    }
}

#[test]
fn a_flood_is_refused_here_but_for_a_few_questions_a_second_until_the_server_may_say_otherwise() {
    let mut setup = Setup::new();
    setup.heard("alice", "guess", HERE, &answer(Outcome::Throttled, 6_000));
    assert_eq!(setup.asked("alice", HERE), ASKED_A_SECOND);
    setup.host.advance(999);
    let refused = setup.refuses("alice", "another", HERE).unwrap();
    assert_eq!(refused.retry_after_ms, 5_001);
    setup.host.advance(1);
    assert_eq!(setup.asked("alice", HERE), ASKED_A_SECOND);
    setup.host.advance(5_000);
    for n in 0..1000 {
        assert_eq!(setup.refuses("alice", &format!("later {n}"), HERE), None);
    }
}

#[test]
fn an_answer_to_one_of_the_questions_permits_no_further_ones_in_its_second() {
    let mut setup = Setup::new();
    setup.heard("alice", "guess", HERE, &answer(Outcome::Throttled, 6_000));
    let mut asked = 0;
    for n in 0..1000 {
        let guess = format!("guess {n}");
        if setup.refuses("alice", &guess, HERE).is_none() {
            asked += 1;
            setup.heard("alice", &guess, HERE, &answer(Outcome::Throttled, 6_000));
        }
    }
    assert_eq!(asked, ASKED_A_SECOND);
}

#[test]
fn the_user_elsewhere_and_others_at_the_address_are_asked_about() {
    let mut setup = Setup::new();
    setup.heard("alice", "guess", HERE, &answer(Outcome::Throttled, 6_000));
    setup.asked("alice", HERE);
    for n in 0..1000 {
        let password = format!("password {n}");
        assert_eq!(setup.refuses("alice", &password, "10.0.0.2"), None);
        assert_eq!(setup.refuses("bob", &password, HERE), None);
    }
    // Not even by a name that ends as the address begins.
    assert_eq!(setup.refuses("alice\n", "guess", HERE), None);
    for address in ["::ffff:10.0.0.1", HERE] {
        assert!(setup.refuses("alice", "guess", address).is_some(), "{address}");
    }
}

#[test]
fn a_password_that_was_right_passes_whatever_else_is_tried_from_its_address() {
    let mut setup = Setup::new();
    setup.heard("alice", "right", HERE, &answer(Outcome::Allowed, 0));
    setup.heard("alice", "guess", HERE, &answer(Outcome::Throttled, 10_000));
    setup.asked("alice", HERE);
    assert_eq!(setup.refuses("alice", "right", HERE), None);
    assert!(setup.refuses("alice", "right ", HERE).is_some());
    // After that time the server does not remember it either.
    setup.host.advance(RIGHT_MS);
    setup.heard("alice", "guess", HERE, &answer(Outcome::Throttled, 10_000));
    setup.asked("alice", HERE);
    assert!(setup.refuses("alice", "right", HERE).is_some());
}

#[test]
fn tokens_and_verified_identities_are_always_asked_about() {
    let mut setup = Setup::new();
    let bearer = Kind::Bearer(pb::BearerToken { token: "t".to_owned() });
    let verified = Kind::Verified(pb::VerifiedIdentity::default());
    let token = basic("alice", "mlg_token");
    for who in [pb::Subject { kind: Some(bearer) }, pb::Subject { kind: Some(verified) }, token] {
        setup.from(HERE);
        let answer = Rc::new(answer(Outcome::Throttled, 6_000));
        setup.guessing.heard(&setup.host, &who, &Answered::Authorized(answer));
        for _ in 0..100 {
            assert_eq!(setup.guessing.refuses(&setup.host, &who), None, "{who:?}");
        }
    }
}

#[test]
fn no_answer_holds_longer_than_it_says_or_than_ten_seconds() {
    for (said_ms, holds_ms) in [(1, 1), (2_000, 2_000), (u32::MAX, LONGEST_MS)] {
        let mut setup = Setup::new();
        setup.heard("alice", "guess", HERE, &answer(Outcome::Throttled, said_ms));
        setup.asked("alice", HERE);
        setup.host.advance(holds_ms);
        assert_eq!(setup.refuses("alice", "guess", HERE), None, "{said_ms}");
    }
}

#[test]
fn the_administration_apis_answers_count_too() {
    let mut setup = Setup::new();
    let heard = |setup: &mut Setup, password: &str, status: u32| {
        let answer = pb::AdministerResponse { status, ..pb::AdministerResponse::default() };
        let answered = Answered::Administered(Rc::new(answer));
        setup.guessing.heard(&setup.host, &basic("alice", password), &answered);
    };
    setup.from(HERE);
    heard(&mut setup, "right", 200);
    heard(&mut setup, "denied", 403);
    heard(&mut setup, "guess", 429);
    setup.asked("alice", HERE);
    assert_eq!(setup.refuses("alice", "right", HERE), None);
    for other in ["denied", "guess"] {
        assert_eq!(setup.refuses("alice", other, HERE).unwrap().retry_after_ms, 1_000, "{other}");
    }
}

#[test]
fn addresses_of_one_ipv6_subscriber_count_as_one() {
    let mut setup = Setup::new();
    setup.heard("alice", "guess", "2001:db8:1:2::1", &answer(Outcome::Throttled, 6_000));
    setup.asked("alice", "2001:db8:1:2:ffff::9");
    assert_eq!(setup.refuses("alice", "guess", "2001:db8:1:3::1"), None);
}

#[test]
fn many_users_and_addresses_take_no_more_memory_and_the_log_has_a_line_a_second() {
    let mut setup = Setup::new();
    for n in 0..10 * PLACES {
        setup.heard(&format!("user {n}"), "guess", HERE, &answer(Outcome::Throttled, 6_000));
    }
    assert_eq!(setup.guessing.held.0.len(), PLACES);
    setup.heard("alice", "guess", HERE, &answer(Outcome::Throttled, 6_000));
    setup.asked("alice", HERE);
    let mut lines = Vec::new();
    for n in 0..3000 {
        setup.host.advance(1);
        let refused = setup.refuses("alice", &format!("guess {n}"), HERE);
        lines.extend(refused.and_then(|refused| refused.stands_for));
    }
    let asked = 3000 - lines.iter().sum::<u32>();
    assert!((2..=4).contains(&lines.len()), "{lines:?}");
    // The questions of three seconds, and what no line stands for yet.
    assert!(asked < 4 * ASKED_A_SECOND + 1000, "{lines:?}");
}

#[test]
fn an_address_loses_its_port_and_only_that() {
    for (address, host) in
        [("10.0.0.1:80", "10.0.0.1"), ("[::1]:80", "::1"), ("/run/x.sock", "/run/x.sock"), ("", "")]
    {
        assert_eq!(without_port(address), host);
    }
}
