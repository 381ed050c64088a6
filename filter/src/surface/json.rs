//! JSON in which nothing can be read twice.
//!
//! MLflow reads bodies with Python's `json`: the last of two equal keys wins, `NaN` passes, and a
//! body may be UTF-16 or a JSON document inside a JSON string. All of that is refused here. Numbers
//! keep their text, so that what is forwarded is to the digit what came. `serde_json` can do that
//! only through a feature that changes its behaviour for the whole build, hence this reader.

mod write;

use crate::refusal::Refusal;

/// Deepest nesting; protobuf's JSON parser in MLflow stops at 100.
pub const MAX_DEPTH: usize = 64;

/// Up to so many members, comparing names one by one is faster than hashing them.
pub const FEW: usize = 16;

/// Python reads no integer of more than 4,300 digits, or of 640 where it is told so; MLflow then goes
/// on as if there were no body, which for some searches means everything.
const MAX_NUMBER: usize = 400;

const BODY: &str = "body";

/// A JSON value whose object keys are unique and keep their order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    Null,
    Bool(bool),
    /// As it was written.
    Number(String),
    String(String),
    Array(Vec<Value>),
    Object(Object),
}

/// Key-value pairs with unique keys, in the order they came.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Object(pub Vec<(String, Value)>);

impl Object {
    pub fn get(&self, key: &str) -> Option<&Value> {
        self.0.iter().find(|(name, _)| name == key).map(|(_, value)| value)
    }

    pub fn get_mut(&mut self, key: &str) -> Option<&mut Value> {
        self.0.iter_mut().find(|(name, _)| name == key).map(|(_, value)| value)
    }
}

impl Value {
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::String(text) => Some(text),
            _ => None,
        }
    }

    pub fn as_array(&self) -> Option<&[Value]> {
        match self {
            Self::Array(items) => Some(items),
            _ => None,
        }
    }

    pub fn as_object(&self) -> Option<&Object> {
        match self {
            Self::Object(object) => Some(object),
            _ => None,
        }
    }
}

/// Reads a request body: UTF-8 without a byte order mark, one object, nothing after it.
pub fn read_object(bytes: &[u8]) -> Result<Object, Refusal> {
    match read_value(bytes)? {
        Value::Object(object) => Ok(object),
        Value::String(_) => Err(Refusal::ambiguous(BODY, "is JSON encoded twice")),
        _ => Err(Refusal::ambiguous(BODY, "must be a JSON object")),
    }
}

/// Reads any one JSON value under the same rules.
pub fn read_value(bytes: &[u8]) -> Result<Value, Refusal> {
    let text = std::str::from_utf8(bytes)
        .map_err(|_| Refusal::ambiguous(BODY, "must be JSON in UTF-8"))?;
    if text.starts_with('\u{feff}') {
        return Err(Refusal::ambiguous(BODY, "must not start with a byte order mark"));
    }
    let mut reader = Reader { rest: text };
    let value = reader.value(0)?;
    reader.skip_space();
    if reader.rest.is_empty() {
        Ok(value)
    } else {
        Err(Refusal::ambiguous(BODY, "has something after the JSON document"))
    }
}

struct Reader<'a> {
    rest: &'a str,
}

impl<'a> Reader<'a> {
    fn skip_space(&mut self) {
        self.rest = self.rest.trim_start_matches([' ', '\t', '\n', '\r']);
    }

    fn eat(&mut self, token: &str) -> bool {
        match self.rest.strip_prefix(token) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    fn value(&mut self, depth: usize) -> Result<Value, Refusal> {
        if depth > MAX_DEPTH {
            return Err(Refusal::invalid(BODY, "is nested too deeply"));
        }
        self.skip_space();
        match self.rest.as_bytes().first() {
            Some(b'{') => self.object(depth).map(Value::Object),
            Some(b'[') => self.array(depth).map(Value::Array),
            Some(b'"') => self.string().map(Value::String),
            Some(b'-' | b'0'..=b'9') => self.number().map(Value::Number),
            _ if self.eat("true") => Ok(Value::Bool(true)),
            _ if self.eat("false") => Ok(Value::Bool(false)),
            _ if self.eat("null") => Ok(Value::Null),
            _ => Err(malformed()),
        }
    }

    fn object(&mut self, depth: usize) -> Result<Object, Refusal> {
        let mut pairs: Vec<(String, Value)> = Vec::new();
        let mut seen = std::collections::HashSet::new();
        let mut is_new = |pairs: &[(String, Value)], key: &String| {
            if pairs.len() < FEW {
                return !pairs.iter().any(|(other, _)| other == key);
            }
            if seen.is_empty() {
                seen.extend(pairs.iter().map(|(other, _)| other.clone()));
            }
            seen.insert(key.clone())
        };
        self.eat("{");
        self.skip_space();
        if self.eat("}") {
            return Ok(Object(pairs));
        }
        loop {
            self.skip_space();
            if !self.rest.starts_with('"') {
                return Err(malformed());
            }
            let key = self.string()?;
            if !is_new(&pairs, &key) {
                return Err(Refusal::ambiguous(shown(&key), "appears twice in one JSON object"));
            }
            self.skip_space();
            if !self.eat(":") {
                return Err(malformed());
            }
            let value = self.value(depth.saturating_add(1))?;
            pairs.push((key, value));
            self.skip_space();
            if self.eat("}") {
                return Ok(Object(pairs));
            }
            if !self.eat(",") {
                return Err(malformed());
            }
        }
    }

    fn array(&mut self, depth: usize) -> Result<Vec<Value>, Refusal> {
        let mut items = Vec::new();
        self.eat("[");
        self.skip_space();
        if self.eat("]") {
            return Ok(items);
        }
        loop {
            items.push(self.value(depth.saturating_add(1))?);
            self.skip_space();
            if self.eat("]") {
                return Ok(items);
            }
            if !self.eat(",") {
                return Err(malformed());
            }
        }
    }

    fn number(&mut self) -> Result<String, Refusal> {
        let part = |byte: u8| matches!(byte, b'0'..=b'9' | b'-' | b'+' | b'.' | b'e' | b'E');
        let end = self.rest.bytes().position(|byte| !part(byte)).unwrap_or(self.rest.len());
        let (text, rest) = self.rest.split_at_checked(end).ok_or_else(malformed)?;
        if text.len() > MAX_NUMBER || !is_number(text) {
            return Err(malformed());
        }
        self.rest = rest;
        Ok(text.to_owned())
    }

    fn string(&mut self) -> Result<String, Refusal> {
        let inner = self.rest.get(1..).ok_or_else(malformed)?;
        let end = inner.bytes().position(write::is_special).ok_or_else(malformed)?;
        let (text, rest) = inner.split_at_checked(end).ok_or_else(malformed)?;
        match rest.strip_prefix('"') {
            Some(rest) => {
                self.rest = rest;
                Ok(text.to_owned())
            }
            None => self.escaped_string(),
        }
    }

    /// Escapes are undone by `serde_json`, which also refuses lone surrogates and raw controls.
    fn escaped_string(&mut self) -> Result<String, Refusal> {
        let bytes = self.rest.as_bytes();
        let mut escaped = false;
        let end = bytes
            .iter()
            .enumerate()
            .skip(1)
            .find_map(|(at, &byte)| match (escaped, byte) {
                (true, _) => {
                    escaped = false;
                    None
                }
                (false, b'\\') => {
                    escaped = true;
                    None
                }
                (false, b'"') => Some(at),
                (false, _) => None,
            })
            .ok_or_else(malformed)?;
        let (text, rest) =
            self.rest.split_at_checked(end.saturating_add(1)).ok_or_else(malformed)?;
        self.rest = rest;
        serde_json::from_str(text).map_err(|_| malformed())
    }
}

/// The grammar of RFC 8259 §6.
fn is_number(text: &str) -> bool {
    let unsigned = text.strip_prefix('-').unwrap_or(text);
    let (mantissa, exponent) = match unsigned.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent)),
        None => (unsigned, None),
    };
    let (whole, fraction) = match mantissa.split_once('.') {
        Some((whole, fraction)) => (whole, Some(fraction)),
        None => (mantissa, None),
    };
    let digits = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    digits(whole)
        && (whole == "0" || !whole.starts_with('0'))
        && fraction.is_none_or(digits)
        && exponent.is_none_or(|part| digits(part.strip_prefix(['+', '-']).unwrap_or(part)))
}

fn malformed() -> Refusal {
    Refusal::invalid(BODY, "is not well-formed JSON")
}

/// A client's key, short enough for a message.
fn shown(key: &str) -> String {
    key.chars().take(64).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn forwarded(body: &str) -> String {
        String::from_utf8(read_object(body.as_bytes()).unwrap().to_bytes()).unwrap()
    }

    #[test]
    fn a_number_is_forwarded_to_the_digit() {
        let body = r#"{"a":1.10,"b":9007199254740993,"c":-0.0,"d":1E+400,"e":0.1e-7}"#;
        assert_eq!(forwarded(body), body);
    }

    #[test]
    fn what_pythons_client_sends_comes_out_as_it_went_in() {
        let body = r#"{"run_id": "x", "value": 0.25, "tags": [{"key": "a", "value": "b"}, null], "e": {}}"#;
        assert_eq!(read_object(body.as_bytes()).unwrap().to_python_bytes(), body.as_bytes());
    }

    #[test]
    fn the_order_of_keys_is_kept() {
        assert_eq!(forwarded("{ \"z\" : 1 ,\n \"a\" : [ ] }"), r#"{"z":1,"a":[]}"#);
    }

    #[test]
    fn an_escaped_key_is_the_key_it_spells() {
        assert_eq!(forwarded(r#"{"run\u005fid":"x"}"#), r#"{"run_id":"x"}"#);
    }

    #[test]
    fn a_duplicate_key_is_refused_at_any_depth_and_in_any_spelling() {
        for body in [
            r#"{"experiment_id":"0","experiment_id":"1"}"#,
            r#"{"experiment_id":"0","experiment\u005fid":"1"}"#,
            r#"{"a":[{"b":{"c":1,"c":2}}]}"#,
        ] {
            assert!(
                matches!(read_object(body.as_bytes()), Err(Refusal::Ambiguous { .. })),
                "{body}"
            );
        }
    }

    #[test]
    fn a_duplicate_key_is_refused_however_many_keys_there_are() {
        let body = |count: usize, again: usize| {
            let keys = (0..count).chain([again]).map(|key| format!("\"k{key}\":0"));
            format!("{{{}}}", keys.collect::<Vec<_>>().join(","))
        };
        for count in [1, FEW - 1, FEW, FEW + 1, 3 * FEW] {
            for again in [0, count - 1] {
                assert!(read_object(body(count, again).as_bytes()).is_err(), "{count} {again}");
            }
            let read = read_object(body(count, count).as_bytes()).unwrap();
            assert_eq!(read.0.len(), count + 1);
        }
    }

    #[test]
    fn a_body_that_python_reads_and_others_do_not_is_refused() {
        for body in [
            &b"\xef\xbb\xbf{}"[..],
            b"\xff\xfe{\x00}\x00",
            b"{\x00}\x00",
            b"\x00\x00\x00{\x00\x00\x00}",
            br#"{"a":NaN}"#,
            br#"{"a":Infinity}"#,
            br#"{"a":-Infinity}"#,
            br#""{\"experiment_id\":\"1\"}""#,
            br#"{"a":"\ud800"}"#,
            b"{\"a\":\"\xff\"}",
        ] {
            assert!(read_object(body).is_err(), "{body:?}");
        }
    }

    #[test]
    fn only_one_object_is_a_body() {
        for body in ["", "null", "[]", "1", "{}{}", "{},", "{} x", "[{}]"] {
            assert!(read_object(body.as_bytes()).is_err(), "{body}");
        }
    }

    #[test]
    fn numbers_outside_the_grammar_are_refused() {
        for number in ["01", "+1", "1.", ".5", "-", "1e", "0x1", "1_000", "--1", "1e+-1"] {
            assert!(read_object(format!("{{\"a\":{number}}}").as_bytes()).is_err(), "{number}");
        }
    }

    #[test]
    fn a_number_that_python_would_not_read_is_refused() {
        let body = |digits: usize| format!("{{\"a\":[{{\"z\":{}}}]}}", "1".repeat(digits));
        assert!(read_object(body(MAX_NUMBER).as_bytes()).is_ok());
        assert!(read_object(body(MAX_NUMBER + 1).as_bytes()).is_err());
        assert!(read_object(body(4_301).as_bytes()).is_err());
    }

    #[test]
    fn nesting_is_bounded() {
        let deep = |n: usize| format!("{{\"a\":{}{}}}", "[".repeat(n), "]".repeat(n));
        assert!(read_object(deep(MAX_DEPTH).as_bytes()).is_ok());
        assert!(read_object(deep(MAX_DEPTH + 1).as_bytes()).is_err());
        assert!(read_object(deep(1_000_000).as_bytes()).is_err());
    }

    proptest! {
        #[test]
        fn what_is_accepted_means_the_same_to_serde_json_and_is_its_own_canonical_form(
            text in r#"[\[\]{}",:0-9a-z\\ .+-]{0,24}"#
        ) {
            let value = read_value(text.as_bytes());
            let theirs = serde_json::from_str::<serde_json::Value>(&text);
            if let Ok(value) = &value {
                let mut out = Vec::new();
                write::write_value(value, write::Spacing::None, &mut out);
                prop_assert_eq!(&read_value(&out).unwrap(), value);
                if let Ok(theirs) = theirs {
                    prop_assert_eq!(serde_json::from_slice::<serde_json::Value>(&out).unwrap(), theirs);
                }
            } else if theirs.is_ok() {
                let ambiguous = matches!(value, Err(Refusal::Ambiguous { .. }));
                prop_assert!(ambiguous);
            }
        }
    }
}
