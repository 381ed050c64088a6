use super::watermarks::{Change, user_scope};
use super::*;
use crate::mock::Mock;
use prost::Message;

impl Cache {
    fn key_of<H: Host>(&mut self, host: &H, question: &[u8]) -> Option<Key> {
        let near = self.recognizer.mark(host, question);
        self.key(host, question, near)
    }
}

const ALICE: &str = "alice";

fn cache() -> Cache {
    Cache::new(CacheConfig::default(), "mlgate/test/".to_owned())
}

fn request(password: &str, workspace: &str) -> pb::AuthorizeRequest {
    let basic = pb::BasicCredential { username: ALICE.to_owned(), password: password.to_owned() };
    pb::AuthorizeRequest {
        subject: Some(crate::authn::subject(pb::subject::Kind::Basic(basic))),
        workspace: workspace.to_owned(),
        ..pb::AuthorizeRequest::default()
    }
}

fn answer(outcome: pb::Outcome, revision: u64) -> Rc<pb::AuthorizeResponse> {
    Rc::new(pb::AuthorizeResponse {
        outcome: outcome.into(),
        principal: Some(pb::Principal {
            username: ALICE.to_owned(),
            super_admin: false,
            scopes: Vec::new(),
        }),
        ttl_ms: 60_000,
        revision,
        depends_on: vec![user_scope(ALICE)],
        ..pb::AuthorizeResponse::default()
    })
}

/// One worker that has stored an answer of revision 10 a moment ago.
fn stored(host: &Mock) -> (Cache, Key) {
    let mut cache = cache();
    let key = cache.key_of(host, &request("secret", "").encode_to_vec()).unwrap();
    let answer = answer(pb::Outcome::Allowed, 10);
    cache.store(host, &key, host.now_ms(), None, &answer);
    (cache, key)
}

fn found(cache: &mut Cache, host: &Mock, key: &Key) -> Option<Layer> {
    let now_ms = host.now_ms();
    let near = key.near.and_then(|mark| cache.recall(host, mark, now_ms)).map(|_| Layer::Worker);
    near.or_else(|| cache.find_shared(host, &mut key.clone(), now_ms).map(|_| Layer::Shared))
}

/// A stream that has told everything up to revision 10, now.
fn hear(host: &Mock) {
    let mut cache = cache();
    cache.watermarks.reset(host, 10);
    cache.watermarks.hear(host, host.now_ms(), 10);
}

#[test]
fn an_answer_is_found_by_the_worker_that_asked_and_by_the_others() {
    let host = Mock::new();
    let (mut first, key) = stored(&host);
    assert_eq!(found(&mut first, &host, &key), Some(Layer::Worker));
    let mut second = cache();
    let other = second.key_of(&host, &request("secret", "").encode_to_vec()).unwrap();
    assert_eq!(other.far, key.far);
    assert_eq!(found(&mut second, &host, &other), Some(Layer::Shared));
    assert_eq!(found(&mut second, &host, &other), Some(Layer::Worker));
}

#[test]
fn what_a_worker_has_asked_is_recalled_without_shared_data() {
    let host = Mock::new();
    let (mut cache, _) = stored(&host);
    host.0.shared.borrow_mut().clear();
    let mut recalled = |password, workspace| {
        let question = request(password, workspace).encode_to_vec();
        matches!(cache.look_up(&host, &question, host.now_ms()), Found::Answer { .. })
    };
    assert!(recalled("secret", ""));
    assert!(!recalled("secret2", ""));
    assert!(!recalled("secret", "team"));
    host.advance(60_000);
    assert!(!recalled("secret", ""));
}

#[test]
fn a_change_that_another_worker_was_told_of_counts_in_the_same_instant() {
    let host = Mock::new();
    let (mut first, key) = stored(&host);
    assert_eq!(found(&mut first, &host, &key), Some(Layer::Worker));
    cache().watermarks.apply(&host, &Change::Everyone { revision: 11 });
    assert_eq!(found(&mut first, &host, &key), None);
}

#[test]
fn no_two_questions_share_a_fingerprint() {
    let host = Mock::new();
    let mut cache = cache();
    let mut of =
        |request: &pb::AuthorizeRequest| cache.key_of(&host, &request.encode_to_vec()).unwrap();
    let one = of(&request("ab", "c"));
    assert_ne!(one, of(&request("a", "bc")));
    assert_ne!(one, of(&request("ab", "")));
    assert_ne!(one, of(&request("AB", "c")));
    let mut bearer = request("ab", "c");
    let token = pb::BearerToken { token: "ab".to_owned() };
    bearer.subject = Some(crate::authn::subject(pb::subject::Kind::Bearer(token)));
    assert_ne!(one, of(&bearer));
}

#[test]
fn the_credential_is_nowhere_in_shared_data() {
    let host = Mock::new();
    let (_, _) = stored(&host);
    for (key, value) in host.0.shared.borrow().iter() {
        let holds = |bytes: &[u8]| bytes.windows(6).any(|window| window == b"secret");
        assert!(
            !holds(&value.value) && (!holds(key.as_bytes()) || key.ends_with("/secret")),
            "{key}"
        );
    }
}

#[test]
fn without_a_stream_nothing_is_used_beyond_max_staleness() {
    let host = Mock::new();
    let (mut cache, key) = stored(&host);
    host.advance(5_000);
    assert!(found(&mut cache, &host, &key).is_some());
    host.advance(1);
    assert!(found(&mut cache, &host, &key).is_none());
}

#[test]
fn with_a_stream_an_answer_lives_for_its_time_and_after_it_for_max_staleness() {
    let host = Mock::new();
    let (mut cache, key) = stored(&host);
    for _ in 0..50 {
        hear(&host);
        host.advance(1_000);
        assert!(found(&mut cache, &host, &key).is_some());
    }
    host.advance(4_000);
    assert!(found(&mut cache, &host, &key).is_some(), "the stream was heard 5 s ago");
    host.advance(1);
    assert!(found(&mut cache, &host, &key).is_none(), "and now longer ago");
    let (mut cache, key) = stored(&host);
    for _ in 0..60 {
        hear(&host);
        host.advance(1_000);
    }
    hear(&host);
    assert!(found(&mut cache, &host, &key).is_none(), "the server's 60 s are over");
}

#[test]
fn a_change_voids_what_depends_on_it_in_every_worker_and_nothing_else() {
    let host = Mock::new();
    hear(&host);
    let (mut cache, key) = stored(&host);
    let mut other = self::cache();
    let _ = other.key_of(&host, &request("secret", "").encode_to_vec());
    let mut stream = self::cache();
    let change = |revision, name: &str| Change::Scopes { revision, scopes: vec![user_scope(name)] };
    stream.watermarks.apply(&host, &change(11, "bob"));
    host.advance(10);
    assert!(found(&mut cache, &host, &key).is_some());
    assert!(found(&mut other, &host, &key).is_some());
    stream.watermarks.apply(&host, &change(10, ALICE));
    host.advance(10);
    assert!(found(&mut cache, &host, &key).is_some(), "made at the very revision of the change");
    stream.watermarks.apply(&host, &change(12, ALICE));
    host.advance(10);
    assert!(found(&mut cache, &host, &key).is_none());
    assert!(found(&mut other, &host, &key).is_none());
}

#[test]
fn a_worker_that_has_just_looked_hears_of_a_change_a_millisecond_later() {
    let host = Mock::new();
    hear(&host);
    let (mut cache, key) = stored(&host);
    assert!(found(&mut cache, &host, &key).is_some());
    let mut administering = self::cache();
    administering.watermarks.apply(&host, &Change::Everyone { revision: 11 });
    host.advance(1);
    assert!(found(&mut cache, &host, &key).is_none());
}

#[test]
fn an_answer_that_was_overtaken_on_its_way_is_not_used() {
    let host = Mock::new();
    hear(&host);
    let mut cache = cache();
    let change = Change::Scopes { revision: 11, scopes: vec![user_scope(ALICE)] };
    cache.watermarks.apply(&host, &change);
    let key = cache.key_of(&host, &request("secret", "").encode_to_vec()).unwrap();
    cache.store(&host, &key, host.now_ms(), None, &answer(pb::Outcome::Allowed, 10));
    assert!(found(&mut cache, &host, &key).is_none());
    cache.store(&host, &key, host.now_ms(), None, &answer(pb::Outcome::Allowed, 11));
    assert!(found(&mut cache, &host, &key).is_some());
}

#[test]
fn a_reset_and_a_change_for_everyone_void_all_that_is_older() {
    let host = Mock::new();
    hear(&host);
    for void in [
        (|c, h| c.watermarks.apply(h, &Change::Everyone { revision: 11 })) as fn(&mut Cache, &Mock),
        |c, h| c.watermarks.reset(h, 12),
    ] {
        let (mut cache, key) = stored(&host);
        let mut stream = self::cache();
        void(&mut stream, &host);
        host.advance(10);
        assert!(found(&mut cache, &host, &key).is_none());
        host.0.shared.borrow_mut().retain(|key, _| !key.contains("/w/"));
        hear(&host);
    }
}

#[test]
fn a_stream_without_a_reset_dates_nothing() {
    let host = Mock::new();
    let (mut cache, key) = stored(&host);
    let mut stream = self::cache();
    host.advance(4_000);
    stream.watermarks.hear(&host, host.now_ms(), 10);
    host.advance(2_000);
    assert!(found(&mut cache, &host, &key).is_none());
}

#[test]
fn an_answer_from_before_the_stream_is_not_dated_by_it() {
    let host = Mock::new();
    let mut cache = cache();
    let key = cache.key_of(&host, &request("secret", "").encode_to_vec()).unwrap();
    cache.store(&host, &key, host.now_ms(), None, &answer(pb::Outcome::Allowed, 9));
    hear(&host);
    assert!(found(&mut cache, &host, &key).is_none());
}

#[test]
fn refusals_are_kept_briefly_and_failures_not_at_all() {
    let host = Mock::new();
    hear(&host);
    let mut cache = cache();
    let key = cache.key_of(&host, &request("secret", "").encode_to_vec()).unwrap();
    for outcome in [pb::Outcome::Denied, pb::Outcome::Unauthenticated] {
        cache.store(&host, &key, host.now_ms(), None, &answer(outcome, 10));
        assert!(found(&mut cache, &host, &key).is_some());
        host.advance(REFUSAL_TTL_MS);
        assert!(found(&mut cache, &host, &key).is_none());
    }
    for outcome in [
        pb::Outcome::Unavailable,
        pb::Outcome::Throttled,
        pb::Outcome::NotFound,
        pb::Outcome::BadWorkspace,
        pb::Outcome::Unspecified,
    ] {
        cache.store(&host, &key, host.now_ms(), None, &answer(outcome, 10));
        assert!(found(&mut cache, &host, &key).is_none(), "{outcome:?}");
    }
}

#[test]
fn nothing_outlives_its_credential() {
    let host = Mock::new();
    hear(&host);
    let mut cache = cache();
    let key = cache.key_of(&host, &request("secret", "").encode_to_vec()).unwrap();
    let ends = host.now_ms() + 500;
    cache.store(&host, &key, host.now_ms(), Some(ends), &answer(pb::Outcome::Allowed, 10));
    host.advance(499);
    assert!(found(&mut cache, &host, &key).is_some());
    host.advance(1);
    assert!(found(&mut cache, &host, &key).is_none());
}

#[test]
fn foreign_and_damaged_bytes_in_a_slot_are_no_answer() {
    let host = Mock::new();
    let (cache, key) = stored(&host);
    let slot = cache.slot(&key.far).unwrap();
    let good = host.shared(&slot).unwrap().value;
    let mut other_key = good.clone();
    other_key[10] ^= 1;
    let mut huge = good.clone();
    huge.resize(5_000, 0);
    for bytes in [&b"poison"[..], b"", &good[..40], &good[..good.len() - 1], &other_key, &huge] {
        host.set_shared(&slot, bytes, None).unwrap();
        let mut worker = self::cache();
        let key = worker.key_of(&host, &request("secret", "").encode_to_vec()).unwrap();
        assert_eq!(cache.slot(&key.far).unwrap(), slot);
        assert!(found(&mut worker, &host, &key).is_none(), "{} bytes", bytes.len());
    }
}

#[test]
fn a_flood_of_keys_uses_no_more_than_the_slots() {
    let host = Mock::new();
    let config = CacheConfig { slots: 16, l1_entries: 4, ..CacheConfig::default() };
    let mut cache = Cache::new(config, "mlgate/test/".to_owned());
    for index in 0..500 {
        let key = cache.key_of(&host, &request(&index.to_string(), "").encode_to_vec()).unwrap();
        cache.store(&host, &key, host.now_ms(), None, &answer(pb::Outcome::Allowed, 10));
    }
    let slots = host.0.shared.borrow().keys().filter(|key| key.contains("/d/")).count();
    assert!(slots <= 16, "{slots}");
}

#[test]
fn of_two_workers_that_fill_an_unused_slot_at_once_one_is_counted() {
    let host = Mock::new();
    let mut cache = cache();
    let key = cache.key_of(&host, b"question").unwrap();
    let answer = answer(pb::Outcome::Allowed, 10);
    *host.0.crossing.borrow_mut() = Some(b"the other worker's".to_vec());
    let mut fills = || cache.store(&host, &key, host.now_ms(), None, &answer);
    assert!(!fills(), "the other one has filled it");
    assert!(!fills(), "it is used now");
    let other = cache.key_of(&host, b"another question").unwrap();
    assert!(cache.store(&host, &other, host.now_ms(), None, &answer), "nobody was there");
}

#[test]
fn switched_off_it_stores_nothing() {
    let host = Mock::new();
    let config = CacheConfig { slots: 0, l1_entries: 0, ..CacheConfig::default() };
    let mut cache = Cache::new(config, "mlgate/test/".to_owned());
    let key = cache.key_of(&host, &request("secret", "").encode_to_vec()).unwrap();
    cache.store(&host, &key, host.now_ms(), None, &answer(pb::Outcome::Allowed, 10));
    assert!(found(&mut cache, &host, &key).is_none());
}

#[test]
fn what_was_written_between_the_look_up_and_the_answer_is_looked_at_again() {
    let question = request("secret", "").encode_to_vec();
    for (revision, kept) in [(9, 10), (10, 10), (11, 11)] {
        let host = Mock::new();
        let (mut one, mut other) = (cache(), cache());
        let asks = |cache: &mut Cache| match cache.look_up(&host, &question, host.now_ms()) {
            Found::Nothing(key) => key.unwrap(),
            Found::Answer { .. } => panic!("nobody has asked yet"),
        };
        let (early, late) = (asks(&mut one), asks(&mut other));
        other.store(&host, &late, host.now_ms(), None, &answer(pb::Outcome::Allowed, revision));
        let used = one.store(&host, &early, host.now_ms(), None, &answer(pb::Outcome::Denied, 10));
        assert!(!used, "the slot was used before");
        let slot = host.shared(&one.slot(&early.far).unwrap()).unwrap();
        let entry = Entry::decode(&slot.value, &early.far).unwrap();
        assert_eq!(entry.answer.revision, kept, "the other's was of {revision}");
    }
}

#[test]
fn another_secret_makes_another_fingerprint_of_both_its_halves() {
    let mut fingerprints = Vec::new();
    for changed in [None, Some(0), Some(31)] {
        let host = Mock::new();
        let mut secret: [u8; 32] = std::array::from_fn(|at| u8::try_from(at).unwrap());
        if let Some(changed) = changed {
            secret[changed] ^= 1;
        }
        host.set_shared("mlgate/test/secret", &secret, None).unwrap();
        let far = cache().key_of(&host, b"question").unwrap().far;
        fingerprints.push((far[..16].to_vec(), far[16..].to_vec()));
    }
    let [(one, two), first, last]: [(Vec<u8>, Vec<u8>); 3] = fingerprints.try_into().unwrap();
    assert!(one != two && first.0 != one && first.1 == two && last.0 == one && last.1 != two);
}
