//! Starts the server, and stops it gracefully.

use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use secrecy::ExposeSecret;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tonic::transport::server::TcpIncoming;
use tonic::transport::{Certificate, Identity, Server, ServerTlsConfig};

use super::authenticate::Authenticator;
use super::authorize::Decider;
use super::reconcile::keep_reconciling;
use super::rpc::{Desk, PolicyService, SharedToken};
use super::snapshot::{Snapshots, follow};
use crate::admin::AdminContext;
use crate::config::{Config, LogFormat, Tls, Tracking};
use crate::contract::DESCRIPTORS;
use crate::contract::policy_server::PolicyServer;
use crate::credentials::throttle::Allowance;
use crate::credentials::{Throttle, ThrottleConfig, Verifier, VerifierConfig};
use crate::metrics::Metrics;
use crate::oidc::{Issuers, SetupError};
use crate::resolver::{Backend, Database, LookupError, Resolver, ResolverConfig, Rest};
use crate::store::{Store, StoreError};
use crate::traces::Traces;

/// Largest message that is read.
const MAX_MESSAGE_BYTES: usize = 16 * 1024 * 1024;

/// Connections to the tracking database.
const TRACKING_CONNECTIONS: u32 = 8;

/// Why the server did not start, or ended.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    #[error("cannot listen on {address}: {why}")]
    Listen { address: std::net::SocketAddr, why: std::io::Error },
    #[error("cannot read {path}: {why}")]
    File { path: PathBuf, why: std::io::Error },
    #[error("TLS: {0}")]
    Tls(tonic::transport::Error),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Tracking(#[from] LookupError),
    #[error(transparent)]
    Oidc(#[from] SetupError),
    #[error(transparent)]
    Otlp(#[from] crate::traces::SetupError),
    #[error("gRPC: {0}")]
    Transport(tonic::transport::Error),
    #[error("cannot watch for signals: {0}")]
    Signals(std::io::Error),
    #[error("reflection: {0}")]
    Reflection(tonic_reflection::server::Error),
}

/// Serves until SIGTERM or SIGINT, then drains.
///
/// # Errors
/// `ServeError`.
pub async fn serve(config: Config, store: Store) -> Result<(), ServeError> {
    let address = config.listen;
    let listener =
        TcpListener::bind(address).await.map_err(|why| ServeError::Listen { address, why })?;
    let stop = stop_signal()?;
    serve_on(config, store, listener, stop).await
}

/// Serves on a bound listener until `stop` completes, then drains.
///
/// # Errors
/// `ServeError`.
pub async fn serve_on(
    config: Config,
    store: Store,
    listener: TcpListener,
    stop: impl Future<Output = ()> + Send,
) -> Result<(), ServeError> {
    let metrics = Metrics::default();
    let exposing = expose(&config, &metrics).await?;
    let decider = Arc::new(decider(&config, store, &metrics).await?);
    let traces = Traces::start(config.otlp.as_ref())?;
    let (issuers, _refreshing) = Issuers::start(&config.oidc, &metrics)?;
    let follower = tokio::spawn(follow(Arc::clone(&decider.snapshots)));
    let reconciler = tokio::spawn(keep_reconciling(Arc::clone(&decider)));
    let (drain, draining) = watch::channel(false);
    let (health, health_service) = tonic_health::server::health_reporter();
    health.set_serving::<PolicyServer<PolicyService>>().await;
    let reflection = tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(DESCRIPTORS)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        .build_v1()
        .map_err(ServeError::Reflection)?;
    let token = SharedToken::new(config.shared_token.as_ref().map(ExposeSecret::expose_secret));
    let service = PolicyServer::new(PolicyService {
        desk: Arc::new(Desk { decider, metrics, traces: traces.clone() }),
        issuers,
        heartbeat: config.heartbeat,
        draining: draining.clone(),
    })
    .max_decoding_message_size(MAX_MESSAGE_BYTES);
    let mut server = Server::builder()
        .http2_keepalive_interval(Some(Duration::from_secs(10)))
        .http2_keepalive_timeout(Some(Duration::from_secs(10)))
        .tcp_keepalive(Some(Duration::from_secs(30)));
    if let Some(tls) = &config.tls {
        server = server.tls_config(tls_config(tls)?).map_err(ServeError::Tls)?;
    }
    tracing::info!(address = ?listener.local_addr().ok(), "serving");
    let serving = server
        .add_service(health_service)
        .add_service(tonic::service::interceptor::InterceptedService::new(
            reflection,
            token.clone(),
        ))
        .add_service(tonic::service::interceptor::InterceptedService::new(service, token))
        .serve_with_incoming_shutdown(
            TcpIncoming::from(listener).with_nodelay(Some(true)),
            drained(draining.clone()),
        );
    let deadline = async {
        drained(draining).await;
        tokio::time::sleep(config.drain).await;
    };
    let stopping = async {
        stop.await;
        tracing::info!("draining");
        health.set_not_serving::<PolicyServer<PolicyService>>().await;
        drain.send_replace(true);
        std::future::pending::<()>().await;
    };
    let result = tokio::select! {
        result = serving => result.map_err(ServeError::Transport),
        () = deadline => {
            tracing::warn!("calls were still open at the drain deadline");
            Ok(())
        }
        () = stopping => Ok(()),
    };
    follower.abort();
    reconciler.abort();
    if let Some(exposing) = exposing {
        exposing.abort();
    }
    traces.stop().await;
    tracing::info!("stopped");
    result
}

/// Serves the metrics until aborted, if they are wanted.
async fn expose(config: &Config, metrics: &Metrics) -> Result<Option<JoinHandle<()>>, ServeError> {
    let Some(address) = config.metrics_listen else { return Ok(None) };
    let listener =
        TcpListener::bind(address).await.map_err(|why| ServeError::Listen { address, why })?;
    let router = metrics.router();
    Ok(Some(tokio::spawn(async move {
        if let Err(error) = axum::serve(listener, router).await {
            tracing::error!(%error, "metrics are no longer served");
        }
    })))
}

/// Completes when the server is stopping.
pub(super) async fn drained(mut draining: watch::Receiver<bool>) {
    // An error means that the sender is gone, and with it the server.
    let _ = draining.wait_for(|&draining| draining).await;
}

async fn decider(config: &Config, store: Store, metrics: &Metrics) -> Result<Decider, ServeError> {
    let snapshots =
        Arc::new(Snapshots::new(store, metrics.clone(), config.admin_groups.clone()).await?);
    let verifier = Verifier::new(VerifierConfig {
        concurrency: config.hash_concurrency,
        remember: config.credential_ttl,
        ..VerifierConfig::default()
    });
    let verifier = Arc::new(verifier.counting(metrics.password_hashes()));
    let failures = Allowance {
        burst: config.max_failures,
        refill: Duration::from_secs(60) / config.max_failures.max(1),
    };
    let throttle = Throttle::new(ThrottleConfig {
        per_user_and_address: failures,
        ..ThrottleConfig::default()
    });
    let backend = match &config.tracking {
        None => Backend::None,
        Some(Tracking::Database(url)) => {
            Backend::Database(Database::open(url.clone(), TRACKING_CONNECTIONS)?)
        }
        Some(Tracking::Rest(url)) => Backend::Rest(Rest::open(url.clone())?),
    };
    let admin = AdminContext { store: snapshots.store().clone(), verifier: Arc::clone(&verifier) };
    Ok(Decider {
        admin,
        authenticator: Authenticator::new(
            Arc::clone(&snapshots),
            verifier,
            throttle,
            metrics.reuse("password"),
            config.first_login,
        ),
        snapshots,
        resolver: Resolver::new(backend, ResolverConfig::default(), metrics.reuse("reference")),
        decision_ttl: config.decision_ttl,
    })
}

fn tls_config(tls: &Tls) -> Result<ServerTlsConfig, ServeError> {
    let identity = Identity::from_pem(read(&tls.certificate)?, read(&tls.key)?);
    let config = ServerTlsConfig::new().identity(identity);
    Ok(match &tls.client_ca {
        Some(path) => config.client_ca_root(Certificate::from_pem(read(path)?)),
        None => config,
    })
}

fn read(path: &Path) -> Result<Vec<u8>, ServeError> {
    std::fs::read(path).map_err(|why| ServeError::File { path: path.to_owned(), why })
}

#[cfg(unix)]
fn stop_signal() -> Result<impl Future<Output = ()> + Send, ServeError> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate()).map_err(ServeError::Signals)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(ServeError::Signals)?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}

/// Logs to standard error; `RUST_LOG` chooses what. Does nothing when logging is set up already.
pub fn init_logging(format: LogFormat) {
    use tracing_subscriber::EnvFilter;
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal());
    let _ = match format {
        LogFormat::Text => builder.try_init(),
        LogFormat::Json => builder.json().try_init(),
    };
}
