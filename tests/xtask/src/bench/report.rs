//! What a run has found, for people (Markdown) and for programs (JSON).

use super::artifacts::ArtifactRow;
use super::bars::{self, Bar};
use super::flood::{self, FloodRow};
use super::keys::KeysRow;
use super::route::Route;
use super::variant::Group;
use anyhow::{Context, Result};
use serde::Serialize;
use std::fmt::Write;
use std::fs;
use std::path::Path;

/// How much is measured.
#[derive(Serialize)]
pub struct Plan {
    pub rounds: u64,
    /// Per block; a round has four blocks per variant and route.
    pub requests: u64,
    /// Per second, where latency is measured.
    pub rate: f64,
    pub latency_seconds: f64,
    pub real_rounds: u64,
    pub real_requests: u64,
    pub artifact_bytes: u64,
    pub artifact_rounds: u64,
    pub keys: u64,
    pub key_steps: u64,
    pub flood_rounds: u64,
    pub flood_seconds: f64,
}

impl Plan {
    pub fn latency_requests(&self) -> u64 {
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        let requests = (self.rate * self.latency_seconds) as u64;
        requests.max(1)
    }
}

/// One variant for one route. Medians of the rounds; CPU times are per request.
#[derive(Serialize)]
pub struct Row {
    pub group: Group,
    pub variant: &'static str,
    pub route: Route,
    /// The proxy's, and the policy server's or authorization server's.
    pub cpu_us: f64,
    /// The policy server's or authorization server's part of it.
    pub server_us: f64,
    /// The same request through the proxy without a filter, in the same rounds.
    pub base_us: f64,
    pub ratio: f64,
    pub added_us: f64,
    /// At which the latency was measured.
    pub rate: f64,
    pub p50_us: f64,
    pub p99_us: f64,
    /// Of each round: base, proxy, server.
    pub rounds: Vec<[f64; 3]>,
}

/// One way of guarding a real MLflow, for one route. CPU times are per request.
#[derive(Serialize)]
pub struct RealRow {
    pub setup: &'static str,
    pub route: Route,
    pub mlflow_us: f64,
    /// The proxy's and the policy server's.
    pub gate_us: f64,
    pub added_us: f64,
    /// One request at a time.
    pub p50_us: f64,
    pub p99_us: f64,
    pub p50_ratio: f64,
}

#[derive(Serialize)]
pub struct Report {
    pub plan: Plan,
    pub machine: String,
    pub versions: Vec<String>,
    pub skipped: Vec<String>,
    pub rows: Vec<Row>,
    pub real: Vec<RealRow>,
    pub artifacts: Vec<ArtifactRow>,
    pub keys: Option<KeysRow>,
    pub floods: Vec<FloodRow>,
    pub seconds: f64,
}

impl Report {
    /// Writes `path`, and the same as JSON beside it.
    pub fn write(&self, path: &Path) -> Result<()> {
        let failed = || format!("cannot write {}", path.display());
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).with_context(failed)?;
        }
        fs::write(path, self.markdown()).with_context(failed)?;
        let mut json = serde_json::to_value(self)?;
        json["bars"] = serde_json::to_value(self.bars())?;
        fs::write(path.with_extension("json"), serde_json::to_vec_pretty(&json)?)
            .with_context(failed)
    }

    pub fn markdown(&self) -> String {
        let mut out = String::from("# What a decision costs\n\n");
        let plan = &self.plan;
        let _ = writeln!(
            out,
            "{}. {}. {} rounds of four blocks (A-B-B-A) of {} requests per variant and route; \
             {:.0} s.\n\n\
             CPU is user and system time of the proxy and, where there is one, of the policy \
             server or authorization server, per request, over 8 keep-alive connections. *Added* \
             and × are over the same proxy without a filter, for the same request, in the same \
             block of four. Latency is measured apart, at a fixed rate, from the moment at which \
             a request was due. Medians of the rounds.",
            self.machine,
            self.versions.join(", "),
            plan.rounds,
            plan.requests,
            self.seconds,
        );
        for route in [Route::Get, Route::LogMetric] {
            self.table(&mut out, route);
        }
        self.real_table(&mut out);
        self.artifacts_table(&mut out);
        if let Some(keys) = &self.keys {
            keys.table(&mut out);
        }
        flood::table(&self.floods, &mut out);
        bars_table(&mut out, &self.bars());
        for line in &self.skipped {
            let _ = writeln!(out, "\nSkipped: {line}.");
        }
        out
    }

    fn bars(&self) -> Vec<Bar> {
        let mut bars = bars::of(&self.rows, &self.real, &self.artifacts);
        bars.extend(bars::of_keys(self.keys.as_ref()));
        bars.extend(bars::of_floods(&self.floods));
        bars
    }

    fn artifacts_table(&self, out: &mut String) {
        let Some(first) = self.artifacts.first() else { return };
        let _ = writeln!(
            out,
            "\n## Artifacts of {} MiB\n\n\
             {} rounds of four transfers (A-B-B-A) over one connection, which the filter lets \
             pass without looking at them. Memory is the resident set of the proxy with the \
             filter: at its largest, and how much it grew at most during a transfer.\n\n\
             | | without filter MB/s | Mlgate MB/s | time × | grown MB | resident MB |\n\
             | --- | ---: | ---: | ---: | ---: | ---: |",
            first.bytes >> 20,
            first.rounds.len(),
        );
        for row in &self.artifacts {
            let _ = writeln!(
                out,
                "| {} | {:.0} | {:.0} | {:.2} | {:.1} | {:.0} |",
                row.way.name(),
                row.plain_mb_per_s,
                row.gate_mb_per_s,
                row.time_ratio,
                row.grown_mb,
                row.resident_mb,
            );
        }
    }

    fn table(&self, out: &mut String, route: Route) {
        let mut rows = self.rows.iter().filter(|row| row.route == route).peekable();
        if rows.peek().is_none() {
            return;
        }
        let _ = writeln!(
            out,
            "\n## {}\n\n\
             | variant | CPU µs | of it server | × without filter | added µs | p50 µs | p99 µs | at /s |\n\
             | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
            route.name()
        );
        for row in rows {
            let _ = writeln!(
                out,
                "| {} | {:.0} | {} | {:.2} | {:.0} | {:.0} | {:.0} | {:.0} |",
                row.variant,
                row.cpu_us,
                if row.server_us > 0.0 { format!("{:.0}", row.server_us) } else { String::new() },
                row.ratio,
                row.added_us,
                row.p50_us,
                row.p99_us,
                row.rate,
            );
        }
    }

    fn real_table(&self, out: &mut String) {
        if self.real.is_empty() {
            return;
        }
        let _ = writeln!(
            out,
            "\n## A real MLflow\n\n\
             {} rounds of four blocks of {} requests, one at a time (a tenth for basic-auth \
             without its cache). basic-auth is asked directly, without a proxy. What the gate adds \
             is CPU of the proxy and the policy server over the proxy without a filter; what \
             basic-auth adds is CPU of MLflow over MLflow without auth.\n\n\
             | route | setup | MLflow CPU ms | gate CPU µs | added µs | p50 ms | p99 ms | p50 × |\n\
             | --- | --- | ---: | ---: | ---: | ---: | ---: | ---: |",
            self.plan.real_rounds, self.plan.real_requests,
        );
        for row in &self.real {
            let _ = writeln!(
                out,
                "| {} | {} | {:.1} | {:.0} | {:.0} | {:.1} | {:.1} | {:.2} |",
                row.route.name(),
                row.setup,
                row.mlflow_us / 1e3,
                row.gate_us,
                row.added_us,
                row.p50_us / 1e3,
                row.p99_us / 1e3,
                row.p50_ratio,
            );
        }
    }
}

fn bars_table(out: &mut String, bars: &[Bar]) {
    if bars.is_empty() {
        return;
    }
    out.push_str("\n## Held to\n\n| what | found | bound | holds |\n| --- | ---: | ---: | --- |\n");
    for bar in bars {
        let holds = if bar.holds { "yes" } else { "**no**" };
        let _ = writeln!(out, "| {} | {:.2} | {} | {holds} |", bar.what, bar.found, bar.bound());
    }
}
