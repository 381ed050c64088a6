//! Test suites, run one after the other, and their counts.

use crate::compile::cargo;
use crate::lifetime::Interrupt;
use crate::python::Venv;
use crate::workspace;
use anyhow::{Context, Result};
use serde::Deserialize;
use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

#[derive(Default, Deserialize)]
pub struct Counts {
    pub passed: u64,
    pub failed: u64,
    pub skipped: u64,
}

pub struct Suite {
    pub name: String,
    pub counts: Counts,
    pub took: Duration,
}

/// `cargo test` over the workspace, its output passed on and counted.
pub fn cargo_tests(interrupt: &Interrupt, environment: &[(&str, String)]) -> Result<Suite> {
    let start = Instant::now();
    let mut command = cargo();
    command.args(["test", "--workspace", "--no-fail-fast"]);
    command.envs(environment.iter().map(|(name, value)| (name, value)));
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .process_group(0)
        .spawn()
        .context("cannot start cargo")?;
    let stdout = child.stdout.take().context("cargo has no output")?;
    let reader = std::thread::spawn(move || {
        let mut counts = Counts::default();
        for line in BufReader::new(stdout).lines().map_while(Result::ok) {
            println!("{line}");
            add_cargo_result(&mut counts, &line);
        }
        counts
    });
    let status = interrupt.wait(&mut child)?;
    let mut counts = reader.join().unwrap_or_default();
    if !status.success() && counts.failed == 0 {
        // It does not compile, or a test ended its process.
        counts.failed = 1;
    }
    Ok(Suite { name: "unit and integration (cargo test)".into(), counts, took: start.elapsed() })
}

/// Counts a line such as `test result: ok. 3 passed; 0 failed; 1 ignored; …`.
fn add_cargo_result(counts: &mut Counts, line: &str) {
    let Some((_, numbers)) = line.strip_prefix("test result: ").and_then(|l| l.split_once(". "))
    else {
        return;
    };
    for part in numbers.split("; ") {
        let Some((number, what)) = part.split_once(' ') else { continue };
        let Ok(number) = number.parse::<u64>() else { continue };
        match what {
            "passed" => counts.passed += number,
            "failed" => counts.failed += number,
            "ignored" => counts.skipped += number,
            _ => {}
        }
    }
}

/// A Python program that is a suite of its own; `arguments` are those of the interpreter.
///
/// It may write its counts as JSON to the file that `MLGATE_TEST_REPORT` names; else its exit
/// status is one test.
pub fn python_tests(
    interrupt: &Interrupt,
    venv: &Venv,
    name: &str,
    arguments: &[&str],
    environment: &[(&str, String)],
    scratch: &Path,
) -> Result<Suite> {
    eprintln!("\n{name}");
    let start = Instant::now();
    let report = scratch.join("report.json");
    let _ = fs::remove_file(&report);
    let status = interrupt.run(
        Command::new(venv.program("python"))
            .current_dir(workspace::root())
            .args(arguments)
            .envs(environment.iter().map(|(name, value)| (name, value)))
            .env("MLGATE_TEST_REPORT", &report)
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .stdin(Stdio::null()),
    )?;
    let mut counts: Counts = match fs::read(&report) {
        Ok(bytes) => serde_json::from_slice(&bytes)
            .with_context(|| format!("the report of {name} is damaged"))?,
        Err(_) => Counts { passed: u64::from(status.success()), ..Counts::default() },
    };
    if !status.success() && counts.failed == 0 {
        counts.failed = 1;
    }
    Ok(Suite { name: name.to_owned(), counts, took: start.elapsed() })
}

/// Prints the table and the closing line; says whether everything passed.
pub fn summarise(suites: &[Suite]) -> bool {
    println!("\n{:<44} {:>7} {:>7} {:>8} {:>8}", "suite", "passed", "failed", "skipped", "seconds");
    let (mut passed, mut failed) = (0, 0);
    for Suite { name, counts, took } in suites {
        println!(
            "{name:<44} {:>7} {:>7} {:>8} {:>8.1}",
            counts.passed,
            counts.failed,
            counts.skipped,
            took.as_secs_f32()
        );
        passed += counts.passed;
        failed += counts.failed;
    }
    println!("\n{passed} passed, {failed} failed");
    failed == 0 && passed > 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_of_every_test_binary_are_added_up() {
        let mut counts = Counts::default();
        for line in [
            "running 4 tests",
            "test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.00s",
            "test result: FAILED. 1 passed; 2 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s",
        ] {
            add_cargo_result(&mut counts, line);
        }
        assert_eq!((counts.passed, counts.failed, counts.skipped), (4, 2, 1));
    }
}
