//! Query strings, read as Flask reads them: only `&` separates, `+` is a space.

use crate::refusal::Refusal;

use super::path::{encode, percent_decode};

/// More pairs than any MLflow client sends; the bulk routes take 200 run ids.
pub const MAX_PAIRS: usize = 4096;

/// Keys that may come more than once on any route: the repeated fields of MLflow's GET messages.
/// Every other repeated key is refused, because MLflow takes its first value and others the last.
const REPEATABLE: &[&str] = &[
    "order_by",
    "stages",
    "experiment_ids",
    "run_ids",
    "trace_ids",
    "scorer_ids",
    "dataset_record_ids",
    "workspace",
];

/// Decoded pairs in their order.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Query(Vec<(String, String)>);

impl Query {
    /// Reads what stands after `?`; `repeated` are keys that this route lets come more than once.
    pub fn read(bytes: &[u8], repeated: &[&str]) -> Result<Self, Refusal> {
        let mut pairs: Vec<(String, String)> = Vec::new();
        let mut seen = std::collections::HashSet::new();
        for part in bytes.split(|&byte| byte == b'&').filter(|part| !part.is_empty()) {
            if pairs.len() >= MAX_PAIRS {
                return Err(Refusal::invalid("query", "has too many parameters"));
            }
            let (key, value) = match part.iter().position(|&byte| byte == b'=') {
                Some(at) => {
                    let (key, value) = part.split_at(at);
                    (decode(key)?, decode(value.get(1..).unwrap_or_default())?)
                }
                None => (decode(part)?, String::new()),
            };
            let repeatable = REPEATABLE.contains(&key.as_str()) || repeated.contains(&key.as_str());
            if !seen.insert(key.clone()) && !repeatable {
                let shown: String = key.chars().take(64).collect();
                return Err(Refusal::ambiguous(shown, "appears twice in the query"));
            }
            pairs.push((key, value));
        }
        Ok(Self(pairs))
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn first(&self, key: &str) -> Option<&str> {
        self.0.iter().find(|(name, _)| name == key).map(|(_, value)| value.as_str())
    }

    pub fn all<'a, 'k: 'a>(&'a self, key: &'k str) -> impl Iterator<Item = &'a str> + use<'a, 'k> {
        self.0.iter().filter(move |(name, _)| name == key).map(|(_, value)| value.as_str())
    }

    pub fn pairs(&self) -> &[(String, String)] {
        &self.0
    }

    /// Replaces the values of a repeated key, in the place of its first occurrence.
    pub fn replace(&mut self, key: &str, values: &[String]) {
        let at = self.0.iter().position(|(name, _)| name == key).unwrap_or(self.0.len());
        self.0.retain(|(name, _)| name != key);
        let at = at.min(self.0.len());
        let pairs = values.iter().map(|value| (key.to_owned(), value.clone()));
        self.0.splice(at..at, pairs);
    }

    /// The one spelling that is forwarded, without `?`.
    pub fn canonical(&self) -> String {
        let length = |(key, value): &(String, String)| key.len().saturating_add(value.len());
        let length: usize = self.0.iter().map(length).sum();
        let mut out = String::with_capacity(length.saturating_add(16));
        for (key, value) in &self.0 {
            if !out.is_empty() {
                out.push('&');
            }
            encode(key, &mut out);
            out.push('=');
            encode(value, &mut out);
        }
        out
    }
}

fn decode(bytes: &[u8]) -> Result<String, Refusal> {
    if bytes.iter().any(|&byte| byte == b'#' || byte <= b' ' || byte == 0x7f) {
        return Err(Refusal::ambiguous("query", "contains a raw control, space or '#'"));
    }
    let spaced: Vec<u8> = bytes.iter().map(|&b| if b == b'+' { b' ' } else { b }).collect();
    let decoded = percent_decode(&spaced)
        .ok_or_else(|| Refusal::ambiguous("query", "has a broken percent escape"))?;
    String::from_utf8(decoded).map_err(|_| Refusal::ambiguous("query", "is not UTF-8"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(query: &str) -> Result<Query, Refusal> {
        Query::read(query.as_bytes(), &[])
    }

    #[test]
    fn an_encoded_key_is_the_key_it_spells() {
        let query = read("experiment%5Fid=1").unwrap();
        assert_eq!(query.first("experiment_id"), Some("1"));
        assert_eq!(query.canonical(), "experiment_id=1");
    }

    #[test]
    fn a_repeated_selector_is_refused_in_any_spelling() {
        for query in [
            "experiment_id=0&experiment_id=1",
            "experiment_id=0&experiment%5fid=1",
            "path=0&path=1/x",
        ] {
            assert!(matches!(read(query), Err(Refusal::Ambiguous { .. })), "{query}");
        }
    }

    #[test]
    fn repeated_fields_of_mlflow_may_repeat() {
        let query = read("order_by=a&order_by=b&experiment_ids=1&experiment_ids=2").unwrap();
        assert_eq!(query.all("experiment_ids").collect::<Vec<_>>(), ["1", "2"]);
        assert!(Query::read(b"run_id=a&run_id=b", &["run_id"]).is_ok());
    }

    #[test]
    fn only_the_ampersand_separates() {
        let query = read("a=1;b=2").unwrap();
        assert_eq!(query.first("a"), Some("1;b=2"));
        assert_eq!(query.canonical(), "a=1%3Bb%3D2");
    }

    #[test]
    fn a_plus_is_a_space() {
        assert_eq!(read("filter=a+%2B+b").unwrap().first("filter"), Some("a + b"));
    }

    #[test]
    fn what_is_not_utf_8_or_half_encoded_is_refused() {
        for query in [&b"a=%ff"[..], b"a=\xff", b"a=%4", b"a=%zz", b"a=%", b"a=1#b", b"a=\x01"] {
            assert!(Query::read(query, &[]).is_err(), "{query:?}");
        }
    }

    #[test]
    fn the_values_of_a_scope_are_replaced_in_place() {
        let mut query = read("a=1&experiment_ids=1&b=2&experiment_ids=2").unwrap();
        query.replace("experiment_ids", &["7".into(), "8".into()]);
        assert_eq!(query.canonical(), "a=1&experiment_ids=7&experiment_ids=8&b=2");
    }

    proptest! {
        #[test]
        fn the_canonical_form_reads_back_identically(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            if let Ok(query) = Query::read(&bytes, &[]) {
                let canonical = query.canonical();
                let again = Query::read(canonical.as_bytes(), &[]).unwrap();
                prop_assert_eq!(again.canonical(), canonical);
                prop_assert_eq!(again, query);
            }
        }
    }
}
