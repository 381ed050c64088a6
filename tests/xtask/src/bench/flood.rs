//! Wrong passwords for one user, thousands a second: what they cost, whether the user logs in from
//! elsewhere meanwhile, and how much somebody else notices.
//!
//! The machine's cores are shared by the flood's sender, the proxy and the policy server. So what
//! somebody else notices is compared with a flood of as many requests to the same proxy that have no
//! credential, and which the filter refuses at once.

use super::artifacts::resident_kb;
use super::load::{Job, Load, Runs};
use super::material::{Credential, Material, basic};
use super::proxy::Running;
use super::stats::median;
use crate::lifetime::Interrupt;
use anyhow::{Context, Result, bail, ensure};
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};

const ENVOY: &str = "proxy";
const SERVER: &str = "server";
pub const RATE: f64 = 10_000.0;
const CONNECTIONS: u64 = 128;
const WARMUP: u64 = 6;
const ATTACKER: &str = "127.0.0.4";
const ELSEWHERE: &str = "127.0.0.2";
const PATH: &str = "/api/2.0/mlflow/experiments/get?experiment_id=1";
/// Requests a second of somebody else, whose decision is cached.
const OTHERS_RATE: f64 = 200.0;

#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    Calm,
    NoCredential,
    WrongPasswords,
}

const PHASES: [Phase; 3] = [Phase::Calm, Phase::NoCredential, Phase::WrongPasswords];

impl Phase {
    const fn name(self) -> &'static str {
        match self {
            Self::Calm => "no flood",
            Self::NoCredential => "requests without a credential",
            Self::WrongPasswords => "wrong passwords for one user",
        }
    }
}

/// Medians of the rounds.
#[derive(Serialize)]
pub struct FloodRow {
    pub phase: Phase,
    pub answers_per_s: f64,
    /// Of the answers, by status, of all rounds.
    pub answers: BTreeMap<u16, u64>,
    pub p50_us: f64,
    pub p99_us: f64,
    /// In cores.
    pub proxy: f64,
    pub server: f64,
    /// Of the policy server, after a block: the most.
    pub resident_kb: u64,
    /// By which it was more after the last block than after the first.
    pub grown_kb: u64,
    /// The longest of all rounds, of which each has a user who was never there before.
    pub login_ms: Option<f64>,
}

pub struct Flood<'a> {
    pub interrupt: &'a Interrupt,
    pub load: &'a mut Load,
    pub program: &'a Path,
    pub gate: Running,
    pub policy: u32,
    pub material: &'a Material,
    /// One for each of two floods a round.
    pub victims: Vec<String>,
    pub rounds: u64,
    pub seconds: f64,
}

#[derive(Deserialize)]
struct Answers {
    seconds: f64,
    answers: BTreeMap<u16, u64>,
    login: Option<Login>,
}

#[derive(Deserialize)]
struct Login {
    status: u16,
    seconds: f64,
}

struct Block {
    phase: Phase,
    flood: Option<Answers>,
    p50_us: f64,
    p99_us: f64,
    proxy: f64,
    server: f64,
    resident_kb: u64,
}

const VICTIM: &str = "victim-";

/// The users that are needed.
pub fn victims(rounds: u64) -> Vec<String> {
    (0..2 * rounds).map(|number| format!("{VICTIM}{number}")).collect()
}

impl Flood<'_> {
    pub fn measure(mut self) -> Result<Vec<FloodRow>> {
        let mut blocks = Vec::new();
        // A few hashes' memory is kept for the next ones.
        let seconds = std::mem::replace(&mut self.seconds, 1.0);
        for number in 0..WARMUP {
            self.block(Phase::WrongPasswords, &format!("nobody-{number}"))?;
        }
        self.seconds = seconds;
        let mut victims = std::mem::take(&mut self.victims).into_iter();
        for round in 1..=self.rounds {
            eprintln!("  round {round} of {}", self.rounds);
            for phase in PHASES.into_iter().chain(PHASES.into_iter().rev()) {
                self.interrupt.check()?;
                let victim = match phase {
                    Phase::WrongPasswords => victims.next().context("too few users")?,
                    _ => String::new(),
                };
                blocks.push(self.block(phase, &victim).with_context(|| phase.name())?);
            }
        }
        Ok(PHASES.iter().map(|&phase| row(phase, &blocks)).collect())
    }

    fn block(&mut self, phase: Phase, victim: &str) -> Result<Block> {
        let flood = match phase {
            Phase::Calm => None,
            Phase::NoCredential => Some(self.flood(None)?),
            Phase::WrongPasswords => Some(self.flood(Some(victim))?),
        };
        let authorization = self.material.authorization(Credential::Basic);
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        let requests = (OTHERS_RATE * self.seconds) as u64;
        let report = self.load.run(&Job {
            port: self.gate.port,
            method: "GET",
            path: PATH,
            headers: &BTreeMap::from([("authorization".to_owned(), authorization)]),
            body: None,
            runs: Runs { first: 0, count: 1 },
            connections: 4,
            warmup: 2,
            requests,
            rate: Some(OTHERS_RATE),
            cpu_of: BTreeMap::from([(ENVOY, vec![self.gate.pid]), (SERVER, vec![self.policy])]),
            status: 200,
        })?;
        let cores = |name| report.cpu_us(name) * OTHERS_RATE / 1e6;
        let block = Block {
            phase,
            flood: flood.map(answers).transpose()?,
            p50_us: report.p50_us,
            p99_us: report.p99_us,
            proxy: cores(ENVOY),
            server: cores(SERVER),
            resident_kb: resident_kb(self.policy)?,
        };
        block.check(victim)?;
        Ok(block)
    }

    fn flood(&self, guess: Option<&str>) -> Result<Child> {
        let real = guess.filter(|user| user.starts_with(VICTIM));
        let login = real.map(|user| {
            let authorization = basic(user, &self.material.password);
            json!({ "authorization": authorization, "from": ELSEWHERE })
        });
        let job = json!({
            "port": self.gate.port, "path": PATH, "from": ATTACKER, "connections": CONNECTIONS,
            // Longer than what it is measured by.
            "rate": RATE, "seconds": self.seconds + 0.5, "guess": guess, "login": login,
        });
        let mut child = Command::new(self.program)
            .arg("flood")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("cannot start the flood")?;
        let mut stdin = child.stdin.take().context("no input")?;
        stdin.write_all(job.to_string().as_bytes())?;
        Ok(child)
    }
}

fn answers(child: Child) -> Result<Answers> {
    let output = child.wait_with_output()?;
    if !output.status.success() {
        bail!("the flood ended ({})", output.status);
    }
    serde_json::from_slice(&output.stdout).context("the flood's report")
}

impl Block {
    /// What was measured is what its name says.
    fn check(&self, victim: &str) -> Result<()> {
        let Some(flood) = &self.flood else { return Ok(()) };
        let refused = match self.phase {
            Phase::WrongPasswords => 429,
            _ => 401,
        };
        let all: u64 = flood.answers.values().sum();
        let as_said = flood.answers.get(&refused).copied().unwrap_or_default();
        ensure!(as_said * 100 > all * 95, "{:?} are not {refused}", flood.answers);
        ensure!(!flood.answers.contains_key(&200), "a wrong password was taken for a right one");
        if let Some(login) = &flood.login {
            ensure!(login.status == 200, "{victim} logs in from elsewhere with {}", login.status);
        }
        Ok(())
    }
}

fn row(phase: Phase, blocks: &[Block]) -> FloodRow {
    let of = || blocks.iter().filter(move |block| block.phase == phase);
    let floods = || of().filter_map(|block| block.flood.as_ref());
    let mut answers = BTreeMap::new();
    for (status, number) in floods().flat_map(|flood| &flood.answers) {
        *answers.entry(*status).or_default() += *number;
    }
    #[allow(clippy::cast_precision_loss)]
    let rate = |flood: &Answers| flood.answers.values().sum::<u64>() as f64 / flood.seconds;
    let answers_per_s = match floods().next() {
        Some(_) => median(floods().map(rate)),
        None => 0.0,
    };
    let resident = |block: Option<&Block>| block.map_or(0, |block| block.resident_kb);
    let (first, last) = (resident(of().next()), resident(of().next_back()));
    FloodRow {
        phase,
        answers_per_s,
        answers,
        p50_us: median(of().map(|block| block.p50_us)),
        p99_us: median(of().map(|block| block.p99_us)),
        proxy: median(of().map(|block| block.proxy)),
        server: median(of().map(|block| block.server)),
        resident_kb: of().map(|block| block.resident_kb).max().unwrap_or_default(),
        grown_kb: last.saturating_sub(first),
        login_ms: floods()
            .filter_map(|flood| flood.login.as_ref())
            .map(|login| login.seconds * 1e3)
            .max_by(f64::total_cmp),
    }
}

pub fn table(rows: &[FloodRow], out: &mut String) {
    if rows.is_empty() {
        return;
    }
    let _ = writeln!(
        out,
        "\n## A flood of wrong passwords\n\n\
         {RATE:.0} a second on {CONNECTIONS} connections from one address, no two alike, \
         for a user who is there; and as many requests without a credential, which the filter \
         refuses by itself. Somebody else, whose decision is cached, asks {OTHERS_RATE:.0} times a \
         second: their latency. CPU in cores; the policy server's resident set, at \
         most. In the middle the user logs in for the first time \
         from elsewhere.\n\n\
         | flood | answers /s | others' p50 µs | p99 µs | proxy | policy server | its MB | login ms |\n\
         | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    );
    for row in rows {
        let login = row.login_ms.map(|ms| format!("{ms:.0}")).unwrap_or_default();
        let _ = writeln!(
            out,
            "| {} | {:.0} | {:.0} | {:.0} | {:.2} | {:.3} | {} | {login} |",
            row.phase.name(),
            row.answers_per_s,
            row.p50_us,
            row.p99_us,
            row.proxy,
            row.server,
            row.resident_kb / 1000,
        );
    }
}
