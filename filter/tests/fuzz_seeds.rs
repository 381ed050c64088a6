//! The seeds of the fuzz targets are what their names say, so that fuzzing starts within the readers
//! and not before them. `fuzz/seeds.py` writes them.

use std::path::{Path, PathBuf};

use mlgate_filter::authn::{self, Credential};
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
