//! Requests that a page of another site makes a browser send.
//!
//! A browser adds by itself what it remembers: a Basic password, the cookie of a login in front of
//! the gate, the identity that a proxy makes of it. By the time a request is here, a token from a
//! cookie looks like any other, so whatever the credential is, a request that changes something
//! must come from the gate's own pages, from a listed origin, or from no browser at all.
//!
//! No route that is served to GET or HEAD changes anything; a test of the catalogue holds that.

use crate::operation::RawHead;

/// What a request that changes something says of the page it comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Page {
    /// The gate's own, a listed one, or none.
    Ours,
    Foreign,
}

/// `allowed` are origins as browsers write them.
pub fn page(head: &RawHead<'_>, allowed: &[String]) -> Page {
    if matches!(head.method, b"GET" | b"HEAD" | b"OPTIONS") {
        return Page::Ours;
    }
    // More than one `Origin` was refused before.
    let origin = head.headers.get(b"origin");
    if origin.is_some_and(|origin| allowed.iter().any(|other| other.as_bytes() == origin)) {
        return Page::Ours;
    }
    // Pages cannot set it: what begins with `Sec-` is the browser's. `same-site` is not enough,
    // since a neighbouring name may be anybody's.
    let mut sites =
        head.headers.iter().filter(|(name, _)| name.eq_ignore_ascii_case(b"sec-fetch-site"));
    let site = match (sites.next(), sites.next()) {
        (None, _) | (Some((_, b"same-origin" | b"none")), None) => Page::Ours,
        _ => Page::Foreign,
    };
    // Where the gate is asked over plain HTTP browsers send no `Sec-Fetch-Site`.
    if site == Page::Ours && origin.is_none_or(|origin| is_own(origin, head)) {
        Page::Ours
    } else {
        Page::Foreign
    }
}

/// Whether an origin is the host that was asked. `null`, the origin of sandboxed pages, is nobody's.
fn is_own(origin: &[u8], head: &RawHead<'_>) -> bool {
    let asked = head.headers.get(b":authority").or_else(|| head.headers.get(b"host"));
    let Some(asked) = asked.and_then(|asked| std::str::from_utf8(asked).ok()) else { return false };
    let Some((scheme, site)) = std::str::from_utf8(origin).ok().and_then(|o| o.split_once("://"))
    else {
        return false;
    };
    // The other way round it may be the proxy in front that speaks TLS.
    let downgraded = head.headers.get(b":scheme") == Some(b"https") && scheme != "https";
    let default = match scheme {
        "https" => "443",
        "http" => "80",
        _ => return false,
    };
    !downgraded
        && host_and_port(site, default) == host_and_port(&asked.to_ascii_lowercase(), default)
}

/// An IPv6 address keeps its brackets.
fn host_and_port<'a>(authority: &'a str, default: &'a str) -> (&'a str, &'a str) {
    match authority.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, port),
        _ => (authority, default),
    }
}

/// Whether this is an origin as browsers write it, so that it can be compared byte for byte.
pub fn is_origin(text: &str) -> bool {
    let Some((scheme, site)) = text.split_once("://") else { return false };
    let default = match scheme {
        "https" => ":443",
        "http" => ":80",
        _ => return false,
    };
    let plain =
        |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-._:[]".contains(&byte);
    !site.is_empty() && site.bytes().all(plain) && !site.ends_with(default)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(method: &str, pairs: &[(&str, &str)]) -> Page {
        let mut all = vec![(":authority", "mlflow.example")];
        all.extend_from_slice(pairs);
        let headers = all.into_iter().collect();
        let head = RawHead {
            method: method.as_bytes(),
            path: b"/",
            headers: &headers,
            end_of_stream: true,
        };
        page(&head, &["https://notebooks.example".to_owned()])
    }

    const FOREIGN: (&str, &str) = ("origin", "https://attacker.example");
    const OWN: (&str, &str) = ("origin", "https://mlflow.example");

    #[test]
    fn what_another_sites_page_sends_is_foreign() {
        for pairs in [
            &[("sec-fetch-site", "cross-site")][..],
            &[("sec-fetch-site", "same-site")],
            &[("sec-fetch-site", "something-new")],
            &[("sec-fetch-site", "")],
            &[("sec-fetch-site", "same-origin"), ("Sec-Fetch-Site", "cross-site")],
            &[("sec-fetch-site", "cross-site"), OWN],
            &[("sec-fetch-site", "same-origin"), FOREIGN],
            &[FOREIGN],
            &[("origin", "null")],
            &[("origin", "")],
            &[("origin", "https://mlflow.example.attacker.example")],
            &[("origin", "https://xmlflow.example")],
            &[("origin", "https://mlflow.example:8443")],
            &[("origin", "https://mlflow.example/")],
            &[("origin", "ftp://mlflow.example")],
            &[("origin", "http://mlflow.example"), (":scheme", "https")],
            &[("sec-fetch-site", "cross-site"), ("authorization", "Bearer x")],
        ] {
            for method in ["POST", "PUT", "PATCH", "DELETE"] {
                assert_eq!(of(method, pairs), Page::Foreign, "{method} {pairs:?}");
            }
        }
    }

    #[test]
    fn the_gates_own_pages_listed_origins_and_what_is_no_browser_may_write() {
        for pairs in [
            &[][..],
            &[OWN],
            &[("origin", "http://mlflow.example")],
            &[OWN, (":scheme", "https"), ("sec-fetch-site", "same-origin")],
            &[OWN, (":scheme", "http")],
            &[("sec-fetch-site", "none")],
            &[("sec-fetch-site", "cross-site"), ("origin", "https://notebooks.example")],
        ] {
            assert_eq!(of("POST", pairs), Page::Ours, "{pairs:?}");
        }
    }

    #[test]
    fn what_only_reads_may_come_from_anywhere() {
        for method in ["GET", "HEAD", "OPTIONS"] {
            assert_eq!(of(method, &[FOREIGN, ("sec-fetch-site", "cross-site")]), Page::Ours);
        }
    }

    #[test]
    fn ports_are_compared_with_their_defaults() {
        for (origin, asked, page) in [
            ("https://h", "h:443", Page::Ours),
            ("http://h", "H:80", Page::Ours),
            ("http://h:5000", "h:5000", Page::Ours),
            ("http://[::1]:5000", "[::1]:5000", Page::Ours),
            ("https://[::1]", "[::1]", Page::Ours),
            ("http://h", "h:443", Page::Foreign),
            ("http://h:5001", "h:5000", Page::Foreign),
            ("http://[::1]", "[::2]", Page::Foreign),
        ] {
            let headers = [(":authority", asked), ("origin", origin)].into_iter().collect();
            let head =
                RawHead { method: b"POST", path: b"/", headers: &headers, end_of_stream: true };
            assert_eq!(super::page(&head, &[]), page, "{origin} {asked}");
        }
    }

    #[test]
    fn an_origin_is_listed_as_browsers_write_it() {
        for origin in ["https://a.example", "http://localhost:8888", "https://[::1]:8443"] {
            assert!(is_origin(origin), "{origin}");
        }
        for origin in
            ["*", "null", "", "a.example", "https://", "https://a.example/", "https://A.example"]
        {
            assert!(!is_origin(origin), "{origin}");
        }
        assert!(!is_origin("https://a.example:443") && !is_origin("https://*.example"));
    }
}
