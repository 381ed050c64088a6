//! Building the two parts.

use crate::lifetime::Interrupt;
use crate::workspace;
use anyhow::{Result, bail};
use std::path::PathBuf;
use std::process::Command;
use std::time::Instant;

/// The built policy server and filter.
pub struct Parts {
    pub mlgate: PathBuf,
    pub wasm: PathBuf,
}

impl Parts {
    /// What [`parts`] has built before.
    pub fn built() -> Self {
        let target = workspace::target();
        Self {
            mlgate: target.join("release/mlgate"),
            wasm: target.join("wasm32-wasip1/filter/mlgate_filter.wasm"),
        }
    }
}

pub fn cargo() -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(workspace::root());
    command
}

/// Builds the policy server and the wasm module with the profiles that are shipped.
pub fn parts(interrupt: &Interrupt) -> Result<Parts> {
    build(interrupt, "policy server", &["-p", "mlgate-policy-server", "--release"])?;
    build(
        interrupt,
        "filter",
        &["-p", "mlgate-filter", "--lib", "--profile", "filter", "--target", "wasm32-wasip1"],
    )?;
    Ok(Parts::built())
}

fn build(interrupt: &Interrupt, what: &str, arguments: &[&str]) -> Result<()> {
    eprintln!("  building the {what} …");
    let start = Instant::now();
    let status = interrupt
        .run(cargo().arg("build").arg("--quiet").args(arguments).stdout(std::io::stderr()))?;
    if !status.success() {
        bail!("the {what} does not build");
    }
    eprintln!("  the {what} is built ({:.1} s)", start.elapsed().as_secs_f32());
    Ok(())
}
