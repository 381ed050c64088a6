//! `cargo xtask bench`: what a decision costs, here and elsewhere, in one run.

mod artifacts;
mod bars;
mod flood;
mod keys;
mod load;
mod material;
mod measure;
mod proxy;
mod real;
mod report;
mod route;
mod servers;
mod stats;
mod variant;

use crate::compile::{self, Parts, Profile};
use crate::lifetime::Interrupt;
use crate::service::Services;
use crate::{net, postgres, python, workspace};
use anyhow::{Context, Result};
use artifacts::{ArtifactRow, Artifacts};
use clap::{Args, ValueEnum};
use flood::{Flood, FloodRow};
use keys::{Keys, KeysRow};
use load::Load;
use material::{Credential, Material};
use measure::{KNOWN_RUNS, Stage};
use proxy::Kit;
use real::Real;
use report::{Plan, RealRow, Report, Row};
use route::Route;
use servers::{PATIENCE, PolicyPlan};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;
use variant::{Group, Proxy, VARIANTS, Variant};

const ROUTES: [Route; 2] = [Route::Get, Route::LogMetric];

#[derive(Args)]
pub struct Options {
    /// Less of everything, and no real MLflow: a minute and a half.
    #[arg(long)]
    quick: bool,
    /// Only these, as a,c,d; see the list below. `a` is always there.
    #[arg(long, value_name = "LETTERS", value_enum, value_delimiter = ',')]
    only: Vec<Group>,
    /// Rounds of four blocks for every variant and route [default: 5, quick: 2].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=1000))]
    rounds: Option<u64>,
    /// Requests in a block [default: 1000, quick: 300].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(8..=100_000))]
    requests: Option<u64>,
    /// Requests per second where latency is measured.
    #[arg(long, value_name = "N", default_value_t = 400, value_parser = clap::value_parser!(u32).range(1..=20_000))]
    rate: u32,
    /// Where the real MLflow keeps its data.
    #[arg(long, value_enum, default_value = "sqlite")]
    store: MlflowStore,
    /// The report; the same as JSON is written beside it [default: bench.md in target].
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Run what was built before.
    #[arg(long, hide = true)]
    no_build: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum MlflowStore {
    Sqlite,
    Postgres,
}

impl Options {
    fn plan(&self) -> Plan {
        let pick = |given: Option<u64>, full, quick| {
            given.unwrap_or(if self.quick { quick } else { full })
        };
        Plan {
            rounds: pick(self.rounds, 5, 2),
            requests: pick(self.requests, 1000, 300),
            rate: f64::from(self.rate),
            latency_seconds: if self.quick { 0.5 } else { 1.0 },
            real_rounds: pick(self.rounds, 5, 2).min(3),
            real_requests: if self.quick { 10 } else { 20 },
            artifact_bytes: if self.quick { 128 << 20 } else { 1 << 30 },
            artifact_rounds: pick(self.rounds, 5, 2),
            keys: if self.quick { 20_000 } else { 1_000_000 },
            key_steps: 10,
            flood_rounds: pick(self.rounds, 3, 1),
            flood_seconds: if self.quick { 2.0 } else { 5.0 },
        }
    }

    fn wants(&self, group: Group) -> bool {
        match self.only.is_empty() {
            // A real MLflow takes half a minute to start.
            true => group != Group::L && !(self.quick && group == Group::J),
            false => group == Group::A || self.only.contains(&group),
        }
    }
}

/// The programs that are run.
struct Programs {
    parts: Parts,
    bench: PathBuf,
    noop: PathBuf,
}

pub fn run(options: &Options) -> Result<()> {
    let interrupt = Interrupt::install()?;
    eprintln!("preparing");
    let programs = programs(&interrupt, options.no_build)?;
    let tools = python::tools(&interrupt)?;
    let directory = workspace::target().join("xtask-bench");
    let _ = fs::remove_dir_all(&directory);
    fs::create_dir_all(&directory)
        .with_context(|| format!("cannot create {}", directory.display()))?;
    let started = Instant::now();
    let mut services = Services::default();
    let outcome = compare(options, &interrupt, &mut services, &programs, &tools, &directory);
    drop(services);
    let mut report = outcome?;
    report.seconds = started.elapsed().as_secs_f64();
    let out = options.out.clone().unwrap_or_else(|| workspace::target().join("bench.md"));
    report.write(&out)?;
    println!("{}", report.markdown());
    println!("Written to {} and {}.", out.display(), out.with_extension("json").display());
    Ok(())
}

fn programs(interrupt: &Interrupt, built: bool) -> Result<Programs> {
    let target = workspace::target();
    let programs = |parts| Programs {
        parts,
        bench: target.join(compile::SERVER_PROFILE).join("mlgate-bench"),
        noop: target.join(compile::WASM).join("filter/mlgate_bench_noop.wasm"),
    };
    if built {
        return Ok(programs(Parts::built(Profile::Dist)));
    }
    let parts = compile::parts(interrupt, Profile::Dist)?;
    let bench = ["-p", "mlgate-bench", "--profile", compile::SERVER_PROFILE];
    compile::build(interrupt, "load generator", &bench)?;
    let wasm = ["-p", "mlgate-bench-noop", "--profile", "filter", "--target", compile::WASM];
    compile::build(interrupt, "no-op filter", &wasm)?;
    Ok(programs(parts))
}

fn compare(
    options: &Options,
    interrupt: &Interrupt,
    services: &mut Services,
    programs: &Programs,
    tools: &python::Tools,
    directory: &Path,
) -> Result<Report> {
    let plan = options.plan();
    let material = Material::make(&programs.bench)?;
    let mut load = Load::start(&programs.bench)?;
    let mut skipped = Vec::new();
    let mut variants: Vec<_> =
        VARIANTS.iter().filter(|variant| options.wants(variant.group)).collect();
    if options.wants(Group::I) && proxy::nginx_program().is_none() {
        skipped.push("nginx, which is not installed".to_owned());
        variants.retain(|variant| variant.group != Group::I);
    }
    let envoy = tools.venv.envoy()?;
    eprintln!("starting");
    let (upstream, _) = servers::own(interrupt, services, &programs.bench, "upstream", directory)?;
    let kit = Kit {
        envoy: &envoy,
        parts: &programs.parts,
        noop: &programs.noop,
        material: &material,
        upstream,
        mlflow_version: &tools.mlflow_version,
        directory,
    };
    let bench = Bench { interrupt, programs, tools, kit: &kit };
    let rows = bench.proxies(services, &plan, &variants, &mut load)?;
    let real = match options.wants(Group::J) {
        true => bench.real(services, &plan, options.store, &mut load)?,
        false => {
            skipped.push("a real MLflow, which `--only j` or a full run measures".to_owned());
            Vec::new()
        }
    };
    let artifacts = match options.wants(Group::K) {
        true => bench.artifacts(services, &plan)?,
        false => Vec::new(),
    };
    let keys = match options.wants(Group::L) {
        true => Some(bench.keys(services, &plan, &mut load)?),
        false => None,
    };
    let floods = match options.wants(Group::M) {
        true => bench.floods(services, &plan, &mut load)?,
        false => Vec::new(),
    };
    let versions = vec![
        version_of(&envoy).unwrap_or_else(|| "Envoy".to_owned()),
        format!("MLflow {}", tools.mlflow_version),
        format!("token of {} bytes, RS256", material.token.len()),
        format!("bcrypt cost {}", material.bcrypt_cost),
    ];
    let machine = machine();
    let seconds = 0.0;
    Ok(Report { plan, machine, versions, skipped, rows, real, artifacts, keys, floods, seconds })
}

struct Bench<'a> {
    interrupt: &'a Interrupt,
    programs: &'a Programs,
    tools: &'a python::Tools,
    kit: &'a Kit<'a>,
}

impl Bench<'_> {
    fn proxies(
        &self,
        services: &mut Services,
        plan: &Plan,
        variants: &[&'static Variant],
        load: &mut Load,
    ) -> Result<Vec<Row>> {
        let wanted: BTreeSet<Proxy> =
            variants.iter().flat_map(|variant| [variant.proxy, variant.proxy.base()]).collect();
        let mut stage = Stage {
            interrupt: self.interrupt,
            load,
            material: self.kit.material,
            proxies: BTreeMap::new(),
            policy: None,
            authz: None,
            next_run: KNOWN_RUNS,
        };
        let (mut policy_port, mut authz_port) = (0, 0);
        if wanted.contains(&Proxy::Gate) {
            let runs = measure::runs_needed(plan, variants, ROUTES.len());
            let (port, pid) = self.policy_server(services, "policy", runs, "1", &[])?;
            (policy_port, stage.policy) = (port, Some(pid));
        }
        if wanted.iter().any(|proxy| proxy.asks_authz()) {
            let program = &self.programs.bench;
            let (port, pid) =
                servers::own(self.interrupt, services, program, "authz", self.kit.directory)?;
            (authz_port, stage.authz) = (port, Some(pid));
        }
        for proxy in wanted {
            let server = if proxy.asks_authz() { authz_port } else { policy_port };
            stage.proxies.insert(proxy, self.proxy(services, proxy, server)?);
        }
        eprintln!("measuring");
        stage.measure(plan, variants, &ROUTES)
    }

    fn artifacts(&self, services: &mut Services, plan: &Plan) -> Result<Vec<ArtifactRow>> {
        eprintln!("artifacts");
        let (policy, _) = self.policy_server(services, "artifacts", 1, "1", &[])?;
        Artifacts {
            interrupt: self.interrupt,
            plain: self.proxy(services, Proxy::Plain, policy)?,
            gate: self.proxy(services, Proxy::Gate, policy)?,
            authorization: self.kit.material.authorization(Credential::Basic),
            bytes: plan.artifact_bytes,
            rounds: plan.artifact_rounds,
        }
        .measure()
    }

    fn keys(&self, services: &mut Services, plan: &Plan, load: &mut Load) -> Result<KeysRow> {
        eprintln!("many questions");
        let (policy, pid) = self.policy_server(services, "keys", 1, "*", &[])?;
        Keys {
            interrupt: self.interrupt,
            load,
            gate: self.proxy(services, Proxy::Gate, policy)?,
            policy: pid,
            material: self.kit.material,
            keys: plan.keys,
            steps: plan.key_steps,
        }
        .measure()
    }

    fn floods(
        &self,
        services: &mut Services,
        plan: &Plan,
        load: &mut Load,
    ) -> Result<Vec<FloodRow>> {
        eprintln!("wrong passwords");
        let victims = flood::victims(plan.flood_rounds);
        let (policy, pid) = self.policy_server(services, "flood", 1, "1", &victims)?;
        Flood {
            interrupt: self.interrupt,
            load,
            program: &self.programs.bench,
            gate: self.proxy(services, Proxy::Gate, policy)?,
            policy: pid,
            material: self.kit.material,
            victims,
            rounds: plan.flood_rounds,
            seconds: plan.flood_seconds,
        }
        .measure()
    }

    /// A proxy that answers.
    fn proxy(&self, services: &mut Services, proxy: Proxy, server: u16) -> Result<proxy::Running> {
        let (running, mut service) = self.kit.start(proxy, server)?;
        let url = format!("http://127.0.0.1:{}{}", running.port, Route::Get.path("0"));
        let expected = if proxy.wants_credential() { 401 } else { 200 };
        let mut last = None;
        service
            .wait_ready(self.interrupt, PATIENCE, || {
                last = net::get_status(&url, None);
                Ok(last == Some(expected))
            })
            .with_context(|| format!("{proxy:?} answers {last:?}, not {expected}"))?;
        services.push(service);
        Ok(running)
    }

    fn policy_server(
        &self,
        services: &mut Services,
        name: &str,
        runs: u64,
        experiment: &str,
        readers: &[String],
    ) -> Result<(u16, u32)> {
        let database = self.kit.directory.join(format!("{name}-tracking.db"));
        servers::tracking(self.interrupt, &self.tools.venv, &database, runs)?;
        servers::policy(
            self.interrupt,
            services,
            &PolicyPlan {
                parts: &self.programs.parts,
                directory: self.kit.directory,
                name,
                tracking_uri: &format!("sqlite:///{}", database.display()),
                experiment,
                readers,
                material: self.kit.material,
            },
        )
    }

    fn real(
        &self,
        services: &mut Services,
        plan: &Plan,
        store: MlflowStore,
        load: &mut Load,
    ) -> Result<Vec<RealRow>> {
        eprintln!("a real MLflow");
        let directory = self.kit.directory;
        let tracking_uri = match store {
            MlflowStore::Sqlite => format!("sqlite:///{}", directory.join("mlflow.db").display()),
            MlflowStore::Postgres => {
                let (postgres, service) = postgres::start(
                    self.interrupt,
                    &self.tools.venv,
                    &directory.join("postgres"),
                    &directory.join("postgres.log"),
                )?;
                services.push(service);
                postgres.create_database(self.interrupt, "mlflow")?;
                postgres.sqlalchemy_url("mlflow")
            }
        };
        Real {
            interrupt: self.interrupt,
            services,
            venv: &self.tools.venv,
            kit: self.kit,
            tracking_uri,
        }
        .measure(plan, load)
    }
}

/// `Envoy 1.40.0` from what the program says of itself.
fn version_of(envoy: &Path) -> Option<String> {
    let output = std::process::Command::new(envoy).arg("--version").output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout);
    let version = text.rsplit_once("version: ")?.1.split('/').nth(1)?;
    Some(format!("Envoy {version}"))
}

/// Cores and their model.
fn machine() -> String {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = info.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let model = model.map_or("unknown", |(_, model)| model);
    format!("{cores} cores, {model}; one Envoy worker")
}
