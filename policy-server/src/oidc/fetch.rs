//! Asks an issuer for its discovery document and then for its keys.

use std::time::Duration;

use reqwest::StatusCode;
use serde_json::Value;
use url::Url;

use super::freshness;
use super::jwks::{self, Keys, Unusable};
use crate::config::{HttpHosts, OidcIssuer};

pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// For one document, to its last byte.
pub const TIMEOUT: Duration = Duration::from_secs(10);

/// Largest document that is read. Real ones have some 10 KiB.
const MAX_DOCUMENT_BYTES: usize = 512 * 1024;

const DISCOVERY: &str = "discovery document";
const JWKS: &str = "JWKS";

/// Why an issuer's keys are not known.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    #[error("{document}: {}", chain(.why))]
    Http { document: &'static str, why: reqwest::Error },
    #[error("{document}: status {status}")]
    Status { document: &'static str, status: StatusCode },
    #[error("{document}: larger than {MAX_DOCUMENT_BYTES} bytes")]
    TooLarge { document: &'static str },
    #[error("{document}: not JSON")]
    NotJson { document: &'static str },
    #[error("{DISCOVERY}: is that of issuer {found:?}")]
    OtherIssuer { found: String },
    #[error("{DISCOVERY}: jwks_uri: {0}")]
    JwksUri(&'static str),
    #[error("{JWKS}: {0}")]
    Keys(#[from] Unusable),
}

/// Without the URL, which may hold a password; with the reason beneath the reason.
fn chain(error: &reqwest::Error) -> String {
    let mut source: Option<&dyn std::error::Error> = std::error::Error::source(error);
    let mut last = None;
    while let Some(error) = source {
        last = Some(error.to_string());
        source = error.source();
    }
    match last {
        _ if error.is_timeout() => "no answer in time".to_owned(),
        Some(last) => last,
        None => "failed".to_owned(),
    }
}

/// What an issuer said.
#[derive(Debug)]
pub struct Fetched {
    pub keys: Keys,
    /// For how long, by its own word.
    pub fresh_for: Option<Duration>,
}

struct Document {
    body: Value,
    fresh_for: Option<Duration>,
}

pub struct Fetcher {
    client: reqwest::Client,
    issuer: String,
    discovery: Url,
    http_hosts: HttpHosts,
}

impl Fetcher {
    pub fn new(client: reqwest::Client, issuer: &OidcIssuer, http_hosts: &HttpHosts) -> Self {
        Self {
            client,
            issuer: issuer.issuer.clone(),
            discovery: issuer.discovery.clone(),
            http_hosts: http_hosts.clone(),
        }
    }

    /// # Errors
    /// `FetchError`.
    pub async fn fetch(&self) -> Result<Fetched, FetchError> {
        let discovery = self.get(DISCOVERY, self.discovery.clone()).await?;
        // Byte for byte: whoever can serve a document somewhere below this host must not become
        // the issuer by it (OpenID Connect Discovery, 4.3).
        let found = discovery.body.get("issuer").and_then(Value::as_str).unwrap_or_default();
        if found != self.issuer {
            let found = found.chars().take(200).collect();
            return Err(FetchError::OtherIssuer { found });
        }
        let uri = discovery.body.get("jwks_uri").and_then(Value::as_str).unwrap_or_default();
        let document = self.get(JWKS, self.jwks_uri(uri)?).await?;
        let keys = jwks::keys(&document.body)?;
        let fresh_for = [discovery.fresh_for, document.fresh_for].into_iter().flatten().min();
        Ok(Fetched { keys, fresh_for })
    }

    fn jwks_uri(&self, text: &str) -> Result<Url, FetchError> {
        let uri = Url::parse(text).map_err(|_| FetchError::JwksUri("is not a URL"))?;
        match uri.scheme() {
            "https" => Ok(uri),
            // An issuer that is asked over TLS must not lead to where anybody can answer, nor to
            // what listens on this machine.
            "http" if self.discovery.scheme() == "http" && self.http_hosts.allow(&uri) => Ok(uri),
            _ => Err(FetchError::JwksUri("must be https")),
        }
    }

    async fn get(&self, document: &'static str, url: Url) -> Result<Document, FetchError> {
        let http = |why: reqwest::Error| FetchError::Http { document, why: why.without_url() };
        let request = self.client.get(url).header("accept", "application/json");
        let mut response = request.send().await.map_err(http)?;
        if response.status() != StatusCode::OK {
            return Err(FetchError::Status { document, status: response.status() });
        }
        let fresh_for = freshness::allowed(response.headers());
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(http)? {
            if body.len() + chunk.len() > MAX_DOCUMENT_BYTES {
                return Err(FetchError::TooLarge { document });
            }
            body.extend_from_slice(&chunk);
        }
        let body = serde_json::from_slice(&body).map_err(|_| FetchError::NotJson { document })?;
        Ok(Document { body, fresh_for })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn jwks_uri(discovery: &str, uri: &str) -> bool {
        let fetcher = Fetcher {
            client: reqwest::Client::new(),
            issuer: String::new(),
            discovery: Url::parse(discovery).unwrap(),
            http_hosts: HttpHosts::default(),
        };
        fetcher.jwks_uri(uri).is_ok()
    }

    #[test]
    fn an_issuer_that_is_asked_over_tls_cannot_lead_elsewhere_without_it() {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let (tls, local) = ("https://idp.example/d", "http://127.0.0.1:81/d");
        assert!(jwks_uri(tls, "https://keys.example/jwks"), "Google's are on another host");
        assert!(jwks_uri(local, "http://localhost:82/jwks"));
        assert!(jwks_uri(local, "https://keys.example/jwks"));
        for uri in ["http://127.0.0.1/latest", "http://idp.example/jwks", "file:///etc/passwd", ""]
        {
            assert!(!jwks_uri(tls, uri), "{uri}");
        }
        assert!(!jwks_uri(local, "http://169.254.169.254/latest"));
    }
}
