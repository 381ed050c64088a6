//! CPU time of other processes.

use anyhow::{Context, Result};
use nix::time::clock_getcpuclockid;
use nix::unistd::Pid;
use std::time::Duration;

/// User and system time of all threads of a process since its start. The same as utime and stime
/// in `/proc/PID/stat`, but in nanoseconds where that counts ticks of 10 ms.
pub fn of(pid: i32) -> Result<Duration> {
    let clock =
        clock_getcpuclockid(Pid::from_raw(pid)).with_context(|| format!("process {pid}"))?;
    Ok(Duration::from(clock.now().with_context(|| format!("process {pid}"))?))
}

pub fn sum(pids: &[i32]) -> Result<Duration> {
    pids.iter().map(|&pid| of(pid)).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_is_seen_on_the_clock_of_the_process() {
        let pid = i32::try_from(std::process::id()).unwrap();
        let before = of(pid).unwrap();
        let start = std::time::Instant::now();
        let mut sum = 0_u64;
        while start.elapsed() < Duration::from_millis(50) {
            sum = std::hint::black_box(sum.wrapping_add(1));
        }
        assert!(of(pid).unwrap() > before);
    }
}
