//! What the demo prints once everything answers.

use serde::Serialize;
use std::path::PathBuf;

/// One line of JSON for programs; people read the lines above it.
#[derive(Serialize)]
pub struct Line<'a> {
    pub ready: Ready<'a>,
}

#[derive(Serialize)]
pub struct Ready<'a> {
    pub url: &'a str,
    pub admin_user: &'a str,
    pub admin_password: &'a str,
    pub ports: Ports,
    pub pids: Pids,
    pub store_url: &'a str,
    pub tracking_uri: &'a str,
    pub mlflow_url: String,
    pub mlflow_version: &'a str,
    pub envoy_admin_url: String,
    pub data_dir: PathBuf,
    pub mlgate: PathBuf,
    pub wasm: PathBuf,
    pub envoy: PathBuf,
    /// Starts the policy server again after it was stopped.
    pub policy_command: Vec<String>,
    pub policy_config: PathBuf,
    pub envoy_config: PathBuf,
}

#[derive(Serialize)]
pub struct Ports {
    pub gate: u16,
    pub mlflow: u16,
    pub policy: u16,
    pub envoy_admin: u16,
}

#[derive(Serialize)]
pub struct Pids {
    pub demo: u32,
    pub mlflow: u32,
    pub policy: u32,
    pub envoy: u32,
}

impl Ready<'_> {
    pub fn print(self) {
        println!();
        println!("MLflow is at {}, behind the gate. Paste:", self.url);
        println!();
        println!("    export MLFLOW_TRACKING_URI={}", self.url);
        println!("    export MLFLOW_TRACKING_USERNAME={}", self.admin_user);
        println!("    export MLFLOW_TRACKING_PASSWORD={}", self.admin_password);
        println!();
        println!(
            "Users and grants: {} --config {} --help",
            self.mlgate.display(),
            self.policy_config.display()
        );
        println!("Data and logs:    {}", self.data_dir.display());
        println!("Ctrl-C stops everything; the data stays.");
        println!();
        if let Ok(line) = serde_json::to_string(&Line { ready: self }) {
            println!("{line}");
        }
    }
}
