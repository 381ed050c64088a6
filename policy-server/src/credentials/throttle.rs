//! Slows down guessing without locking anybody out.
//!
//! Three token buckets are charged for each failure: of the user from that address, of the
//! address, and of the user from wherever. The last one stops guesses spread over many
//! addresses, and does not apply to addresses from which the user has logged in before, so an
//! attacker elsewhere cannot lock the user out. Everything is in bounded maps.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use moka::sync::Cache;

/// How many failures at once, and how long one takes to be forgiven.
#[derive(Debug, Clone, Copy)]
pub struct Allowance {
    pub burst: u32,
    pub refill: Duration,
}

#[derive(Debug, Clone, Copy)]
pub struct ThrottleConfig {
    pub per_user_and_address: Allowance,
    pub per_address: Allowance,
    pub per_user: Allowance,
    /// Entries of each map; the least recently used go first.
    pub capacity: u64,
}

impl Default for ThrottleConfig {
    fn default() -> Self {
        let allowance = |burst, refill| Allowance { burst, refill: Duration::from_secs(refill) };
        Self {
            per_user_and_address: allowance(10, 6),
            per_address: allowance(100, 1),
            per_user: allowance(100, 2),
            capacity: 50_000,
        }
    }
}

/// Whom a bucket is about. Hashed, so that long usernames cost no memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Key {
    UserAndAddress(u64, Network),
    Address(Network),
    User(u64),
}

/// An IPv4 address, or an IPv6 /64: one subscriber has 2^64 of the latter's addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Network(u128);

impl Network {
    /// `None` for what is not an address; such a client is only known by the user it names.
    pub fn parse(address: &str) -> Option<Self> {
        let network = match address.parse::<IpAddr>().ok()?.to_canonical() {
            IpAddr::V4(v4) => u128::from(v4.to_bits()),
            IpAddr::V6(v6) => v6.to_bits() >> 64 << 64,
        };
        Some(Self(network))
    }
}

#[derive(Debug)]
struct Bucket {
    used: f64,
    at: Instant,
}

pub struct Throttle {
    config: ThrottleConfig,
    buckets: Cache<Key, Arc<Mutex<Bucket>>>,
    /// Where users have logged in from.
    familiar: Cache<(u64, Network), ()>,
    hasher: std::hash::RandomState,
}

/// When the next attempt may be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Throttled {
    pub retry_after: Duration,
}

impl Throttle {
    pub fn new(config: ThrottleConfig) -> Self {
        let idle = Duration::from_secs(3600);
        Self {
            config,
            buckets: Cache::builder().max_capacity(config.capacity * 3).time_to_idle(idle).build(),
            familiar: Cache::builder()
                .max_capacity(config.capacity)
                .time_to_idle(Duration::from_secs(7 * 24 * 3600))
                .build(),
            hasher: std::hash::RandomState::new(),
        }
    }

    /// Charges an attempt before it is known how it ends: of those that arrive while a password is
    /// being hashed, no more must be tried than there are failures left. The charge stays unless
    /// it is refunded.
    ///
    /// # Errors
    /// `Throttled` when one of the buckets is empty; then none is charged.
    pub fn attempt(
        &self,
        user: &str,
        network: Option<Network>,
        now: Instant,
    ) -> Result<Charge<'_>, Throttled> {
        let user = self.hash(user);
        let mut charge = Charge { throttle: self, keys: Vec::with_capacity(3) };
        let mut longest = None;
        for (key, allowance) in self.keys(user, network) {
            match self.take(key, allowance, now) {
                None => charge.keys.push(key),
                wait => longest = longest.max(wait),
            }
        }
        match longest {
            None => Ok(charge),
            Some(retry_after) => {
                charge.refund();
                Err(Throttled { retry_after })
            }
        }
    }

    /// Whether an attempt may be made now.
    ///
    /// # Errors
    /// `Throttled` when one of the buckets is empty.
    pub fn check(
        &self,
        user: &str,
        network: Option<Network>,
        now: Instant,
    ) -> Result<(), Throttled> {
        let user = self.hash(user);
        let wait = self
            .keys(user, network)
            .filter_map(|(key, allowance)| self.wait(key, allowance, now))
            .max();
        wait.map_or(Ok(()), |retry_after| Err(Throttled { retry_after }))
    }

    /// Charges a failed attempt.
    pub fn failed(&self, user: &str, network: Option<Network>, now: Instant) {
        let user = self.hash(user);
        for (key, allowance) in self.keys(user, network) {
            let bucket = self.bucket(key, now);
            let mut bucket = bucket.lock().unwrap_or_else(PoisonError::into_inner);
            bucket.leak(allowance, now);
            bucket.used = (bucket.used + 1.0).min(f64::from(allowance.burst) + 1.0);
        }
    }

    /// Forgives the user at this address, and remembers it as familiar.
    pub fn succeeded(&self, user: &str, network: Option<Network>) {
        let Some(network) = network else { return };
        let user = self.hash(user);
        let key = Key::UserAndAddress(user, network);
        // Nearly always there is nothing to do, and to look costs less than to write.
        if self.buckets.contains_key(&key) {
            self.buckets.invalidate(&key);
        }
        if self.familiar.get(&(user, network)).is_none() {
            self.familiar.insert((user, network), ());
        }
    }

    fn keys(
        &self,
        user: u64,
        network: Option<Network>,
    ) -> impl Iterator<Item = (Key, Allowance)> + use<> {
        let familiar = network.is_some_and(|network| self.familiar.get(&(user, network)).is_some());
        let pair = network
            .map(|network| (Key::UserAndAddress(user, network), self.config.per_user_and_address));
        let address = network.map(|network| (Key::Address(network), self.config.per_address));
        let anywhere = (!familiar).then_some((Key::User(user), self.config.per_user));
        pair.into_iter().chain(address).chain(anywhere)
    }

    fn wait(&self, key: Key, allowance: Allowance, now: Instant) -> Option<Duration> {
        let bucket = self.buckets.get(&key)?;
        let mut bucket = bucket.lock().unwrap_or_else(PoisonError::into_inner);
        bucket.leak(allowance, now);
        bucket.wait(allowance)
    }

    /// Charges one bucket, unless one must wait.
    fn take(&self, key: Key, allowance: Allowance, now: Instant) -> Option<Duration> {
        let bucket = self.bucket(key, now);
        let mut bucket = bucket.lock().unwrap_or_else(PoisonError::into_inner);
        bucket.leak(allowance, now);
        let wait = bucket.wait(allowance);
        if wait.is_none() {
            bucket.used += 1.0;
        }
        wait
    }

    fn bucket(&self, key: Key, now: Instant) -> Arc<Mutex<Bucket>> {
        self.buckets.get_with(key, || Arc::new(Mutex::new(Bucket { used: 0.0, at: now })))
    }

    fn hash(&self, user: &str) -> u64 {
        std::hash::BuildHasher::hash_one(&self.hasher, user)
    }
}

/// What an attempt has cost.
#[must_use = "what is dropped is spent"]
pub struct Charge<'a> {
    throttle: &'a Throttle,
    keys: Vec<Key>,
}

impl Charge<'_> {
    /// The attempt was no failure, or was not made.
    pub fn refund(self) {
        for key in self.keys {
            if let Some(bucket) = self.throttle.buckets.get(&key) {
                let mut bucket = bucket.lock().unwrap_or_else(PoisonError::into_inner);
                bucket.used = (bucket.used - 1.0).max(0.0);
            }
        }
    }
}

impl Bucket {
    fn wait(&self, allowance: Allowance) -> Option<Duration> {
        let excess = self.used + 1.0 - f64::from(allowance.burst);
        (excess > 0.0).then(|| allowance.refill.mul_f64(excess))
    }

    fn leak(&mut self, allowance: Allowance, now: Instant) {
        let elapsed = now.saturating_duration_since(self.at).as_secs_f64();
        self.used = (self.used - elapsed / allowance.refill.as_secs_f64()).max(0.0);
        self.at = self.at.max(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn throttle() -> Throttle {
        let allowance = |burst| Allowance { burst, refill: Duration::from_secs(10) };
        Throttle::new(ThrottleConfig {
            per_user_and_address: allowance(3),
            per_address: allowance(6),
            per_user: allowance(8),
            capacity: 100,
        })
    }

    fn net(address: &str) -> Option<Network> {
        Some(Network::parse(address).unwrap())
    }

    fn fail(throttle: &Throttle, user: &str, address: &str, times: u32, now: Instant) {
        for _ in 0..times {
            throttle.failed(user, net(address), now);
        }
    }

    #[test]
    fn failures_of_one_user_from_one_address_are_throttled_and_forgiven_with_time() {
        let (throttle, now) = (throttle(), Instant::now());
        fail(&throttle, "alice", "10.0.0.1", 2, now);
        assert_eq!(throttle.check("alice", net("10.0.0.1"), now), Ok(()));
        fail(&throttle, "alice", "10.0.0.1", 1, now);
        let throttled = throttle.check("alice", net("10.0.0.1"), now).unwrap_err();
        assert_eq!(throttled.retry_after, Duration::from_secs(10));
        assert_eq!(throttle.check("alice", net("10.0.0.1"), now + Duration::from_secs(11)), Ok(()));
    }

    #[test]
    fn the_real_user_is_not_locked_out_from_another_address() {
        let (throttle, now) = (throttle(), Instant::now());
        fail(&throttle, "alice", "10.0.0.1", 5, now);
        assert!(throttle.check("alice", net("10.0.0.1"), now).is_err());
        assert_eq!(throttle.check("alice", net("10.0.0.2"), now), Ok(()));
    }

    #[test]
    fn guesses_from_many_addresses_are_throttled_except_where_the_user_has_been_before() {
        let (throttle, now) = (throttle(), Instant::now());
        throttle.succeeded("alice", net("192.168.7.7"));
        for host in 1..=8 {
            fail(&throttle, "alice", &format!("10.0.1.{host}"), 1, now);
        }
        assert!(throttle.check("alice", net("10.0.1.99"), now).is_err());
        assert_eq!(throttle.check("alice", net("192.168.7.7"), now), Ok(()));
        assert_eq!(throttle.check("bob", net("10.0.1.99"), now), Ok(()));
    }

    #[test]
    fn one_address_that_tries_many_users_is_throttled() {
        let (throttle, now) = (throttle(), Instant::now());
        for user in 0..6 {
            fail(&throttle, &format!("user{user}"), "10.0.0.1", 1, now);
        }
        assert!(throttle.check("another", net("10.0.0.1"), now).is_err());
        assert_eq!(throttle.check("another", net("10.0.0.2"), now), Ok(()));
    }

    #[test]
    fn attempts_under_way_count_until_they_are_known_to_be_no_failures() {
        let (throttle, now) = (throttle(), Instant::now());
        let attempt = |user: &str| throttle.attempt(user, net("10.0.0.1"), now);
        let mut charges: Vec<_> = (0..3).map(|_| attempt("alice").unwrap()).collect();
        assert_eq!(attempt("alice").err().unwrap().retry_after, Duration::from_secs(10));
        charges.pop().unwrap().refund();
        attempt("alice").unwrap().refund();
        drop(charges);
        // Two were spent, and a refusal costs nothing: at the address there are four left.
        let others: Vec<_> = (0..4).map(|n| attempt(&format!("user{n}")).unwrap()).collect();
        assert!(attempt("another").is_err());
        others.into_iter().for_each(Charge::refund);
        assert!(attempt("another").is_ok());
    }

    #[test]
    fn addresses_of_one_ipv6_subscriber_count_as_one() {
        assert_eq!(Network::parse("2001:db8:1:2::1"), Network::parse("2001:db8:1:2:ffff::9"));
        assert_ne!(Network::parse("2001:db8:1:2::1"), Network::parse("2001:db8:1:3::1"));
        assert_eq!(Network::parse("::ffff:10.0.0.1"), Network::parse("10.0.0.1"));
        assert_eq!(Network::parse("10.0.0.1:443"), None);
    }

    #[test]
    fn without_an_address_only_the_user_is_throttled() {
        let (throttle, now) = (throttle(), Instant::now());
        for _ in 0..8 {
            throttle.failed("alice", None, now);
        }
        assert!(throttle.check("alice", None, now).is_err());
        assert_eq!(throttle.check("bob", None, now), Ok(()));
    }
}
