//! The servers behind the proxies.

use super::material::Material;
use crate::admin::Admin;
use crate::compile::Parts;
use crate::lifetime::Interrupt;
use crate::python::Venv;
use crate::service::{Service, Services};
use crate::{net, policy, workspace};
use anyhow::{Context, Result, bail};
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

pub const PATIENCE: Duration = Duration::from_secs(120);

/// `mlgate-bench upstream` or `authz`; gives its port and process.
pub fn own(
    interrupt: &Interrupt,
    services: &mut Services,
    program: &Path,
    name: &'static str,
    directory: &Path,
) -> Result<(u16, u32)> {
    let [port] = net::free_ports()?;
    let mut command = Command::new(program);
    command.arg(name).arg(port.to_string());
    let log = directory.join(format!("{name}.log"));
    let mut service = Service::start(name, &mut command, &log)?;
    service.wait_ready(interrupt, PATIENCE, || Ok(net::accepts(port)))?;
    let pid = service.pid();
    services.push(service);
    Ok((port, pid))
}

/// A tracking database with this many runs.
pub fn tracking(interrupt: &Interrupt, venv: &Venv, path: &Path, runs: u64) -> Result<()> {
    let status = interrupt.run(
        Command::new(venv.program("python"))
            .arg(workspace::root().join("tests/bench/tracking.py"))
            .arg(path)
            .arg(runs.to_string()),
    )?;
    if !status.success() {
        bail!("no tracking database");
    }
    Ok(())
}

/// A policy server on a store of its own, with one user who may edit one experiment, or every one.
pub struct PolicyPlan<'a> {
    pub parts: &'a Parts,
    pub directory: &'a Path,
    pub name: &'a str,
    pub tracking_uri: &'a str,
    pub experiment: &'a str,
    /// Users who may read it, with the same password.
    pub readers: &'a [String],
    pub material: &'a Material,
}

pub fn policy(
    interrupt: &Interrupt,
    services: &mut Services,
    plan: &PolicyPlan<'_>,
) -> Result<(u16, u32)> {
    let file = |suffix| plan.directory.join(format!("{}.{suffix}", plan.name));
    let store = format!("sqlite:{}", file("db").display());
    let user = plan.material.user.as_str();
    let password = plan.material.password.as_str();
    manage(plan, &store, &["user", "create", user, "--password-stdin"], password)?;
    manage(plan, &store, &["grant", user, "experiment", plan.experiment, "EDIT"], "")?;
    for reader in plan.readers {
        manage(plan, &store, &["user", "create", reader, "--password-stdin"], password)?;
        manage(plan, &store, &["grant", reader, "experiment", plan.experiment, "READ"], "")?;
    }
    let [port] = net::free_ports()?;
    let mut service = policy::start(&policy::Plan {
        mlgate: &plan.parts.mlgate,
        port,
        store_url: &store,
        tracking_uri: plan.tracking_uri,
        default_permission: "NO_PERMISSIONS",
        admin: &Admin { user: "admin".into(), password: format!("{password} of the admin") },
        server_config: None,
        config_file: file("toml"),
        log: file("log"),
        expendable: false,
    })?;
    service.wait_ready(interrupt, PATIENCE, || Ok(net::accepts(port)))?;
    let pid = service.pid();
    services.push(service);
    Ok((port, pid))
}

fn manage(plan: &PolicyPlan<'_>, store: &str, arguments: &[&str], input: &str) -> Result<()> {
    let mut child = Command::new(&plan.parts.mlgate)
        .args(["--store", store])
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()?;
    let mut stdin = child.stdin.take().context("no input")?;
    stdin.write_all(input.as_bytes())?;
    drop(stdin);
    let output = child.wait_with_output()?;
    if !output.status.success() {
        bail!("mlgate {}: {}", arguments.join(" "), String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(())
}
