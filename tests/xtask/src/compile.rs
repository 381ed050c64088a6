//! Building the two parts.

use crate::lifetime::Interrupt;
use crate::workspace;
use anyhow::{Context, Result, bail};
use clap::ValueEnum;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

/// What Envoy's sandbox runs.
pub const WASM: &str = "wasm32-wasip1";
/// How the policy server is optimised for a release.
pub const SERVER_PROFILE: &str = "server-dist";

/// The built policy server and filter.
pub struct Parts {
    pub mlgate: PathBuf,
    pub wasm: PathBuf,
}

/// How the policy server is built. The filter always is as it is shipped.
#[derive(Clone, Copy, ValueEnum)]
pub enum Profile {
    Release,
    /// Shares its dependencies with `cargo test`.
    Dev,
    /// Optimised as it is released.
    Dist,
}

impl Parts {
    /// What [`parts`] has built before.
    pub fn built(profile: Profile) -> Self {
        let target = workspace::target();
        let directory = match profile {
            Profile::Release => "release",
            Profile::Dev => "debug",
            Profile::Dist => SERVER_PROFILE,
        };
        Self {
            mlgate: target.join(directory).join("mlgate"),
            wasm: target.join(WASM).join("filter/mlgate_filter.wasm"),
        }
    }

    /// With what was built elsewhere in the place of either.
    pub fn or_others(self, policy_server: Option<&Path>, filter: Option<&Path>) -> Result<Self> {
        let chosen = |flag: &str, other: Option<&Path>, built| match other {
            Some(file) => file.canonicalize().with_context(|| format!("{flag} {}", file.display())),
            None => Ok(built),
        };
        Ok(Self {
            mlgate: chosen("--policy-server", policy_server, self.mlgate)?,
            wasm: chosen("--filter", filter, self.wasm)?,
        })
    }
}

pub fn cargo() -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(workspace::root());
    command
}

/// Builds the policy server and the wasm module.
pub fn parts(interrupt: &Interrupt, profile: Profile) -> Result<Parts> {
    let server: &[_] = match profile {
        Profile::Release => &["-p", "mlgate-policy-server", "--release"],
        Profile::Dev => &["-p", "mlgate-policy-server"],
        Profile::Dist => &["-p", "mlgate-policy-server", "--profile", SERVER_PROFILE],
    };
    build(interrupt, "policy server", server)?;
    add_target(interrupt, WASM)?;
    let filter = ["--profile", "filter", "--target", WASM];
    build(interrupt, "filter", &[&["-p", "mlgate-filter", "--lib"][..], &filter].concat())?;
    Ok(Parts::built(profile))
}

/// Adds the standard library of a target where it is missing. That of [`WASM`] rustup adds by itself
/// from `rust-toolchain.toml`, unless told not to (`RUSTUP_AUTO_INSTALL=0`).
pub fn add_target(interrupt: &Interrupt, target: &str) -> Result<()> {
    let library = Command::new(std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into()))
        .current_dir(workspace::root())
        .args(["--print", "target-libdir", "--target", target])
        .output()
        .context("cannot ask rustc for its libraries")?;
    if library.status.success()
        && Path::new(String::from_utf8_lossy(&library.stdout).trim()).is_dir()
    {
        return Ok(());
    }
    eprintln!("  adding the Rust target {target} …");
    let status = interrupt.run(
        Command::new("rustup")
            .current_dir(workspace::root())
            .args(["target", "add", target])
            .stdout(std::io::stderr()),
    )?;
    if !status.success() {
        bail!("the Rust target {target} is missing: try `rustup target add {target}`");
    }
    Ok(())
}

/// Runs `cargo build` with these arguments.
pub fn build(interrupt: &Interrupt, what: &str, arguments: &[&str]) -> Result<()> {
    run(interrupt, what, cargo().arg("build").args(arguments))
}

/// As [`build`], for others to have: nobody learns from it where it was built, and the paths that
/// panics name take less room.
pub fn build_for_release(interrupt: &Interrupt, what: &str, arguments: &[&str]) -> Result<()> {
    let given = std::env::var("RUSTFLAGS").unwrap_or_default();
    let mut flags: Vec<OsString> = given.split_whitespace().map(OsString::from).collect();
    for (from, to) in hidden_paths() {
        let mut flag = OsString::from("--remap-path-prefix=");
        flag.push(from);
        flag.push("=");
        flag.push(to);
        flags.push(flag);
    }
    // Flags in this variable may contain blanks, as paths may.
    let flags = flags.join(OsStr::new("\x1f"));
    let mut cargo = cargo();
    run(interrupt, what, cargo.arg("build").args(arguments).env("CARGO_ENCODED_RUSTFLAGS", flags))
}

/// Folders of the machine, and what stands for them.
fn hidden_paths() -> Vec<(PathBuf, &'static str)> {
    let home = std::env::var_os("CARGO_HOME").map(PathBuf::from);
    let home = home.or_else(|| Some(std::env::home_dir()?.join(".cargo")));
    let registries = home.and_then(|home| std::fs::read_dir(home.join("registry/src")).ok());
    let registries = registries.into_iter().flatten().flatten();
    let mut hidden: Vec<_> = registries.map(|folder| (folder.path(), "crates")).collect();
    hidden.push((workspace::root(), "mlgate"));
    // Of several that match, the last one counts.
    hidden.push((workspace::target(), "target"));
    hidden
}

fn run(interrupt: &Interrupt, what: &str, cargo: &mut Command) -> Result<()> {
    eprintln!("  building the {what} …");
    let start = Instant::now();
    let status = interrupt.run(cargo.arg("--quiet").stdout(std::io::stderr()))?;
    if !status.success() {
        bail!("the {what} does not build");
    }
    eprintln!("  the {what} is built ({:.1} s)", start.elapsed().as_secs_f32());
    Ok(())
}
