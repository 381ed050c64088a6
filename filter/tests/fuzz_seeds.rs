//! The seeds of the fuzz targets are what their names say, so that fuzzing starts within the readers
//! and not before them. `fuzz/seeds.py` writes them.

use std::path::{Path, PathBuf};

use mlgate_filter::authn::apart::Prefixes;
use mlgate_filter::authn::{self, Credential, forwarded};
use mlgate_filter::config::Config;
use mlgate_filter::headers::Headers;
use mlgate_filter::surface::coding;
use mlgate_filter::surface::headers::RequestHeaders;
use mlgate_filter::surface::otlp;

fn seeds(target: &str, prefix: &str) -> Vec<(String, Vec<u8>)> {
    let folder: PathBuf = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target);
    let mut seeds: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.file_name().unwrap().to_str().unwrap().starts_with(prefix))
        .map(|path| {
            let name = path.file_name().unwrap().to_str().unwrap().to_owned();
            (name, std::fs::read(path).unwrap())
        })
        .collect();
    seeds.sort();
    assert!(seeds.len() >= 3, "{target}: only {} seeds are {prefix}…", seeds.len());
    seeds
}

fn traces(name: &str, body: &[u8]) -> Option<Vec<String>> {
    let kind = if name.contains("-json-") { "json" } else { "x-protobuf" };
    let headers = RequestHeaders {
        content_type: Some(format!("application/{kind}")),
        ..RequestHeaders::default()
    };
    otlp::trace_ids(&headers, body).ok()
}

#[test]
fn good_exports_are_read_and_bad_ones_refused() {
    for (name, body) in seeds("otlp", "good-") {
        let traces = traces(&name, &body).unwrap_or_else(|| panic!("{name} is refused"));
        let expected = match name.rsplit('-').next() {
            Some("real") => 3,
            Some("spans") => 0,
            _ => 1,
        };
        assert_eq!(traces.len(), expected, "{name}: {traces:?}");
    }
    for (name, body) in seeds("otlp", "bad-") {
        assert_eq!(traces(&name, &body), None, "{name}");
    }
}

#[test]
fn compressed_exports_inflate_to_what_was_compressed() {
    for (name, body) in seeds("otlp", "coded-") {
        let coding = if name.contains("gzip") { "gzip" } else { "deflate" };
        let inflated = coding::decode(Some(coding), &body, 1 << 16).ok();
        let whole = matches!(name.as_str(), "coded-gzip" | "coded-zlib");
        let found = inflated.as_deref().and_then(|body| traces("-proto-", body));
        assert_eq!(found.map(|traces| traces.len()), whole.then_some(3), "{name}");
    }
}

#[test]
fn good_credentials_are_read_and_bad_ones_refused() {
    for (name, header) in seeds("credential", "good-") {
        let read = authn::read(Some(&header));
        let sound = match name.as_str() {
            name if name.starts_with("good-basic") => matches!(read, Ok(Credential::Basic { .. })),
            name if name.starts_with("good-bearer-jwt") => matches!(read, Ok(Credential::Jwt(_))),
            _ => matches!(read, Ok(Credential::Opaque(_))),
        };
        assert!(sound, "{name}");
    }
    for (name, header) in seeds("credential", "bad-") {
        assert!(authn::read(Some(&header)).is_err(), "{name}");
    }
}

/// Whom a block of headers names, where `kind` is what the proxy in front writes.
fn named(kind: &str, block: &[u8]) -> Option<String> {
    let headers = match kind {
        "easyauth" => serde_json::json!("easy_auth"),
        "authrequest" => serde_json::json!("auth_request"),
        _ => serde_json::json!("forwarded"),
    };
    let mut settings = serde_json::json!({
        "name": "proxy", "headers": headers, "trusted": {"addresses": ["10.0.0.0/8"]},
        "groups_claim": "groups",
    });
    if kind == "easyauth" {
        settings["identity_providers"] = serde_json::json!(["aad"]);
    }
    let issuer = serde_json::json!({
        "name": "corp", "issuer": "https://i", "audiences": ["m"], "algorithms": ["ES256"],
        "username_prefix": "corp:",
    });
    let json = serde_json::json!({
        "policy": {"cluster": "p"}, "jwt": {"issuers": [issuer]}, "forwarded_identity": settings,
    });
    let config = Config::parse(json.to_string().as_bytes()).unwrap();
    let headers: Headers = block
        .split(|byte| *byte == b'\n')
        .map(|line| {
            let colon = line.iter().position(|byte| *byte == b':').unwrap();
            (&line[..colon], line[colon + 1..].trim_ascii())
        })
        .collect();
    let settings = config.forwarded_identity.as_ref().unwrap();
    let said = forwarded::said(settings, &Prefixes::of(&config), &headers, 1_767_225_600);
    said.ok().map(|identity| identity.username)
}

#[test]
fn identities_of_proxies_in_front_name_one_person_or_nobody() {
    for (name, block) in seeds("forwarded", "good-") {
        let kind = name.split('-').nth(1).unwrap();
        let expected = match name.as_str() {
            "good-easyauth-robot" => "o2",
            name if name.starts_with("good-easyauth") => "ana@corp.example",
            name if name.ends_with("-groups") => "ana",
            name if name.ends_with("-user") => "u1",
            _ => "zoë",
        };
        assert_eq!(named(kind, &block).as_deref(), Some(expected), "{name}");
    }
    for (name, block) in seeds("forwarded", "bad-") {
        let kind = name.split('-').nth(1).unwrap();
        assert_eq!(named(kind, &block), None, "{name}");
    }
}
