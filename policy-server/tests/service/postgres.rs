//! A Postgres that a test may kill.

use std::os::unix::fs::{MetadataExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use sqlx::ConnectOptions;

use crate::support::free_port;

/// Nobody: Postgres refuses to run as root.
const UNPRIVILEGED: u32 = 65534;

pub struct Postgres {
    programs: PathBuf,
    data: PathBuf,
    port: u16,
    process: Child,
    /// Removed with it.
    _directory: tempfile::TempDir,
}

impl Postgres {
    /// None, said plainly, without `MLGATE_TEST_POSTGRES_PROGRAMS`, the directory of `initdb` and
    /// `postgres`.
    pub async fn start() -> Option<Self> {
        let Some(programs) = std::env::var_os("MLGATE_TEST_POSTGRES_PROGRAMS") else {
            eprintln!("SKIPPED: MLGATE_TEST_POSTGRES_PROGRAMS is not set");
            return None;
        };
        let programs = PathBuf::from(programs);
        let directory = tempfile::tempdir().unwrap();
        let root = is_root(directory.path());
        if root {
            chown(directory.path(), Some(UNPRIVILEGED), Some(UNPRIVILEGED)).unwrap();
        }
        let data = directory.path().join("data");
        let made = command(&programs.join("initdb"), root)
            .arg("-D")
            .arg(&data)
            .args(["--username", "mlgate", "--auth", "trust", "--no-locale", "--no-sync"])
            .stdout(Stdio::null())
            .status()
            .unwrap();
        assert!(made.success(), "initdb");
        let port = free_port();
        let process = spawn(&programs, &data, port, root);
        let mut postgres = Self { programs, data, port, process, _directory: directory };
        postgres.wait_until_ready().await;
        Some(postgres)
    }

    pub fn url(&self) -> String {
        format!("postgres://mlgate@127.0.0.1:{}/postgres", self.port)
    }

    /// SIGKILL to the postmaster; its children see that it is gone and end.
    pub fn kill(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }

    pub async fn start_again(&mut self) {
        self.process = spawn(&self.programs, &self.data, self.port, is_root(&self.data));
        self.wait_until_ready().await;
    }

    async fn wait_until_ready(&mut self) {
        let options: sqlx::postgres::PgConnectOptions = self.url().parse().unwrap();
        let begun = Instant::now();
        while options.connect().await.is_err() {
            assert!(begun.elapsed() < Duration::from_secs(60), "Postgres does not start");
            // As long as a child of the killed one lives, a new one does not start.
            if self.process.try_wait().unwrap().is_some() {
                self.process = spawn(&self.programs, &self.data, self.port, is_root(&self.data));
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn spawn(programs: &Path, data: &Path, port: u16, root: bool) -> Child {
    command(&programs.join("postgres"), root)
        .arg("-D")
        .arg(data)
        .args(["-p", &port.to_string(), "-h", "127.0.0.1", "-c", "unix_socket_directories="])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

fn command(program: &Path, root: bool) -> Command {
    let mut command = Command::new(program);
    if root {
        command.uid(UNPRIVILEGED).gid(UNPRIVILEGED);
    }
    command.current_dir("/").stdin(Stdio::null());
    command
}

/// Whether we are root, or were when we made this.
fn is_root(made: &Path) -> bool {
    matches!(std::fs::metadata(made).unwrap().uid(), 0 | UNPRIVILEGED)
}
