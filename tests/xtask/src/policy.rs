//! The policy server.

use crate::admin::Admin;
use crate::merge;
use crate::service::Service;
use anyhow::{Context, Result};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

pub struct Plan<'a> {
    pub mlgate: &'a Path,
    pub port: u16,
    pub store_url: &'a str,
    pub tracking_uri: &'a str,
    pub default_permission: &'a str,
    pub admin: &'a Admin,
    pub server_config: Option<&'a Path>,
    pub config_file: PathBuf,
    pub log: PathBuf,
    pub expendable: bool,
}

/// The program and its arguments, for the ready line.
pub fn command_line(mlgate: &Path, config_file: &Path) -> Vec<String> {
    let text = |path: &Path| path.to_string_lossy().into_owned();
    vec![text(mlgate), "--config".into(), text(config_file), "serve".into()]
}

pub fn start(plan: &Plan<'_>) -> Result<Service> {
    let mut config = toml::Table::new();
    config.insert("listen".into(), format!("127.0.0.1:{}", plan.port).into());
    config.insert("store".into(), plan.store_url.into());
    config.insert("tracking_uri".into(), plan.tracking_uri.into());
    config.insert("default_permission".into(), plan.default_permission.into());
    if let Some(file) = plan.server_config {
        merge::toml(&mut config, server_config(file)?);
    }
    fs::write(&plan.config_file, toml::to_string_pretty(&config)?)
        .with_context(|| format!("cannot write {}", plan.config_file.display()))?;
    let line = command_line(plan.mlgate, &plan.config_file);
    let mut command = Command::new(plan.mlgate);
    // Its variables win over its file; those of the developer's shell are not meant for the demo.
    for (name, _) in std::env::vars_os() {
        if name.as_encoded_bytes().starts_with(b"MLGATE_") {
            command.env_remove(name);
        }
    }
    command
        .args(line.iter().skip(1))
        .env("MLGATE_ADMIN_USERNAME", &plan.admin.user)
        .env("MLGATE_ADMIN_PASSWORD", &plan.admin.password);
    Ok(Service::start("the policy server", &mut command, &plan.log)?.expendable(plan.expendable))
}

fn server_config(file: &Path) -> Result<toml::Table> {
    let flag = || format!("--server-config {}", file.display());
    fs::read_to_string(file).with_context(flag)?.parse().with_context(flag)
}
