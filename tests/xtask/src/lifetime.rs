//! Ctrl-C and SIGTERM, and the promise that no process stays behind.

use anyhow::{Context, Result, bail};
use nix::sys::prctl;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::collections::HashMap;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

const POLL: Duration = Duration::from_millis(50);

/// Set once by the first Ctrl-C, SIGTERM or SIGHUP.
#[derive(Clone)]
pub struct Interrupt(Arc<AtomicBool>);

impl Interrupt {
    /// Takes over the signals, and adopts every orphan of a descendant so that it can be found
    /// and ended: MLflow starts some of its workers in sessions of their own.
    pub fn install() -> Result<Self> {
        let flag = Arc::new(AtomicBool::new(false));
        for signal in signal_hook::consts::TERM_SIGNALS.iter().chain(&[signal_hook::consts::SIGHUP])
        {
            signal_hook::flag::register(*signal, Arc::clone(&flag))
                .context("cannot handle signals")?;
        }
        prctl::set_child_subreaper(true).context("cannot adopt orphans")?;
        Ok(Self(flag))
    }

    pub fn is_set(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    /// An error once a signal has come.
    pub fn check(&self) -> Result<()> {
        if self.is_set() { bail!("interrupted") } else { Ok(()) }
    }

    /// Runs a preparing command to its end, or ends it when a signal comes.
    pub fn run(&self, command: &mut Command) -> Result<ExitStatus> {
        let program = command.get_program().to_string_lossy().into_owned();
        let mut child =
            command.process_group(0).spawn().with_context(|| format!("cannot start {program}"))?;
        self.wait(&mut child)
    }

    /// Waits for a child that leads a process group of its own.
    pub fn wait(&self, child: &mut Child) -> Result<ExitStatus> {
        loop {
            if let Some(status) = child.try_wait()? {
                return Ok(status);
            }
            if self.is_set() {
                end(child, Signal::SIGTERM, Duration::from_secs(5));
                bail!("interrupted");
            }
            sleep(POLL);
        }
    }

    /// Calls `ready` until it says yes.
    pub fn wait_until(
        &self,
        limit: Duration,
        mut ready: impl FnMut() -> Result<bool>,
    ) -> Result<bool> {
        let start = Instant::now();
        while start.elapsed() < limit {
            self.check()?;
            if ready()? {
                return Ok(true);
            }
            sleep(POLL);
        }
        Ok(false)
    }
}

/// Ends a child and the process group it leads: politely first, then not.
pub fn end(child: &mut Child, polite: Signal, patience: Duration) {
    signal_group(child, polite);
    let start = Instant::now();
    while start.elapsed() < patience {
        match child.try_wait() {
            Ok(Some(_)) | Err(_) => break,
            Ok(None) => sleep(POLL),
        }
    }
    signal_group(child, Signal::SIGKILL);
    let _ = child.wait();
}

fn signal_group(child: &Child, signal: Signal) {
    if let Ok(group) = i32::try_from(child.id()) {
        let _ = nix::sys::signal::killpg(Pid::from_raw(group), signal);
    }
}

/// Ends whatever descends from this process, wherever it has moved to.
pub fn end_descendants() {
    for signal in [Signal::SIGTERM, Signal::SIGKILL] {
        let start = Instant::now();
        loop {
            let left = descendants(Pid::this());
            if left.is_empty() {
                return;
            }
            for pid in &left {
                let _ = kill(*pid, signal);
            }
            if start.elapsed() > Duration::from_secs(3) {
                break;
            }
            sleep(POLL);
        }
    }
}

/// Living descendants of a process, from `/proc`.
pub fn descendants(of: Pid) -> Vec<Pid> {
    let Ok(entries) = std::fs::read_dir("/proc") else { return Vec::new() };
    let mut parents = HashMap::new();
    for pid in entries.flatten().filter_map(|e| e.file_name().to_str()?.parse::<i32>().ok()) {
        // pid (comm) state ppid …; comm may hold spaces and parentheses.
        let Ok(stat) = std::fs::read_to_string(format!("/proc/{pid}/stat")) else { continue };
        let Some((_, rest)) = stat.rsplit_once(')') else { continue };
        let mut fields = rest.split_whitespace();
        let (state, parent) = (fields.next(), fields.next().and_then(|p| p.parse::<i32>().ok()));
        if let (Some(state), Some(parent)) = (state, parent)
            && state != "Z"
        {
            parents.insert(pid, parent);
        }
    }
    let own = of.as_raw();
    let descends = |mut pid: i32| {
        while let Some(&parent) = parents.get(&pid) {
            if parent == own {
                return true;
            }
            pid = parent;
        }
        false
    };
    parents.keys().copied().filter(|&pid| descends(pid)).map(Pid::from_raw).collect()
}
