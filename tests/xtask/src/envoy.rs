//! Envoy with `envoy/plain/envoy.yaml` as shipped, but without TLS, and changed only where the demo's
//! options say so.

use crate::merge;
use crate::service::Service;
use crate::workspace;
use anyhow::{Context, Result, anyhow};
use serde_json::{Value, json};
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

const SHIPPED: &str = "envoy/plain/envoy.yaml";
const CHAIN: &str = "/static_resources/listeners/0/filter_chains/0";
/// The connection manager.
pub const MANAGER: &str = "/static_resources/listeners/0/filter_chains/0/filters/0/typed_config";
const PLUGIN: &str = "/http_filters/0/typed_config/config";

pub struct Plan<'a> {
    pub program: &'a Path,
    pub listen: SocketAddr,
    pub admin_port: u16,
    pub mlflow: SocketAddr,
    pub policy_port: u16,
    pub wasm: &'a Path,
    pub mlflow_version: &'a str,
    pub plugin_config: Option<&'a Path>,
    pub concurrency: Option<u32>,
    pub log: PathBuf,
}

pub fn start(plan: &Plan<'_>, config_file: &Path) -> Result<Service> {
    start_with(plan, &configuration(plan)?, config_file)
}

/// Starts Envoy with a configuration that was made of the plan's.
pub fn start_with(plan: &Plan<'_>, config: &Value, config_file: &Path) -> Result<Service> {
    fs::write(config_file, serde_json::to_vec_pretty(config)?)
        .with_context(|| format!("cannot write {}", config_file.display()))?;
    let mut command = Command::new(plan.program);
    command.arg("--config-path").arg(config_file);
    // Its shared memory would be one for all Envoys of the machine.
    command.arg("--disable-hot-restart");
    command.args(["--log-level", "warning", "--component-log-level", "wasm:info"]);
    if let Some(threads) = plan.concurrency {
        command.args(["--concurrency", &threads.to_string()]);
    }
    Service::start("Envoy", &mut command, &plan.log)
}

/// The shipped configuration with what the plan says.
pub fn configuration(plan: &Plan<'_>) -> Result<Value> {
    let shipped = fs::read_to_string(workspace::root().join(SHIPPED))
        .with_context(|| format!("cannot read {SHIPPED}"))?;
    let mut config: Value =
        serde_saphyr::from_str(&shipped).with_context(|| format!("{SHIPPED} is not YAML"))?;
    set(&mut config, "/admin/address/socket_address/port_value", plan.admin_port.into())?;
    let listener = "/static_resources/listeners/0/address/socket_address";
    set(&mut config, listener, socket(plan.listen))?;
    // There is no certificate for a demo, and nothing between it and its clients to be read.
    if let Some(chain) = at(&mut config, CHAIN)?.as_object_mut() {
        chain.remove("transport_socket");
    }
    set(&mut config, &endpoint(0), socket(plan.mlflow))?;
    let policy = SocketAddr::from(([127, 0, 0, 1], plan.policy_port));
    set(&mut config, &endpoint(1), socket(policy))?;

    let domains = format!("{MANAGER}/route_config/virtual_hosts/0/domains");
    set(&mut config, &domains, host_names(plan.listen))?;
    let plugin = format!("{MANAGER}{PLUGIN}");
    let wasm = plan.wasm.to_string_lossy().into_owned();
    set(&mut config, &format!("{plugin}/vm_config/code/local/filename"), wasm.into())?;
    let pointer = format!("{plugin}/configuration/value");
    let text = at(&mut config, &pointer)?.as_str().unwrap_or_default().to_owned();
    let mut settings: Value = serde_json::from_str(&text)
        .with_context(|| format!("the filter's configuration in {SHIPPED} is not JSON"))?;
    merge::json(&mut settings, json!({ "mlflow_version": plan.mlflow_version }));
    if let Some(file) = plan.plugin_config {
        merge::json(&mut settings, plugin_config(file)?);
    }
    set(&mut config, &pointer, settings.to_string().into())?;
    Ok(config)
}

fn plugin_config(file: &Path) -> Result<Value> {
    let flag = || format!("--plugin-config {}", file.display());
    let text = fs::read_to_string(file).with_context(flag)?;
    let value: Value = serde_json::from_str(&text).with_context(flag)?;
    match value {
        Value::Object(_) => Ok(value),
        _ => Err(anyhow!("{}: expected a JSON object", flag())),
    }
}

fn endpoint(cluster: usize) -> String {
    let lb = "load_assignment/endpoints/0/lb_endpoints/0/endpoint/address/socket_address";
    format!("/static_resources/clusters/{cluster}/{lb}")
}

fn socket(address: SocketAddr) -> Value {
    json!({ "address": address.ip().to_string(), "port_value": address.port() })
}

/// The hosts that requests may name. On an unspecified address nobody knows what the machine is
/// called from outside, so that every name must do.
fn host_names(listen: SocketAddr) -> Value {
    if listen.ip().is_unspecified() {
        return json!(["*"]);
    }
    let own = match listen {
        SocketAddr::V4(address) => address.ip().to_string(),
        SocketAddr::V6(address) => format!("[{}]", address.ip()),
    };
    let mut names = vec!["localhost".to_owned(), "127.0.0.1".to_owned(), "[::1]".to_owned()];
    if !names.contains(&own) {
        names.push(own);
    }
    json!(names)
}

fn at<'v>(config: &'v mut Value, pointer: &str) -> Result<&'v mut Value> {
    config.pointer_mut(pointer).with_context(|| format!("{SHIPPED} has no {pointer}"))
}

fn set(config: &mut Value, pointer: &str, value: Value) -> Result<()> {
    *at(config, pointer)? = value;
    Ok(())
}
