//! The processes of the demo, and their logs.

use crate::lifetime::{self, Interrupt};
use anyhow::{Context, Result, bail};
use nix::sys::signal::Signal;
use std::fs::File;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// A running process with its own process group; ended when dropped.
pub struct Service {
    pub name: &'static str,
    child: Child,
    log: PathBuf,
    stop: Signal,
    /// Its end does not end the demo.
    expendable: bool,
}

impl Service {
    /// Starts `command` with its output in `log`, which is begun anew.
    pub fn start(name: &'static str, command: &mut Command, log: &Path) -> Result<Self> {
        let file = File::create(log).with_context(|| format!("cannot write {}", log.display()))?;
        let child = command
            .stdin(Stdio::null())
            .stdout(file.try_clone()?)
            .stderr(file)
            .process_group(0)
            .spawn()
            .with_context(|| {
                format!("cannot start {name} ({})", command.get_program().display())
            })?;
        Ok(Self { name, child, log: log.to_owned(), stop: Signal::SIGTERM, expendable: false })
    }

    /// The signal that ends it in an orderly way.
    pub fn stopped_by(mut self, signal: Signal) -> Self {
        self.stop = signal;
        self
    }

    /// Lets the demo go on when it ends.
    pub fn expendable(mut self, expendable: bool) -> Self {
        self.expendable = expendable;
        self
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// An error that names the service and shows the end of its log, if it has ended.
    pub fn check(&mut self) -> Result<()> {
        match self.child.try_wait()? {
            Some(_) if self.expendable => Ok(()),
            Some(status) => bail!("{} ended ({status}); {}", self.name, self.log_tail()),
            None => Ok(()),
        }
    }

    fn log_tail(&self) -> String {
        let log = std::fs::read(&self.log).unwrap_or_default();
        let log = String::from_utf8_lossy(&log);
        let lines: Vec<_> = log.lines().collect();
        let tail = lines.iter().skip(lines.len().saturating_sub(20));
        let tail: String = tail.map(|line| format!("\n    {line}")).collect();
        format!("the end of {}:{tail}", self.log.display())
    }

    /// Waits until `ready` says yes; fails when the service ends first or takes too long.
    pub fn wait_ready(
        &mut self,
        interrupt: &Interrupt,
        limit: Duration,
        mut ready: impl FnMut() -> Result<bool>,
    ) -> Result<()> {
        let start = Instant::now();
        let came = interrupt.wait_until(limit, || {
            self.check()?;
            ready()
        })?;
        if !came {
            bail!("{} was not ready after {} s; {}", self.name, limit.as_secs(), self.log_tail());
        }
        eprintln!("  {} is ready ({:.1} s)", self.name, start.elapsed().as_secs_f32());
        Ok(())
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        lifetime::end(&mut self.child, self.stop, Duration::from_secs(10));
    }
}

/// Services in the order in which they were started; ended in the opposite order.
#[derive(Default)]
pub struct Services(Vec<Service>);

impl Services {
    pub fn push(&mut self, service: Service) {
        self.0.push(service);
    }

    pub fn check(&mut self) -> Result<()> {
        self.0.iter_mut().try_for_each(Service::check)
    }
}

impl Drop for Services {
    fn drop(&mut self) {
        while let Some(service) = self.0.pop() {
            drop(service);
        }
        lifetime::end_descendants();
    }
}
