//! The rounds: each variant between two blocks of what it is compared with, in the order
//! A-B-B-A, so that a machine that becomes slower or faster does so for both.

use super::load::{Job, Load, Report, Runs};
use super::material::Material;
use super::proxy::Running;
use super::report::{Plan, Row};
use super::route::Route;
use super::stats::median;
use super::variant::{Proxy, Variant};
use crate::lifetime::Interrupt;
use anyhow::{Context, Result};
use std::collections::BTreeMap;

const ENVOY: &str = "proxy";
const SERVER: &str = "server";
/// Runs whose decisions are asked for again and again.
pub const KNOWN_RUNS: u64 = 16;
/// Connections of the load generator's.
const CONNECTIONS: u64 = 8;
const WARMUP: u64 = 4;
/// For a fixed rate: enough that a free one is always there.
const CONNECTIONS_AT_RATE: u64 = 16;

/// Everything that runs.
pub struct Stage<'a> {
    pub interrupt: &'a Interrupt,
    pub load: &'a mut Load,
    pub material: &'a Material,
    pub proxies: BTreeMap<Proxy, Running>,
    /// The policy server's process and the `ext_authz` server's.
    pub policy: Option<u32>,
    pub authz: Option<u32>,
    pub next_run: u64,
}

/// One variant's blocks for one route.
struct Samples<'v> {
    variant: &'v Variant,
    route: Route,
    pairs: Vec<Pair>,
    latencies: Vec<(f64, f64)>,
}

/// CPU time per request in µs: the means of the inner and of the outer two blocks.
struct Pair {
    base: f64,
    proxy: f64,
    server: f64,
}

/// How many runs the tracking database must have.
pub fn runs_needed(plan: &Plan, variants: &[&Variant], routes: usize) -> u64 {
    let new = variants.iter().filter(|variant| variant.new_runs).count() as u64;
    let block = plan.requests * 2 + plan.latency_requests();
    KNOWN_RUNS + new * routes as u64 * block * plan.rounds
}

impl Stage<'_> {
    pub fn measure(
        &mut self,
        plan: &Plan,
        variants: &[&'static Variant],
        routes: &[Route],
    ) -> Result<Vec<Row>> {
        let mut all: Vec<Samples<'_>> = routes
            .iter()
            .flat_map(|&route| variants.iter().map(move |variant| (route, *variant)))
            .map(|(route, variant)| Samples { variant, route, pairs: vec![], latencies: vec![] })
            .collect();
        for round in 1..=plan.rounds {
            eprintln!("  round {round} of {}", plan.rounds);
            for samples in &mut all {
                self.interrupt.check()?;
                let failed = || format!("{}, {}", samples.variant.name, samples.route.name());
                let pair = self.pair(plan, samples.variant, samples.route).with_context(failed)?;
                samples.pairs.push(pair);
            }
            for samples in &mut all {
                self.interrupt.check()?;
                let failed = || format!("{}, {}", samples.variant.name, samples.route.name());
                let report =
                    self.at_rate(plan, samples.variant, samples.route).with_context(failed)?;
                samples.latencies.push((report.p50_us, report.p99_us));
            }
        }
        Ok(all.iter().map(|samples| samples.row(plan)).collect())
    }

    fn pair(&mut self, plan: &Plan, variant: &Variant, route: Route) -> Result<Pair> {
        let requests = (plan.requests / variant.slower_by).max(CONNECTIONS);
        let mut block = |proxy| self.block(variant, route, proxy, requests, None);
        let before = block(variant.proxy.base())?;
        let first = block(variant.proxy)?;
        let second = block(variant.proxy)?;
        let after = block(variant.proxy.base())?;
        Ok(Pair {
            base: f64::midpoint(before.cpu_us(ENVOY), after.cpu_us(ENVOY)),
            proxy: f64::midpoint(first.cpu_us(ENVOY), second.cpu_us(ENVOY)),
            server: f64::midpoint(first.cpu_us(SERVER), second.cpu_us(SERVER)),
        })
    }

    fn at_rate(&mut self, plan: &Plan, variant: &Variant, route: Route) -> Result<Report> {
        #[allow(clippy::cast_precision_loss)]
        let rate = plan.rate / variant.slower_by as f64;
        let requests = (plan.latency_requests() / variant.slower_by).max(1);
        self.block(variant, route, variant.proxy, requests, Some(rate))
    }

    /// The variant's request, sent through one proxy.
    fn block(
        &mut self,
        variant: &Variant,
        route: Route,
        proxy: Proxy,
        requests: u64,
        rate: Option<f64>,
    ) -> Result<Report> {
        let running = *self.proxies.get(&proxy).context("a proxy that is not there")?;
        let headers = BTreeMap::from([
            ("authorization".to_owned(), self.material.authorization(variant.credential)),
            ("content-type".to_owned(), "application/json".to_owned()),
        ]);
        let mut cpu_of = BTreeMap::from([(ENVOY, vec![running.pid])]);
        if let Some(server) = self.server(proxy) {
            cpu_of.insert(SERVER, vec![server]);
        }
        let runs = self.runs(variant.new_runs && proxy == Proxy::Gate, requests);
        self.load.run(&Job {
            port: running.port,
            method: route.method(),
            path: &route.path("{run}"),
            headers: &headers,
            body: route.body("{run}", "1").as_deref(),
            runs,
            connections: if rate.is_some() { CONNECTIONS_AT_RATE } else { CONNECTIONS },
            warmup: WARMUP,
            requests,
            rate,
            cpu_of,
            status: 200,
        })
    }

    fn runs(&mut self, new: bool, requests: u64) -> Runs {
        if !new {
            return Runs { first: 0, count: KNOWN_RUNS };
        }
        let first = self.next_run;
        self.next_run += requests;
        Runs { first, count: requests }
    }

    fn server(&self, proxy: Proxy) -> Option<u32> {
        match proxy {
            Proxy::Gate => self.policy,
            _ if proxy.asks_authz() => self.authz,
            _ => None,
        }
    }
}

impl Samples<'_> {
    fn row(&self, plan: &Plan) -> Row {
        let of = |value: fn(&Pair) -> f64| median(self.pairs.iter().map(value));
        let is_base = self.variant.proxy == self.variant.proxy.base();
        #[allow(clippy::cast_precision_loss)]
        let rate = plan.rate / self.variant.slower_by as f64;
        Row {
            group: self.variant.group,
            variant: self.variant.name,
            route: self.route,
            cpu_us: of(|pair| pair.proxy + pair.server),
            server_us: of(|pair| pair.server),
            base_us: of(|pair| pair.base),
            ratio: if is_base { 1.0 } else { of(|pair| (pair.proxy + pair.server) / pair.base) },
            added_us: if is_base { 0.0 } else { of(|pair| pair.proxy + pair.server - pair.base) },
            rate,
            p50_us: median(self.latencies.iter().map(|(p50, _)| *p50)),
            p99_us: median(self.latencies.iter().map(|(_, p99)| *p99)),
            rounds: self.pairs.iter().map(|pair| [pair.base, pair.proxy, pair.server]).collect(),
        }
    }
}
