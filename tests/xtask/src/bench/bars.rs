//! What the gate is held to, computed from one run.

use super::artifacts::ArtifactRow;
use super::flood::{FloodRow, Phase, RATE};
use super::keys::KeysRow;
use super::real::{BASIC_AUTH_CACHED, BEHIND_GATE};
use super::report::{RealRow, Row};
use super::route::Route;
use super::variant::{
    CACHED_BASIC, CACHED_JWT, EXT_AUTHZ, JWT_CACHED_EXT_AUTHZ, NOOP, UNCACHED_BASIC, UNCACHED_JWT,
};
use serde::Serialize;

#[derive(Clone, Copy, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Bound {
    AtMost(f64),
    AtLeast(f64),
}

#[derive(Serialize)]
pub struct Bar {
    pub what: String,
    pub found: f64,
    pub bound: Bound,
    pub holds: bool,
}

impl Bar {
    fn new(what: String, found: f64, bound: Bound) -> Self {
        let holds = match bound {
            Bound::AtMost(most) => found <= most,
            Bound::AtLeast(least) => found >= least,
        };
        Self { what, found, bound, holds }
    }

    pub fn bound(&self) -> String {
        match self.bound {
            Bound::AtMost(most) => format!("≤ {most:.2}"),
            Bound::AtLeast(least) => format!("≥ {least:.0}"),
        }
    }
}

/// Added CPU of one variant over that of another, and what the quotient must not exceed.
const QUOTIENTS: &[(&str, &str, Route, f64)] = &[
    (CACHED_JWT, JWT_CACHED_EXT_AUTHZ, Route::Get, 1.0 / 3.0),
    (CACHED_BASIC, JWT_CACHED_EXT_AUTHZ, Route::Get, 1.0 / 3.0),
    (CACHED_JWT, NOOP, Route::LogMetric, 4.0),
    (CACHED_BASIC, NOOP, Route::LogMetric, 4.0),
    (UNCACHED_JWT, EXT_AUTHZ, Route::Get, 1.25),
    (UNCACHED_BASIC, EXT_AUTHZ, Route::Get, 1.25),
];

/// An artifact keeps nine tenths of its speed.
const SLOWER: f64 = 1.0 / 0.9;
/// What passes is not kept: a few buffers, however large it is.
const GROWN_MB: f64 = 32.0;

/// Those for which everything was measured.
pub fn of(rows: &[Row], real: &[RealRow], artifacts: &[ArtifactRow]) -> Vec<Bar> {
    let added = |variant: &str, route| {
        rows.iter().find(|row| row.variant == variant && row.route == route).map(|r| r.added_us)
    };
    let quotients = QUOTIENTS.iter().filter_map(|&(ours, theirs, route, most)| {
        let (ours_us, theirs_us) = (added(ours, route)?, added(theirs, route)?);
        // A difference that is lost in the noise is nothing to divide by.
        let found = if theirs_us > 0.0 { ours_us / theirs_us } else { f64::NAN };
        let what = format!("{}: added by {ours} ÷ added by {theirs}", route.name());
        Some(Bar::new(what, found, Bound::AtMost(most)))
    });
    let behind = real.iter().filter(|row| row.setup == BEHIND_GATE).flat_map(|gate| {
        let name = gate.route.name();
        let basic =
            real.iter().find(|row| row.setup == BASIC_AUTH_CACHED && row.route == gate.route);
        let latency = format!("{name}: p50 behind the gate ÷ behind Envoy without it");
        let latency = Bar::new(latency, gate.p50_ratio, Bound::AtMost(1.05));
        let cpu = basic.map(|basic| {
            let what = format!("{name}: added by basic-auth with its cache ÷ added by the gate");
            Bar::new(what, basic.added_us / gate.added_us.max(1.0), Bound::AtLeast(100.0))
        });
        [Some(latency), cpu].into_iter().flatten()
    });
    let streamed = artifacts.iter().flat_map(|row| {
        let way = row.way.name();
        let time = format!("{way} of an artifact: time through the gate ÷ without the filter");
        let memory = format!("{way} of an artifact: MB by which the proxy grows");
        [
            Bar::new(time, row.time_ratio, Bound::AtMost(SLOWER)),
            Bar::new(memory, row.grown_mb, Bound::AtMost(GROWN_MB)),
        ]
    });
    quotients.chain(behind).chain(streamed).collect()
}

/// As many questions again as there were, nine times, and a few buffers.
const KEYS_MB: f64 = 4.0;

pub fn of_keys(keys: Option<&KeysRow>) -> Option<Bar> {
    let keys = keys?;
    let what = format!("{} different questions: MB by which the proxy grows after all", keys.keys);
    Some(Bar::new(what, keys.grown_mb(), Bound::AtMost(KEYS_MB)))
}

/// Two hashes may be under way, and keep 19 MiB each for the next ones. Two KB for each attempt would be
/// ten times as much.
const HASHES: Bound = Bound::AtMost(40.0);

/// The noise of latencies on a shared machine.
const NOISE: f64 = 1.25;

pub fn of_floods(floods: &[FloodRow]) -> Vec<Bar> {
    let of = |phase| floods.iter().find(|row| row.phase == phase);
    let (Some(plain), Some(wrong)) = (of(Phase::NoCredential), of(Phase::WrongPasswords)) else {
        return Vec::new();
    };
    let name = |what: &str| format!("wrong passwords: {what}");
    #[allow(clippy::cast_precision_loss)]
    let grown = wrong.grown_kb as f64 / 1e3;
    vec![
        Bar::new(name("refused a second"), wrong.answers_per_s, Bound::AtLeast(0.99 * RATE)),
        Bar::new(
            name("others' p50 ÷ with as many requests without a credential"),
            wrong.p50_us / plain.p50_us,
            Bound::AtMost(NOISE),
        ),
        Bar::new(name("cores of the policy server"), wrong.server, Bound::AtMost(0.25)),
        Bar::new(name("MB by which it grows from the first flood to the last"), grown, HASHES),
        Bar::new(
            name("ms until the user has logged in from elsewhere"),
            wrong.login_ms.unwrap_or(f64::NAN),
            Bound::AtMost(1000.0),
        ),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bound_that_is_passed_does_not_hold() {
        assert!(Bar::new(String::new(), 1.0, Bound::AtMost(1.05)).holds);
        assert!(!Bar::new(String::new(), 1.06, Bound::AtMost(1.05)).holds);
        assert!(Bar::new(String::new(), 120.0, Bound::AtLeast(100.0)).holds);
        assert!(!Bar::new(String::new(), f64::NAN, Bound::AtLeast(100.0)).holds);
    }
}
