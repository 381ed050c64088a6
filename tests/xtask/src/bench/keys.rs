//! Many different questions: whether the proxy's memory stays flat when no answer is asked for twice
//! before its place in the cache has gone to another.

use super::artifacts::resident_kb;
use super::load::{Job, Load, Runs};
use super::material::{Credential, Material};
use super::proxy::Running;
use crate::lifetime::Interrupt;
use anyhow::Result;
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::Instant;

const ENVOY: &str = "proxy";
const SERVER: &str = "server";
const CONNECTIONS: u64 = 16;
/// Far from the experiments that other parts of the benchmark use.
const FIRST: u64 = 1_000_000;
pub const PATH: &str = "/api/2.0/mlflow/experiments/get?experiment_id={number}";

/// After so many requests.
#[derive(Serialize)]
pub struct Step {
    pub requests: u64,
    pub proxy_kb: u64,
    pub server_kb: u64,
    /// Per second, within the step.
    pub rate: f64,
    pub proxy_us: f64,
    pub server_us: f64,
}

#[derive(Serialize)]
pub struct KeysRow {
    pub keys: u64,
    pub steps: Vec<Step>,
}

pub struct Keys<'a> {
    pub interrupt: &'a Interrupt,
    pub load: &'a mut Load,
    pub gate: Running,
    pub policy: u32,
    pub material: &'a Material,
    pub keys: u64,
    pub steps: u64,
}

impl Keys<'_> {
    /// Each step asks for every key once.
    pub fn measure(mut self) -> Result<KeysRow> {
        let mut steps = Vec::new();
        for step in 1..=self.steps {
            self.interrupt.check()?;
            let made = self.step(step * self.keys)?;
            eprintln!(
                "  {} requests: {:.1} MB, policy server {:.1} MB, {:.0}/s",
                made.requests,
                megabytes(made.proxy_kb),
                megabytes(made.server_kb),
                made.rate,
            );
            steps.push(made);
        }
        Ok(KeysRow { keys: self.keys, steps })
    }

    fn step(&mut self, requests: u64) -> Result<Step> {
        let authorization = self.material.authorization(Credential::Jwt);
        let headers = BTreeMap::from([("authorization".to_owned(), authorization)]);
        let started = Instant::now();
        let report = self.load.run(&Job {
            port: self.gate.port,
            method: "GET",
            path: PATH,
            headers: &headers,
            body: None,
            runs: Runs { first: FIRST, count: self.keys },
            connections: CONNECTIONS,
            warmup: 0,
            requests: self.keys,
            rate: None,
            cpu_of: BTreeMap::from([(ENVOY, vec![self.gate.pid]), (SERVER, vec![self.policy])]),
            status: 200,
        })?;
        #[allow(clippy::cast_precision_loss)]
        let rate = self.keys as f64 / started.elapsed().as_secs_f64();
        Ok(Step {
            requests,
            proxy_kb: resident_kb(self.gate.pid)?,
            server_kb: resident_kb(self.policy)?,
            rate,
            proxy_us: report.cpu_us(ENVOY),
            server_us: report.cpu_us(SERVER),
        })
    }
}

fn megabytes(kilobytes: u64) -> f64 {
    #[allow(clippy::cast_precision_loss)]
    let kilobytes = kilobytes as f64;
    kilobytes / 1e3
}

impl KeysRow {
    /// By how many MB the proxy was larger after any later step than after the first.
    pub fn grown_mb(&self) -> f64 {
        let first = self.steps.first().map_or(0, |step| step.proxy_kb);
        let most = self.steps.iter().map(|step| step.proxy_kb).max().unwrap_or(first);
        megabytes(most.saturating_sub(first))
    }

    pub fn table(&self, out: &mut String) {
        let _ = writeln!(
            out,
            "\n## {} different questions\n\n\
             Each row is one request for every one of as many experiments as are different, whose \
             decisions are all asked for: the cache has far fewer places. Resident sets, and CPU \
             per request, of the proxy and the policy server.\n\n\
             | requests | proxy MB | policy server MB | proxy µs | policy server µs | per s |\n\
             | ---: | ---: | ---: | ---: | ---: | ---: |",
            self.keys,
        );
        for step in &self.steps {
            let _ = writeln!(
                out,
                "| {} | {:.1} | {:.1} | {:.0} | {:.0} | {:.0} |",
                step.requests,
                megabytes(step.proxy_kb),
                megabytes(step.server_kb),
                step.proxy_us,
                step.server_us,
                step.rate,
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn growth_counts_from_the_first_step_whatever_comes_last() {
        let step = |proxy_kb| Step {
            requests: 0,
            proxy_kb,
            server_kb: 0,
            rate: 0.0,
            proxy_us: 0.0,
            server_us: 0.0,
        };
        let row = KeysRow { keys: 1, steps: [9_000, 10_500, 8_000].map(step).into() };
        assert!((row.grown_mb() - 1.5).abs() < 1e-9);
    }
}
