//! How long `Authorize` takes at a fixed rate, over loopback, on a large installation.
//!
//! Prints percentiles of the time from when each request was due until its answer was there, so
//! that a stalled server is not hidden by a generator that waits for it. Every answer is compared
//! with the one that is due; a wrong one fails the run.

mod installation;
mod load;

use std::path::PathBuf;
use std::time::Instant;

use clap::Parser;

#[derive(Debug, Clone, Parser)]
#[command(about = "Authorize at a fixed rate over loopback")]
struct Arguments {
    /// Users, of whom each has ten grants on experiments
    #[arg(long, default_value_t = 10_000)]
    users: u64,
    /// Of these, how many log in with passwords; the others are verified by the filter
    #[arg(long, default_value_t = 50)]
    password_users: u64,
    #[arg(long, default_value_t = 100_000)]
    experiments: u64,
    /// Runs in the tracking database, spread over the experiments
    #[arg(long, default_value_t = 10_000_000)]
    runs: u64,
    /// Requests per second
    #[arg(long, default_value_t = 1000)]
    rate: u32,
    #[arg(long, default_value_t = 30)]
    seconds: u32,
    /// Directory that the databases are kept in, to use them again; with the same numbers
    #[arg(long)]
    keep: Option<PathBuf>,
    /// As `cargo bench` calls it
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() {
    let arguments = Arguments::parse();
    if !arguments.bench {
        eprintln!("nothing is measured without --bench; use `cargo bench --bench authorize`");
        return;
    }
    let temporary = tempfile::tempdir().unwrap();
    let directory = arguments.keep.clone().unwrap_or_else(|| temporary.path().to_owned());
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let begun = Instant::now();
    let installation = runtime.block_on(installation::prepare(&arguments, &directory));
    println!(
        "{} users, {} grants, {} experiments, {} runs on SQLite, in {:.0} s",
        arguments.users,
        arguments.users * installation::GRANTS_EACH,
        arguments.experiments,
        arguments.runs,
        begun.elapsed().as_secs_f64()
    );
    // Its own threads: the server does not compete with the generator for those of one runtime.
    let address = installation::serve(&installation);
    runtime.block_on(load::run(&arguments, address));
}
