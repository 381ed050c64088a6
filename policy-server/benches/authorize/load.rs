//! Requests at a fixed rate, whether or not the earlier ones have been answered.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use mlgate_policy_server::contract as pb;
use mlgate_policy_server::contract::policy_client::PolicyClient;
use tokio::task::JoinSet;
use tonic::transport::Channel;

use crate::Arguments;
use crate::installation::{GRANTS_EACH, PASSWORD, experiment_of, granted, run_id};

/// As many Envoys would have.
const CONNECTIONS: usize = 4;

/// Every tenth request is of somebody with a password.
const PASSWORD_SHARE: u64 = 10;

struct Question {
    request: pb::AuthorizeRequest,
    expected: pb::Outcome,
}

fn subject(arguments: &Arguments, user: u64) -> pb::Subject {
    let username = format!("user{user}");
    let kind = if user < arguments.password_users {
        pb::subject::Kind::Basic(pb::BasicCredential { username, password: PASSWORD.to_owned() })
    } else {
        let expires_at = 1 << 40;
        let identity = pb::VerifiedIdentity { username, expires_at, ..Default::default() };
        pb::subject::Kind::Verified(identity)
    };
    pb::Subject { kind: Some(kind) }
}

/// May the user update the run?
fn question(arguments: &Arguments, user: u64, run: u64) -> Question {
    let run_reference = pb::Reference {
        kind: pb::ReferenceKind::RunId.into(),
        id: run_id(run),
        parent: String::new(),
    };
    let rung = pb::Rung {
        r#type: pb::ResourceType::Experiment.into(),
        action: pb::Action::Update.into(),
        key: Some(pb::rung::Key::OwnerOf(run_reference)),
    };
    let ladder = pb::Ladder { rungs: vec![rung], explicit_only: false };
    let condition = pb::requirement::Condition::Ladder(ladder);
    let request = pb::AuthorizeRequest {
        subject: Some(subject(arguments, user)),
        requirements: vec![pb::Requirement { condition: Some(condition) }],
        ..Default::default()
    };
    let experiment = experiment_of(arguments, run);
    let allowed = (0..GRANTS_EACH).any(|grant| granted(arguments, user, grant) == experiment);
    let expected = if allowed { pb::Outcome::Allowed } else { pb::Outcome::Denied };
    Question { request, expected }
}

/// Half of the questions are about a run in an experiment that the user may edit.
fn random_question(arguments: &Arguments) -> Question {
    let user = match rand::random_range(0..PASSWORD_SHARE) {
        0 if arguments.password_users > 0 => rand::random_range(0..arguments.password_users),
        _ => rand::random_range(0..arguments.users),
    };
    let run = if rand::random() {
        let experiment = granted(arguments, user, rand::random_range(0..GRANTS_EACH));
        let rounds = (arguments.runs / arguments.experiments).max(1);
        experiment - 1 + rand::random_range(0..rounds) * arguments.experiments
    } else {
        rand::random_range(0..arguments.runs)
    };
    question(arguments, user, run)
}

async fn ask(mut client: PolicyClient<Channel>, question: Question) -> pb::Outcome {
    let answer = client.authorize(question.request).await.unwrap().into_inner();
    let outcome = answer.outcome();
    // An overloaded server may say so; a wrong decision ends the run.
    let right = [question.expected, pb::Outcome::Unavailable].contains(&outcome);
    assert!(right, "{outcome:?} instead of {:?}: {}", question.expected, answer.reason);
    outcome
}

pub async fn run(arguments: &Arguments, address: SocketAddr) {
    let mut clients = Vec::new();
    for _ in 0..CONNECTIONS {
        let channel = Channel::from_shared(format!("http://{address}")).unwrap();
        clients.push(PolicyClient::new(channel.connect().await.unwrap()));
    }
    warm_up(arguments, &clients).await;
    let (due, mut ticks) = tokio::sync::mpsc::unbounded_channel();
    let (interval, count) =
        (Duration::from_secs(1) / arguments.rate, arguments.rate * arguments.seconds);
    // A thread: a runtime's timers are no finer than a millisecond.
    std::thread::spawn(move || {
        let begun = Instant::now();
        for number in 0..count {
            let at = begun + interval * number;
            std::thread::sleep(at.saturating_duration_since(Instant::now()));
            if due.send(at).is_err() {
                return;
            }
        }
    });
    let begun = Instant::now();
    let mut asking = JoinSet::new();
    let mut next = 0;
    while let Some(at) = ticks.recv().await {
        next = (next + 1) % clients.len();
        let (client, question) = (clients[next].clone(), random_question(arguments));
        asking.spawn(async move { (ask(client, question).await, at.elapsed()) });
    }
    let answers = asking.join_all().await;
    report(arguments, &answers, begun.elapsed());
}

/// Every user is asked about once, so that their grants are in memory and passwords verified.
async fn warm_up(arguments: &Arguments, clients: &[PolicyClient<Channel>]) {
    let begun = Instant::now();
    let mut asking = JoinSet::new();
    for user in 0..arguments.users {
        let client = clients[user as usize % clients.len()].clone();
        asking.spawn(ask(client, question(arguments, user, user % arguments.runs)));
        // Fewer at a time than passwords may wait to be verified.
        if asking.len() >= 16 {
            asking.join_next().await.unwrap().unwrap();
        }
    }
    asking.join_all().await;
    println!("warmed up in {:.1} s", begun.elapsed().as_secs_f64());
}

fn report(arguments: &Arguments, answers: &[(pb::Outcome, Duration)], elapsed: Duration) {
    let allowed = answers.iter().filter(|(outcome, _)| *outcome == pb::Outcome::Allowed).count();
    let unavailable =
        answers.iter().filter(|(outcome, _)| *outcome == pb::Outcome::Unavailable).count();
    let mut times: Vec<Duration> = answers.iter().map(|&(_, time)| time).collect();
    times.sort_unstable();
    let at = |share: f64| {
        let index = (times.len() as f64 * share).ceil() as usize;
        times[index.clamp(1, times.len()) - 1].as_secs_f64() * 1000.0
    };
    println!(
        "{} requests at {}/s (achieved {:.0}/s), {allowed} allowed, {} denied, all as expected; \
         {unavailable} unavailable",
        answers.len(),
        arguments.rate,
        answers.len() as f64 / elapsed.as_secs_f64(),
        answers.len() - allowed - unavailable
    );
    println!(
        "p50 {:.3} ms   p90 {:.3} ms   p99 {:.3} ms   p99.9 {:.3} ms   max {:.3} ms",
        at(0.5),
        at(0.9),
        at(0.99),
        at(0.999),
        at(1.0)
    );
}
