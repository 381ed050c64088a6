//! The command line. Every command yields an [`Output`], which is a table for people and JSON
//! for programs.

mod catalogue;
mod check;
mod export;
mod flags;
mod grant;
mod group;
mod import;
mod output;
mod password;
mod role;
mod serve;
mod settings;
mod token;
mod user;
mod why;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use self::flags::ConfigFlags;
use self::output::Output;
use crate::config::Layers;
use crate::store::{Actor, Channel, Store};

const AFTER_HELP: &str = "\
Examples:
  mlgate user create alice --generate          create a user; the password is printed once
  mlgate grant alice experiment 12 EDIT        let alice write to experiment 12
  mlgate check alice update experiment 12      would that be allowed? exit code 1 if not
  mlgate import mlflow --from sqlite:////srv/mlflow/basic_auth.db
                                               what would be taken over from MLflow's own auth
  mlgate --config mlgate.toml serve            run the policy server

Commands that manage users and grants work on the store directly. They need no running server,
and running servers notice what they change.

Exit codes: 0 done (check: allowed), 1 check: denied, 2 failed.";

/// Above the options that all commands have.
const EVERYWHERE: &str = "Options of every command";

#[derive(Debug, Parser)]
#[command(
    name = "mlgate",
    version,
    about = "Mlgate's policy server, and the command line that manages its policy",
    after_help = AFTER_HELP,
    arg_required_else_help = true,
    max_term_width = 100
)]
struct Cli {
    /// TOML file with the server's configuration [env: MLGATE_CONFIG]
    #[arg(long, global = true, value_name = "FILE", help_heading = EVERYWHERE)]
    config: Option<PathBuf>,
    /// The policy store: sqlite:PATH or postgresql://USER:PASSWORD@HOST/DATABASE
    /// [env: MLGATE_STORE] [default: sqlite:mlgate.db]
    #[arg(long, global = true, value_name = "URL", help_heading = EVERYWHERE)]
    store: Option<String>,
    /// Print JSON for programs
    #[arg(long, global = true, help_heading = EVERYWHERE)]
    json: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the policy server
    #[command(after_help = serve::AFTER_HELP)]
    Serve(ConfigFlags),
    /// Print the effective configuration, with secrets masked, and where each value is from
    Config(ConfigFlags),
    /// Manage users and service accounts
    #[command(subcommand, visible_alias = "users")]
    User(user::Command),
    /// Manage roles, what they permit, and who has them
    #[command(subcommand, visible_alias = "roles")]
    Role(role::Command),
    /// Give a user a permission of their own
    #[command(after_help = grant::GRANT_HELP)]
    Grant(grant::GrantArgs),
    /// Take away a permission that `grant` gave
    #[command(after_help = grant::REVOKE_HELP)]
    Revoke(grant::RevokeArgs),
    /// Ask what would be decided, and by which grant
    #[command(after_help = check::AFTER_HELP)]
    Check(check::Args),
    /// Manage groups: their members here, and the roles that they give
    #[command(subcommand, visible_alias = "groups", after_help = group::AFTER_HELP)]
    Group(group::Command),
    /// Manage tokens, which are used as Bearer token or as password
    #[command(subcommand, visible_alias = "tokens")]
    Token(token::Command),
    /// Show and change the settings that all servers on a store share
    #[command(subcommand)]
    Settings(settings::Command),
    /// Show who changed what, newest first
    Audit(settings::AuditArgs),
    /// Take over users and permissions from elsewhere
    #[command(subcommand)]
    Import(import::Command),
    /// Print users, roles, groups and settings as JSON; without password hashes or tokens
    Export,
    /// Print the routes of MLflow that the gate knows, and what each needs
    #[command(after_help = catalogue::ROUTES_HELP)]
    Routes,
    /// Tell what one request to MLflow needs, or why one was refused
    #[command(after_help = catalogue::EXPLAIN_HELP)]
    Explain(catalogue::ExplainArgs),
}

/// Runs the command line of this process.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    let json = cli.json;
    match run(cli) {
        Ok(output) => output.print(json),
        Err(error) => {
            output::print_error(&error, json);
            ExitCode::from(2)
        }
    }
}

fn run(cli: Cli) -> anyhow::Result<Output> {
    let file = cli.config.clone().or_else(|| std::env::var_os("MLGATE_CONFIG").map(Into::into));
    let environment = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
    let mut layers = Layers::read(file.as_deref(), environment)?;
    if let Some(store) = cli.store {
        layers.set_flag("store", store);
    }
    // One thread: a decision takes some 20 µs, and to hand its parts from thread to thread would
    // take as long again. What takes long, password hashes, has threads of its own.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(execute(cli.command, layers))
}

async fn execute(command: Command, mut layers: Layers) -> anyhow::Result<Output> {
    // The commands that need no store.
    match command {
        Command::Serve(flags) => {
            flags.apply(&mut layers);
            return serve::run(layers.resolve()?).await;
        }
        Command::Config(flags) => {
            flags.apply(&mut layers);
            layers.resolve()?;
            return Ok(settings::configuration(&layers));
        }
        Command::Routes => return Ok(catalogue::routes()),
        Command::Explain(args) => {
            return match &args.request_id {
                Some(id) => why::explain(id, &args.logs),
                None => catalogue::explain(&args),
            };
        }
        _ => {}
    }
    let session = Session {
        store: Store::open(layers.store()?, layers.settings()?).await?,
        actor: Actor::new(operator(), Channel::Cli),
    };
    match command {
        Command::User(command) => user::run(&session, command).await,
        Command::Role(command) => role::run(&session, command).await,
        Command::Grant(args) => grant::grant(&session, args).await,
        Command::Revoke(args) => grant::revoke(&session, args).await,
        Command::Check(args) => check::run(&session, args).await,
        Command::Group(command) => group::run(&session, command).await,
        Command::Token(command) => token::run(&session, command).await,
        Command::Settings(command) => settings::run(&session, command).await,
        Command::Audit(args) => settings::audit(&session, &args).await,
        Command::Import(command) => import::run(&session, &layers, command).await,
        Command::Export => export::run(&session).await,
        Command::Serve(_) | Command::Config(_) | Command::Routes | Command::Explain(_) => {
            anyhow::bail!("the command was handled already")
        }
    }
}

/// The store, and in whose name it is changed.
struct Session {
    store: Store,
    actor: Actor,
}

/// The operating system's user, for the audit log. Whoever can open the store can write anything
/// into it, so this is a note and no proof.
fn operator() -> String {
    ["SUDO_USER", "USER", "LOGNAME"]
        .iter()
        .find_map(|name| std::env::var(name).ok().filter(|user| !user.is_empty()))
        .unwrap_or_else(|| "cli".to_owned())
}
