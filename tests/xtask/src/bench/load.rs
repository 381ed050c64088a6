//! The load generator, a process of its own.

use crate::lifetime;
use anyhow::{Context, Result, bail};
use nix::sys::signal::Signal;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

/// Run number `first + i mod count` is asked for by request `i`.
#[derive(Clone, Copy, Serialize)]
pub struct Runs {
    pub first: u64,
    pub count: u64,
}

/// As `mlgate-bench load` reads it; in `path` and `body`, `{run}` stands for a run's id, and in `path`
/// `{number}` for its number.
#[derive(Serialize)]
pub struct Job<'a> {
    pub port: u16,
    pub method: &'a str,
    pub path: &'a str,
    pub headers: &'a BTreeMap<String, String>,
    pub body: Option<&'a str>,
    pub runs: Runs,
    pub connections: u64,
    pub warmup: u64,
    pub requests: u64,
    pub rate: Option<f64>,
    pub cpu_of: BTreeMap<&'static str, Vec<u32>>,
    pub status: u16,
}

#[derive(Deserialize)]
pub struct Report {
    pub requests: u64,
    cpu_seconds: BTreeMap<String, f64>,
    pub p50_us: f64,
    pub p99_us: f64,
}

impl Report {
    /// CPU time per request of the processes called so, in µs; 0 where none were.
    pub fn cpu_us(&self, name: &str) -> f64 {
        let seconds = self.cpu_seconds.get(name).copied().unwrap_or_default();
        #[allow(clippy::cast_precision_loss)]
        let requests = self.requests as f64;
        seconds * 1e6 / requests
    }
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Answer {
    Failed { error: String },
    Done(Report),
}

pub struct Load {
    child: Child,
    jobs: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Load {
    pub fn start(program: &Path) -> Result<Self> {
        let mut child = Command::new(program)
            .arg("load")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .process_group(0)
            .spawn()
            .context("cannot start the load generator")?;
        let jobs = child.stdin.take().context("the load generator has no input")?;
        let answers = child.stdout.take().context("the load generator has no output")?;
        Ok(Self { child, jobs, answers: BufReader::new(answers) })
    }

    pub fn run(&mut self, job: &Job<'_>) -> Result<Report> {
        let mut line = serde_json::to_vec(job)?;
        line.push(b'\n');
        self.jobs.write_all(&line).context("the load generator has ended")?;
        let mut answer = String::new();
        self.answers.read_line(&mut answer)?;
        match serde_json::from_str(&answer).context("the load generator has ended")? {
            Answer::Done(report) => Ok(report),
            Answer::Failed { error } => bail!("{error}"),
        }
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        lifetime::end(&mut self.child, Signal::SIGTERM, Duration::from_secs(1));
    }
}
