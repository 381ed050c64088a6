//! A flood: so many requests a second on many connections from an address of one's choice, whatever
//! comes back. Wrong passwords for one user, no two alike, or nothing to judge at all.

use anyhow::{Context, Result, ensure};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde::{Deserialize, Serialize};
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::rc::Rc;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::LocalSet;

/// Requests without an answer on one connection. Envoy ends one on which answers queue up.
const DEPTH: u64 = 1;
const TICK: Duration = Duration::from_millis(2);
const STATUS_LINE: &[u8] = b"HTTP/1.1 ";

#[derive(Deserialize)]
struct Job {
    port: u16,
    path: String,
    from: Ipv4Addr,
    connections: u64,
    /// Per second, of all connections.
    rate: f64,
    seconds: f64,
    /// Whose password is guessed; absent: no credential is sent.
    guess: Option<String>,
    login: Option<Login>,
}

/// One request with the right password in the middle of it.
#[derive(Clone, Deserialize)]
struct Login {
    authorization: String,
    from: Ipv4Addr,
}

#[derive(Serialize)]
struct Report {
    seconds: f64,
    /// By status.
    answers: BTreeMap<u16, u64>,
    login: Option<LoggedIn>,
}

#[derive(Serialize)]
struct LoggedIn {
    status: u16,
    seconds: f64,
}

/// What the connections share.
struct Shared {
    job: Job,
    started: Instant,
    guesses: Cell<u64>,
    answers: RefCell<BTreeMap<u16, u64>>,
}

/// Reads one job from standard input, and prints what came of it.
pub async fn serve() -> Result<()> {
    let job: Job = serde_json::from_reader(std::io::stdin()).context("a job")?;
    let report = LocalSet::new().run_until(flood(job)).await?;
    println!("{}", serde_json::to_string(&report)?);
    Ok(())
}

async fn flood(job: Job) -> Result<Report> {
    ensure!(job.connections > 0 && job.rate > 0.0 && job.seconds > 0.0, "an empty job");
    let mut streams = Vec::new();
    for _ in 0..job.connections {
        streams.push(connect(job.from, job.port).await?);
    }
    let length = Duration::from_secs_f64(job.seconds);
    let login = job.login.clone().map(|login| {
        let (port, path) = (job.port, job.path.clone());
        tokio::task::spawn_local(async move {
            tokio::time::sleep(length / 2).await;
            log_in(port, &path, &login).await
        })
    });
    let started = Instant::now();
    let (guesses, answers) = (Cell::new(0), RefCell::new(BTreeMap::new()));
    let shared = Rc::new(Shared { job, started, guesses, answers });
    let tasks: Vec<_> = streams
        .into_iter()
        .map(|stream| tokio::task::spawn_local(drive(stream, Rc::clone(&shared))))
        .collect();
    tokio::time::sleep_until((started + length).into()).await;
    let seconds = started.elapsed().as_secs_f64();
    for task in tasks {
        // None ends by itself, but for a reason.
        if task.is_finished() {
            task.await??;
        } else {
            task.abort();
        }
    }
    let answers = shared.answers.take();
    let login = match login {
        Some(login) => Some(login.await??),
        None => None,
    };
    Ok(Report { seconds, answers, login })
}

async fn connect(from: Ipv4Addr, port: u16) -> Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.bind((from, 0).into())?;
    let stream = socket.connect((Ipv4Addr::LOCALHOST, port).into()).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

fn request(path: &str, authorization: Option<&str>) -> String {
    let authorization =
        authorization.map(|value| format!("authorization: {value}\r\n")).unwrap_or_default();
    format!("GET {path} HTTP/1.1\r\nhost: localhost\r\n{authorization}\r\n")
}

async fn log_in(port: u16, path: &str, login: &Login) -> Result<LoggedIn> {
    let begun = Instant::now();
    let mut stream = connect(login.from, port).await?;
    stream.write_all(request(path, Some(&login.authorization)).as_bytes()).await?;
    let mut head = [0; 12];
    stream.read_exact(&mut head).await.context("the login has no answer")?;
    Ok(LoggedIn {
        status: status(&head[STATUS_LINE.len()..])?,
        seconds: begun.elapsed().as_secs_f64(),
    })
}

fn status(digits: &[u8]) -> Result<u16> {
    std::str::from_utf8(digits)?.parse().context("a status")
}

/// One connection, until it is aborted or closed.
async fn drive(stream: TcpStream, shared: Rc<Shared>) -> Result<()> {
    let (reader, writer) = stream.into_split();
    let waiting = Cell::new(0);
    tokio::select! {
        result = read(reader, &shared, &waiting) => result,
        result = write(writer, &shared, &waiting) => result,
    }
}

async fn write(mut writer: OwnedWriteHalf, shared: &Shared, waiting: &Cell<u64>) -> Result<()> {
    let mut sent: u64 = 0;
    loop {
        tokio::time::sleep(TICK).await;
        #[allow(clippy::cast_precision_loss)]
        let share = shared.job.rate / shared.job.connections as f64;
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        let due = (shared.started.elapsed().as_secs_f64() * share) as u64;
        let number = due.saturating_sub(sent).min(DEPTH.saturating_sub(waiting.get()));
        let text: String = (0..number).map(|_| next(shared)).collect();
        sent += number;
        waiting.set(waiting.get() + number);
        writer.write_all(text.as_bytes()).await?;
    }
}

fn next(shared: &Shared) -> String {
    let authorization = shared.job.guess.as_ref().map(|user| {
        let number = shared.guesses.get();
        shared.guesses.set(number + 1);
        format!("Basic {}", BASE64_STANDARD.encode(format!("{user}:no password {number}")))
    });
    request(&shared.job.path, authorization.as_deref())
}

async fn read(mut reader: OwnedReadHalf, shared: &Shared, waiting: &Cell<u64>) -> Result<()> {
    // With what was left of the last piece before it.
    let mut buffer = Vec::new();
    loop {
        ensure!(reader.read_buf(&mut buffer).await? > 0, "the proxy has closed a connection");
        let found = statuses(&mut buffer)?;
        let mut answers = shared.answers.borrow_mut();
        waiting.set(waiting.get().saturating_sub(found.len() as u64));
        for status in found {
            *answers.entry(status).or_default() += 1;
        }
    }
}

/// The statuses that are whole in the buffer; what may be the beginning of another stays in it.
fn statuses(buffer: &mut Vec<u8>) -> Result<Vec<u16>> {
    const WHOLE: usize = STATUS_LINE.len() + 3;
    let (mut found, mut at) = (Vec::new(), 0);
    while let Some(window) = buffer.get(at..at + WHOLE) {
        if window.starts_with(STATUS_LINE) {
            found.push(status(&window[STATUS_LINE.len()..])?);
            at += WHOLE;
        } else {
            at += 1;
        }
    }
    buffer.drain(..at);
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_counted_however_they_are_cut_into_pieces() {
        let answers = b"HTTP/1.1 429 Too Many\r\nretry-after: 6\r\n\r\n{}HTTP/1.1 200 OK\r\n\r\n";
        for size in 1..answers.len() {
            let (mut buffer, mut all) = (Vec::new(), Vec::new());
            for piece in answers.chunks(size) {
                buffer.extend_from_slice(piece);
                all.extend(statuses(&mut buffer).unwrap());
            }
            assert_eq!(all, [429, 200], "in pieces of {size}");
            assert!(buffer.len() < 12);
        }
    }
}
