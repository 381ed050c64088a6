//! A private Postgres on loopback.

use crate::lifetime::Interrupt;
use crate::net;
use crate::python::Venv;
use crate::service::Service;
use anyhow::{Context, Result, bail};
use nix::sys::signal::Signal;
use nix::unistd::{Uid, User};
use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

/// Postgres refuses to run as root; root's own is run as this user.
const UNPRIVILEGED: &str = "nobody";

pub struct Postgres {
    programs: PathBuf,
    port: u16,
    runner: Runner,
}

impl Postgres {
    pub fn url(&self, database: &str) -> String {
        format!("postgresql://mlgate@127.0.0.1:{}/{database}", self.port)
    }

    /// The same, as SQLAlchemy wants it.
    pub fn sqlalchemy_url(&self, database: &str) -> String {
        self.url(database).replacen("postgresql://", "postgresql+psycopg2://", 1)
    }

    pub fn create_database(&self, interrupt: &Interrupt, name: &str) -> Result<()> {
        let output = self
            .psql()
            .args(["--tuples-only", "--no-align", "--command"])
            .arg(format!("select 1 from pg_database where datname = '{name}'"))
            .output()?;
        if output.stdout.trim_ascii() == b"1" {
            return Ok(());
        }
        let status = interrupt.run(
            self.psql()
                .args(["--quiet", "--command"])
                .arg(format!("create database \"{name}\""))
                .stdout(Stdio::null()),
        )?;
        if !status.success() {
            bail!("Postgres could not create the database {name}");
        }
        Ok(())
    }

    fn psql(&self) -> Command {
        let mut command = self.runner.command(&self.programs.join("psql"));
        command.args(["--no-psqlrc", "--host", "127.0.0.1", "--username", "mlgate"]);
        command.args(["--port", &self.port.to_string(), "--dbname", "postgres"]);
        command
    }
}

/// Creates the cluster where there is none, and starts it.
pub fn start(
    interrupt: &Interrupt,
    tools: &Venv,
    data: &Path,
    log: &Path,
) -> Result<(Postgres, Service)> {
    let programs = tools.postgres_programs()?;
    fs::create_dir_all(data).with_context(|| format!("cannot create {}", data.display()))?;
    fs::set_permissions(data, fs::Permissions::from_mode(0o700))?;
    let runner = Runner::new(data, &programs)?;
    let [port] = net::free_ports()?;
    let postgres = Postgres { programs, port, runner };
    if !data.join("PG_VERSION").exists() {
        create_cluster(interrupt, &postgres, data)?;
    }
    let mut service = Service::start(
        "Postgres",
        postgres
            .runner
            .command(&postgres.programs.join("postgres"))
            .arg("-D")
            .arg(data)
            .args(["-p", &port.to_string(), "-h", "127.0.0.1"])
            // No socket file: its path may be too long, and its directory not writable.
            .args(["-c", "unix_socket_directories="])
            .args(["-c", "max_connections=200"]),
        log,
    )?
    .stopped_by(Signal::SIGINT);
    service.wait_ready(interrupt, Duration::from_secs(60), || {
        let question = postgres
            .psql()
            .args(["--command", "select 1"])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()?;
        Ok(question.success())
    })?;
    Ok((postgres, service))
}

fn create_cluster(interrupt: &Interrupt, postgres: &Postgres, data: &Path) -> Result<()> {
    let status = interrupt.run(
        postgres
            .runner
            .command(&postgres.programs.join("initdb"))
            .arg("-D")
            .arg(data)
            .args(["--username", "mlgate", "--encoding", "UTF8", "--no-locale"])
            // Loopback, for as long as the demo runs.
            .args(["--auth", "trust", "--no-sync", "--no-instructions"])
            .stdout(Stdio::null()),
    )?;
    if !status.success() {
        bail!("initdb failed in {}", data.display());
    }
    Ok(())
}

/// How Postgres' programs are run: as we are, or unprivileged when we are root.
enum Runner {
    AsWeAre,
    /// In a user namespace where root has another number: works below directories that only
    /// root can enter, but not in every container.
    Namespace,
    Unprivileged(User),
}

impl Runner {
    fn new(data: &Path, programs: &Path) -> Result<Self> {
        if !Uid::effective().is_root() {
            return Ok(Self::AsWeAre);
        }
        if Self::Namespace.command(Path::new("true")).status().is_ok_and(|status| status.success())
        {
            let root = User::from_uid(Uid::effective())?.context("root has no name")?;
            give(data, &root)?;
            return Ok(Self::Namespace);
        }
        let user = User::from_name(UNPRIVILEGED)?.with_context(|| {
            format!("Postgres cannot run as root and there is no user {UNPRIVILEGED}")
        })?;
        for path in [data, programs] {
            if let Some(closed) = closed_to_others(path) {
                bail!(
                    "Postgres cannot run as root, and {UNPRIVILEGED} cannot enter {}: run as \
                     another user, choose another --data-dir, or give --store the URL of a Postgres",
                    closed.display()
                );
            }
        }
        give(data, &user)?;
        Ok(Self::Unprivileged(user))
    }

    fn command(&self, program: &Path) -> Command {
        let mut command = match self {
            Self::AsWeAre => Command::new(program),
            Self::Namespace => {
                let mut command = Command::new("unshare");
                command.args(["--user", "--map-user=65534", "--map-group=65534"]).arg(program);
                command
            }
            Self::Unprivileged(user) => {
                let mut command = Command::new(program);
                command.uid(user.uid.as_raw()).gid(user.gid.as_raw());
                command
            }
        };
        command.current_dir("/");
        command
    }
}

/// The first directory on the way to `path` that others cannot enter.
fn closed_to_others(path: &Path) -> Option<&Path> {
    path.ancestors().skip(1).find(|ancestor| {
        fs::metadata(ancestor).is_ok_and(|metadata| metadata.permissions().mode() & 0o001 == 0)
    })
}

/// Hands a directory and all that is in it to a user.
fn give(path: &Path, user: &User) -> Result<()> {
    chown(path, Some(user.uid.as_raw()), Some(user.gid.as_raw()))
        .with_context(|| format!("cannot give {} to {}", path.display(), user.name))?;
    if path.is_dir() && !path.is_symlink() {
        for entry in fs::read_dir(path)? {
            give(&entry?.path(), user)?;
        }
    }
    Ok(())
}
