//! The plugin's configuration: strict JSON. An unknown field, a wrong type or a value out of
//! range refuses the whole configuration, and the message names the field.

mod forwarded;
mod issuer;

pub use forwarded::{ForwardedIdentity, IdentityHeaders, PLAIN_CLAIMS, TrustedHop};
pub use issuer::{
    Algorithm, ClaimNames, Issuer, JwtConfig, KeySource, PemKey, Required, Separator,
};

use crate::policy_client::is_authority;
use crate::surface::SurfaceSettings;
use crate::surface::cross_site::is_origin;
use serde::Deserialize;

/// A configuration that cannot be used, with the field and the reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError {
    pub field: String,
    pub why: String,
}

impl std::fmt::Display for ConfigError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.field, self.why)
    }
}

impl std::error::Error for ConfigError {}

pub(crate) fn invalid(field: impl Into<String>, why: impl Into<String>) -> ConfigError {
    ConfigError { field: field.into(), why: why.into() }
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The policy server. Required.
    pub policy: PolicyConfig,
    /// Which requests are MLflow's. Default: all of them.
    #[serde(default)]
    pub scope: ScopeConfig,
    /// JWT issuers whose tokens are verified here. Absent: every JWT is refused.
    #[serde(default)]
    pub jwt: Option<JwtConfig>,
    /// Headers of a proxy in front that say who it is. Absent: they are removed unread.
    #[serde(default)]
    pub forwarded_identity: Option<ForwardedIdentity>,
    #[serde(default)]
    pub cache: CacheConfig,
    /// The largest body that is buffered, in bytes; larger ones get 413. 1 KiB to 64 MiB.
    /// Envoy's own `per_connection_buffer_limit_bytes` must be larger, else its 413 comes first.
    /// Default: 8 MiB.
    #[serde(default = "default_body_limit")]
    pub body_limit_bytes: usize,
    /// How a request is held until its body is there; see [`BodyMode`].
    #[serde(default)]
    pub body_mode: BodyMode,
    /// How long a client may take to send a body that is buffered, in ms. 100 to 600,000.
    /// Default: 60,000.
    #[serde(default = "default_body_timeout")]
    pub body_timeout_ms: u64,
    /// Origins of other sites whose pages may send what changes something, as browsers write them:
    /// `https://notebooks.example`. MLflow must allow them too. Default: none.
    #[serde(default)]
    pub allowed_origins: Vec<String>,
    /// Templates of the catalogue's routes that need no credential. Default:
    /// [`SurfaceSettings::default`].
    #[serde(default = "default_public_routes")]
    pub public_routes: Vec<String>,
    /// Lets super admins call routes that the catalogue does not know. Default: false.
    #[serde(default)]
    pub unknown_routes_for_admins: bool,
    /// The version of MLflow behind the gate, e.g. `"3.17"`. From 3.17 on its experiment search
    /// is narrowed in the request; for older ones, and where nothing is said, pages are filtered
    /// and refilled instead.
    #[serde(default)]
    pub mlflow_version: Option<MlflowVersion>,
    #[serde(default)]
    pub mode: Mode,
    /// Of the allowed requests one in so many is logged, as every refusal is; 0 logs none. At most
    /// 1,000,000. Default: 100.
    #[serde(default = "default_log_allowed_one_in")]
    pub log_allowed_one_in: u32,
    /// Adds `x-mlgate-reason` to the gate's own answers. Default: false, because reasons tell
    /// an attacker which check was met.
    #[serde(default)]
    pub reason_header: bool,
    /// The realm of the Basic challenge. Default: `mlflow`, which MLflow's own UI expects.
    #[serde(default = "default_realm")]
    pub realm: String,
}

/// Major and minor version; what follows does not matter to the gate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(try_from = "String")]
pub struct MlflowVersion(u32, u32);

/// The first version whose experiment search takes `experiment_id IN (…)`.
const FILTERS_TAKE_IDS: MlflowVersion = MlflowVersion(3, 17);

impl TryFrom<String> for MlflowVersion {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let mut parts = text.split('.').map(str::parse);
        match (parts.next(), parts.next()) {
            (Some(Ok(major)), Some(Ok(minor))) => Ok(Self(major, minor)),
            _ => Err("mlflow_version must be a version such as 3.17 or 3.17.2"),
        }
    }
}

/// Where the policy server is.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PolicyConfig {
    /// The name of Envoy's cluster, ASCII.
    pub cluster: String,
    /// `:authority` of the calls. Default: the cluster's name, or `mlgate` where that cannot be one.
    #[serde(default)]
    pub authority: Option<String>,
    /// The time one call may take, in ms. 10 to 60,000. Default: 1,000. A cold Basic credential
    /// costs the server one password hash; keep this well above 200.
    #[serde(default = "default_timeout")]
    pub timeout_ms: u32,
    /// Sent as `authorization: Bearer …` metadata with every call, where the server asks for it.
    #[serde(default)]
    pub token: Option<String>,
}

/// Which requests the filter guards. The others pass untouched: the filter may be loaded into a
/// gateway that serves other things.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ScopeConfig {
    /// `:authority` values without port, lower case. Empty: every host.
    #[serde(default)]
    pub hosts: Vec<String>,
    /// Only paths below this prefix. Empty: every path.
    #[serde(default)]
    pub path_prefix: String,
    /// MLflow's `--static-prefix`, e.g. `/mlflow`.
    #[serde(default)]
    pub static_prefix: String,
}

/// The decision cache.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CacheConfig {
    /// Decisions in Envoy's shared data, for all workers. 0 (off) to 1,048,576. Default: 4,096,
    /// about 2 MB.
    pub slots: u32,
    /// The longest time a decision is used, in ms, whatever the server allows. Default: 300,000.
    pub ttl_ms: u64,
    /// The longest time anything is used while changes cannot be heard of, in ms. 0 to 60,000.
    /// Default: 5,000.
    pub max_staleness_ms: u64,
    /// Decisions in each worker's own memory. 0 (off) to 65,536. Default: 1,024.
    pub l1_entries: usize,
}

impl Default for CacheConfig {
    fn default() -> Self {
        Self { slots: 4096, ttl_ms: 300_000, max_staleness_ms: 5_000, l1_entries: 1024 }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// Denied requests are refused.
    #[default]
    Enforce,
    /// Decisions are made, counted and logged; grants block nothing. Malformed requests and
    /// spoofed identity headers are still handled as in `enforce`.
    Shadow,
}

/// How a request whose decision needs the body is held back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BodyMode {
    /// The plugin has `allow_on_headers_stop_iteration: true` (Envoy 1.35 and later). Without
    /// it the filter never sees a body, and refuses such requests with 503.
    #[default]
    StopIteration,
    /// `envoy.filters.http.buffer` stands after this filter and keeps the headers back. For
    /// older Envoys. Without it the headers of a denied request would reach MLflow.
    BufferFilter,
}

fn default_body_limit() -> usize {
    8 * 1024 * 1024
}
fn default_body_timeout() -> u64 {
    60_000
}
fn default_log_allowed_one_in() -> u32 {
    100
}
fn default_timeout() -> u32 {
    1_000
}
fn default_realm() -> String {
    "mlflow".to_owned()
}
fn default_public_routes() -> Vec<String> {
    SurfaceSettings::default().public_routes
}

impl Config {
    /// Whether MLflow's search filters take conditions on ids.
    pub fn filters_take_ids(&self) -> bool {
        self.mlflow_version.is_some_and(|version| version >= FILTERS_TAKE_IDS)
    }

    /// Parses and checks a configuration.
    pub fn parse(json: &[u8]) -> Result<Self, ConfigError> {
        if json.is_empty() {
            return Err(invalid(
                "configuration",
                "missing; at least {\"policy\":{\"cluster\":…}} is needed",
            ));
        }
        let mut config: Self = serde_json::from_slice(json)
            .map_err(|error| invalid("configuration", error.to_string()))?;
        if let Some(forwarded) = &mut config.forwarded_identity {
            forwarded.complete();
        }
        config.check()?;
        Ok(config)
    }

    fn check(&self) -> Result<(), ConfigError> {
        let cluster = &self.policy.cluster;
        if cluster.is_empty() || !cluster.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(invalid("policy.cluster", "must be a non-empty ASCII name"));
        }
        if let Some(authority) = &self.policy.authority
            && !is_authority(authority)
        {
            return Err(invalid("policy.authority", "must be a host name, with or without port"));
        }
        range("policy.timeout_ms", self.policy.timeout_ms.into(), 10, 60_000)?;
        if let Some(token) = &self.policy.token
            && (token.is_empty() || !token.bytes().all(|byte| byte.is_ascii_graphic()))
        {
            return Err(invalid("policy.token", "must be printable ASCII without spaces"));
        }
        range("body_limit_bytes", self.body_limit_bytes as u64, 1 << 10, 64 << 20)?;
        range("log_allowed_one_in", self.log_allowed_one_in.into(), 0, 1_000_000)?;
        range("body_timeout_ms", self.body_timeout_ms, 100, 600_000)?;
        range("cache.slots", self.cache.slots.into(), 0, 1 << 20)?;
        range("cache.ttl_ms", self.cache.ttl_ms, 0, 86_400_000)?;
        range("cache.max_staleness_ms", self.cache.max_staleness_ms, 0, 60_000)?;
        range("cache.l1_entries", self.cache.l1_entries as u64, 0, 1 << 16)?;
        prefix("scope.path_prefix", &self.scope.path_prefix)?;
        prefix("scope.static_prefix", &self.scope.static_prefix)?;
        for (index, host) in self.scope.hosts.iter().enumerate() {
            if host.is_empty()
                || host
                    .bytes()
                    .any(|b| b.is_ascii_uppercase() || !b.is_ascii_graphic() || b == b'/')
            {
                return Err(invalid(
                    format!("scope.hosts[{index}]"),
                    "must be a lower-case host name without port",
                ));
            }
        }
        for (index, route) in self.public_routes.iter().enumerate() {
            // `*` alone, or `/*`, would switch authentication off by a slip of the pen.
            if !route.starts_with('/') || route.len() < 3 {
                return Err(invalid(
                    format!("public_routes[{index}]"),
                    "must start with / and name a path",
                ));
            }
        }
        for (index, origin) in self.allowed_origins.iter().enumerate() {
            if !is_origin(origin) {
                return Err(invalid(
                    format!("allowed_origins[{index}]"),
                    "must be an origin such as https://notebooks.example",
                ));
            }
        }
        if self
            .realm
            .bytes()
            .any(|byte| !(b' '..=b'~').contains(&byte) || byte == b'"' || byte == b'\\')
        {
            return Err(invalid("realm", "must be printable ASCII without quotes and backslashes"));
        }
        let issuers = self.jwt.iter().flat_map(|jwt| &jwt.issuers);
        if let Some(forwarded) = &self.forwarded_identity {
            forwarded.check(issuers.map(|issuer| issuer.name.as_str()))?;
        }
        self.jwt.as_ref().map_or(Ok(()), JwtConfig::check)
    }

    /// What the reader of requests needs to know.
    pub fn surface(&self) -> SurfaceSettings {
        SurfaceSettings {
            path_prefix: self.scope.path_prefix.clone(),
            static_prefix: self.scope.static_prefix.clone(),
            hosts: self.scope.hosts.clone(),
            body_limit: self.body_limit_bytes,
            public_routes: self.public_routes.clone(),
        }
    }
}

pub(crate) fn range(field: &str, value: u64, low: u64, high: u64) -> Result<(), ConfigError> {
    if (low..=high).contains(&value) {
        return Ok(());
    }
    Err(invalid(field, format!("{value} is not between {low} and {high}")))
}

fn prefix(field: &str, value: &str) -> Result<(), ConfigError> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/-_.~".contains(&byte);
    if value.is_empty()
        || (value.starts_with('/') && !value.ends_with('/') && value.bytes().all(plain))
    {
        return Ok(());
    }
    Err(invalid(field, "must be empty, or start with / and not end with it"))
}

#[cfg(test)]
mod tests;
