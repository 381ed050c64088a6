//! One issuer: what it said last, and when it is asked again.

use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::{Duration, Instant, SystemTime};

use tokio::sync::{Notify, watch};

use super::fetch::{FetchError, Fetched, Fetcher};
use super::jwks::Keys;
use super::{KeySets, milliseconds};
use crate::config::{OidcIssuer, OidcTiming};
use crate::contract as pb;
use crate::metrics::Fetches;

/// The shortest time for which an answer is used, whatever the issuer says: `no-cache` must not
/// make a request to it of every second.
const MIN_FRESH: Duration = Duration::from_secs(30);

/// Time before the first and, at the longest, between further attempts while an issuer is down.
const MIN_BACKOFF: Duration = Duration::from_secs(1);
const MAX_BACKOFF: Duration = Duration::from_secs(60);

pub struct Issuer {
    config: OidcIssuer,
    timing: OidcTiming,
    fetcher: Fetcher,
    fetches: Fetches,
    state: RwLock<State>,
    /// Counts the attempts that have ended.
    attempts: watch::Sender<u64>,
    wanted: Notify,
}

#[derive(Default)]
struct State {
    /// The last answer that was one.
    answer: Option<Answer>,
    phase: Phase,
}

#[derive(Clone, Copy, Default)]
enum Phase {
    #[default]
    Asking,
    Resting(Attempt),
}

#[derive(Clone)]
struct Answer {
    keys: Keys,
    at: SystemTime,
}

#[derive(Clone, Copy)]
struct Attempt {
    /// Not its end: what is published from here on may have been missed.
    begun: Instant,
    result: Outcome,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Answered,
    Failed { again_in: Duration },
}

/// How a question for a key is answered.
enum Next {
    Answer,
    /// The issuer is being asked already.
    Await,
    Wake,
}

impl Issuer {
    pub fn new(config: OidcIssuer, timing: OidcTiming, fetcher: Fetcher, fetches: Fetches) -> Self {
        Self {
            config,
            timing,
            fetcher,
            fetches,
            state: RwLock::default(),
            attempts: watch::Sender::new(0),
            wanted: Notify::new(),
        }
    }

    pub fn name(&self) -> &str {
        &self.config.name
    }

    /// Asks the issuer for as long as the task lives.
    pub async fn keep_fresh(self: Arc<Self>, sets: Arc<watch::Sender<KeySets>>) {
        let mut failures = 0;
        loop {
            self.write().phase = Phase::Asking;
            let begun = Instant::now();
            let fetched = self.fetcher.fetch().await;
            self.fetches.count(fetched.is_ok());
            let wait = match fetched {
                Ok(fetched) => {
                    failures = 0;
                    let wait = self.use_for(fetched.fresh_for);
                    self.take(fetched, begun, &sets);
                    wait
                }
                Err(error) => {
                    failures += 1;
                    let wait = self.back_off(failures);
                    self.failed(&error, begun, wait);
                    wait
                }
            };
            self.attempts.send_modify(|count| *count += 1);
            self.rest(wait).await;
        }
    }

    /// Sleeps, unless a key is wanted and the issuer was not asked lately.
    async fn rest(&self, wait: Duration) {
        let sleep = tokio::time::sleep(wait);
        tokio::pin!(sleep);
        loop {
            tokio::select! {
                () = &mut sleep => return,
                () = self.wanted.notified() => {
                    // Two may have wanted it at once: the second one has its answer already.
                    if !self.asked_lately() {
                        return;
                    }
                }
            }
        }
    }

    fn asked_lately(&self) -> bool {
        match self.read().phase {
            Phase::Asking => true,
            Phase::Resting(last) => last.begun.elapsed() < self.timing.refetch,
        }
    }

    fn read(&self) -> RwLockReadGuard<'_, State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, State> {
        self.state.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Within the configured bound, whatever the issuer says: a key that it takes back must stop.
    fn use_for(&self, allowed: Option<Duration>) -> Duration {
        let longest = self.timing.refresh;
        let wait = allowed.unwrap_or(longest).clamp(MIN_FRESH.min(longest), longest);
        // Several servers need not ask at the same time.
        wait.mul_f64(0.9 + 0.1 * rand::random::<f64>())
    }

    fn back_off(&self, failures: u32) -> Duration {
        let doubled = MIN_BACKOFF.saturating_mul(1 << failures.saturating_sub(1).min(8));
        doubled.min(MAX_BACKOFF).min(self.timing.refresh).mul_f64(0.5 + 0.5 * rand::random::<f64>())
    }

    fn take(&self, fetched: Fetched, begun: Instant, sets: &watch::Sender<KeySets>) {
        let answer = Answer { keys: fetched.keys, at: SystemTime::now() };
        let set = self.set(&answer);
        let mut state = self.write();
        let changed = state.answer.as_ref().is_none_or(|known| known.keys != answer.keys);
        if changed {
            let kids = &answer.keys.kids;
            tracing::info!(issuer = self.name(), ?kids, "an issuer's keys are known");
        }
        state.answer = Some(answer);
        state.phase = Phase::Resting(Attempt { begun, result: Outcome::Answered });
        drop(state);
        sets.send_modify(|sets| {
            let others = sets.iter().filter(|other| other.issuer != set.issuer).cloned();
            *sets = others.chain([set.clone()]).collect();
        });
    }

    fn failed(&self, error: &FetchError, begun: Instant, again_in: Duration) {
        let mut state = self.write();
        let kept = state.answer.as_ref().map_or("none", |answer| {
            if self.expires_at(answer) > SystemTime::now() { "those known" } else { "expired" }
        });
        tracing::warn!(issuer = self.name(), %error, keys = kept, "an issuer cannot be asked");
        let result = Outcome::Failed { again_in };
        state.phase = Phase::Resting(Attempt { begun, result });
    }

    fn expires_at(&self, answer: &Answer) -> SystemTime {
        answer.at + self.timing.stale
    }

    fn set(&self, answer: &Answer) -> pb::KeySet {
        pb::KeySet {
            issuer: self.config.name.clone(),
            jwks: answer.keys.jwks.clone(),
            version: milliseconds(answer.at),
            url: self.config.issuer.clone(),
            expires_at_ms: milliseconds(self.expires_at(answer)),
        }
    }

    /// The keys, asked anew if this one is not among them and the issuer may be asked again.
    pub async fn keys(&self, kid: &str) -> pb::KeysResponse {
        // Before anything is looked at: no attempt that ends from here on is missed.
        let mut attempts = self.attempts.subscribe();
        // An attempt that was under way already may have begun before the key was published.
        for _ in 0..2 {
            match self.next(kid) {
                Next::Answer => break,
                Next::Await => {}
                Next::Wake => self.wanted.notify_one(),
            }
            // The sender is ours: there is always a next attempt.
            let _ = attempts.changed().await;
        }
        self.answer(kid)
    }

    fn next(&self, kid: &str) -> Next {
        let state = self.read();
        match state.phase {
            _ if self.has(&state, kid) => Next::Answer,
            Phase::Asking => Next::Await,
            Phase::Resting(last) if last.begun.elapsed() < self.timing.refetch => Next::Answer,
            Phase::Resting(_) => Next::Wake,
        }
    }

    /// The last answer, if it still holds.
    fn usable<'s>(&self, state: &'s State) -> Option<&'s Answer> {
        state.answer.as_ref().filter(|answer| self.expires_at(answer) > SystemTime::now())
    }

    fn has(&self, state: &State, kid: &str) -> bool {
        self.usable(state).is_some_and(|answer| answer.keys.kids.contains(kid))
    }

    fn answer(&self, kid: &str) -> pb::KeysResponse {
        let state = self.read();
        let wait = match state.phase {
            _ if self.has(&state, kid) => Duration::ZERO,
            Phase::Resting(Attempt { result: Outcome::Answered, .. }) => Duration::ZERO,
            Phase::Resting(Attempt { result: Outcome::Failed { again_in }, .. }) => again_in,
            Phase::Asking => MIN_BACKOFF,
        };
        let usable = self.usable(&state);
        pb::KeysResponse {
            keys: usable.map(|answer| self.set(answer)),
            retry_after_ms: u32::try_from(wait.as_millis()).unwrap_or(u32::MAX),
        }
    }
}
