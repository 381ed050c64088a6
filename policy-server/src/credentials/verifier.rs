//! Verifies passwords: remembered where possible, off the async threads, bounded in number.

use std::sync::Arc;
use std::time::{Duration, Instant};

use hmac::{Hmac, Mac};
use moka::future::Cache;
use prometheus_client::metrics::counter::Counter;
use sha2::Sha256;
use tokio::sync::Semaphore;
use zeroize::Zeroizing;

use super::hash::{PasswordHash, verify_nothing};
use super::throttle::{Charge, Throttled};

#[derive(Debug, Clone, Copy)]
pub struct VerifierConfig {
    /// Verifications at a time. Each may take a core and up to 128 MiB.
    pub concurrency: usize,
    /// How many more may wait.
    pub queue: usize,
    /// Longest wait in the queue.
    pub patience: Duration,
    /// How long a right password is remembered.
    pub remember: Duration,
    /// How long a wrong one is, so that a misconfigured client costs one verification in a while.
    pub remember_failure: Duration,
    pub capacity: u64,
}

impl Default for VerifierConfig {
    fn default() -> Self {
        let cores = std::thread::available_parallelism().map_or(2, usize::from);
        Self {
            concurrency: cores,
            queue: 64 * cores,
            patience: Duration::from_secs(2),
            remember: Duration::from_secs(600),
            remember_failure: Duration::from_secs(10),
            capacity: 50_000,
        }
    }
}

/// Too many verifications are under way; nothing is known about the password.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("too many password verifications are under way")]
pub struct Busy;

/// Why it was not verified whether a password is right.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unverified {
    Busy,
    Throttled(Throttled),
}

/// HMAC-SHA256 under a secret that exists only in this process's memory: what is cached does not
/// help anybody who reads the memory later to find the password.
type Fingerprint = [u8; 32];

pub struct Verifier {
    config: VerifierConfig,
    secret: Zeroizing<[u8; 32]>,
    verdicts: Cache<Fingerprint, Verdict>,
    queue: Arc<Semaphore>,
    running: Arc<Semaphore>,
    hashed: Counter,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Verdict {
    right: bool,
    at: Instant,
}

/// What is known without hashing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Remembered {
    Right,
    Wrong,
    Unknown,
}

impl Verifier {
    pub fn new(config: VerifierConfig) -> Self {
        Self {
            config,
            secret: Zeroizing::new(rand::random()),
            verdicts: Cache::builder()
                .max_capacity(config.capacity)
                .time_to_live(config.remember)
                .build(),
            queue: Arc::new(Semaphore::new(config.concurrency + config.queue)),
            running: Arc::new(Semaphore::new(config.concurrency)),
            hashed: Counter::default(),
        }
    }

    /// Counts hash computations there.
    #[must_use]
    pub fn counting(self, hashed: Counter) -> Self {
        Self { hashed, ..self }
    }

    /// What an earlier verification of the same password against the same hash has found.
    ///
    /// The stored hash is part of the key, so a changed password voids what was remembered.
    pub async fn remembered(&self, username: &str, hash: &str, password: &str) -> Remembered {
        match self.verdicts.get(&self.fingerprint(username, hash, password)).await {
            Some(verdict) if verdict.right => Remembered::Right,
            Some(verdict) if verdict.at.elapsed() < self.config.remember_failure => {
                Remembered::Wrong
            }
            _ => Remembered::Unknown,
        }
    }

    /// Whether the password is right. Concurrent calls for the same password hash it once.
    ///
    /// # Errors
    /// `Busy` when the queue is full or does not move.
    pub async fn verify(
        &self,
        username: &str,
        hash: PasswordHash,
        password: &str,
    ) -> Result<bool, Busy> {
        let verified = self.verify_once(username, hash, password, || Ok(None)).await;
        // Nothing throttles it.
        verified.map_err(|_| Busy)
    }

    /// As [`Verifier::verify`], for attempts that are counted: whoever hashes is charged by
    /// `attempt`, whoever waits for the same password is not. What was no failure is refunded.
    ///
    /// # Errors
    /// `Throttled` as `attempt` says, else `Busy`.
    pub async fn verify_attempt<'a>(
        &self,
        username: &str,
        hash: PasswordHash,
        password: &str,
        attempt: impl FnOnce() -> Result<Charge<'a>, Throttled>,
    ) -> Result<bool, Unverified> {
        self.verify_once(username, hash, password, || attempt().map(Some)).await
    }

    async fn verify_once<'a>(
        &self,
        username: &str,
        hash: PasswordHash,
        password: &str,
        attempt: impl FnOnce() -> Result<Option<Charge<'a>>, Throttled>,
    ) -> Result<bool, Unverified> {
        let key = self.fingerprint(username, hash.as_str(), password);
        if let Some(verdict) = self.verdicts.get(&key).await
            && !verdict.right
            && verdict.at.elapsed() >= self.config.remember_failure
        {
            self.verdicts.invalidate(&key).await;
        }
        let password = Zeroizing::new(password.as_bytes().to_vec());
        let verdict = self
            .verdicts
            .try_get_with(key, async move {
                let charge = attempt().map_err(Unverified::Throttled)?;
                let right = self.run(move || hash.verify(&password)).await;
                if let (Some(charge), Ok(true) | Err(Busy)) = (charge, right) {
                    charge.refund();
                }
                let right = right.map_err(|Busy| Unverified::Busy)?;
                Ok(Verdict { right, at: Instant::now() })
            })
            .await
            .map_err(|unverified: Arc<Unverified>| *unverified)?;
        Ok(verdict.right)
    }

    /// Spends about the time of a verification, for a user that does not exist.
    ///
    /// # Errors
    /// As for [`Verifier::verify`]: an unknown user must not be told apart by load either.
    pub async fn verify_nothing(&self, password: &str) -> Result<(), Busy> {
        let password = Zeroizing::new(password.as_bytes().to_vec());
        self.run(move || verify_nothing(&password)).await
    }

    /// Runs a hash computation within the bounds. One that has started is finished, and counted
    /// until then, even when nobody waits for it any more.
    ///
    /// # Errors
    /// `Busy`.
    pub async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Busy> {
        let place = Arc::clone(&self.queue).try_acquire_owned().map_err(|_| Busy)?;
        let waiting = Arc::clone(&self.running).acquire_owned();
        let turn = tokio::time::timeout(self.config.patience, waiting)
            .await
            .map_err(|_| Busy)?
            .map_err(|_| Busy)?;
        self.hashed.inc();
        tokio::task::spawn_blocking(move || {
            let result = work();
            drop((turn, place));
            result
        })
        .await
        .map_err(|_| Busy)
    }

    fn fingerprint(&self, username: &str, hash: &str, password: &str) -> Fingerprint {
        // Any length is a valid HMAC key, so the error cannot happen; and if it did, a constant
        // fingerprint would be a catastrophe, hence a random one.
        let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(&*self.secret) else {
            return rand::random();
        };
        for part in [username, hash, password] {
            mac.update(&(part.len() as u64).to_be_bytes());
            mac.update(part.as_bytes());
        }
        mac.finalize().into_bytes().into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `secret` under `{SHA}`: cheap to verify.
    const CHEAP: &str = "{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=";

    fn verifier(config: VerifierConfig) -> Verifier {
        Verifier::new(config)
    }

    #[tokio::test]
    async fn a_right_password_is_remembered_until_the_hash_changes() {
        let verifier = verifier(VerifierConfig::default());
        let hash: PasswordHash = CHEAP.parse().unwrap();
        assert_eq!(verifier.remembered("a", CHEAP, "secret").await, Remembered::Unknown);
        assert_eq!(verifier.verify("a", hash, "secret").await, Ok(true));
        assert_eq!(verifier.remembered("a", CHEAP, "secret").await, Remembered::Right);
        assert_eq!(verifier.remembered("b", CHEAP, "secret").await, Remembered::Unknown);
        let other = "{SHA}L55TUjtiq8FBorTWAZ0jy6g129A=";
        assert_eq!(verifier.remembered("a", other, "secret").await, Remembered::Unknown);
    }

    #[tokio::test]
    async fn a_wrong_password_is_remembered_only_briefly() {
        let verifier = verifier(VerifierConfig {
            remember_failure: Duration::from_millis(50),
            ..VerifierConfig::default()
        });
        let hash: PasswordHash = CHEAP.parse().unwrap();
        assert_eq!(verifier.verify("a", hash.clone(), "guess").await, Ok(false));
        assert_eq!(verifier.remembered("a", CHEAP, "guess").await, Remembered::Wrong);
        tokio::time::sleep(Duration::from_millis(80)).await;
        assert_eq!(verifier.remembered("a", CHEAP, "guess").await, Remembered::Unknown);
        assert_eq!(verifier.verify("a", hash, "guess").await, Ok(false));
        assert_eq!(verifier.remembered("a", CHEAP, "guess").await, Remembered::Wrong);
    }

    #[tokio::test]
    async fn work_beyond_the_queue_is_refused_at_once_and_the_rest_is_done() {
        let verifier = Arc::new(verifier(VerifierConfig {
            concurrency: 1,
            queue: 2,
            patience: Duration::from_secs(20),
            ..VerifierConfig::default()
        }));
        let tasks: Vec<_> = (0..8)
            .map(|_| {
                let verifier = Arc::clone(&verifier);
                tokio::spawn(async move {
                    verifier.run(|| std::thread::sleep(Duration::from_millis(50))).await
                })
            })
            .collect();
        let mut done = 0;
        for task in tasks {
            done += usize::from(task.await.unwrap().is_ok());
        }
        assert_eq!(done, 3);
    }

    #[tokio::test]
    async fn waiting_too_long_is_refused() {
        let verifier = Arc::new(verifier(VerifierConfig {
            concurrency: 1,
            patience: Duration::from_millis(20),
            ..VerifierConfig::default()
        }));
        let first = {
            let verifier = Arc::clone(&verifier);
            tokio::spawn(async move {
                verifier.run(|| std::thread::sleep(Duration::from_millis(300))).await
            })
        };
        tokio::time::sleep(Duration::from_millis(50)).await;
        assert_eq!(verifier.run(|| ()).await, Err(Busy));
        assert_eq!(first.await.unwrap(), Ok(()));
    }
}
