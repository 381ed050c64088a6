//! The server's configuration: a TOML file, over it `MLGATE_*` variables, over those flags.
//!
//! One list of fields serves all three: `listen` in the file is `MLGATE_LISTEN` and `--listen`.

mod fields;
mod layers;
mod oidc;
mod otlp;
mod parse;

#[cfg(test)]
mod tests;

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use secrecy::SecretString;

pub use self::fields::{FIELDS, Field};
pub use self::layers::Layers;
pub use self::oidc::{AdminGroups, FirstLogin, HttpHosts, Oidc, OidcIssuer, OidcTiming};
use self::oidc::{admin_groups, first_login};
pub use self::otlp::Otlp;
use self::parse::{
    address, boolean, default_permission, log_format, number, path, reason, shared_token, tracking,
    within,
};
use crate::store::{DatabaseUrl, ReservedPrefixes, SettingOverrides};

/// A configuration that can not be used. Never repeats a secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{place}: {why}")]
pub struct ConfigError {
    /// Where the value came from, e.g. `MLGATE_LISTEN`, `--listen` or `mlgate.toml: listen`.
    pub place: String,
    pub why: String,
}

/// TLS of the gRPC listener.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tls {
    /// PEM, with intermediates.
    pub certificate: PathBuf,
    /// PEM.
    pub key: PathBuf,
    /// PEM; when set, clients must present a certificate that it has signed.
    pub client_ca: Option<PathBuf>,
}

/// Where MLflow's ids are looked up.
#[derive(Clone, PartialEq, Eq)]
pub enum Tracking {
    /// MLflow's database, opened read-only.
    Database(DatabaseUrl),
    /// MLflow's REST API: the root URL, without a trailing slash.
    Rest(url::Url),
}

/// The effective configuration of `mlgate serve`.
#[derive(Debug, Clone)]
pub struct Config {
    pub store: DatabaseUrl,
    /// Of the gRPC services.
    pub listen: SocketAddr,
    /// None: ids can not be resolved, and what needs that is unavailable.
    pub tracking: Option<Tracking>,
    /// What this server fixes whatever the store's settings say.
    pub settings: SettingOverrides,
    pub tls: Option<Tls>,
    /// When set, every call must carry it as `authorization: Bearer …` metadata.
    pub shared_token: Option<SecretString>,
    /// How long a filter may reuse a decision.
    pub decision_ttl: Duration,
    /// How long a verified password is remembered, under an HMAC, in memory.
    pub credential_ttl: Duration,
    /// How many passwords are hashed at the same time; each takes up to 64 MiB.
    pub hash_concurrency: usize,
    /// Failed logins of one user, or from one address, within a minute before they are throttled.
    pub max_failures: u32,
    /// How often a watching filter is told that nothing changed.
    pub heartbeat: Duration,
    /// How long calls that are under way may take to end when the server stops.
    pub drain: Duration,
    /// Of the Prometheus metrics, over HTTP; none are served when None.
    pub metrics_listen: Option<SocketAddr>,
    /// Where spans are sent; nowhere when None.
    pub otlp: Option<Otlp>,
    pub oidc: Oidc,
    pub first_login: FirstLogin,
    pub admin_groups: AdminGroups,
    pub log_format: LogFormat,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    Text,
    Json,
}

impl fmt::Debug for Tracking {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Database(url) => fmt::Display::fmt(url, f),
            Self::Rest(url) => f.write_str(&without_userinfo(url)),
        }
    }
}

fn without_userinfo(url: &url::Url) -> String {
    let mut shown = url.clone();
    // Both fail only for URLs that can have no user.
    let _ = shown.set_password(None);
    let _ = shown.set_username("");
    shown.to_string()
}

impl Layers {
    /// The store alone, for commands that need nothing else.
    ///
    /// # Errors
    /// Names the place of a URL that is none.
    pub fn store(&self) -> Result<DatabaseUrl, ConfigError> {
        self.required("store", |text| DatabaseUrl::parse("store", text).map_err(reason))
    }

    /// The settings that the configuration fixes.
    ///
    /// # Errors
    /// Names the place of a value that is none.
    pub fn settings(&self) -> Result<SettingOverrides, ConfigError> {
        Ok(SettingOverrides {
            default_permission: self.optional("default_permission", default_permission)?,
            grant_default_workspace_access: self
                .optional("grant_default_workspace_access", boolean)?,
            workspaces: self.optional("workspaces", boolean)?,
            reserved_prefixes: self.optional("reserved_username_prefixes", |text| {
                ReservedPrefixes::parse(text).map_err(reason)
            })?,
        })
    }

    /// Where MLflow's ids are looked up.
    ///
    /// # Errors
    /// Names the place of a value that is none.
    pub fn tracking(&self) -> Result<Option<Tracking>, ConfigError> {
        self.optional("tracking_uri", tracking)
    }

    /// Checks everything.
    ///
    /// # Errors
    /// Names the place of the first value that can not be used.
    pub fn resolve(&self) -> Result<Config, ConfigError> {
        Ok(Config {
            store: self.store()?,
            listen: self.required("listen", address)?,
            tracking: self.tracking()?,
            settings: self.settings()?,
            tls: self.tls()?,
            shared_token: self.optional("shared_token", shared_token)?,
            decision_ttl: self.required("decision_ttl", within(0, 3_600_000))?,
            credential_ttl: self.required("credential_ttl", within(0, 3_600_000))?,
            hash_concurrency: self.required("hash_concurrency", number(1, 64))?,
            max_failures: self.required("max_failures", number(1, 1000))?,
            heartbeat: self.required("heartbeat", within(50, 60_000))?,
            drain: self.required("drain", within(0, 600_000))?,
            metrics_listen: self.optional("metrics_listen", address)?,
            otlp: self.otlp()?,
            oidc: self.oidc()?,
            first_login: self.required("first_login", first_login)?,
            admin_groups: self.optional("admin_groups", admin_groups)?.unwrap_or_default(),
            log_format: self.required("log_format", log_format)?,
        })
    }

    fn tls(&self) -> Result<Option<Tls>, ConfigError> {
        let certificate = self.optional("tls_certificate", path)?;
        let key = self.optional("tls_key", path)?;
        let client_ca = self.optional("tls_client_ca", path)?;
        let missing = |place: &str, why: &str| {
            Err(ConfigError { place: place.to_owned(), why: why.to_owned() })
        };
        match (certificate, key, client_ca) {
            (Some(certificate), Some(key), client_ca) => {
                Ok(Some(Tls { certificate, key, client_ca }))
            }
            (None, None, None) => Ok(None),
            (None, _, _) => missing("tls_certificate", "is needed with tls_key or tls_client_ca"),
            (Some(_), None, _) => missing("tls_key", "is needed with tls_certificate"),
        }
    }
}
