//! Where spans are sent.

use std::path::PathBuf;

use super::parse::{number, path};
use super::{ConfigError, Layers};

/// A collector that takes OTLP over gRPC.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Otlp {
    pub endpoint: url::Url,
    /// PEM; whoever has signed the collector's certificate. Set exactly where the URL is https.
    pub ca: Option<PathBuf>,
    /// How many of the calls that come without a trace get one of their own.
    pub sample_percent: u8,
}

impl Layers {
    pub(super) fn otlp(&self) -> Result<Option<Otlp>, ConfigError> {
        let endpoint = self.optional("otlp_endpoint", endpoint)?;
        let ca = self.optional("otlp_ca", path)?;
        let sample_percent = self.required("otlp_sample", number(0, 100))?;
        let wrong =
            |why: &str| Err(ConfigError { place: "otlp_ca".to_owned(), why: why.to_owned() });
        match (endpoint, ca) {
            (None, None) => Ok(None),
            (None, Some(_)) => wrong("is of no use without otlp_endpoint"),
            (Some(endpoint), ca) => match (endpoint.scheme(), ca) {
                ("https", None) => wrong("is needed with an https otlp_endpoint"),
                ("http", Some(_)) => wrong("is of no use with an http otlp_endpoint"),
                (_, ca) => Ok(Some(Otlp { endpoint, ca, sample_percent })),
            },
        }
    }
}

fn endpoint(text: &str) -> Result<url::Url, String> {
    let expected = "expected http://HOST:PORT or https://HOST:PORT";
    let url = url::Url::parse(text).map_err(|why| format!("{why}; {expected}"))?;
    let plain = matches!(url.scheme(), "http" | "https")
        && url.has_host()
        && url.username().is_empty()
        && url.password().is_none()
        && url.path() == "/"
        && url.query().is_none()
        && url.fragment().is_none();
    // The text may hold a password, so it is not repeated.
    if plain { Ok(url) } else { Err(expected.to_owned()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(fields: &[(&'static str, &str)]) -> Result<Option<Otlp>, String> {
        let mut layers = Layers::default();
        for (name, value) in fields {
            layers.set_flag(name, (*value).to_owned());
        }
        layers.otlp().map_err(|error| error.to_string())
    }

    #[test]
    fn nothing_is_sent_unless_a_collector_is_named() {
        assert_eq!(read(&[]), Ok(None));
        let otlp = read(&[("otlp_endpoint", "http://127.0.0.1:4317")]).unwrap().unwrap();
        assert_eq!((otlp.endpoint.as_str(), otlp.sample_percent), ("http://127.0.0.1:4317/", 100));
    }

    #[test]
    fn tls_needs_an_authority_and_no_secret_is_in_the_url() {
        let refused = |fields: &[(&'static str, &str)]| read(fields).unwrap_err();
        assert!(refused(&[("otlp_endpoint", "https://c:4317")]).starts_with("otlp_ca: is needed"));
        assert!(refused(&[("otlp_ca", "ca.pem")]).starts_with("otlp_ca: is of no use"));
        let plain = [("otlp_endpoint", "http://c:4317"), ("otlp_ca", "ca.pem")];
        assert!(refused(&plain).starts_with("otlp_ca: is of no use"));
        for url in ["c:4317", "ftp://c", "http://u:s3cret@c:4317", "http://c:4317/v1?key=s3cret"] {
            let said = refused(&[("otlp_endpoint", url)]);
            assert!(
                said.contains("expected http://HOST:PORT") && !said.contains("s3cret"),
                "{said}"
            );
        }
        let said = refused(&[("otlp_sample", "101")]);
        assert!(said.contains("otlp-sample") && said.contains("0 to 100"), "{said}");
    }
}
