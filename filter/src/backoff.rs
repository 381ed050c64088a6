//! The time between attempts to open a stream.

use crate::host::Host;

/// In ms; doubles up to the maximum, with half of it as jitter.
const MIN_MS: u64 = 100;
const MAX_MS: u64 = 3_000;

#[derive(Debug, Default)]
pub struct Backoff {
    failures: u32,
    next_attempt_ms: u64,
}

impl Backoff {
    pub fn is_due(&self, now_ms: u64) -> bool {
        now_ms >= self.next_attempt_ms
    }

    pub fn succeeded(&mut self) {
        self.failures = 0;
    }

    pub fn failed<H: Host>(&mut self, host: &H, now_ms: u64) {
        let doubled = MIN_MS.saturating_mul(1 << self.failures.min(8));
        let wait = doubled.min(MAX_MS);
        self.failures = self.failures.saturating_add(1);
        let mut random = [0_u8; 2];
        let _ = host.random(&mut random);
        let jitter = u64::from(u16::from_be_bytes(random)).checked_rem(wait).unwrap_or(0);
        self.wait(now_ms, (wait / 2).saturating_add(jitter / 2));
    }

    /// No attempt for so long.
    pub fn wait(&mut self, now_ms: u64, wait_ms: u64) {
        self.next_attempt_ms = now_ms.saturating_add(wait_ms);
    }
}
