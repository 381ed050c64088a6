//! MLflow as it comes: no auth app, reachable on loopback only.

use crate::python::Venv;
use crate::service::Service;
use anyhow::Result;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

pub struct Plan<'a> {
    pub venv: &'a Venv,
    pub port: u16,
    pub tracking_uri: String,
    pub artifacts: PathBuf,
    pub gate: SocketAddr,
    pub log: PathBuf,
}

/// Where MLflow keeps its data unless the environment says otherwise.
pub fn tracking_uri(data_dir: &Path, postgres: Option<&str>) -> String {
    std::env::var("MLFLOW_BACKEND_STORE_URI").unwrap_or_else(|_| match postgres {
        Some(uri) => uri.to_owned(),
        None => format!("sqlite:///{}", data_dir.join("mlflow.db").display()),
    })
}

/// The path below which MLflow serves its health check.
pub fn static_prefix() -> String {
    std::env::var("MLFLOW_STATIC_PREFIX").unwrap_or_default()
}

pub fn start(plan: &Plan<'_>) -> Result<Service> {
    Service::start("MLflow", &mut command(plan), &plan.log)
}

/// The command that starts it.
pub fn command(plan: &Plan<'_>) -> Command {
    let mut command = Command::new(plan.venv.program("mlflow"));
    command
        .args(["server", "--host", "127.0.0.1", "--workers", "1", "--serve-artifacts"])
        .args(["--port", &plan.port.to_string()])
        .args(["--backend-store-uri", &plan.tracking_uri])
        .arg("--artifacts-destination")
        .arg(&plan.artifacts);
    // The environment of the demo reaches MLflow and wins over what is only a default here.
    for (name, value) in defaults(plan.gate) {
        if std::env::var_os(name).is_none() {
            command.env(name, value);
        }
    }
    command
}

fn defaults(gate: SocketAddr) -> Vec<(&'static str, String)> {
    let mut defaults = vec![
        ("MLFLOW_DISABLE_TELEMETRY", "true".to_owned()),
        // Background jobs start four more Python processes; the gate closes their routes anyway.
        ("MLFLOW_SERVER_ENABLE_JOB_EXECUTION", "false".to_owned()),
        // Envoy holds the list of acceptable hosts; the gate's own must pass here.
        ("MLFLOW_SERVER_ALLOWED_HOSTS", "*".to_owned()),
    ];
    if !gate.ip().is_loopback() && !gate.ip().is_unspecified() {
        defaults.push(("MLFLOW_SERVER_CORS_ALLOWED_ORIGINS", format!("http://{gate}")));
    }
    defaults
}
