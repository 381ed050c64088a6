//! Large artifacts, up and down: what the filter costs while bytes pass that it does not look at,
//! and whether the proxy's memory stays flat.

use super::proxy::Running;
use super::stats::median;
use crate::lifetime::Interrupt;
use anyhow::{Context, Result, bail};
use serde::Serialize;
use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

const CHUNK: usize = 256 * 1024;
const STALLED: Duration = Duration::from_secs(60);
const SAMPLE_EVERY: Duration = Duration::from_millis(20);
/// Passed before anything is counted, so that buffers and pools have their size.
const WARMUP_BYTES: u64 = 64 << 20;

#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Way {
    Up,
    Down,
}

impl Way {
    pub const fn name(self) -> &'static str {
        match self {
            Self::Up => "upload",
            Self::Down => "download",
        }
    }
}

/// One way, through the gate and through the proxy without it. Medians of the rounds.
#[derive(Serialize)]
pub struct ArtifactRow {
    pub way: Way,
    pub bytes: u64,
    pub plain_mb_per_s: f64,
    pub gate_mb_per_s: f64,
    /// Of the times: above 1 where the gate is slower.
    pub time_ratio: f64,
    /// How much the gate's proxy grew at most during one transfer.
    pub grown_mb: f64,
    pub resident_mb: f64,
    /// Seconds of each round: without the filter, with it.
    pub rounds: Vec<[f64; 2]>,
}

pub struct Artifacts<'a> {
    pub interrupt: &'a Interrupt,
    pub plain: Running,
    pub gate: Running,
    pub authorization: String,
    pub bytes: u64,
    pub rounds: u64,
}

struct Transfer {
    seconds: f64,
    grown_kb: u64,
    resident_kb: u64,
}

impl Artifacts<'_> {
    pub fn measure(&self) -> Result<Vec<ArtifactRow>> {
        [Way::Up, Way::Down].into_iter().map(|way| self.row(way)).collect()
    }

    fn row(&self, way: Way) -> Result<ArtifactRow> {
        eprintln!("  {} of {} MiB", way.name(), self.bytes >> 20);
        for proxy in [self.plain, self.gate] {
            self.transfer(proxy, way, self.bytes.min(WARMUP_BYTES))?;
        }
        let (mut rounds, mut grown_kb, mut resident_kb) = (Vec::new(), 0, 0);
        for _ in 0..self.rounds {
            // A-B-B-A: a machine that becomes slower does so for both.
            let mut seconds = [0.0; 2];
            for (index, proxy) in [self.plain, self.gate, self.gate, self.plain].iter().enumerate()
            {
                if self.interrupt.is_set() {
                    bail!("interrupted");
                }
                let transfer = self.transfer(*proxy, way, self.bytes)?;
                let through_gate = matches!(index, 1 | 2);
                if let Some(sum) = seconds.get_mut(usize::from(through_gate)) {
                    *sum += transfer.seconds / 2.0;
                }
                if through_gate {
                    grown_kb = grown_kb.max(transfer.grown_kb);
                    resident_kb = resident_kb.max(transfer.resident_kb);
                }
            }
            rounds.push(seconds);
        }
        let (plain, gate) =
            (median(rounds.iter().map(|[plain, _]| *plain)), median(rounds.iter().map(|r| r[1])));
        #[allow(clippy::cast_precision_loss)]
        let (megabytes, grown, resident) =
            (self.bytes as f64 / 1e6, grown_kb as f64 / 1e3, resident_kb as f64 / 1e3);
        Ok(ArtifactRow {
            way,
            bytes: self.bytes,
            plain_mb_per_s: megabytes / plain,
            gate_mb_per_s: megabytes / gate,
            time_ratio: median(rounds.iter().map(|[plain, gate]| gate / plain)),
            grown_mb: grown,
            resident_mb: resident,
            rounds,
        })
    }

    fn transfer(&self, proxy: Running, way: Way, bytes: u64) -> Result<Transfer> {
        let before = resident_kb(proxy.pid)?;
        let done = AtomicBool::new(false);
        let (outcome, most) = thread::scope(|scope| {
            let watching = scope.spawn(|| {
                let mut most = before;
                while !done.load(Ordering::Relaxed) {
                    most = most.max(resident_kb(proxy.pid).unwrap_or(0));
                    thread::sleep(SAMPLE_EVERY);
                }
                most
            });
            let outcome = self.pass(proxy.port, way, bytes);
            done.store(true, Ordering::Relaxed);
            (outcome, watching.join().unwrap_or(before))
        });
        let seconds =
            outcome.with_context(|| format!("{} through port {}", way.name(), proxy.port))?;
        Ok(Transfer { seconds, grown_kb: most.saturating_sub(before), resident_kb: most })
    }

    /// Seconds from the request to the end of the answer.
    fn pass(&self, port: u16, way: Way, bytes: u64) -> Result<f64> {
        let mut stream = TcpStream::connect(("127.0.0.1", port))?;
        stream.set_read_timeout(Some(STALLED))?;
        stream.set_write_timeout(Some(STALLED))?;
        let start = Instant::now();
        let (method, length) = match way {
            Way::Up => ("PUT", format!("content-length: {bytes}\r\n")),
            Way::Down => ("GET", String::new()),
        };
        let head = format!(
            "{method} /api/2.0/mlflow-artifacts/artifacts/1/{bytes} HTTP/1.1\r\nhost: localhost\r\n\
             authorization: {}\r\n{length}connection: close\r\n\r\n",
            self.authorization
        );
        stream.write_all(head.as_bytes())?;
        let mut chunk = vec![0x5a; CHUNK];
        if way == Way::Up {
            let mut left = bytes;
            while left > 0 {
                let size = usize::try_from(left).unwrap_or(CHUNK).min(CHUNK);
                stream.write_all(chunk.get(..size).unwrap_or_default())?;
                left = left.saturating_sub(size as u64);
            }
        }
        let mut answer = Vec::new();
        let mut came: u64 = 0;
        loop {
            let read = stream.read(&mut chunk)?;
            if read == 0 {
                break;
            }
            came = came.saturating_add(read as u64);
            if answer.len() < 4096 {
                answer.extend_from_slice(chunk.get(..read.min(4096)).unwrap_or_default());
            }
        }
        let seconds = start.elapsed().as_secs_f64();
        if !answer.starts_with(b"HTTP/1.1 200") || (way == Way::Down && came < bytes) {
            let answer = String::from_utf8_lossy(answer.get(..200).unwrap_or(&answer)).into_owned();
            bail!("{came} bytes came: {answer}");
        }
        Ok(seconds)
    }
}

/// The resident set of a process.
pub fn resident_kb(pid: u32) -> Result<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let number = line.and_then(|line| line.split_whitespace().next()).context("no VmRSS")?;
    Ok(number.parse()?)
}
