//! Whether a request comes from the proxy whose word counts.

use crate::config::TrustedHop;
use crate::headers::Headers;
use crate::host::Host;
use std::net::{IpAddr, SocketAddr};

/// Removed like everything under `x-mlgate-`, whoever sends it.
pub const SECRET_HEADER: &[u8] = b"x-mlgate-proxy-secret";

/// Where a request comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hop {
    Trusted,
    Untrusted,
}

pub fn hop<H: Host>(trusted: &TrustedHop, host: &H, headers: &Headers) -> Hop {
    let proofs = [
        trusted.addresses.is_empty() || is_at(trusted, host),
        trusted.peers.is_empty() || is_peer(trusted, host),
        trusted.secrets.is_empty() || has_secret(trusted, headers),
    ];
    let named =
        !(trusted.addresses.is_empty() && trusted.peers.is_empty() && trusted.secrets.is_empty());
    if named && proofs.into_iter().all(|holds| holds) { Hop::Trusted } else { Hop::Untrusted }
}

fn is_at<H: Host>(trusted: &TrustedHop, host: &H) -> bool {
    let Some(address) = host.property(&["source", "address"]).as_deref().and_then(direct) else {
        return false;
    };
    trusted.addresses.iter().any(|network| network.contains(&address))
}

/// The address at the other end of the connection. One that Envoy has taken from
/// `X-Forwarded-For`, as it does by default, has the port 0: the client may have written it.
fn direct(address: &[u8]) -> Option<IpAddr> {
    let address: SocketAddr = std::str::from_utf8(address).ok()?.parse().ok()?;
    (address.port() != 0).then(|| address.ip().to_canonical())
}

fn is_peer<H: Host>(trusted: &TrustedHop, host: &H) -> bool {
    // One byte, 1 where the peer has shown a certificate.
    if host.property(&["connection", "mtls"]).as_deref() != Some(&[1]) {
        return false;
    }
    ["uri_san_peer_certificate", "dns_san_peer_certificate"].iter().any(|san| {
        let name = host.property(&["connection", san]).unwrap_or_default();
        trusted.peers.iter().any(|peer| peer.as_bytes() == name)
    })
}

fn has_secret(trusted: &TrustedHop, headers: &Headers) -> bool {
    let mut sent = headers.iter().filter(|(name, _)| name.eq_ignore_ascii_case(SECRET_HEADER));
    match (sent.next(), sent.next()) {
        // All are compared, so that the time does not say which one it was.
        (Some((_, value)), None) => {
            trusted.secrets.iter().fold(false, |found, secret| secret.is(value) | found)
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mock::{Mock, pairs};

    const SECRET: &str = "0123456789abcdef0123456789abcdef";

    fn trusted(json: &str) -> TrustedHop {
        serde_json::from_str(json).unwrap()
    }

    fn from(json: &str, address: &str) -> Hop {
        let host = Mock::new();
        host.set_property(&["source", "address"], address.as_bytes()).unwrap();
        hop(&trusted(json), &host, &pairs(&[]))
    }

    #[test]
    fn only_the_other_end_of_the_connection_counts_as_an_address() {
        let networks = r#"{"addresses": ["10.0.0.0/8", "::1/128"]}"#;
        for address in ["10.1.2.3:4711", "[::1]:4711", "[::ffff:10.1.2.3]:4711"] {
            assert_eq!(from(networks, address), Hop::Trusted, "{address}");
        }
        for address in [
            // What Envoy makes of `X-Forwarded-For: 10.1.2.3`.
            "10.1.2.3:0",
            "[::1]:0",
            "11.1.2.3:4711",
            "[::2]:4711",
            "10.1.2.3",
            "/run/envoy.sock",
            "10.1.2.3:4711:1",
            "\u{ff11}0.1.2.3:4711",
            "",
        ] {
            assert_eq!(from(networks, address), Hop::Untrusted, "{address}");
        }
        let nobody = hop(&trusted(networks), &Mock::new(), &pairs(&[]));
        assert_eq!(nobody, Hop::Untrusted, "no address is known");
    }

    #[test]
    fn a_secret_counts_once_and_whole() {
        let secrets = trusted(&format!(r#"{{"secrets": ["{SECRET}", "{SECRET}-before"]}}"#));
        let sent = |pairs_: &[(&str, &str)]| hop(&secrets, &Mock::new(), &pairs(pairs_));
        let before = format!("{SECRET}-before");
        for good in [SECRET, &before] {
            assert_eq!(sent(&[("X-Mlgate-Proxy-Secret", good)]), Hop::Trusted);
        }
        let name = "x-mlgate-proxy-secret";
        for bad in [
            &[][..],
            &[(name, "")],
            &[(name, &SECRET[1..])],
            &[("x_mlgate_proxy_secret", SECRET)],
            &[(name, SECRET), (name, SECRET)],
        ] {
            assert_eq!(sent(bad), Hop::Untrusted, "{bad:?}");
        }
    }

    #[test]
    fn a_peer_is_known_by_a_certificate_that_it_has_shown() {
        let peers = trusted(r#"{"peers": ["spiffe://corp/proxy", "proxy.corp"]}"#);
        let of = |mtls: &[u8], san: &str, name: &str| {
            let host = Mock::new();
            host.set_property(&["connection", "mtls"], mtls).unwrap();
            host.set_property(&["connection", san], name.as_bytes()).unwrap();
            hop(&peers, &host, &pairs(&[]))
        };
        let (uri, dns) = ("uri_san_peer_certificate", "dns_san_peer_certificate");
        assert_eq!(of(&[1], uri, "spiffe://corp/proxy"), Hop::Trusted);
        assert_eq!(of(&[1], dns, "proxy.corp"), Hop::Trusted);
        assert_eq!(of(&[0], uri, "spiffe://corp/proxy"), Hop::Untrusted);
        assert_eq!(of(&[1], uri, "spiffe://corp/proxy2"), Hop::Untrusted);
        assert_eq!(of(&[1], "subject_peer_certificate", "proxy.corp"), Hop::Untrusted);
        assert_eq!(of(&[1], uri, ""), Hop::Untrusted);
    }

    #[test]
    fn every_proof_that_is_named_must_hold_and_none_is_no_proof() {
        let both = trusted(&format!(r#"{{"addresses": ["10.0.0.0/8"], "secrets": ["{SECRET}"]}}"#));
        let of = |address: &str, secret: &str| {
            let host = Mock::new();
            host.set_property(&["source", "address"], address.as_bytes()).unwrap();
            hop(&both, &host, &pairs(&[("x-mlgate-proxy-secret", secret)]))
        };
        assert_eq!(of("10.0.0.1:9", SECRET), Hop::Trusted);
        assert_eq!(of("10.0.0.1:9", "x"), Hop::Untrusted);
        assert_eq!(of("11.0.0.1:9", SECRET), Hop::Untrusted);
        assert_eq!(from("{}", "10.0.0.1:9"), Hop::Untrusted);
    }
}
