//! `cargo xtask dist`: what a release consists of.

mod sbom;

use crate::compile::{self, SERVER_PROFILE, WASM};
use crate::lifetime::Interrupt;
use crate::workspace;
use anyhow::{Context, Result, bail, ensure};
use clap::Args;
use sha2::{Digest, Sha256};
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

const MODULE: &str = "mlgate_filter.wasm";
const SERVER: &str = "mlgate";
const SBOM: &str = "sbom.cdx.json";
const CHECKSUMS: &str = "SHA256SUMS";

/// Envoy compiles the module on its main thread, at about 1.5 s a megabyte.
const MODULE_LIMIT: u64 = 1_500_000;

#[derive(Args)]
pub struct Options {
    /// Where the files go; relative to the working copy [default: target/dist]
    #[arg(long, value_name = "DIR")]
    output: Option<PathBuf>,
    /// What the policy server is built for; a musl target makes a static program.
    #[arg(long, value_name = "TARGET", default_value = default_target())]
    server_target: String,
}

fn default_target() -> String {
    format!("{}-unknown-linux-musl", std::env::consts::ARCH)
}

pub fn run(options: &Options) -> Result<()> {
    let interrupt = Interrupt::install()?;
    let target = workspace::target();
    let output = match &options.output {
        Some(dir) => workspace::root().join(dir),
        None => target.join("dist"),
    };
    fs::create_dir_all(&output).with_context(|| format!("--output {}", output.display()))?;

    compile::add_target(&interrupt, WASM)?;
    let module = ["-p", "mlgate-filter", "--lib", "--profile", "filter-dist", "--target", WASM];
    compile::build_for_release(&interrupt, "filter", &module)?;
    let module = output.join(MODULE);
    copy(&target.join(WASM).join("filter-dist").join(MODULE), &module)?;
    check_module(&module)?;

    let triple = options.server_target.as_str();
    compile::add_target(&interrupt, triple)?;
    ensure_c_compiler(triple)?;
    let server = ["-p", "mlgate-policy-server", "--profile", SERVER_PROFILE, "--target", triple];
    compile::build_for_release(&interrupt, "policy server", &server)?;
    let server = output.join(SERVER);
    copy(&target.join(triple).join(SERVER_PROFILE).join(SERVER), &server)?;
    check_server(&server, triple)?;

    let parts = [("mlgate-filter", WASM), ("mlgate-policy-server", triple)];
    fs::write(output.join(SBOM), sbom::of(&parts)?)?;
    write_checksums(&output)?;
    report(&output)
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    fs::copy(from, to).with_context(|| format!("cannot copy {}", from.display()))?;
    Ok(())
}

fn check_module(module: &Path) -> Result<()> {
    let size = fs::metadata(module)?.len();
    ensure!(size <= MODULE_LIMIT, "{MODULE} has {size} bytes, more than {MODULE_LIMIT}");
    Ok(())
}

/// SQLite and ring are partly C. Their build scripts look for a compiler of this name.
fn ensure_c_compiler(triple: &str) -> Result<()> {
    if !triple.ends_with("-musl") || std::env::var_os("CC").is_some() {
        return Ok(());
    }
    let found = Command::new("musl-gcc").arg("--version").output();
    if !found.is_ok_and(|output| output.status.success()) {
        bail!("a static server needs musl-gcc; on Debian and Ubuntu: the package musl-tools");
    }
    Ok(())
}

/// A program for an image without anything else must not ask for a loader.
fn check_server(server: &Path, triple: &str) -> Result<()> {
    let program = fs::read(server)?;
    let loaders: [&[u8]; 2] = [b"/lib/ld-musl", b"/ld-linux"];
    let asks = |loader: &&[u8]| program.windows(loader.len()).any(|part| part == *loader);
    if triple.ends_with("-musl") && loaders.iter().any(asks) {
        bail!("{} is not static", server.display());
    }
    Ok(())
}

fn write_checksums(output: &Path) -> Result<()> {
    let mut lines = String::new();
    for name in [MODULE, SERVER, SBOM] {
        let digest = Sha256::digest(fs::read(output.join(name))?);
        let digest: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
        writeln!(lines, "{digest}  {name}")?;
    }
    fs::write(output.join(CHECKSUMS), lines)?;
    Ok(())
}

fn report(output: &Path) -> Result<()> {
    println!("{}:", output.display());
    for name in [MODULE, SERVER, SBOM, CHECKSUMS] {
        println!("  {name}: {} bytes", fs::metadata(output.join(name))?.len());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_module_above_the_limit_is_refused_with_its_size() {
        let dir = tempfile::tempdir().unwrap();
        let module = dir.path().join(MODULE);
        fs::File::create(&module).unwrap().set_len(MODULE_LIMIT).unwrap();
        check_module(&module).unwrap();
        fs::File::create(&module).unwrap().set_len(MODULE_LIMIT + 1).unwrap();
        assert!(check_module(&module).unwrap_err().to_string().contains("1500001 bytes"));
    }

    #[test]
    fn a_program_that_needs_a_loader_is_not_taken_for_a_static_one() {
        let own = std::env::current_exe().unwrap();
        assert!(check_server(&own, "x86_64-unknown-linux-musl").is_err());
        check_server(&own, "x86_64-unknown-linux-gnu").unwrap();
    }

    #[test]
    fn checksums_are_those_that_sha256sum_checks() {
        let dir = tempfile::tempdir().unwrap();
        for name in [MODULE, SERVER, SBOM] {
            fs::write(dir.path().join(name), name).unwrap();
        }
        write_checksums(dir.path()).unwrap();
        let check = Command::new("sha256sum")
            .args(["--check", "--strict", CHECKSUMS])
            .current_dir(dir.path())
            .output()
            .unwrap();
        assert!(check.status.success(), "{}", String::from_utf8_lossy(&check.stderr));
    }
}
