//! For how long an answer may be used, by its own word.

use std::time::Duration;

use reqwest::header::{AGE, CACHE_CONTROL, HeaderMap};

/// What `Cache-Control` allows, less the time that the answer was in a cache already; `None`
/// where it says nothing.
pub fn allowed(headers: &HeaderMap) -> Option<Duration> {
    let mut max_age = None;
    for value in headers.get_all(CACHE_CONTROL) {
        for directive in value.to_str().unwrap_or_default().split(',') {
            let (name, value) = directive.split_once('=').unwrap_or((directive, ""));
            match name.trim().to_ascii_lowercase().as_str() {
                "no-store" | "no-cache" => return Some(Duration::ZERO),
                "max-age" => max_age = value.trim().trim_matches('"').parse().ok(),
                _ => {}
            }
        }
    }
    let age = headers.get(AGE).and_then(|age| age.to_str().ok()?.trim().parse().ok()).unwrap_or(0);
    max_age.map(|seconds: u64| Duration::from_secs(seconds.saturating_sub(age)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(pairs: &[(&'static str, &'static str)]) -> Option<u64> {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(*name, value.parse().unwrap());
        }
        allowed(&headers).map(|duration| duration.as_secs())
    }

    #[test]
    fn max_age_counts_from_when_the_answer_was_made() {
        assert_eq!(seconds(&[]), None);
        assert_eq!(
            seconds(&[("cache-control", "public, max-age=600, must-revalidate")]),
            Some(600)
        );
        assert_eq!(seconds(&[("cache-control", "Max-Age=\"60\""), ("age", "50")]), Some(10));
        assert_eq!(seconds(&[("cache-control", "max-age=5"), ("age", "50")]), Some(0));
        assert_eq!(seconds(&[("cache-control", "max-age=soon")]), None);
    }

    #[test]
    fn what_must_not_be_kept_is_not_kept() {
        assert_eq!(seconds(&[("cache-control", "no-store, max-age=600")]), Some(0));
        assert_eq!(
            seconds(&[("cache-control", "max-age=600"), ("cache-control", "no-cache")]),
            Some(0)
        );
    }
}
