//! Developer commands: `cargo xtask demo`, `test`, `bench` and `dist`.

mod admin;
mod bench;
mod compile;
mod demo;
mod dist;
mod envoy;
mod lifetime;
mod merge;
mod mlflow;
mod net;
mod policy;
mod postgres;
mod python;
mod ready;
mod service;
mod suites;
mod test;
mod workspace;

use clap::{Parser, Subcommand};
use std::process::ExitCode;

/// Runs Mlgate on this machine, and tests it.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Build both parts and run them around a real Envoy and a real MLflow, until Ctrl-C.
    Demo(Box<demo::Options>),
    /// Run every test, unit to end to end, on SQLite and on Postgres.
    Test(test::Options),
    /// Compare the gate with the alternatives: CPU time and latency of each, in one run.
    Bench(bench::Options),
    /// Build what a release consists of, with checksums and a list of its parts.
    Dist(dist::Options),
}

fn main() -> ExitCode {
    let outcome = match Cli::parse().command {
        Command::Demo(options) => demo::run(&options).map(|()| ExitCode::SUCCESS),
        Command::Test(options) => test::run(&options),
        Command::Dist(options) => dist::run(&options).map(|()| ExitCode::SUCCESS),
        Command::Bench(options) => bench::run(&options).map(|()| ExitCode::SUCCESS),
    };
    outcome.unwrap_or_else(|error| {
        eprintln!("error: {error:#}");
        ExitCode::FAILURE
    })
}
