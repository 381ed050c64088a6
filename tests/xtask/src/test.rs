//! `cargo xtask test`.

use crate::compile::{self, Profile};
use crate::lifetime::Interrupt;
use crate::service::Services;
use crate::suites::{self, Suite};
use crate::{postgres, python, workspace};
use anyhow::{Context, Result, bail};
use clap::Args;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

/// The last release of the 2 line, which many come from.
const MLFLOW_2: &str = "2.22.5";

/// The newest release, where it is not the pinned one.
const NEWEST_MLFLOW: &str = "3.18.0";

/// The MLflows besides the pinned one: route coverage is measured against them too, and tests find
/// their interpreters in these variables.
const OTHER_MLFLOWS: [(&str, &str); 2] = [
    (NEWEST_MLFLOW, "MLGATE_TEST_NEWEST_MLFLOW_PYTHON"),
    (MLFLOW_2, "MLGATE_TEST_MLFLOW_2_PYTHON"),
];

#[derive(Args)]
pub struct Options {
    /// Only the tests that need neither wasm, Envoy, MLflow nor Postgres.
    #[arg(long)]
    fast: bool,
}

pub fn run(options: &Options) -> Result<ExitCode> {
    let interrupt = Interrupt::install()?;
    let suites =
        if options.fast { vec![suites::cargo_tests(&interrupt, &[])?] } else { all(&interrupt)? };
    Ok(if suites::summarise(&suites) { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn all(interrupt: &Interrupt) -> Result<Vec<Suite>> {
    let scratch = workspace::target().join("xtask-test");
    let _ = fs::remove_dir_all(&scratch);
    fs::create_dir_all(&scratch).with_context(|| format!("cannot create {}", scratch.display()))?;
    // Asked now: the tests of the workspace link this program anew, and then its path would be
    // that of a deleted file.
    let xtask = std::env::current_exe()?.to_string_lossy().into_owned();
    eprintln!("preparing");
    compile::parts(interrupt, Profile::Dev)?;
    let tools = python::tools(interrupt)?;
    let routes = enumerate_routes(interrupt, &tools, &scratch)?;

    let mut suites = Vec::new();
    {
        let mut services = Services::default();
        let (postgres, service) = postgres::start(
            interrupt,
            &tools.venv,
            &scratch.join("postgres"),
            &scratch.join("postgres.log"),
        )?;
        services.push(service);
        suites.push(suites::cargo_tests(
            interrupt,
            &[
                ("MLGATE_TEST_POSTGRES", postgres.url("postgres")),
                (
                    "MLGATE_TEST_POSTGRES_PROGRAMS",
                    tools.venv.postgres_programs()?.display().to_string(),
                ),
                ("MLGATE_TEST_ROUTES", routes),
                ("MLGATE_TEST_PYTHON", tools.venv.program("python").display().to_string()),
            ],
        )?);
    }
    let mut interpreters = Vec::new();
    for (version, variable) in OTHER_MLFLOWS {
        if let Some(venv) = python::mlflow(interrupt, &tools, Some(version))? {
            interpreters.push((variable, venv.program("python").display().to_string()));
        }
    }
    for store in ["sqlite", "postgres"] {
        let mut environment =
            vec![("MLGATE_TEST_STORE", store.to_owned()), ("MLGATE_TEST_XTASK", xtask.clone())];
        environment.extend(interpreters.clone());
        suites.push(suites::python_tests(
            interrupt,
            &tools.venv,
            &format!("end to end on {store}"),
            &["-m", "pytest", "--quiet", "-p", "no:cacheprovider", "tests/e2e"],
            &environment,
            &scratch,
        )?);
    }
    for (module, name) in [
        ("differential.crowd", "lists among 500 objects, against MLflow's basic-auth"),
        ("differential", "differential against MLflow's basic-auth"),
    ] {
        suites.push(differential(interrupt, &tools, &xtask, &scratch, module, name)?);
    }
    Ok(suites)
}

/// The routes of each MLflow, as files whose names are joined by `:`.
fn enumerate_routes(
    interrupt: &Interrupt,
    tools: &python::Tools,
    scratch: &Path,
) -> Result<String> {
    let mut files = vec![routes_of(interrupt, &tools.venv, &tools.mlflow_version, scratch)?];
    for (version, _) in OTHER_MLFLOWS {
        if let Some(venv) = python::mlflow(interrupt, tools, Some(version))? {
            files.push(routes_of(interrupt, &venv, version, scratch)?);
        }
    }
    let files: Vec<_> = files.iter().map(|file| file.to_string_lossy()).collect();
    Ok(files.join(":"))
}

fn routes_of(
    interrupt: &Interrupt,
    venv: &python::Venv,
    version: &str,
    scratch: &Path,
) -> Result<PathBuf> {
    let file = scratch.join(format!("routes-{version}.json"));
    let status = interrupt.run(
        Command::new(venv.program("python"))
            .arg(workspace::root().join("tests/conformance/enumerate_routes.py"))
            .arg("--output")
            .arg(&file),
    )?;
    if !status.success() {
        bail!("cannot enumerate the routes of MLflow {version}");
    }
    Ok(file)
}

/// Compares the gate with MLflow's own basic-auth, request by request.
fn differential(
    interrupt: &Interrupt,
    tools: &python::Tools,
    xtask: &str,
    scratch: &Path,
    module: &str,
    name: &str,
) -> Result<Suite> {
    let work = scratch.join(module);
    let demo = format!("'{xtask}' demo --no-build --profile dev");
    suites::python_tests(
        interrupt,
        &tools.venv,
        name,
        &["-m", module, "--work-dir", &work.to_string_lossy(), "--demo", &demo],
        &[("PYTHONPATH", workspace::root().join("tests/conformance").display().to_string())],
        scratch,
    )
}
