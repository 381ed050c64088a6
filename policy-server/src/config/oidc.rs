//! OIDC issuers, and what becomes of the people they name.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use url::{Host, Url};

use super::ConfigError;
use super::layers::Layers;
use super::parse::{path, within};

/// Issuers whose keys the server discovers and pushes to the filters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Oidc {
    pub issuers: Vec<OidcIssuer>,
    pub http_hosts: HttpHosts,
    /// PEM; authorities that are trusted besides the system's.
    pub ca: Option<PathBuf>,
    pub timing: OidcTiming,
}

/// An issuer whose JWKS is found through its discovery document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OidcIssuer {
    /// As the filter's configuration names it.
    pub name: String,
    /// To the byte, as its tokens have it.
    pub issuer: String,
    pub discovery: Url,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OidcTiming {
    /// The longest time between two fetches: a key that the issuer takes back stops within it.
    pub refresh: Duration,
    /// The shortest time before an unknown key makes another fetch.
    pub refetch: Duration,
    /// How long keys count while their issuer cannot be asked.
    pub stale: Duration,
}

/// Hosts that may be asked without TLS, besides this machine.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct HttpHosts(BTreeSet<String>);

impl HttpHosts {
    pub fn allow(&self, url: &Url) -> bool {
        match url.host() {
            Some(Host::Domain("localhost")) => true,
            Some(Host::Domain(name)) => self.0.contains(name),
            Some(Host::Ipv4(address)) => {
                address.is_loopback() || self.0.contains(&address.to_string())
            }
            Some(Host::Ipv6(address)) => {
                address.is_loopback() || self.0.contains(&address.to_string())
            }
            None => false,
        }
    }
}

/// What happens when an identity provider names somebody whom the store does not know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FirstLogin {
    /// They get what their groups and `default_permission` give.
    Admit,
    /// The same, and the user is created, so that grants and the admin page know them.
    Provision,
    /// Somebody must have created the user before.
    Refuse,
}

/// Groups of identity providers whose members are super admins.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AdminGroups(BTreeSet<String>);

impl AdminGroups {
    pub fn contain_any(&self, groups: &[String]) -> bool {
        groups.iter().any(|group| self.0.contains(group))
    }
}

impl Layers {
    pub(super) fn oidc(&self) -> Result<Oidc, ConfigError> {
        const DAY: u64 = 86_400_000;
        let http_hosts = self.optional("oidc_http_hosts", http_hosts)?.unwrap_or_default();
        let timing = OidcTiming {
            refresh: self.required("oidc_refresh", within(1_000, DAY))?,
            refetch: self.required("oidc_refetch", within(100, 3_600_000))?,
            stale: self.required("oidc_stale", within(1_000, 30 * DAY))?,
        };
        // Else keys would lapse between two fetches of an issuer that is well.
        let longest = u64::try_from(timing.stale.as_millis()).unwrap_or(u64::MAX);
        self.required("oidc_refresh", |text| {
            within(1_000, longest)(text).map_err(|why| format!("{why} (no more than oidc_stale)"))
        })?;
        Ok(Oidc {
            issuers: self
                .optional("oidc_issuers", |text| issuers(text, &http_hosts))?
                .unwrap_or_default(),
            ca: self.optional("oidc_ca", path)?,
            http_hosts,
            timing,
        })
    }
}

fn items(text: &str) -> impl Iterator<Item = &str> {
    text.split(',').map(str::trim).filter(|item| !item.is_empty())
}

fn issuers(text: &str, http_hosts: &HttpHosts) -> Result<Vec<OidcIssuer>, String> {
    let mut found: Vec<OidcIssuer> = Vec::new();
    for item in items(text) {
        let (name, issuer) = item
            .split_once('=')
            .ok_or_else(|| format!("{item:?}; expected name=https://issuer"))?;
        let (name, issuer) = (name.trim(), issuer.trim());
        if name.is_empty() || found.iter().any(|other| other.name == name) {
            return Err(format!("{item:?}; expected a name that no other issuer has"));
        }
        if found.iter().any(|other| other.issuer == issuer) {
            return Err(format!("{name}: another one has the same URL"));
        }
        let discovery = discovery(issuer, http_hosts).map_err(|why| format!("{name}: {why}"))?;
        found.push(OidcIssuer { name: name.to_owned(), issuer: issuer.to_owned(), discovery });
    }
    Ok(found)
}

/// Where an issuer's discovery document is (OpenID Connect Discovery, 4.1).
fn discovery(issuer: &str, http_hosts: &HttpHosts) -> Result<Url, String> {
    let url = Url::parse(issuer).map_err(|why| why.to_string())?;
    match url.scheme() {
        "https" => {}
        "http" if http_hosts.allow(&url) => {}
        _ => return Err("expected https; oidc_http_hosts lists the hosts that need no TLS".into()),
    }
    let bare = url.query().is_none() && url.fragment().is_none();
    if !bare || !url.username().is_empty() || url.password().is_some() {
        return Err("expected a URL without user, query and fragment".to_owned());
    }
    let base = issuer.trim_end_matches('/');
    Url::parse(&format!("{base}/.well-known/openid-configuration")).map_err(|why| why.to_string())
}

fn http_hosts(text: &str) -> Result<HttpHosts, String> {
    let host = |item: &str| match Host::parse(item) {
        Ok(host) if !item.contains('*') => Ok(host.to_string().trim_matches(['[', ']']).to_owned()),
        _ => Err(format!("{item:?}; expected host names or addresses without port")),
    };
    Ok(HttpHosts(items(text).map(host).collect::<Result<_, _>>()?))
}

pub(super) fn first_login(text: &str) -> Result<FirstLogin, String> {
    match text {
        "admit" => Ok(FirstLogin::Admit),
        "provision" => Ok(FirstLogin::Provision),
        "refuse" => Ok(FirstLogin::Refuse),
        _ => Err(format!("{text:?}; expected admit, provision or refuse")),
    }
}

pub(super) fn admin_groups(text: &str) -> Result<AdminGroups, String> {
    if text.chars().any(char::is_control) {
        return Err("expected names of groups, separated by commas".to_owned());
    }
    Ok(AdminGroups(items(text).map(str::to_owned).collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn issuer(text: &str, hosts: &str) -> Result<String, String> {
        let found = issuers(text, &http_hosts(hosts)?)?;
        Ok(found.into_iter().map(|issuer| issuer.discovery.to_string()).collect())
    }

    #[test]
    fn discovery_is_below_the_issuer_whose_name_is_kept_to_the_byte() {
        for (url, discovery) in [
            ("https://a.example", "https://a.example/.well-known/openid-configuration"),
            ("https://a.example/", "https://a.example/.well-known/openid-configuration"),
            (
                "https://a.example/t/v2.0",
                "https://a.example/t/v2.0/.well-known/openid-configuration",
            ),
            ("http://127.0.0.1:81/r", "http://127.0.0.1:81/r/.well-known/openid-configuration"),
            ("http://[::1]:81", "http://[::1]:81/.well-known/openid-configuration"),
        ] {
            let found = issuers(&format!("corp={url}"), &HttpHosts::default()).unwrap();
            assert_eq!(found[0].discovery.as_str(), discovery);
            assert_eq!(found[0].issuer, url);
        }
    }

    #[test]
    fn an_issuer_without_tls_must_be_allowed_by_name() {
        for url in ["http://idp.example", "http://10.0.0.1", "ftp://idp.example", "idp.example"] {
            assert!(issuer(&format!("corp={url}"), "").is_err(), "{url}");
        }
        assert!(issuer("corp=http://idp.example", "idp.example, 10.0.0.1").is_ok());
        assert!(issuer("corp=http://10.0.0.1:80/x", "idp.example, 10.0.0.1").is_ok());
        assert!(issuer("corp=http://sub.idp.example", "idp.example").is_err());
        assert!(http_hosts("*").is_err() && http_hosts("a:80").is_err());
    }

    #[test]
    fn twins_and_odd_urls_are_refused() {
        for text in [
            "=https://a",
            "a=https://a, a=https://b",
            "a=https://a, b=https://a",
            "a=https://a?x=1",
            "a=https://a#x",
            "a=https://u:p@a",
        ] {
            let error = issuer(text, "").unwrap_err();
            assert!(!error.contains("u:p"), "{error}");
        }
    }
}
