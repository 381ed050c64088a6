//! `cargo xtask demo`: everything on one machine, until Ctrl-C.

use crate::admin::Admin;
use crate::compile::{self, Parts, Profile};
use crate::lifetime::Interrupt;
use crate::ready::{Pids, Ports, Ready};
use crate::service::Services;
use crate::{envoy, mlflow, net, policy, postgres, python, workspace};
use anyhow::{Context, Result, bail};
use base64::Engine;
use clap::{Args, ValueEnum};
use std::fs::{self, File, TryLockError};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

/// A machine that is busy with something else may take this long to import MLflow.
const PATIENCE: Duration = Duration::from_secs(180);

#[derive(Args)]
pub struct Options {
    /// Where the gate listens.
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:8080")]
    listen: String,
    /// Where users and grants are kept. `postgres` starts a private one, for MLflow's data too.
    #[arg(long, value_name = "sqlite|postgres|URL", default_value = "sqlite")]
    store: Store,
    /// Keeps everything between two starts; relative to the working copy.
    #[arg(long, value_name = "DIR", default_value = ".mlgate/demo")]
    data_dir: PathBuf,
    /// The name of the first admin [default: admin].
    #[arg(long, value_name = "NAME")]
    admin_user: Option<String>,
    /// Their password, 12 characters or more [default: generated and kept].
    #[arg(long, value_name = "PASSWORD")]
    admin_password: Option<String>,
    /// What a user may do with what no grant of theirs names.
    #[arg(long, value_name = "LEVEL", default_value = "NO_PERMISSIONS")]
    default_permission: DefaultPermission,
    /// Envoy's worker threads [default: one per core].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    concurrency: Option<u32>,
    /// The MLflow to guard [default: the one that tests/requirements.txt pins].
    #[arg(long, value_name = "VERSION")]
    mlflow_version: Option<String>,
    /// JSON that is laid over the filter's configuration.
    #[arg(long, value_name = "FILE")]
    plugin_config: Option<PathBuf>,
    /// TOML that is laid over the policy server's configuration.
    #[arg(long, value_name = "FILE")]
    server_config: Option<PathBuf>,

    /// For tests: how the policy server is built.
    #[arg(long, hide = true, default_value = "release")]
    profile: Profile,
    /// For tests: run what was built before.
    #[arg(long, hide = true)]
    no_build: bool,
    /// For tests: another policy server than the one that is built here.
    #[arg(long, hide = true, value_name = "FILE")]
    policy_server: Option<PathBuf>,
    /// For tests: another filter than the one that is built here.
    #[arg(long, hide = true, value_name = "FILE")]
    filter: Option<PathBuf>,
    /// For tests: MLflow's port.
    #[arg(long, hide = true)]
    mlflow_port: Option<u16>,
    /// For tests: Envoy sends to this port instead, which sends on to MLflow's.
    #[arg(long, hide = true)]
    mlflow_through: Option<u16>,
    /// For tests: go on without the policy server.
    #[arg(long, hide = true)]
    policy_server_may_end: bool,
}

#[derive(Clone)]
enum Store {
    Sqlite,
    Postgres,
    Url(String),
}

impl FromStr for Store {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let schemes = ["sqlite:", "postgres://", "postgresql://"];
        match text {
            "sqlite" => Ok(Self::Sqlite),
            "postgres" => Ok(Self::Postgres),
            url if schemes.iter().any(|scheme| url.starts_with(scheme)) => {
                Ok(Self::Url(url.to_owned()))
            }
            _ => Err("expected sqlite, postgres, or a URL beginning with sqlite: or \
                      postgresql://"
                .to_owned()),
        }
    }
}

/// MLflow's words for what is granted to everyone.
#[derive(Clone, Copy, ValueEnum)]
#[value(rename_all = "SCREAMING_SNAKE_CASE")]
enum DefaultPermission {
    NoPermissions,
    Read,
    Use,
    Edit,
    Manage,
}

impl DefaultPermission {
    fn as_str(self) -> &'static str {
        match self {
            Self::NoPermissions => "NO_PERMISSIONS",
            Self::Read => "READ",
            Self::Use => "USE",
            Self::Edit => "EDIT",
            Self::Manage => "MANAGE",
        }
    }
}

pub fn run(options: &Options) -> Result<()> {
    let interrupt = Interrupt::install()?;
    let mut services = Services::default();
    match start(options, &interrupt, &mut services) {
        Ok(lock) => {
            let ended = watch(&interrupt, &mut services);
            eprintln!("stopping …");
            drop(services);
            drop(lock);
            ended
        }
        Err(_) if interrupt.is_set() => {
            eprintln!("interrupted; stopping …");
            Ok(())
        }
        Err(error) => Err(error),
    }
}

/// Returns on Ctrl-C, or with an error when a service ends by itself.
fn watch(interrupt: &Interrupt, services: &mut Services) -> Result<()> {
    while !interrupt.is_set() {
        services.check()?;
        std::thread::sleep(Duration::from_millis(200));
    }
    Ok(())
}

fn start(options: &Options, interrupt: &Interrupt, services: &mut Services) -> Result<File> {
    let listen = net::listen_address(&options.listen)?;
    let (data_dir, lock) = open_data_dir(&options.data_dir)?;
    let admin =
        Admin::settle(&data_dir, options.admin_user.as_deref(), options.admin_password.as_deref())?;
    eprintln!("preparing");
    let parts = match options.no_build {
        true => Parts::built(options.profile),
        false => compile::parts(interrupt, options.profile)?,
    }
    .or_others(options.policy_server.as_deref(), options.filter.as_deref())?;
    let tools = python::tools(interrupt)?;
    let other = python::mlflow(interrupt, &tools, options.mlflow_version.as_deref())?;
    let venv = other.as_ref().unwrap_or(&tools.venv);

    eprintln!("starting");
    // From here on files are the owner's alone; what was built above may be read by all.
    nix::sys::stat::umask(nix::sys::stat::Mode::from_bits_truncate(0o077));
    let logs = data_dir.join("logs");
    let (store_url, mlflow_postgres) = open_store(options, interrupt, services, &tools, &data_dir)?;
    let tracking_uri = mlflow::tracking_uri(&data_dir, mlflow_postgres.as_deref());

    let [mlflow_port, policy_port, admin_port] = net::free_ports()?;
    let mlflow_port = options.mlflow_port.unwrap_or(mlflow_port);
    let mut mlflow = mlflow::start(&mlflow::Plan {
        venv,
        port: mlflow_port,
        tracking_uri: tracking_uri.clone(),
        artifacts: data_dir.join("artifacts"),
        gate: listen,
        log: logs.join("mlflow.log"),
    })?;
    let health = format!("http://127.0.0.1:{mlflow_port}{}/health", mlflow::static_prefix());
    // First, because the policy server reads the tables that MLflow creates.
    mlflow.wait_ready(interrupt, PATIENCE, || Ok(net::get_status(&health, None) == Some(200)))?;
    let mlflow_pid = mlflow.pid();
    services.push(mlflow);

    let policy_config = data_dir.join("policy-server.toml");
    let mut policy = policy::start(&policy::Plan {
        mlgate: &parts.mlgate,
        port: policy_port,
        store_url: &store_url,
        tracking_uri: &tracking_uri,
        default_permission: options.default_permission.as_str(),
        admin: &admin,
        server_config: options.server_config.as_deref(),
        config_file: policy_config.clone(),
        log: logs.join("policy-server.log"),
        expendable: options.policy_server_may_end,
    })?;
    policy.wait_ready(interrupt, PATIENCE, || Ok(net::accepts(policy_port)))?;
    let policy_pid = policy.pid();
    services.push(policy);

    let envoy_program = tools.venv.envoy()?;
    let envoy_config = data_dir.join("envoy.json");
    let through = options.mlflow_through.unwrap_or(mlflow_port);
    let mut envoy = envoy::start(
        &envoy::Plan {
            program: &envoy_program,
            listen,
            admin_port,
            mlflow: SocketAddr::from(([127, 0, 0, 1], through)),
            policy_port,
            wasm: &parts.wasm,
            mlflow_version: options.mlflow_version.as_deref().unwrap_or(&tools.mlflow_version),
            plugin_config: options.plugin_config.as_deref(),
            concurrency: options.concurrency,
            log: logs.join("envoy.log"),
        },
        &envoy_config,
    )?;
    let url = format!("http://{}", reachable(listen));
    let probe =
        format!("{url}{}/api/2.0/mlflow/experiments/search?max_results=1", mlflow::static_prefix());
    let credential =
        base64::prelude::BASE64_STANDARD.encode(format!("{}:{}", admin.user, admin.password));
    let authorization = format!("Basic {credential}");
    envoy.wait_ready(interrupt, PATIENCE, || {
        match net::get_status(&probe, Some(&authorization)) {
            Some(401) => bail!(
                "the store knows another admin, or {} by another password: \
                 give --admin-user and --admin-password",
                admin.user
            ),
            status => Ok(status == Some(200)),
        }
    })?;
    let envoy_pid = envoy.pid();
    services.push(envoy);

    Ready {
        url: &url,
        admin_user: &admin.user,
        admin_password: &admin.password,
        ports: Ports {
            gate: listen.port(),
            mlflow: mlflow_port,
            policy: policy_port,
            envoy_admin: admin_port,
        },
        pids: Pids {
            demo: std::process::id(),
            mlflow: mlflow_pid,
            policy: policy_pid,
            envoy: envoy_pid,
        },
        store_url: &store_url,
        tracking_uri: &tracking_uri,
        mlflow_url: format!("http://127.0.0.1:{mlflow_port}"),
        mlflow_version: options.mlflow_version.as_deref().unwrap_or(&tools.mlflow_version),
        envoy_admin_url: format!("http://127.0.0.1:{admin_port}"),
        policy_command: policy::command_line(&parts.mlgate, &policy_config),
        mlgate: parts.mlgate,
        wasm: parts.wasm,
        envoy: envoy_program,
        data_dir,
        policy_config,
        envoy_config,
    }
    .print();
    Ok(lock)
}

/// The policy store's URL, and that of MLflow's database if it is on the private Postgres too.
fn open_store(
    options: &Options,
    interrupt: &Interrupt,
    services: &mut Services,
    tools: &python::Tools,
    data_dir: &Path,
) -> Result<(String, Option<String>)> {
    match &options.store {
        Store::Sqlite => Ok((format!("sqlite://{}", data_dir.join("policy.db").display()), None)),
        Store::Url(url) => Ok((url.clone(), None)),
        Store::Postgres => {
            let (postgres, service) = postgres::start(
                interrupt,
                &tools.venv,
                &data_dir.join("postgres"),
                &data_dir.join("logs/postgres.log"),
            )
            .context("--store postgres")?;
            services.push(service);
            for database in ["mlgate", "mlflow"] {
                postgres.create_database(interrupt, database)?;
            }
            Ok((postgres.url("mlgate"), Some(postgres.sqlalchemy_url("mlflow"))))
        }
    }
}

/// Creates the data directory, which others may pass through (Postgres, when it runs as another
/// user) but not list, and takes its lock.
fn open_data_dir(dir: &Path) -> Result<(PathBuf, File)> {
    let dir = workspace::root().join(dir);
    let flag = || format!("--data-dir {}", dir.display());
    fs::DirBuilder::new().recursive(true).mode(0o711).create(&dir).with_context(flag)?;
    let dir = dir.canonicalize().with_context(flag)?;
    for sub in ["logs", "artifacts"] {
        fs::create_dir_all(dir.join(sub)).with_context(flag)?;
    }
    let lock = File::create(dir.join("lock")).with_context(flag)?;
    match lock.try_lock() {
        Ok(()) => Ok((dir, lock)),
        Err(TryLockError::WouldBlock) => bail!("{}: another demo is using it", flag()),
        Err(TryLockError::Error(error)) => Err(error).with_context(flag),
    }
}

/// An address that a client on this machine can connect to.
fn reachable(listen: SocketAddr) -> SocketAddr {
    match listen.ip() {
        ip if !ip.is_unspecified() => listen,
        _ => SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), listen.port()),
    }
}
