//! From an issuer's JWKS to the keys that filters need, key by key.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

/// What of a key is public and means something to a verifier. Certificates and the like are left
/// behind, and so would be the private half of a key that somebody has published.
const KEPT: &[&str] = &["kty", "use", "key_ops", "alg", "kid", "n", "e", "crv", "x", "y"];

/// Members of a private key.
const PRIVATE: &[&str] = &["d", "p", "q", "dp", "dq", "qi", "k"];

const MAX_KID: usize = 256;

/// The keys of an issuer that a token could be verified with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Keys {
    /// A JWKS document.
    pub jwks: String,
    pub kids: BTreeSet<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unusable {
    #[error("has no array of keys")]
    NoArray,
    #[error("has keys, but none of a kind that is known")]
    NoneKnown,
    #[error("has more than {} keys", mlgate_filter::authn::key::MAX_KEYS)]
    TooMany,
}

/// Keeps the keys that filters can use. One odd key must not drop the others; a document without
/// any that is known is more likely broken than meant.
pub fn keys(document: &Value) -> Result<Keys, Unusable> {
    let all = document.get("keys").and_then(Value::as_array).ok_or(Unusable::NoArray)?;
    let kept: Vec<Value> = all.iter().filter_map(public).collect();
    if kept.is_empty() && !all.is_empty() {
        return Err(Unusable::NoneKnown);
    }
    if kept.len() > mlgate_filter::authn::key::MAX_KEYS {
        return Err(Unusable::TooMany);
    }
    let kid = |key: &Value| key.get("kid").and_then(Value::as_str).map(str::to_owned);
    let kids = kept.iter().filter_map(kid).collect();
    Ok(Keys { jwks: json!({ "keys": kept }).to_string(), kids })
}

fn public(key: &Value) -> Option<Value> {
    let key = key.as_object()?;
    // Whoever reads the document can sign with it.
    if PRIVATE.iter().any(|member| key.contains_key(*member)) {
        return None;
    }
    let named = match key.get("kid") {
        None => true,
        Some(kid) => kid.as_str().is_some_and(|kid| kid.len() <= MAX_KID),
    };
    let kept: Map<String, Value> = KEPT
        .iter()
        .filter_map(|member| Some(((*member).to_owned(), key.get(*member)?.clone())))
        .collect();
    let kept = Value::Object(kept);
    (named && mlgate_filter::authn::key::is_usable(&kept)).then_some(kept)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 7517, appendix A.1.
    fn ec(kid: &str) -> Value {
        json!({"kty": "EC", "crv": "P-256", "use": "sig", "kid": kid,
            "x": "MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4",
            "y": "4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM"})
    }

    fn with(mut key: Value, member: &str, value: Value) -> Value {
        key[member] = value;
        key
    }

    #[test]
    fn odd_keys_are_left_out_one_by_one_and_certificates_are_not_passed_on() {
        let found = keys(&json!({"keys": [
            7, null, "x", {}, {"kty": "oct", "k": "AAAA", "kid": "hmac"},
            {"kty": "RSA", "n": "AQAB", "e": "AQAB", "kid": "tiny"},
            with(ec("encryption"), "use", json!("enc")),
            with(ec("off"), "x", json!("AAAA")),
            with(ec("private"), "d", json!("870MB6gfuTJ4HtUnUvYMyJpr5eUZNP4Bk43bVdj3eAE")),
            with(ec("odd"), "kid", json!(7)),
            with(ec(&"k".repeat(257)), "alg", json!("ES256")),
            with(ec("good"), "x5c", json!(["MIIC"])),
        ]}))
        .unwrap();
        assert_eq!(found.kids, BTreeSet::from(["good".to_owned()]));
        assert!(!found.jwks.contains("x5c") && !found.jwks.contains("870MB6"));
    }

    #[test]
    fn no_keys_are_an_answer_but_none_that_is_known_is_not() {
        assert_eq!(keys(&json!({"keys": []})).unwrap().kids.len(), 0);
        assert_eq!(keys(&json!({"keys": [{}]})), Err(Unusable::NoneKnown));
        assert_eq!(keys(&json!({"key": []})), Err(Unusable::NoArray));
        assert_eq!(keys(&json!("<html>")), Err(Unusable::NoArray));
        let many: Vec<Value> = (0..65).map(|n| ec(&n.to_string())).collect();
        assert_eq!(keys(&json!({"keys": many})), Err(Unusable::TooMany));
    }
}
