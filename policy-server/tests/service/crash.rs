//! kill -9 of the server: nothing acknowledged is lost, nothing half-written remains.

use std::net::SocketAddr;
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use mlgate_policy_server::contract as pb;
use mlgate_policy_server::contract::policy_client::PolicyClient;
use mlgate_policy_server::contract::{ReferenceKind, ResourceType as R};
use mlgate_policy_server::domain::{Level, Pattern};
use mlgate_policy_server::store::Store;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::task::JoinSet;
use tonic::transport::Channel;

use crate::on_both_stores;
use crate::support::*;

const ROUNDS: usize = 5;
const WRITERS: usize = 8;
/// Acknowledged writes before a kill.
const WRITES: usize = 60;

/// Who wrote what, as of which revision, according to the server.
pub type Acknowledged = Arc<Mutex<Vec<(String, String, u64)>>>;

/// Records one creation after the other until the server is gone.
pub async fn write_until_it_fails(
    mut client: PolicyClient<Channel>,
    username: String,
    first: usize,
    acknowledged: Acknowledged,
) {
    for number in first.. {
        let id = number.to_string();
        let request = pb::RecordRequest {
            username: username.clone(),
            // Two rows in two tables: half of a write would be one of them.
            effects: vec![
                created(R::Experiment, &id),
                owned(ReferenceKind::JobId, &format!("{username}-{id}")),
            ],
            ..Default::default()
        };
        match client.record(request).await {
            Ok(answer) => {
                let revision = answer.into_inner().revision;
                acknowledged.lock().unwrap().push((username.clone(), id, revision));
            }
            Err(_) => return,
        }
    }
}

/// Starts writers that go on until the server is gone.
pub fn start_writers(
    client: &PolicyClient<Channel>,
    round: usize,
    to: &Acknowledged,
) -> JoinSet<()> {
    let mut writers = JoinSet::new();
    for writer in 0..WRITERS {
        let name = format!("writer{writer}");
        let first = 1 + round * 1_000_000;
        writers.spawn(write_until_it_fails(client.clone(), name, first, Arc::clone(to)));
    }
    writers
}

pub async fn wait_for_writes(acknowledged: &Acknowledged, count: usize) {
    let begun = std::time::Instant::now();
    while acknowledged.lock().unwrap().len() < count {
        assert!(begun.elapsed() < Duration::from_secs(60), "the writers are stuck");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    // At a different moment of a write each time.
    tokio::time::sleep(Duration::from_micros(rand::random_range(0..20_000))).await;
}

/// What was acknowledged is there, and every write is there as a whole or not at all.
pub async fn assert_whole(store_url: &str, acknowledged: &Acknowledged) {
    let store = Store::connect(store_url).await.unwrap();
    let acknowledged = acknowledged.lock().unwrap().clone();
    let newest = store.revision().await.unwrap();
    assert!(acknowledged.iter().all(|(_, _, revision)| *revision <= newest));
    for writer in 0..WRITERS {
        let name = format!("writer{writer}");
        let grants = store.principal(&name, &[]).await.unwrap().grants;
        for (_, id, revision) in acknowledged.iter().filter(|(user, ..)| *user == name) {
            let pattern = Pattern::Exact(id.clone());
            let found = grants.iter().find(|grant| grant.pattern == pattern);
            let level = found.map(|grant| grant.level);
            assert_eq!(level, Some(Level::Manage), "{name} {id}, revision {revision}");
            let owner = store.owner_of(ReferenceKind::JobId, &format!("{name}-{id}")).await;
            assert_eq!(owner.unwrap().unwrap().username, name, "{id}, revision {revision}");
        }
    }
    assert_gapless(store_url, 1).await;
    let raw = raw(store_url).await;
    let permissions = "SELECT COUNT(*) FROM role_permissions p JOIN roles r ON r.id = p.role_id \
                       JOIN users u ON u.id = r.user_id WHERE u.username LIKE 'writer%'";
    let owners = count(&raw, "SELECT COUNT(*) FROM owners").await;
    assert_eq!(count(&raw, permissions).await, owners, "both rows of a write, or none");
    let audited = "SELECT COUNT(*) FROM audit WHERE action = 'owner.record'";
    assert_eq!(count(&raw, audited).await, owners, "each with its audit row");
    assert!(owners >= i64::try_from(acknowledged.len()).unwrap());
}

/// A server in a process of its own.
struct Process {
    child: Child,
    address: SocketAddr,
}

impl Process {
    async fn start(store_url: &str) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_mlgate"));
        for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("MLGATE_")) {
            command.env_remove(name);
        }
        let mut child = command
            .args(["serve", "--store", store_url, "--listen", "127.0.0.1:0"])
            .env("MLGATE_ADMIN_PASSWORD", PASSWORD)
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let mut said = String::new();
        while let Some(line) = lines.next_line().await.unwrap() {
            assert!(!line.contains('\u{1b}'), "colours where there is no terminal: {line:?}");
            if let Some((_, rest)) = line.split_once("127.0.0.1:") {
                let port = rest.chars().take_while(char::is_ascii_digit).collect::<String>();
                let address = format!("127.0.0.1:{port}").parse().unwrap();
                // The pipe must not fill up.
                tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
                return Self { child, address };
            }
            said.push_str(&line);
        }
        panic!("the server did not start: {said}");
    }

    fn client(&self) -> PolicyClient<Channel> {
        let url = format!("http://{}", self.address);
        PolicyClient::new(Channel::from_shared(url).unwrap().connect_lazy())
    }
}

on_both_stores! {
async fn a_killed_server_has_lost_nothing_that_it_acknowledged(place: On) {
    let directory = tempfile::tempdir().unwrap();
    let url = match place {
        On::Sqlite => format!("sqlite:{}", directory.path().join("policy.db").display()),
        On::Postgres => create_database(&postgres_server().unwrap(), "killed").await.to_string(),
    };
    let acknowledged = Acknowledged::default();
    for round in 0..ROUNDS {
        let mut server = Process::start(&url).await;
        let writers = start_writers(&server.client(), round, &acknowledged);
        wait_for_writes(&acknowledged, (round + 1) * WRITES).await;
        server.child.kill().await.unwrap();
        writers.join_all().await;
        assert_whole(&url, &acknowledged).await;
    }
}
}
