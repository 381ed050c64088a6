//! From the text of a value to what it says, or what was expected instead.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};

use super::{LogFormat, Tracking};
use crate::domain::Level;
use crate::store::{DatabaseUrl, StoreError};

/// The reason without the field, which the place already names.
pub(super) fn reason(error: StoreError) -> String {
    match error {
        StoreError::Invalid { why, .. } => why,
        other => other.to_string(),
    }
}

pub(super) fn address(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| format!("{text:?}; expected ADDRESS:PORT, e.g. 127.0.0.1:50051"))
}

pub(super) fn boolean(text: &str) -> Result<bool, String> {
    text.parse().map_err(|_| format!("{text:?}; expected true or false"))
}

pub(super) fn default_permission(text: &str) -> Result<Level, String> {
    crate::store::default_permission(text).map_err(reason)
}

pub(super) fn number<T>(least: T, most: T) -> impl Fn(&str) -> Result<T, String>
where
    T: std::str::FromStr + PartialOrd + fmt::Display,
{
    move |text| match text.parse() {
        Ok(number) if number >= least && number <= most => Ok(number),
        _ => Err(format!("{text:?}; expected a number from {least} to {most}")),
    }
}

/// A duration such as `250ms`, `5s`, `10m` or `1h`, within bounds in milliseconds.
pub(super) fn within(least: u64, most: u64) -> impl Fn(&str) -> Result<Duration, String> {
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

pub(super) fn tracking(text: &str) -> Result<Tracking, String> {
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

pub(super) fn shared_token(text: &str) -> Result<SecretString, String> {
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

pub(super) fn path(text: &str) -> Result<PathBuf, String> {
    if text.contains('\0') {
        return Err("expected a path".to_owned());
    }
    Ok(PathBuf::from(text))
}

pub(super) fn log_format(text: &str) -> Result<LogFormat, String> {
    match text {
        "text" => Ok(LogFormat::Text),
        "json" => Ok(LogFormat::Json),
        _ => Err(format!("{text:?}; expected text or json")),
    }
}
