//! The server's configuration: a TOML file, over it `MLGATE_*` variables, over those flags.
//!
//! One list of fields serves all three: `listen` in the file is `MLGATE_LISTEN` and `--listen`.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};

use crate::domain::Level;
use crate::store::{DatabaseUrl, ReservedPrefixes, SettingOverrides, StoreError};

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
    /// OIDC issuers whose keys the server discovers and pushes to the filters, as name=URL.
    pub oidc_issuers: Vec<OidcIssuer>,
    pub log_format: LogFormat,
}

/// An issuer whose JWKS is found through its discovery document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OidcIssuer {
    /// As the filter's configuration names it.
    pub name: String,
    pub issuer: url::Url,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    Text,
    Json,
}

/// One field, as all sources and `mlgate config` know it.
#[derive(Debug, Clone, Copy)]
pub struct Field {
    pub name: &'static str,
    pub default: Option<&'static str>,
    pub secret: bool,
    pub help: &'static str,
}

const fn field(name: &'static str, default: Option<&'static str>, help: &'static str) -> Field {
    Field { name, default, secret: false, help }
}

/// All fields, in the order in which they are shown.
pub const FIELDS: &[Field] = &[
    field(
        "store",
        Some("sqlite:mlgate.db"),
        "the policy store: sqlite:PATH or postgresql://USER:PASSWORD@HOST/DATABASE",
    ),
    field("listen", Some("127.0.0.1:50051"), "address and port of the gRPC services"),
    field(
        "tracking_uri",
        None,
        "MLflow's tracking database as MLflow spells it (sqlite:////abs/mlflow.db, \
         postgresql+psycopg2://…), read-only; or the http(s) URL of MLflow itself",
    ),
    field(
        "default_permission",
        None,
        "fixes the setting: NO_PERMISSIONS, READ, USE, EDIT or MANAGE",
    ),
    field("workspaces", None, "fixes the setting: whether MLflow runs with workspaces"),
    field("grant_default_workspace_access", None, "fixes the setting: true or false"),
    field(
        "reserved_username_prefixes",
        None,
        "fixes the setting: prefixes of identity providers' usernames, which get no passwords",
    ),
    field("tls_certificate", None, "PEM file; makes the gRPC services speak TLS"),
    field("tls_key", None, "PEM file of the certificate's key"),
    field("tls_client_ca", None, "PEM file; clients must present a certificate signed by it"),
    Field {
        secret: true,
        ..field("shared_token", None, "a secret that every gRPC call must carry as Bearer token")
    },
    field("decision_ttl", Some("60s"), "how long filters may reuse a decision (0 to 1h)"),
    field("credential_ttl", Some("60s"), "how long a verified password is remembered (0 to 1h)"),
    field("hash_concurrency", Some("2"), "passwords hashed at the same time (1 to 64)"),
    field("max_failures", Some("10"), "failed logins a minute before 429 (1 to 1000)"),
    field("heartbeat", Some("1s"), "interval of heartbeats to filters (50ms to 1m)"),
    field("drain", Some("10s"), "how long open calls may take when stopping (0 to 10m)"),
    field("metrics_listen", None, "address and port of Prometheus metrics over HTTP"),
    field("oidc_issuers", None, "issuers whose keys are discovered, as name=https://…, …"),
    field("log_format", Some("text"), "text or json"),
];

/// Values that were given, each with the place it came from. Later layers win.
#[derive(Debug, Clone, Default)]
pub struct Layers {
    values: BTreeMap<&'static str, (String, String)>,
}

impl Layers {
    /// The file, then the environment. Flags are added with [`Layers::set_flag`].
    ///
    /// # Errors
    /// A file that can not be read or parsed, and names that are no fields.
    pub fn read(
        file: Option<&Path>,
        environment: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, ConfigError> {
        let mut layers = Self::default();
        if let Some(path) = file {
            layers.read_file(path)?;
        }
        for (variable, value) in environment {
            layers.set_variable(&variable, value)?;
        }
        Ok(layers)
    }

    fn read_file(&mut self, path: &Path) -> Result<(), ConfigError> {
        let shown = path.display().to_string();
        let error = |why: String| ConfigError { place: shown.clone(), why };
        let text = std::fs::read_to_string(path).map_err(|why| error(why.to_string()))?;
        // The parser's message quotes the line, which may hold a secret: its position will do.
        let table: toml::Table = toml::from_str(&text).map_err(|why| {
            let start = why.span().map_or(0, |span| span.start);
            let line = text.bytes().take(start).filter(|byte| *byte == b'\n').count() + 1;
            error(format!("line {line}: not TOML: {}", why.message()))
        })?;
        for (name, value) in table {
            let place = format!("{shown}: {name}");
            let Some(field) = FIELDS.iter().find(|field| field.name == name) else {
                return Err(ConfigError { place, why: unknown_field() });
            };
            let value = plain(&value).ok_or_else(|| ConfigError {
                place: place.clone(),
                why: "expected a string, number, boolean or list of strings".to_owned(),
            })?;
            self.values.insert(field.name, (value, place));
        }
        Ok(())
    }

    /// Variables of other programs pass; a misspelt one of ours does not. So does
    /// `MLGATE_ADMIN_*`, which `serve` reads for the first administrator.
    fn set_variable(&mut self, variable: &str, value: String) -> Result<(), ConfigError> {
        let Some(name) = variable.strip_prefix("MLGATE_") else { return Ok(()) };
        if matches!(name, "CONFIG" | "LOG" | "ADMIN_USERNAME" | "ADMIN_PASSWORD")
            || name.starts_with("TEST_")
        {
            return Ok(());
        }
        match FIELDS.iter().find(|field| field.name.to_ascii_uppercase() == name) {
            // An empty variable is how shells and container platforms unset one.
            Some(_) if value.is_empty() => Ok(()),
            Some(field) => {
                self.values.insert(field.name, (value, variable.to_owned()));
                Ok(())
            }
            None => Err(ConfigError { place: variable.to_owned(), why: unknown_field() }),
        }
    }

    /// Sets a field from its flag.
    pub fn set_flag(&mut self, name: &'static str, value: String) {
        let flag = format!("--{}", name.replace('_', "-"));
        self.values.insert(name, (value, flag));
    }

    /// Each field's effective value, masked, and where it came from.
    pub fn shown(&self) -> Vec<(&'static str, Option<String>, String)> {
        FIELDS
            .iter()
            .map(|field| {
                let (value, place) = match self.values.get(field.name) {
                    Some((value, place)) => (Some(masked(field, value)), place.clone()),
                    None => (field.default.map(str::to_owned), "default".to_owned()),
                };
                (field.name, value, place)
            })
            .collect()
    }

    fn get(&self, name: &'static str) -> Option<Given<'_>> {
        match self.values.get(name) {
            Some((value, place)) => Some(Given { value, place }),
            None => FIELDS
                .iter()
                .find(|field| field.name == name)
                .and_then(|field| field.default)
                .map(|value| Given { value, place: name }),
        }
    }

    fn optional<T>(
        &self,
        name: &'static str,
        read: impl FnOnce(&str) -> Result<T, String>,
    ) -> Result<Option<T>, ConfigError> {
        self.get(name)
            .map(|given| {
                read(given.value).map_err(|why| ConfigError { place: given.place.to_owned(), why })
            })
            .transpose()
    }

    fn required<T>(
        &self,
        name: &'static str,
        read: impl FnOnce(&str) -> Result<T, String>,
    ) -> Result<T, ConfigError> {
        self.optional(name, read)?
            .ok_or_else(|| ConfigError { place: name.to_owned(), why: "is required".to_owned() })
    }

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
            oidc_issuers: self.optional("oidc_issuers", oidc_issuers)?.unwrap_or_default(),
            log_format: self.required("log_format", log_format)?,
        })
    }

    fn tls(&self) -> Result<Option<Tls>, ConfigError> {
        let path = |text: &str| Ok(PathBuf::from(text));
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

struct Given<'a> {
    value: &'a str,
    place: &'a str,
}

impl fmt::Debug for Tracking {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Database(url) => fmt::Display::fmt(url, f),
            Self::Rest(url) => f.write_str(&without_userinfo(url)),
        }
    }
}

fn unknown_field() -> String {
    let names: Vec<&str> = FIELDS.iter().map(|field| field.name).collect();
    format!("is not a field; expected one of {}", names.join(", "))
}

/// TOML's scalars as the text that the other sources would have; lists as comma-separated.
fn plain(value: &toml::Value) -> Option<String> {
    match value {
        toml::Value::String(text) => Some(text.clone()),
        toml::Value::Integer(number) => Some(number.to_string()),
        toml::Value::Boolean(flag) => Some(flag.to_string()),
        toml::Value::Array(items) => {
            let items: Option<Vec<&str>> = items.iter().map(toml::Value::as_str).collect();
            Some(items?.join(","))
        }
        _ => None,
    }
}

fn masked(field: &Field, value: &str) -> String {
    match field.name {
        _ if field.secret => "***".to_owned(),
        "store" => DatabaseUrl::parse("store", value)
            .map_or_else(|_| "(not a URL)".to_owned(), |url| url.to_string()),
        "tracking_uri" => {
            tracking(value).map_or_else(|_| "(not a URL)".to_owned(), |found| format!("{found:?}"))
        }
        _ => value.to_owned(),
    }
}

fn without_userinfo(url: &url::Url) -> String {
    let mut shown = url.clone();
    // Both fail only for URLs that can have no user.
    let _ = shown.set_password(None);
    let _ = shown.set_username("");
    shown.to_string()
}

/// The reason without the field, which the place already names.
fn reason(error: StoreError) -> String {
    match error {
        StoreError::Invalid { why, .. } => why,
        other => other.to_string(),
    }
}

fn address(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| format!("{text:?}; expected ADDRESS:PORT, e.g. 127.0.0.1:50051"))
}

fn boolean(text: &str) -> Result<bool, String> {
    text.parse().map_err(|_| format!("{text:?}; expected true or false"))
}

fn default_permission(text: &str) -> Result<Level, String> {
    crate::store::default_permission(text).map_err(reason)
}

fn number<T>(least: T, most: T) -> impl Fn(&str) -> Result<T, String>
where
    T: std::str::FromStr + PartialOrd + fmt::Display,
{
    move |text| match text.parse() {
        Ok(number) if number >= least && number <= most => Ok(number),
        _ => Err(format!("{text:?}; expected a number from {least} to {most}")),
    }
}

/// A duration such as `250ms`, `5s`, `10m` or `1h`, within bounds in milliseconds.
fn within(least: u64, most: u64) -> impl Fn(&str) -> Result<Duration, String> {
    move |text| {
        duration(text)
            .filter(|millis| (least..=most).contains(millis))
            .map(Duration::from_millis)
            .ok_or_else(|| {
                format!("{text:?}; expected {least}ms to {most}ms, e.g. 250ms, 5s, 10m or 1h")
            })
    }
}

fn duration(text: &str) -> Option<u64> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let factor = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "" if number == "0" => 1,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(factor)
}

fn tracking(text: &str) -> Result<Tracking, String> {
    if text.starts_with("http://") || text.starts_with("https://") {
        let mut url = url::Url::parse(text).map_err(|why| why.to_string())?;
        let path = url.path().trim_end_matches('/').to_owned();
        url.set_path(&path);
        return Ok(Tracking::Rest(url));
    }
    DatabaseUrl::parse_sqlalchemy("tracking_uri", text)
        .map(Tracking::Database)
        .map_err(|error| format!("{}, or the http(s) URL of MLflow", reason(error)))
}

fn shared_token(text: &str) -> Result<SecretString, String> {
    let token = SecretString::from(text);
    let usable = |byte: u8| byte.is_ascii_graphic();
    match token.expose_secret() {
        token if token.len() < 16 => Err("expected at least 16 characters".to_owned()),
        token if !token.bytes().all(usable) => {
            Err("expected visible ASCII characters only".to_owned())
        }
        _ => Ok(token),
    }
}

fn oidc_issuers(text: &str) -> Result<Vec<OidcIssuer>, String> {
    text.split(',')
        .map(str::trim)
        .filter(|item| !item.is_empty())
        .map(|item| {
            let (name, url) = item
                .split_once('=')
                .ok_or_else(|| format!("{item:?}; expected name=https://issuer"))?;
            let issuer =
                url::Url::parse(url.trim()).map_err(|why| format!("{}: {why}", name.trim()))?;
            Ok(OidcIssuer { name: name.trim().to_owned(), issuer })
        })
        .collect()
}

fn log_format(text: &str) -> Result<LogFormat, String> {
    match text {
        "text" => Ok(LogFormat::Text),
        "json" => Ok(LogFormat::Json),
        _ => Err(format!("{text:?}; expected text or json")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layers(file: &str, environment: &[(&str, &str)]) -> Result<Layers, ConfigError> {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("mlgate.toml");
        std::fs::write(&path, file).unwrap();
        let environment =
            environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        Layers::read(Some(&path), environment)
    }

    fn refused(file: &str, environment: &[(&str, &str)]) -> String {
        match layers(file, environment).and_then(|layers| layers.resolve()) {
            Ok(config) => panic!("{config:?}"),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn a_flag_wins_over_the_environment_and_that_over_the_file() {
        let file = "listen = '127.0.0.1:1'\nheartbeat = '2s'\ndrain = '1s'";
        let mut layers =
            layers(file, &[("MLGATE_LISTEN", "127.0.0.1:2"), ("MLGATE_DRAIN", "3s")]).unwrap();
        layers.set_flag("listen", "127.0.0.1:3".to_owned());
        let config = layers.resolve().unwrap();
        assert_eq!(config.listen.port(), 3);
        assert_eq!(config.drain, Duration::from_secs(3));
        assert_eq!(config.heartbeat, Duration::from_secs(2));
        assert_eq!(config.decision_ttl, Duration::from_secs(60), "the default");
    }

    #[test]
    fn the_defaults_are_a_configuration() {
        let config = Layers::default().resolve().unwrap();
        assert_eq!(config.listen.to_string(), "127.0.0.1:50051");
        assert_eq!(config.store.to_string(), "sqlite:mlgate.db");
        assert_eq!(config.settings, SettingOverrides::default());
        assert!(config.tls.is_none() && config.shared_token.is_none());
    }

    #[test]
    fn an_error_names_the_place_and_never_the_secret() {
        for (file, environment, place) in [
            ("lisen = 'x'", &[][..], "mlgate.toml: lisen: is not a field"),
            ("listen = 'x'", &[], "mlgate.toml: listen: \"x\"; expected ADDRESS:PORT"),
            ("listen = {}", &[], "mlgate.toml: listen: expected a string"),
            ("a = 1\nshared_token = \"s3cret-s3cret-s3cr", &[], "line 2: not TOML"),
            ("", &[("MLGATE_LISTN", "s3cret")], "MLGATE_LISTN: is not a field"),
            ("", &[("MLGATE_STORE", "mysql://u:s3cret@h/d")], "MLGATE_STORE: expected sqlite"),
            ("", &[("MLGATE_SHARED_TOKEN", "s3cret")], "MLGATE_SHARED_TOKEN: expected at least"),
            ("", &[("MLGATE_TRACKING_URI", "ftp://s3cret")], "MLGATE_TRACKING_URI: expected"),
            ("", &[("MLGATE_DEFAULT_PERMISSION", "DENY")], "MLGATE_DEFAULT_PERMISSION: \"DENY\""),
            ("", &[("MLGATE_WORKSPACES", "on")], "expected true or false"),
            ("heartbeat = '1ms'", &[], "expected 50ms to 60000ms"),
            ("decision_ttl = '99999999999999999999h'", &[], "mlgate.toml: decision_ttl"),
            ("hash_concurrency = 0", &[], "expected a number from 1 to 64"),
            ("tls_key = 'k'", &[], "tls_certificate: is needed"),
            ("tls_certificate = 'c'", &[], "tls_key: is needed"),
            ("oidc_issuers = ['nope']", &[], "expected name=https://issuer"),
        ] {
            let error = refused(file, environment);
            assert!(error.contains(place), "{error}");
            assert!(!error.contains("s3cret"), "{error}");
        }
    }

    #[test]
    fn other_programs_variables_and_empty_ones_pass() {
        let environment =
            [("PATH", "/bin"), ("MLGATE_LISTEN", ""), ("MLGATE_ADMIN_PASSWORD", "secret")];
        let config = layers("", &environment).unwrap().resolve().unwrap();
        assert_eq!(config.listen.port(), 50051);
    }

    #[test]
    fn what_is_shown_is_masked() {
        let environment = [
            ("MLGATE_STORE", "postgresql://u:s3cret@h/d"),
            ("MLGATE_SHARED_TOKEN", "s3cret-s3cret-s3cret"),
            ("MLGATE_TRACKING_URI", "https://u:s3cret@mlflow/"),
        ];
        let layers = layers("", &environment).unwrap();
        let shown = format!("{:?}", layers.shown());
        assert!(!shown.contains("s3cret"), "{shown}");
        let config = format!("{:?}", layers.resolve().unwrap());
        assert!(!config.contains("s3cret"), "{config}");
    }

    #[test]
    fn every_field_is_read() {
        // A field that `resolve` forgot would be accepted and have no effect.
        for field in FIELDS {
            let mut layers = Layers::default();
            layers.set_flag(field.name, "\u{0}".to_owned());
            let path = field.name.starts_with("tls_");
            assert!(path || layers.resolve().is_err(), "{}", field.name);
        }
    }
}
