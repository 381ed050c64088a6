//! Servers on real ports, with a policy store and a tracking database of their own.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use mlgate_policy_server::config::{Config, Layers};
use mlgate_policy_server::contract as pb;
use mlgate_policy_server::contract::policy_client::PolicyClient;
use mlgate_policy_server::credentials::hash_new;
use mlgate_policy_server::domain::{Level, Pattern, ResourceType};
use mlgate_policy_server::service::{ServeError, serve_on};
use mlgate_policy_server::store::{Actor, Channel as ChangedBy, IfExists, NewUser, Store};
use sqlx::{ConnectOptions, Executor};
use tokio::sync::oneshot;
use tonic::transport::Channel;

pub const PASSWORD: &str = "a long enough password";
pub const RUN_1: &str = "11111111111111111111111111111111";
pub const RUN_2: &str = "22222222222222222222222222222222";
pub const RUN_3: &str = "33333333333333333333333333333333";

/// Runs the test once for each database that the policy store can be on.
#[macro_export]
macro_rules! on_both_stores {
    ($(#[$meta:meta])* async fn $name:ident($place:ident: On) $body:block) => {
        mod $name {
            use super::*;

            async fn case($place: On) $body

            #[tokio::test]
            async fn on_sqlite() {
                case(On::Sqlite).await;
            }

            #[tokio::test]
            async fn on_postgres() {
                if postgres_server().is_some() {
                    case(On::Postgres).await;
                }
            }
        }
    };
}

/// Where the policy store is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum On {
    Sqlite,
    Postgres,
}

/// The server that tests may create databases on; None, said plainly, when there is none.
pub fn postgres_server() -> Option<String> {
    let server = std::env::var("MLGATE_TEST_POSTGRES").ok();
    if server.is_none() {
        eprintln!("SKIPPED on Postgres: MLGATE_TEST_POSTGRES is not set");
    }
    server
}

/// Creates a database of its own; the URL of it.
pub async fn create_database(server: &str, prefix: &str) -> url::Url {
    let name = format!("{prefix}_{:016x}", rand::random::<u64>());
    let options: sqlx::postgres::PgConnectOptions = server.parse().expect("MLGATE_TEST_POSTGRES");
    let mut admin = options.connect().await.expect("MLGATE_TEST_POSTGRES");
    let create = sqlx::AssertSqlSafe(format!("CREATE DATABASE {name}"));
    admin.execute(create).await.unwrap();
    let mut url = url::Url::parse(server).unwrap();
    url.set_path(&name);
    url
}

pub struct Fixture {
    pub store: Store,
    pub client: PolicyClient<Channel>,
    pub channel: Channel,
    pub tracking: PathBuf,
    pub stop: Option<oneshot::Sender<()>>,
    pub server: tokio::task::JoinHandle<Result<(), ServeError>>,
    pub address: SocketAddr,
    pub store_url: String,
    layers: Layers,
    /// Removed with the fixture.
    _directory: tempfile::TempDir,
}

pub fn actor() -> Actor {
    Actor::new("test", ChangedBy::Cli)
}

/// A server with users `owner` (MANAGE on experiment 1), `reader` (READ on it), `stranger`, and
/// the administrator `root`.
pub async fn fixture(place: On, flags: &[(&'static str, &str)]) -> Fixture {
    let directory = tempfile::tempdir().unwrap();
    let store = match place {
        On::Sqlite => format!("sqlite:{}", directory.path().join("policy.db").display()),
        On::Postgres => {
            create_database(&postgres_server().unwrap(), "policy").await.as_str().to_owned()
        }
    };
    fixture_at(store, directory, flags).await
}

/// As [`fixture`], on an empty store.
pub async fn fixture_at(
    store_url: String,
    directory: tempfile::TempDir,
    flags: &[(&'static str, &str)],
) -> Fixture {
    let tracking = directory.path().join("mlflow.db");
    create_tracking(&tracking).await;
    let mut layers = Layers::default();
    layers.set_flag("store", store_url.clone());
    layers.set_flag("listen", "127.0.0.1:0".to_owned());
    layers.set_flag("tracking_uri", format!("sqlite:///{}", tracking.display()));
    layers.set_flag("heartbeat", "100ms".to_owned());
    for (name, value) in flags {
        layers.set_flag(name, (*value).to_owned());
    }
    let config = layers.resolve().unwrap();
    let store = Store::open(config.store.clone(), config.settings.clone()).await.unwrap();
    // One hash for all: hashing is slow on purpose.
    let hash = hash_new(PASSWORD).unwrap();
    for (name, is_admin) in
        [("owner", false), ("reader", false), ("stranger", false), ("root", true)]
    {
        let new = NewUser { is_admin, ..NewUser::with_password_hash(name, hash.clone().into()) };
        store.create_user(&actor(), &new).await.unwrap();
    }
    let running = start(config, store.clone()).await;
    let fixture = Fixture {
        store,
        client: PolicyClient::new(running.channel.clone()),
        channel: running.channel,
        tracking,
        stop: Some(running.stop),
        server: running.server,
        address: running.address,
        store_url,
        layers,
        _directory: directory,
    };
    fixture.grant("owner", ResourceType::Experiment, "1", Level::Manage).await;
    fixture.grant("reader", ResourceType::Experiment, "1", Level::Read).await;
    fixture
}

pub struct Running {
    pub channel: Channel,
    pub address: SocketAddr,
    pub stop: oneshot::Sender<()>,
    pub server: tokio::task::JoinHandle<Result<(), ServeError>>,
}

async fn start(config: Config, store: Store) -> Running {
    let listener = tokio::net::TcpListener::bind(config.listen).await.unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, stopped) = oneshot::channel::<()>();
    let server = tokio::spawn(serve_on(config, store, listener, async {
        let _ = stopped.await;
    }));
    let channel = Channel::from_shared(format!("http://{address}")).unwrap().connect_lazy();
    Running { channel, address, stop, server }
}

pub async fn create_tracking(path: &std::path::Path) {
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(path).create_if_missing(true);
    let mut connection = options.connect().await.unwrap();
    connection.execute(include_str!("tracking.sql")).await.unwrap();
}

/// The same tracking database on Postgres, as MLflow spells its URL; `None` without a server.
pub async fn postgres_tracking() -> Option<String> {
    let url = create_database(&postgres_server()?, "tracking").await;
    let options: sqlx::postgres::PgConnectOptions = url.as_str().parse().unwrap();
    let mut connection = options.connect().await.unwrap();
    connection.execute(include_str!("tracking.sql")).await.unwrap();
    let (_, rest) = url.as_str().split_once("://").unwrap();
    Some(format!("postgresql+psycopg2://{rest}"))
}

/// Every revision after `first` has its change and its audit row, and none is missing.
pub async fn assert_gapless(store_url: &str, first: u64) {
    let (raw, first) = (raw(store_url).await, i64::try_from(first).unwrap());
    let newest = count(&raw, "SELECT value FROM revision").await;
    for table in ["changes", "audit"] {
        let statement = format!(
            "SELECT COUNT(DISTINCT revision) FROM {table} \
             WHERE revision > {first} AND revision <= {newest}"
        );
        assert_eq!(count(&raw, &statement).await, newest - first, "{table}");
        let beyond = format!("SELECT COUNT(*) FROM {table} WHERE revision > {newest}");
        assert_eq!(count(&raw, &beyond).await, 0, "{table}");
    }
}

/// A connection past the store.
pub async fn raw(store_url: &str) -> sqlx::AnyPool {
    sqlx::any::install_default_drivers();
    let url = store_url.replacen("sqlite:/", "sqlite:///", 1);
    sqlx::AnyPool::connect(&url).await.unwrap()
}

pub async fn count(raw: &sqlx::AnyPool, statement: &str) -> i64 {
    let statement = sqlx::AssertSqlSafe(statement.to_owned());
    sqlx::query_scalar(statement).fetch_one(raw).await.unwrap()
}

impl Fixture {
    /// Another server on the same store, with a store handle of its own: nothing is shared but
    /// the database.
    pub async fn beside(&self) -> (Store, PolicyClient<Channel>, Running) {
        let config = self.layers.resolve().unwrap();
        let store = Store::open(config.store.clone(), config.settings.clone()).await.unwrap();
        let running = start(config, store.clone()).await;
        (store, PolicyClient::new(running.channel.clone()), running)
    }

    pub async fn grant(&self, user: &str, resource: ResourceType, id: &str, level: Level) -> u64 {
        self.grant_in("default", user, resource, id, level).await
    }

    pub async fn grant_in(
        &self,
        workspace: &str,
        user: &str,
        resource: ResourceType,
        id: &str,
        level: Level,
    ) -> u64 {
        let pattern = Pattern::literal(id);
        self.store
            .grant(&actor(), user, workspace, resource, &pattern, level, IfExists::Replace)
            .await
            .unwrap()
            .revision
    }

    pub async fn ask(
        &self,
        user: &str,
        requirements: Vec<pb::Requirement>,
    ) -> pb::AuthorizeResponse {
        self.request(request(basic(user, PASSWORD), requirements)).await
    }

    pub async fn request(&self, request: pb::AuthorizeRequest) -> pb::AuthorizeResponse {
        self.client.clone().authorize(request).await.unwrap().into_inner()
    }

    /// The outcome for a user with the right password, as of now.
    #[track_caller]
    pub fn outcome(
        &self,
        user: &str,
        requirement: pb::Requirement,
    ) -> impl Future<Output = pb::Outcome> {
        let requests = self.client.clone();
        let store = self.store.clone();
        let user = user.to_owned();
        async move {
            let min_revision = store.revision().await.unwrap();
            let request = pb::AuthorizeRequest {
                min_revision,
                ..request(basic(&user, PASSWORD), vec![requirement])
            };
            requests.clone().authorize(request).await.unwrap().into_inner().outcome()
        }
    }
}

pub fn request(subject: pb::Subject, requirements: Vec<pb::Requirement>) -> pb::AuthorizeRequest {
    let info = pb::RequestInfo { client_address: "10.0.0.1".to_owned(), ..Default::default() };
    pb::AuthorizeRequest {
        subject: Some(subject),
        requirements,
        info: Some(info),
        ..Default::default()
    }
}

pub fn basic(username: &str, password: &str) -> pb::Subject {
    let (username, password) = (username.to_owned(), password.to_owned());
    let basic = pb::BasicCredential { username, password };
    pb::Subject { kind: Some(pb::subject::Kind::Basic(basic)) }
}

pub fn bearer(token: &str) -> pb::Subject {
    let bearer = pb::BearerToken { token: token.to_owned() };
    pb::Subject { kind: Some(pb::subject::Kind::Bearer(bearer)) }
}

pub fn requirement(condition: pb::requirement::Condition) -> pb::Requirement {
    pb::Requirement { condition: Some(condition) }
}

pub fn ladder(rungs: Vec<pb::Rung>) -> pb::Requirement {
    requirement(pb::requirement::Condition::Ladder(pb::Ladder { rungs, explicit_only: false }))
}

pub fn on(resource: pb::ResourceType, id: &str, action: pb::Action) -> pb::Requirement {
    ladder(vec![pb::Rung {
        r#type: resource.into(),
        action: action.into(),
        key: Some(pb::rung::Key::Id(id.to_owned())),
    }])
}

/// What every version of the model or prompt needs: its tier is not denied and, where that says
/// nothing, the action on what it is a version of.
pub fn version_of(name: &str, action: pb::Action) -> pb::Requirement {
    let rung = |kind: pb::ResourceType, action: pb::Action, key| pb::Rung {
        r#type: kind.into(),
        action: action.into(),
        key: Some(key),
    };
    let every = pb::rung::Key::Every(pb::Every {});
    ladder(vec![
        rung(pb::ResourceType::ModelOrPromptVersion, pb::Action::NotDenied, every),
        rung(pb::ResourceType::ModelOrPrompt, action, pb::rung::Key::Id(name.to_owned())),
    ])
}

pub fn experiment(id: &str, action: pb::Action) -> pb::Requirement {
    on(pb::ResourceType::Experiment, id, action)
}

pub fn reference(kind: pb::ReferenceKind, id: &str) -> pb::Reference {
    pb::Reference { kind: kind.into(), id: id.to_owned(), parent: String::new() }
}

/// The action on whatever of the type owns the reference.
pub fn owner(
    resource: pb::ResourceType,
    reference: pb::Reference,
    action: pb::Action,
) -> pb::Requirement {
    ladder(vec![pb::Rung {
        r#type: resource.into(),
        action: action.into(),
        key: Some(pb::rung::Key::OwnerOf(reference)),
    }])
}

pub fn of(kind: pb::ReferenceKind, id: &str, action: pb::Action) -> pb::Requirement {
    owner(pb::ResourceType::Experiment, reference(kind, id), action)
}

/// Repeats until it holds; fails after five seconds.
pub async fn eventually<F: Future<Output = bool>>(what: &str, mut holds: impl FnMut() -> F) {
    for _ in 0..100 {
        if holds().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("never: {what}");
}

/// Everything that is said to a watcher who knows all up to `known`, in order. Being told
/// to forget counts as revision 0, which no list of changes has.
pub async fn watched(client: &PolicyClient<Channel>, known: u64) -> Arc<Mutex<Vec<u64>>> {
    use pb::watch_event::Event;
    let request = pb::WatchRequest { last_revision: known, node: "test".to_owned(), contract: 1 };
    let mut stream = client.clone().watch(request).await.unwrap().into_inner();
    let seen = Arc::new(Mutex::new(Vec::new()));
    let seeing = Arc::clone(&seen);
    tokio::spawn(async move {
        while let Ok(Some(event)) = stream.message().await {
            match event.event {
                Some(Event::Changed(changed)) => seeing.lock().unwrap().push(changed.revision),
                Some(Event::Reset(_)) => seeing.lock().unwrap().push(0),
                _ => {}
            }
        }
    });
    seen
}

pub fn created(resource: pb::ResourceType, id: &str) -> pb::Effect {
    let created = pb::Created { r#type: resource.into(), id: id.to_owned() };
    pb::Effect { kind: Some(pb::effect::Kind::Created(created)) }
}

pub fn owned(kind: pb::ReferenceKind, id: &str) -> pb::Effect {
    pb::Effect { kind: Some(pb::effect::Kind::Owned(reference(kind, id))) }
}

/// A port that nobody listens on now.
pub fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}
