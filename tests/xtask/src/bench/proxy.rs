//! One proxy per variant, alike but for its filters.

use super::material::Material;
use super::variant::Proxy;
use crate::compile::Parts;
use crate::envoy::{self, MANAGER, Plan};
use crate::net;
use crate::service::Service;
use anyhow::{Context, Result};
use serde_json::{Value, json};
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The policy server's cluster in the shipped configuration; `ext_authz` asks it here.
const POLICY_CLUSTER: &str = "mlgate_policy";
const EXTENSIONS: &str = "type.googleapis.com/envoy.extensions.filters.http";

/// A proxy that runs.
#[derive(Clone, Copy)]
pub struct Running {
    pub port: u16,
    pub pid: u32,
}

/// What all proxies are made of.
pub struct Kit<'a> {
    pub envoy: &'a Path,
    pub parts: &'a Parts,
    pub noop: &'a Path,
    pub material: &'a Material,
    pub upstream: u16,
    pub mlflow_version: &'a str,
    pub directory: &'a Path,
}

impl Kit<'_> {
    /// `server` is the port of the policy server or of the `ext_authz` server.
    pub fn start(&self, proxy: Proxy, server: u16) -> Result<(Running, Service)> {
        let [port, admin] = net::free_ports()?;
        let service = match proxy {
            Proxy::Nginx | Proxy::NginxBcrypt => self.nginx(proxy, port)?,
            _ => self.envoy(proxy, port, admin, server)?,
        };
        Ok((Running { port, pid: service.pid() }, service))
    }

    fn envoy(&self, proxy: Proxy, port: u16, admin_port: u16, server: u16) -> Result<Service> {
        let file = |extension| self.directory.join(format!("{proxy:?}-{port}.{extension}"));
        let plugin_config = file("plugin.json");
        fs::write(&plugin_config, self.material.plugin_config().to_string())?;
        let plan = Plan {
            program: self.envoy,
            listen: SocketAddr::from(([127, 0, 0, 1], port)),
            admin_port,
            mlflow: SocketAddr::from(([127, 0, 0, 1], self.upstream)),
            policy_port: server,
            wasm: &self.parts.wasm,
            plugin_config: Some(&plugin_config),
            concurrency: Some(1),
            mlflow_version: self.mlflow_version,
            log: file("log"),
        };
        let mut config = envoy::configuration(&plan)?;
        let manager = config.pointer_mut(MANAGER).and_then(Value::as_object_mut);
        let manager = manager.context("the shipped configuration has no connection manager")?;
        // What is written about each request would make every variant look alike.
        manager.remove("access_log");
        let filters = manager.get_mut("http_filters").and_then(Value::as_array_mut);
        let filters = filters.context("the shipped configuration has no filters")?;
        let gate = filters.remove(0);
        filters.splice(0..0, self.filters(proxy, gate));
        envoy::start_with(&plan, &config, &file("json"))
    }

    fn filters(&self, proxy: Proxy, gate: Value) -> Vec<Value> {
        let mut filters = Vec::new();
        match proxy {
            Proxy::Gate => filters.push(gate),
            Proxy::Noop => filters.push(self.noop()),
            _ => {}
        }
        if proxy.checks_jwt() {
            filters.push(self.jwt_authn(proxy.caches_jwt()));
        }
        if proxy.asks_authz() {
            filters.push(ext_authz());
        }
        filters
    }

    fn noop(&self) -> Value {
        json!({
            "name": "noop",
            "typed_config": {
                "@type": format!("{EXTENSIONS}.wasm.v3.Wasm"),
                "config": { "name": "noop", "vm_config": {
                    "vm_id": "noop",
                    "runtime": "envoy.wasm.runtime.v8",
                    "code": { "local": { "filename": self.noop } },
                }},
            },
        })
    }

    fn jwt_authn(&self, cache: bool) -> Value {
        let mut provider = json!({
            "issuer": self.material.issuer,
            "audiences": [self.material.audience],
            "local_jwks": { "inline_string": self.material.jwks.to_string() },
        });
        if cache {
            provider["jwt_cache_config"] = json!({ "jwt_cache_size": 100 });
        }
        json!({
            "name": "envoy.filters.http.jwt_authn",
            "typed_config": {
                "@type": format!("{EXTENSIONS}.jwt_authn.v3.JwtAuthentication"),
                "providers": { "bench": provider },
                "rules": [{
                    "match": { "prefix": "/" }, "requires": { "provider_name": "bench" },
                }],
            },
        })
    }

    fn nginx(&self, proxy: Proxy, port: u16) -> Result<Service> {
        let directory = self.directory.join(format!("{proxy:?}"));
        fs::create_dir_all(&directory)?;
        let passwords = directory.join("htpasswd");
        fs::write(&passwords, &self.material.htpasswd)?;
        let auth = match proxy {
            Proxy::NginxBcrypt => {
                format!("auth_basic mlflow; auth_basic_user_file {};", passwords.display())
            }
            _ => String::new(),
        };
        let config = directory.join("nginx.conf");
        fs::write(&config, nginx_config(&directory, port, self.upstream, &auth))?;
        let mut command = Command::new(nginx_program().context("nginx is not installed")?);
        command.arg("-p").arg(&directory).arg("-c").arg(&config);
        command.args(["-e", "stderr"]);
        Service::start("nginx", &mut command, &directory.join("log"))
    }
}

fn ext_authz() -> Value {
    json!({
        "name": "envoy.filters.http.ext_authz",
        "typed_config": {
            "@type": format!("{EXTENSIONS}.ext_authz.v3.ExtAuthz"),
            "transport_api_version": "V3",
            "grpc_service": {
                "envoy_grpc": { "cluster_name": POLICY_CLUSTER }, "timeout": "1s",
            },
        },
    })
}

/// One process, so that its CPU time is all there is.
fn nginx_config(directory: &Path, port: u16, upstream: u16, auth: &str) -> String {
    let directory = directory.display();
    format!(
        "daemon off; master_process off; pid {directory}/pid;
events {{ worker_connections 256; }}
http {{
    access_log off; keepalive_requests 100000000;
    client_body_temp_path {directory}/body; proxy_temp_path {directory}/proxy;
    fastcgi_temp_path {directory}/fastcgi; uwsgi_temp_path {directory}/uwsgi;
    scgi_temp_path {directory}/scgi;
    upstream bench {{
        server 127.0.0.1:{upstream}; keepalive 64; keepalive_requests 100000000;
    }}
    server {{
        listen 127.0.0.1:{port}; {auth}
        location / {{
            proxy_pass http://bench; proxy_http_version 1.1; proxy_set_header Connection \"\";
        }}
    }}
}}
"
    )
}

pub fn nginx_program() -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    // Where Debian puts it, which is not in everybody's PATH.
    let mut directories = std::env::split_paths(&path).chain([PathBuf::from("/usr/sbin")]);
    directories.find_map(|directory| {
        let program = directory.join("nginx");
        program.is_file().then_some(program)
    })
}
