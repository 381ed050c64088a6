//! The load generator: keep-alive HTTP/1.1 connections, as fast as answers come or at a fixed
//! rate.
//!
//! At a fixed rate a latency counts from the moment at which the request was due, not from that
//! at which a connection was free: a stall delays every request that was due while it lasted, and
//! each of them says so.

use crate::cpu;
use anyhow::{Context, Result, bail, ensure};
use bytes::Bytes;
use hdrhistogram::Histogram;
use http::{Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::SendRequest;
use hyper_util::rt::TokioIo;
use nix::sys::prctl::set_timerslack;
use serde::{Deserialize, Serialize};
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::{Duration, Instant};
use tokio::net::TcpStream;
use tokio::sync::Mutex;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::task::LocalSet;

/// In a path or a body `{run}` stands for the id of run number `first + i mod count`, and in a path
/// `{number}` for that number.
#[derive(Clone, Copy, Deserialize)]
struct Runs {
    first: u64,
    count: u64,
}

#[derive(Deserialize)]
struct Job {
    port: u16,
    method: String,
    path: String,
    headers: BTreeMap<String, String>,
    body: Option<String>,
    runs: Runs,
    connections: u64,
    /// Requests per connection that are sent first and not measured.
    warmup: u64,
    requests: u64,
    /// Per second; absent: as fast as answers come.
    rate: Option<f64>,
    /// The processes whose CPU time is told, by a name of the caller's.
    cpu_of: BTreeMap<String, Vec<i32>>,
    /// What every answer must be.
    status: u16,
}

/// The runs that are warmed up: those with the lowest numbers.
const WARM_RUNS: u64 = 16;

#[derive(Serialize)]
struct Report {
    requests: u64,
    seconds: f64,
    cpu_seconds: BTreeMap<String, f64>,
    p50_us: f64,
    p99_us: f64,
}

/// The id of a run of the benchmark's. Spread over the whole range, as MLflow's are: an index
/// that is looked up in order would be in the cache.
fn run_id(number: u64) -> String {
    format!(
        "{:032x}",
        u128::from(number + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15_F39C_C060_5CED_C835)
    )
}

/// Answers jobs until standard input ends.
pub async fn serve() -> Result<()> {
    // Nothing else runs between two jobs, so that reading may block.
    for line in std::io::stdin().lines() {
        let job: Rc<Job> = Rc::new(serde_json::from_str(&line?).context("a job")?);
        let answer = match LocalSet::new().run_until(run(job)).await {
            Ok(report) => serde_json::to_string(&report)?,
            Err(error) => serde_json::json!({ "error": format!("{error:#}") }).to_string(),
        };
        println!("{answer}");
    }
    Ok(())
}

/// What the connections of one job share.
struct Shared {
    /// At a fixed rate.
    due: Option<Mutex<UnboundedReceiver<(u64, Instant)>>>,
    next: Cell<u64>,
    latencies: RefCell<Histogram<u64>>,
}

impl Shared {
    /// The number of the next request and when it was due; `None` when all are taken.
    async fn take(&self, requests: u64) -> Option<(u64, Instant)> {
        if let Some(due) = &self.due {
            return due.lock().await.recv().await;
        }
        let number = self.next.get();
        self.next.set(number + 1);
        (number < requests).then(|| (number, Instant::now()))
    }
}

async fn run(job: Rc<Job>) -> Result<Report> {
    ensure!(job.connections > 0 && job.requests > 0 && job.runs.count > 0, "an empty job");
    let mut connections = Vec::new();
    for number in 0..job.connections {
        let mut connection = connect(job.port).await?;
        for i in 0..job.warmup {
            send(&mut connection, &job, (number * job.warmup + i) % WARM_RUNS).await?;
        }
        connections.push(connection);
    }
    let before = cpu_times(&job)?;
    let started = Instant::now();
    let shared = Rc::new(Shared {
        due: job.rate.map(|rate| Mutex::new(tick(job.requests, rate, started))),
        next: Cell::new(0),
        latencies: RefCell::new(Histogram::new_with_bounds(1_000, 600_000_000_000, 3)?),
    });
    let tasks: Vec<_> = connections
        .into_iter()
        .map(|connection| {
            tokio::task::spawn_local(drive(connection, Rc::clone(&job), Rc::clone(&shared)))
        })
        .collect();
    for task in tasks {
        task.await??;
    }
    let seconds = started.elapsed().as_secs_f64();
    let mut cpu_seconds = cpu_times(&job)?;
    for (name, spent) in &mut cpu_seconds {
        *spent -= before.get(name).copied().unwrap_or_default();
    }
    let latencies = shared.latencies.borrow();
    ensure!(latencies.len() == job.requests, "{} answers were missed", job.requests);
    let quantile = |q| Duration::from_nanos(latencies.value_at_quantile(q)).as_secs_f64() * 1e6;
    Ok(Report {
        requests: job.requests,
        seconds,
        cpu_seconds,
        p50_us: quantile(0.5),
        p99_us: quantile(0.99),
    })
}

fn cpu_times(job: &Job) -> Result<BTreeMap<String, f64>> {
    let mut times = BTreeMap::new();
    for (name, pids) in &job.cpu_of {
        times.insert(name.clone(), cpu::sum(pids)?.as_secs_f64());
    }
    Ok(times)
}

/// Sends what is due until nothing is left.
async fn drive(mut connection: Connection, job: Rc<Job>, shared: Rc<Shared>) -> Result<()> {
    while let Some((number, due)) = shared.take(job.requests).await {
        send(&mut connection, &job, job.runs.first + number % job.runs.count).await?;
        let took = u64::try_from(due.elapsed().as_nanos()).unwrap_or(u64::MAX);
        shared.latencies.borrow_mut().saturating_record(took);
    }
    Ok(())
}

type Connection = SendRequest<Full<Bytes>>;

async fn connect(port: u16) -> Result<Connection> {
    let stream = TcpStream::connect(("127.0.0.1", port)).await?;
    stream.set_nodelay(true)?;
    let (sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    tokio::task::spawn_local(connection);
    Ok(sender)
}

async fn send(connection: &mut Connection, job: &Job, number: u64) -> Result<()> {
    let run = run_id(number);
    let mut request = Request::builder()
        .method(job.method.as_str())
        .uri(job.path.replace("{run}", &run).replace("{number}", &number.to_string()))
        .header(http::header::HOST, format!("127.0.0.1:{}", job.port));
    for (name, value) in &job.headers {
        request = request.header(name, value);
    }
    let body = job.body.as_ref().map(|body| body.replace("{run}", &run)).unwrap_or_default();
    connection.ready().await.context("the connection was closed")?;
    let response = connection.send_request(request.body(Full::new(body.into()))?).await?;
    let status = response.status();
    let body = response.into_body().collect().await?.to_bytes();
    if status != StatusCode::from_u16(job.status)? {
        let body = String::from_utf8_lossy(&body);
        bail!("{} {}: {status} {}", job.method, job.path, body.trim());
    }
    Ok(())
}

/// Says which request is due when it is: from a thread of its own, because the runtime's timers
/// count milliseconds.
fn tick(requests: u64, rate: f64, started: Instant) -> UnboundedReceiver<(u64, Instant)> {
    let (due_now, due) = unbounded_channel();
    std::thread::spawn(move || {
        // The kernel would let it sleep 50 µs longer to save wake-ups. Where it cannot be told
        // otherwise, every variant's latency is that much longer.
        let _ = set_timerslack(1);
        for number in 0..requests {
            #[allow(clippy::cast_precision_loss)]
            let at = started + Duration::from_secs_f64(number as f64 / rate);
            std::thread::sleep(at.saturating_duration_since(Instant::now()));
            if due_now.send((number, at)).is_err() {
                return;
            }
        }
    });
    due
}
