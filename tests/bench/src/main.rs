//! The moving parts of `cargo xtask bench`. Always built with optimisations, and processes of
//! their own, so that the CPU time of each can be told apart.

mod authz;
mod cpu;
mod flood;
mod load;
mod material;
mod upstream;

use anyhow::Result;
use clap::{Parser, Subcommand};

#[derive(Parser)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Answer every HTTP/1.1 request with the same small JSON.
    Upstream { port: u16 },
    /// Allow every request, as an `ext_authz` server.
    Authz { port: u16 },
    /// Read jobs from standard input, one JSON object a line, and answer each with one line.
    Load,
    /// Read one job from standard input, and send so many requests a second.
    Flood,
    /// Print a signed token, the key that verifies it, and a bcrypt password file.
    Material,
}

fn main() -> Result<()> {
    let command = Cli::parse().command;
    if let Command::Material = command {
        return material::print();
    }
    // One thread each: of the two cores that are usual, the proxy should have one.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        match command {
            Command::Upstream { port } => upstream::serve(port).await,
            Command::Authz { port } => authz::serve(port).await,
            Command::Load => load::serve().await,
            Command::Flood => flood::serve().await,
            Command::Material => Ok(()),
        }
    })
}
