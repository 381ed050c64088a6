//! MLflow's own basic-auth against the gate, with a real MLflow behind both.

use super::load::{Job, Load, Report, Runs};
use super::material::{self, Credential, Material};
use super::proxy::{Kit, Running};
use super::report::{Plan, RealRow};
use super::route::Route;
use super::servers::{self, PATIENCE, PolicyPlan};
use super::stats::median;
use super::variant::Proxy;
use crate::lifetime::{self, Interrupt};
use crate::python::Venv;
use crate::service::{Service, Services};
use crate::{mlflow, net};
use anyhow::{Context, Result};
use nix::unistd::Pid;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;
use std::path::Path;

const ROUTES: [Route; 3] = [Route::Get, Route::LogMetric, Route::Search];
/// Runs in the experiment that is searched.
const RUNS: u32 = 20;
const ADMIN: &str = "admin";
const ADMIN_PASSWORD: &str = "the first admin of all";

pub const BEHIND_GATE: &str = "MLflow behind the gate";
pub const BASIC_AUTH_CACHED: &str = "MLflow's basic-auth with its cache";

/// Who decides.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Setup {
    Nobody,
    Gate,
    BasicAuthCached,
    BasicAuth,
}

impl Setup {
    fn name(self) -> &'static str {
        match self {
            Self::Nobody => "MLflow without auth, behind Envoy",
            Self::Gate => BEHIND_GATE,
            Self::BasicAuthCached => BASIC_AUTH_CACHED,
            Self::BasicAuth => "MLflow's basic-auth",
        }
    }
}

/// Where a setup is reached, and whose CPU time it costs.
struct Place {
    port: u16,
    proxy: Vec<u32>,
    server: Vec<u32>,
    mlflow: Vec<u32>,
}

pub struct Real<'a> {
    pub interrupt: &'a Interrupt,
    pub services: &'a mut Services,
    pub venv: &'a Venv,
    pub kit: &'a Kit<'a>,
    /// Of MLflow's data, as SQLAlchemy wants it.
    pub tracking_uri: String,
}

struct Stage {
    places: BTreeMap<Setup, Place>,
    run: String,
    experiment: String,
}

impl Real<'_> {
    pub fn measure(&mut self, plan: &Plan, load: &mut Load) -> Result<Vec<RealRow>> {
        let stage = self.set_up()?;
        let mut samples: BTreeMap<(usize, Setup), Vec<Pair>> = BTreeMap::new();
        for round in 1..=plan.real_rounds {
            eprintln!("  round {round} of {}", plan.real_rounds);
            for (index, route) in ROUTES.into_iter().enumerate() {
                for setup in [Setup::Gate, Setup::BasicAuthCached, Setup::BasicAuth] {
                    self.interrupt.check()?;
                    let failed = || format!("{}, {}", setup.name(), route.name());
                    let pair = self.pair(plan, load, &stage, setup, route).with_context(failed)?;
                    samples.entry((index, setup)).or_default().push(pair);
                }
            }
        }
        Ok(ROUTES
            .into_iter()
            .enumerate()
            .flat_map(|(index, route)| rows(route, &samples, index))
            .collect())
    }

    fn pair(
        &self,
        plan: &Plan,
        load: &mut Load,
        stage: &Stage,
        setup: Setup,
        route: Route,
    ) -> Result<Pair> {
        let requests = match setup {
            // Half a second each.
            Setup::BasicAuth => (plan.real_requests / 10).max(2),
            _ => plan.real_requests,
        };
        let mut block = |setup| self.block(load, stage, setup, route, requests);
        let before = block(Setup::Nobody)?;
        let first = block(setup)?;
        let second = block(setup)?;
        let after = block(Setup::Nobody)?;
        Ok(Pair { base: Cost::mean(&before, &after), other: Cost::mean(&first, &second) })
    }

    fn block(
        &self,
        load: &mut Load,
        stage: &Stage,
        setup: Setup,
        route: Route,
        requests: u64,
    ) -> Result<Report> {
        let place = stage.places.get(&setup).context("a setup that is not there")?;
        let authorization = self.kit.material.authorization(Credential::Basic);
        let headers = BTreeMap::from([
            ("authorization".to_owned(), authorization),
            ("content-type".to_owned(), "application/json".to_owned()),
        ]);
        load.run(&Job {
            port: place.port,
            method: route.method(),
            path: &route.path(&stage.run),
            headers: &headers,
            body: route.body(&stage.run, &stage.experiment).as_deref(),
            runs: Runs { first: 0, count: 1 },
            connections: 1,
            warmup: 1,
            requests,
            rate: None,
            cpu_of: BTreeMap::from([
                (PROXY, place.proxy.clone()),
                (SERVER, place.server.clone()),
                (MLFLOW, place.mlflow.clone()),
            ]),
            status: 200,
        })
    }

    /// Starts one MLflow without auth, which makes the database, then everything else on it.
    fn set_up(&mut self) -> Result<Stage> {
        let (port, mlflow) = self.mlflow("mlflow", None)?;
        let (experiment, run) = fill(port)?;
        let mut waiting = Vec::new();
        for (name, setup, ttl) in
            [("basic-auth", Setup::BasicAuth, 0), ("basic-auth-cached", Setup::BasicAuthCached, 60)]
        {
            waiting.push((setup, self.mlflow_begun(name, Some(ttl))?));
        }
        let kit = Kit { upstream: port, ..*self.kit };
        let policy = servers::policy(
            self.interrupt,
            self.services,
            &PolicyPlan {
                parts: kit.parts,
                directory: kit.directory,
                name: "policy-mlflow",
                tracking_uri: &self.tracking_uri,
                experiment: &experiment,
                readers: &[],
                material: kit.material,
            },
        )?;
        let mut places = BTreeMap::new();
        let plain = self.proxy(&kit, Proxy::Plain, policy.0)?;
        let gate = self.proxy(&kit, Proxy::Gate, policy.0)?;
        let at = |proxy: Running, server| Place {
            port: proxy.port,
            proxy: vec![proxy.pid],
            server,
            mlflow: mlflow.clone(),
        };
        places.insert(Setup::Nobody, at(plain, vec![]));
        places.insert(Setup::Gate, at(gate, vec![policy.1]));
        for (setup, (port, mut service)) in waiting {
            self.wait(port, &mut service)?;
            let mlflow = tree(service.pid());
            self.services.push(service);
            admit(port, kit.material, &experiment)?;
            places.insert(setup, Place { port, proxy: vec![], server: vec![], mlflow });
        }
        Ok(Stage { places, run, experiment })
    }

    fn proxy(&mut self, kit: &Kit<'_>, proxy: Proxy, server: u16) -> Result<Running> {
        let (running, mut service) = kit.start(proxy, server)?;
        service.wait_ready(self.interrupt, PATIENCE, || Ok(net::accepts(running.port)))?;
        self.services.push(service);
        Ok(running)
    }

    fn mlflow(&mut self, name: &str, ttl: Option<u32>) -> Result<(u16, Vec<u32>)> {
        let (port, mut service) = self.mlflow_begun(name, ttl)?;
        self.wait(port, &mut service)?;
        let pids = tree(service.pid());
        self.services.push(service);
        Ok((port, pids))
    }

    fn wait(&self, port: u16, service: &mut Service) -> Result<()> {
        let health = format!("http://127.0.0.1:{port}/health");
        service.wait_ready(self.interrupt, PATIENCE, || {
            Ok(net::get_status(&health, None) == Some(200))
        })
    }

    /// `ttl` is that of basic-auth's cache in s; absent: MLflow without auth.
    fn mlflow_begun(&self, name: &str, ttl: Option<u32>) -> Result<(u16, Service)> {
        let [port] = net::free_ports()?;
        let directory = self.kit.directory;
        let plan = mlflow::Plan {
            venv: self.venv,
            port,
            tracking_uri: self.tracking_uri.clone(),
            artifacts: directory.join("artifacts"),
            gate: SocketAddr::from(([127, 0, 0, 1], port)),
            log: directory.join(format!("{name}.log")),
        };
        let mut command = mlflow::command(&plan);
        if let Some(ttl) = ttl {
            let config = directory.join(format!("{name}.ini"));
            fs::write(&config, auth_config(directory, name, ttl))?;
            command.args(["--app-name", "basic-auth"]);
            command.env("MLFLOW_AUTH_CONFIG_PATH", config);
            command.env("MLFLOW_FLASK_SERVER_SECRET_KEY", "only for this comparison");
        }
        Ok((port, Service::start("MLflow", &mut command, &plan.log)?))
    }
}

fn auth_config(directory: &Path, name: &str, ttl: u32) -> String {
    format!(
        "[mlflow]\n\
         default_permission = NO_PERMISSIONS\n\
         database_uri = sqlite:///{}\n\
         admin_username = {ADMIN}\n\
         admin_password = {ADMIN_PASSWORD}\n\
         authorization_function = mlflow.server.auth:authenticate_request_basic_auth\n\
         auth_cache_ttl_seconds = {ttl}\n",
        directory.join(format!("{name}.db")).display()
    )
}

/// A process and its descendants: MLflow's server is a child of its command.
fn tree(pid: u32) -> Vec<u32> {
    let Ok(raw) = i32::try_from(pid) else { return vec![pid] };
    let children = lifetime::descendants(Pid::from_raw(raw));
    let children = children.into_iter().filter_map(|pid| u32::try_from(pid.as_raw()).ok());
    std::iter::once(pid).chain(children).collect()
}

/// An experiment with [`RUNS`] runs; gives its id and that of one run.
fn fill(port: u16) -> Result<(String, String)> {
    let call = |route: &str, body: Value| post(port, route, None, &body);
    let created = call("2.0/mlflow/experiments/create", json!({ "name": "bench" }))?;
    let experiment = text(&created, "/experiment_id")?;
    let mut last = String::new();
    for number in 0..RUNS {
        let run = call("2.0/mlflow/runs/create", json!({ "experiment_id": experiment }))?;
        last = text(&run, "/run/info/run_id")?;
        let metric = json!({ "run_id": last, "key": "loss", "value": 1.0 / f64::from(number + 1),
            "timestamp": 1_700_000_000_000_u64 });
        call("2.0/mlflow/runs/log-metric", metric)?;
    }
    Ok((experiment, last))
}

/// Makes the user, and lets them edit the experiment.
fn admit(port: u16, material: &Material, experiment: &str) -> Result<()> {
    let admin = material::basic(ADMIN, ADMIN_PASSWORD);
    let user = json!({ "username": material.user, "password": material.password });
    post(port, "2.0/mlflow/users/create", Some(&admin), &user)?;
    let grant = json!({
        "username": material.user, "permission": "EDIT",
        "resource_type": "experiment", "resource_id": experiment,
    });
    post(port, "3.0/mlflow/users/permissions/grant", Some(&admin), &grant)?;
    Ok(())
}

fn text(value: &Value, pointer: &str) -> Result<String> {
    let text = value.pointer(pointer).and_then(Value::as_str);
    text.map(str::to_owned).with_context(|| format!("MLflow's answer has no {pointer}"))
}

fn post(port: u16, route: &str, authorization: Option<&str>, body: &Value) -> Result<Value> {
    let url = format!("http://127.0.0.1:{port}/api/{route}");
    let agent: ureq::Agent = ureq::Agent::config_builder().proxy(None).build().into();
    let mut request = agent.post(&url).header("content-type", "application/json");
    if let Some(value) = authorization {
        request = request.header("authorization", value);
    }
    let mut response = request.send(body.to_string()).with_context(|| route.to_owned())?;
    let answer = response.body_mut().read_to_string()?;
    serde_json::from_str(&answer).with_context(|| route.to_owned())
}

const PROXY: &str = "proxy";
const SERVER: &str = "server";
const MLFLOW: &str = "mlflow";

/// Per request, in µs; the mean of two blocks.
#[derive(Clone, Copy)]
struct Cost {
    proxy: f64,
    server: f64,
    mlflow: f64,
    p50: f64,
    p99: f64,
}

impl Cost {
    fn mean(one: &Report, two: &Report) -> Self {
        let of = |name| f64::midpoint(one.cpu_us(name), two.cpu_us(name));
        Self {
            proxy: of(PROXY),
            server: of(SERVER),
            mlflow: of(MLFLOW),
            p50: f64::midpoint(one.p50_us, two.p50_us),
            p99: f64::midpoint(one.p99_us, two.p99_us),
        }
    }
}

struct Pair {
    base: Cost,
    other: Cost,
}

fn rows(route: Route, samples: &BTreeMap<(usize, Setup), Vec<Pair>>, index: usize) -> Vec<RealRow> {
    let of = |setup| samples.get(&(index, setup)).map(Vec::as_slice).unwrap_or_default();
    let all = || samples.iter().filter(|((at, _), _)| *at == index).flat_map(|(_, pairs)| pairs);
    let base = |value: fn(&Cost) -> f64| median(all().map(|pair| value(&pair.base)));
    let mut rows = vec![RealRow {
        setup: Setup::Nobody.name(),
        route,
        mlflow_us: base(|cost| cost.mlflow),
        gate_us: base(|cost| cost.proxy),
        added_us: 0.0,
        p50_us: base(|cost| cost.p50),
        p99_us: base(|cost| cost.p99),
        p50_ratio: 1.0,
    }];
    for setup in [Setup::Gate, Setup::BasicAuthCached, Setup::BasicAuth] {
        let pairs = of(setup);
        let of = |value: fn(&Pair) -> f64| median(pairs.iter().map(value));
        rows.push(RealRow {
            setup: setup.name(),
            route,
            mlflow_us: of(|pair| pair.other.mlflow),
            gate_us: of(|pair| pair.other.proxy + pair.other.server),
            // The gate's price is in the proxy and the policy server: MLflow does the same work
            // with and without it, and varies by more than all of that price.
            added_us: match setup {
                Setup::Gate => of(|pair| pair.other.proxy + pair.other.server - pair.base.proxy),
                _ => of(|pair| pair.other.mlflow - pair.base.mlflow),
            },
            p50_us: of(|pair| pair.other.p50),
            p99_us: of(|pair| pair.other.p99),
            p50_ratio: of(|pair| pair.other.p50 / pair.base.p50),
        });
    }
    rows
}
