//! How often the root ticks.
//!
//! Every worker has a VM that ticks, and so has Envoy's main thread; a tick costs some 60 µs, most of
//! it for waking up. So they are rare while there is nothing that they could do: whatever becomes due
//! before the next rare one makes them frequent.

use crate::host::Host;

/// While something is due soon, in ms.
pub const FAST_MS: u32 = 100;

/// While nothing is, in ms at most. The lease of the Watch stream outlasts several.
const SLOW_MS: u32 = 500;

#[derive(Debug)]
pub struct Pace {
    now_ms: u32,
    slow_ms: u32,
}

impl Pace {
    /// `shortest_ms` is the shortest time that a request may be held for: one that begins between
    /// two ticks is seen to by the second.
    pub fn new(shortest_ms: u64) -> Self {
        let slow_ms = u32::try_from(shortest_ms).unwrap_or(SLOW_MS).clamp(FAST_MS, SLOW_MS);
        Self { now_ms: FAST_MS, slow_ms }
    }

    pub fn slow_ms(&self) -> u64 {
        self.slow_ms.into()
    }

    /// With the root as the effective context.
    pub fn set<H: Host>(&mut self, host: &H, soon: bool) {
        let wanted = if soon { FAST_MS } else { self.slow_ms };
        if wanted != self.now_ms && host.set_tick_period(wanted).is_ok() {
            self.now_ms = wanted;
        }
    }
}
