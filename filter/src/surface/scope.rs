//! Whether a request is the gate's business at all.
//!
//! Passing a request untouched is the one thing that can leave MLflow open, so a path is outside
//! of `path_prefix` only if no reading of it, however often decoded or normalised, is inside.

use crate::operation::RawHead;

use super::path::{percent_decode, split_target};
use super::{SurfaceSettings, headers};

/// MLflow decodes artifact paths up to ten times.
const MAX_ROUNDS: usize = 12;

pub fn is_outside(settings: &SurfaceSettings, head: &RawHead<'_>) -> bool {
    is_other_host(settings, head) || is_other_path(&settings.path_prefix, head.path)
}

fn is_other_host(settings: &SurfaceSettings, head: &RawHead<'_>) -> bool {
    if settings.hosts.is_empty() {
        return false;
    }
    // A host that cannot be read is inside: it is then refused or authorized, never passed.
    headers::host(head).is_some_and(|host| !settings.hosts.contains(&host))
}

fn is_other_path(prefix: &str, target: &[u8]) -> bool {
    let prefix: Vec<&str> = prefix.split('/').filter(|segment| !segment.is_empty()).collect();
    if prefix.is_empty() {
        return false;
    }
    let mut path = split_target(target).0.to_vec();
    for _ in 0..MAX_ROUNDS {
        if leads_into(&path, &prefix) {
            return false;
        }
        match percent_decode(&path) {
            Some(decoded) if decoded != path => path = decoded,
            _ => return true,
        }
    }
    false
}

/// Whether the path, with empty and dot segments resolved, starts with the prefix.
fn leads_into(path: &[u8], prefix: &[&str]) -> bool {
    let text = String::from_utf8_lossy(path).replace('\\', "/");
    let mut segments: Vec<&str> = Vec::new();
    for segment in text.split('/').map(|s| s.split([';', '#', '?']).next().unwrap_or(s)) {
        match segment {
            "" | "." => {}
            ".." => {
                segments.pop();
            }
            other => segments.push(other),
        }
    }
    let starts = |candidate: &[&str]| {
        candidate.len() >= prefix.len()
            && candidate.iter().zip(prefix).all(|(a, b)| a.eq_ignore_ascii_case(b))
    };
    let unresolved: Vec<&str> = text.split('/').filter(|s| !s.is_empty() && *s != ".").collect();
    starts(&segments) || starts(&unresolved)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outside(path: &str) -> bool {
        is_other_path("/ml/flow", path.as_bytes())
    }

    #[test]
    fn another_path_is_outside() {
        for path in ["/", "/ml", "/ml/other", "/ml/flows", "/mlflow", "/x?y=/ml/flow", "/a;b//c"] {
            assert!(outside(path), "{path}");
        }
    }

    #[test]
    fn no_spelling_of_the_prefix_is_outside() {
        for path in [
            "/ml/flow",
            "/ml/flow/api",
            "//ml//flow/api",
            "/ml/./flow",
            "/x/../ml/flow",
            "/%6dl/flow",
            "/%256dl/flow",
            "/ml%2fflow",
            "/ml\\flow",
            "/ML/flow",
            "/ml;x/flow",
            "/ml/flow/../../other",
        ] {
            assert!(!outside(path), "{path}");
        }
    }

    #[test]
    fn without_a_prefix_nothing_is_outside() {
        assert!(!is_other_path("", b"/anything"));
        assert!(!is_other_path("/", b"/anything"));
    }
}
