//! `mlgate`: the policy server and the command line that manages its store.

fn main() -> std::process::ExitCode {
    mlgate_policy_server::cli::main()
}
