//! MLflow's page tokens (semantics §7): `base64({"offset": n})`, in rows of the store.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::surface::json::{self, Value};

/// Far above any table; an offset beyond is not one of MLflow's.
const MAX_OFFSET: u64 = 1 << 53;

/// The offset in a token; `None` where the token is of another kind.
pub fn offset(token: &str) -> Option<u64> {
    let bytes = STANDARD.decode(token).ok()?;
    let object = json::read_object(&bytes).ok()?;
    match object.0.as_slice() {
        [(name, Value::Number(text))] if name == "offset" => {
            text.parse().ok().filter(|&offset| offset <= MAX_OFFSET)
        }
        _ => None,
    }
}

/// A token, byte for byte as MLflow writes it.
pub fn at(offset: u64) -> String {
    STANDARD.encode(format!("{{\"offset\": {offset}}}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_written_as_mlflow_writes_it() {
        // SearchUtils.create_page_token(5) of MLflow 3.17.2.
        assert_eq!(at(5), "eyJvZmZzZXQiOiA1fQ==");
        assert_eq!(offset("eyJvZmZzZXQiOiA1fQ=="), Some(5));
    }

    #[test]
    fn other_tokens_have_no_offset() {
        let foreign = |text: &str| STANDARD.encode(text);
        for token in [
            String::new(),
            "!".into(),
            foreign("{}"),
            foreign(r#"{"offset": -1}"#),
            foreign(r#"{"offset": "1"}"#),
            foreign(r#"{"offset": 1.0}"#),
            foreign(r#"{"offset": 99999999999999999999}"#),
            foreign(r#"{"offset": 1, "experiment_ids": ["1"]}"#),
            foreign("5"),
        ] {
            assert_eq!(offset(&token), None, "{token}");
        }
    }
}
