//! The keys of OIDC issuers: discovered, kept fresh, and given to the filters.
//!
//! One task for each issuer fetches its discovery document and its JWKS, sleeps as long as the
//! issuer allows within the configured bound, and is woken where a token names a key that nobody
//! knows. What it has is announced to every watching filter. While an issuer cannot be asked, what
//! it said last holds for `oidc_stale`; the end of that is written on the keys themselves, so that
//! it holds at the filters too, whoever is gone.

mod fetch;
mod freshness;
mod issuer;
mod jwks;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use reqwest::Certificate;
use tokio::sync::watch;

use self::fetch::Fetcher;
use self::issuer::Issuer;
use crate::config::Oidc;
use crate::contract as pb;
use crate::metrics::Metrics;

/// The sets that filters should have, one for each issuer that was ever reached.
pub type KeySets = Arc<[pb::KeySet]>;

/// Why the issuers cannot be asked at all.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    #[error("oidc_ca: cannot read {path}: {why}")]
    Read { path: PathBuf, why: std::io::Error },
    #[error("oidc_ca: {path} holds no certificates")]
    Empty { path: PathBuf },
    #[error("oidc_ca: {path}: {why}")]
    Certificates { path: PathBuf, why: reqwest::Error },
    #[error("oidc_issuers: no HTTP client: {0}")]
    Client(reqwest::Error),
}

/// All configured issuers.
pub struct Issuers {
    issuers: Vec<Arc<Issuer>>,
    sets: Arc<watch::Sender<KeySets>>,
}

/// The tasks that keep the keys fresh; they end when it is dropped.
pub struct Refreshing(Vec<tokio::task::JoinHandle<()>>);

impl Drop for Refreshing {
    fn drop(&mut self) {
        self.0.iter().for_each(tokio::task::JoinHandle::abort);
    }
}

impl Issuers {
    /// Starts to ask the issuers. Waits for none of them: those who log in with passwords need
    /// not know that an identity provider is down.
    ///
    /// # Errors
    /// `SetupError`.
    pub fn start(config: &Oidc, metrics: &Metrics) -> Result<(Self, Refreshing), SetupError> {
        let client = client(config.ca.as_deref())?;
        let sets = Arc::new(watch::Sender::new(KeySets::default()));
        let mut tasks = Vec::new();
        let mut issuers = Vec::new();
        for configured in &config.issuers {
            let fetcher = Fetcher::new(client.clone(), configured, &config.http_hosts);
            let issuer = Arc::new(Issuer::new(
                configured.clone(),
                config.timing,
                fetcher,
                metrics.fetches(&configured.name),
            ));
            tasks.push(tokio::spawn(Arc::clone(&issuer).keep_fresh(Arc::clone(&sets))));
            issuers.push(issuer);
        }
        Ok((Self { issuers, sets }, Refreshing(tasks)))
    }

    /// Sees every new set of any issuer.
    pub fn subscribe(&self) -> watch::Receiver<KeySets> {
        self.sets.subscribe()
    }

    /// The keys of an issuer, asked anew if the one that is looked for is not among them; `None`
    /// for an issuer that is not configured.
    pub async fn keys(&self, name: &str, kid: &str) -> Option<pb::KeysResponse> {
        let issuer = self.issuers.iter().find(|issuer| issuer.name() == name)?;
        Some(issuer.keys(kid).await)
    }
}

fn client(ca: Option<&Path>) -> Result<reqwest::Client, SetupError> {
    // Fails when a provider is installed already, which is as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let mut builder = reqwest::Client::builder()
        .connect_timeout(fetch::CONNECT_TIMEOUT)
        .timeout(fetch::TIMEOUT)
        // What an issuer says is said at its own address.
        .redirect(reqwest::redirect::Policy::none())
        .user_agent(concat!("mlgate/", env!("CARGO_PKG_VERSION")));
    if let Some(path) = ca {
        builder = builder.tls_certs_merge(certificates(path)?);
    }
    builder.build().map_err(SetupError::Client)
}

fn certificates(path: &Path) -> Result<Vec<Certificate>, SetupError> {
    let path = path.to_owned();
    let pem = match std::fs::read(&path) {
        Ok(pem) => pem,
        Err(why) => return Err(SetupError::Read { path, why }),
    };
    match Certificate::from_pem_bundle(&pem) {
        Ok(found) if found.is_empty() => Err(SetupError::Empty { path }),
        Ok(found) => Ok(found),
        Err(why) => Err(SetupError::Certificates { path, why }),
    }
}

/// Milliseconds since the epoch, as the contract has them.
fn milliseconds(moment: SystemTime) -> u64 {
    let since = moment.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
