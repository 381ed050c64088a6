//! `mlgate`: the policy server and the command line that manages its store.

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    mlgate_policy_server::cli::main()
}
