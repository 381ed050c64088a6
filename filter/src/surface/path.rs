//! Paths: decoded once, refused if that leaves two readings, and encoded again in one spelling.
//!
//! Envoy may have normalised the path before (`normalize_path`, `merge_slashes`, escaped-slash
//! actions) or not; everything those would change is either refused or comes out the same here.

use std::borrow::Cow;

use crate::refusal::Refusal;

use super::artifact;

/// Longest request target in bytes, the query included.
pub const MAX_TARGET: usize = 64 * 1024;

const PATH: &str = "path";

/// Decoded segments of an absolute path; a trailing slash shows as an empty last segment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CanonicalPath(String);

impl CanonicalPath {
    /// The decoded path, e.g. `/2.0/mlflow/runs/get`.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The one spelling that is forwarded.
    pub fn encoded(&self) -> String {
        encode_path(&self.0)
    }
}

/// Cuts a request target at the first `?`.
pub fn split_target(target: &[u8]) -> (&[u8], &[u8]) {
    match target.iter().position(|&byte| byte == b'?') {
        Some(at) => {
            let (path, query) = target.split_at(at);
            (path, query.get(1..).unwrap_or_default())
        }
        None => (target, &[]),
    }
}

/// Reads a path that is no artifact path.
pub fn read(bytes: &[u8]) -> Result<CanonicalPath, Refusal> {
    let decoded = decode_once(bytes)?;
    if decoded.contains('%') {
        return Err(Refusal::ambiguous(PATH, "is encoded more than once"));
    }
    check_segments(&decoded)?;
    Ok(CanonicalPath(decoded))
}

/// Reads any path of MLflow's. `prefixes` may stand before the artifact proxy's.
///
/// MLflow decodes what follows `/mlflow-artifacts/` until it no longer changes. So does this, and
/// the result, encoded once, is what is forwarded.
pub fn read_any(bytes: &[u8], prefixes: &[&str]) -> Result<CanonicalPath, Refusal> {
    match artifact::canonical_proxy_path(bytes, prefixes)? {
        Some(decoded) => {
            check_start(bytes)?;
            check_characters(&decoded)?;
            check_segments(&decoded)?;
            Ok(CanonicalPath(decoded))
        }
        None => read(&with_plain_slashes(bytes)),
    }
}

const MCP_SERVERS: &[u8] = b"/mlflow/mcp-servers/";

/// MLflow's client encodes the `/` that each MCP server's name has, and only there is it decoded:
/// MLflow matches the decoded path, which is also what is matched and forwarded here.
fn with_plain_slashes(bytes: &[u8]) -> Cow<'_, [u8]> {
    let start = bytes.windows(MCP_SERVERS.len()).position(|window| window == MCP_SERVERS);
    let Some((before, names)) = start.and_then(|at| bytes.split_at_checked(at)) else {
        return Cow::Borrowed(bytes);
    };
    let mut plain = before.to_vec();
    let mut rest = names;
    while let Some((&byte, after)) = rest.split_first() {
        match rest.split_at_checked(3) {
            Some((escape, after)) if escape.eq_ignore_ascii_case(b"%2f") => {
                plain.push(b'/');
                rest = after;
            }
            _ => {
                plain.push(byte);
                rest = after;
            }
        }
    }
    Cow::Owned(plain)
}

/// One round of percent-decoding, and the checks that hold for every path.
fn decode_once(bytes: &[u8]) -> Result<String, Refusal> {
    check_start(bytes)?;
    if has_encoded_slash(bytes) {
        return Err(Refusal::ambiguous(PATH, "contains an encoded slash or backslash"));
    }
    let decoded = percent_decode(bytes)
        .ok_or_else(|| Refusal::ambiguous(PATH, "has a broken percent escape"))?;
    let text = String::from_utf8(decoded).map_err(|_| Refusal::ambiguous(PATH, "is not UTF-8"))?;
    check_characters(&text)?;
    Ok(text)
}

fn check_start(bytes: &[u8]) -> Result<(), Refusal> {
    if bytes.first() != Some(&b'/') {
        return Err(Refusal::ambiguous(PATH, "must start with '/'"));
    }
    if bytes.iter().any(|&byte| byte == b'#' || byte <= b' ' || byte == 0x7f) {
        return Err(Refusal::ambiguous(PATH, "contains a raw control, space or '#'"));
    }
    Ok(())
}

fn check_characters(text: &str) -> Result<(), Refusal> {
    match text.chars().find_map(forbidden) {
        Some(why) => Err(Refusal::ambiguous(PATH, why)),
        None => Ok(()),
    }
}

fn forbidden(character: char) -> Option<&'static str> {
    match character {
        '\\' => Some("contains a backslash"),
        ';' => Some("contains ';'"),
        '#' => Some("contains '#'"),
        '?' => Some("contains an encoded '?'"),
        c if c.is_control() => Some("contains a control character"),
        _ => None,
    }
}

/// A trailing slash is left to the matcher: MLflow has routes that end in one.
fn check_segments(decoded: &str) -> Result<(), Refusal> {
    let inner = decoded.strip_prefix('/').unwrap_or(decoded);
    let inner = inner.strip_suffix('/').unwrap_or(inner);
    if decoded == "/" {
        return Ok(());
    }
    match inner.split('/').find(|segment| matches!(*segment, "" | "." | "..")) {
        Some("") => Err(Refusal::ambiguous(PATH, "has an empty segment")),
        Some(_) => Err(Refusal::ambiguous(PATH, "has a dot segment")),
        None => Ok(()),
    }
}

fn has_encoded_slash(bytes: &[u8]) -> bool {
    bytes
        .windows(3)
        .any(|window| window.eq_ignore_ascii_case(b"%2f") || window.eq_ignore_ascii_case(b"%5c"))
}

/// `None` where a `%` is not followed by two hexadecimal digits.
pub fn percent_decode(bytes: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(bytes.len());
    let mut rest = bytes.iter();
    while let Some(&byte) = rest.next() {
        if byte == b'%' {
            let high = hex(*rest.next()?)?;
            let low = hex(*rest.next()?)?;
            out.push(high << 4 | low);
        } else {
            out.push(byte);
        }
    }
    Some(out)
}

fn hex(byte: u8) -> Option<u8> {
    char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}

/// Encodes everything but RFC 3986's unreserved characters, like Python's `quote(text, safe="")`.
pub fn encode(text: &str, out: &mut String) {
    encode_keeping(text, |_| false, out);
}

/// Encodes a decoded path; slashes and the characters that URLs of MLflow's client leave alone stay.
pub fn encode_path(decoded: &str) -> String {
    let mut out = String::with_capacity(decoded.len());
    encode_keeping(decoded, |byte| b"/:@!$&'()*+,=".contains(&byte), &mut out);
    out
}

fn encode_keeping(text: &str, keep: impl Fn(u8) -> bool, out: &mut String) {
    const HEX: [char; 16] =
        ['0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'A', 'B', 'C', 'D', 'E', 'F'];
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) || keep(byte) {
            out.push(char::from(byte));
        } else {
            out.push('%');
            out.extend(HEX.get(usize::from(byte >> 4)));
            out.extend(HEX.get(usize::from(byte & 15)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn canonical(path: &str) -> Result<String, Refusal> {
        read(path.as_bytes()).map(|path| path.encoded())
    }

    #[test]
    fn the_slash_in_a_name_of_an_mcp_server_may_be_encoded() {
        for path in [
            "/api/3.0/mlflow/mcp-servers/org.example%2Ftool/versions",
            "/api/3.0/mlflow/mcp-servers/org.example%2ftool/versions",
            "/api/3.0/mlflow/mcp-servers/org.example/tool/versions",
        ] {
            let read = read_any(path.as_bytes(), &["", ""]).unwrap();
            assert_eq!(read.encoded(), "/api/3.0/mlflow/mcp-servers/org.example/tool/versions");
        }
        for path in [
            "/api/3.0%2Fmlflow/mcp-servers/org.example/tool",
            "/api/3.0/mlflow/mcp-servers%2Forg.example/tool",
            "/api/3.0/mlflow/mcp-servers/org.example%2F%2Ftool",
            "/api/3.0/mlflow/mcp-servers/org.example%2F..%2Ftool",
            "/api/3.0/mlflow/mcp-servers/org.example%252Ftool",
            "/api/3.0/mlflow/mcp-servers/org.example%5Ctool",
            "/api/3.0/mlflow/mcp-servers/org.example%2",
        ] {
            assert!(read_any(path.as_bytes(), &["", ""]).is_err(), "{path}");
        }
    }

    #[test]
    fn an_encoded_letter_is_the_letter() {
        assert_eq!(
            canonical("/api/2.0/mlflow/%65xperiments/get").unwrap(),
            "/api/2.0/mlflow/experiments/get"
        );
        assert_eq!(canonical("/%67et-artifact").unwrap(), "/get-artifact");
    }

    #[test]
    fn every_spelling_that_two_servers_route_differently_is_refused() {
        for path in [
            "/api/2.0/mlflow%2Fexperiments%2Fget",
            "/api/2.0/mlflow%2fexperiments/get",
            "//api/2.0/mlflow/experiments/get",
            "/api/2.0//mlflow/experiments/get",
            "/api/2.0/mlflow/./experiments/get",
            "/api/2.0/mlflow/x/../experiments/get",
            "/api/2.0/mlflow/%2e%2e/experiments/get",
            "/api/2.0/mlflow/%2E/experiments/get",
            "/api/2.0/mlflow/experiments/get;x=1",
            "/api/2.0/mlflow/experiments/get%3Bx",
            "/api/2.0/mlflow/%252Fexperiments/get",
            "/api/2.0/mlflow/%2565xperiments/get",
            "/api/2.0/mlflow\\experiments/get",
            "/api/2.0/mlflow%5Cexperiments/get",
            "/api/2.0/mlflow/experiments/get%00",
            "/api/2.0/mlflow/experiments/get%0a",
            "/api/2.0/mlflow/experiments/get%7f",
            "/api/2.0/mlflow/experiments/get#x",
            "/api/2.0/mlflow/experiments/get%23x",
            "/api/2.0/mlflow/experiments/get%3Fx=1",
            "/static-files/../api/2.0/mlflow/experiments/get",
            "/..",
            "/.",
            "//",
            "",
            "*",
            "http://mlflow/api/2.0/mlflow/experiments/get",
            "/%",
            "/%4",
            "/%gg",
        ] {
            assert!(canonical(path).is_err(), "{path}");
        }
        assert!(read(b"/\xff").is_err());
        assert!(read(b"/%ff").is_err());
    }

    #[test]
    fn a_trailing_slash_is_kept_for_the_matcher() {
        assert_eq!(canonical("/ajax-api/3.0/jobs/").unwrap(), "/ajax-api/3.0/jobs/");
        assert_eq!(canonical("/").unwrap(), "/");
    }

    #[test]
    fn a_name_with_spaces_and_accents_is_encoded_again() {
        assert_eq!(canonical("/a/caf%C3%A9%20x").unwrap(), "/a/caf%C3%A9%20x");
    }

    proptest! {
        #[test]
        fn the_canonical_form_reads_back_identically(
            bytes in proptest::collection::vec(any::<u8>(), 0..48)
        ) {
            let target: Vec<u8> = std::iter::once(b'/').chain(bytes).collect();
            if let Ok(path) = read(&target) {
                let encoded = path.encoded();
                prop_assert_eq!(read(encoded.as_bytes()).unwrap(), path);
            }
        }
    }
}
