//! Reads a call's parameters as MLflow's `_get_request_param` does: GET from the query, POST and
//! PATCH from a JSON body, DELETE from a JSON body or else from the query.

use serde_json::{Map, Value};

use super::answer::Refusal;
use super::{AdminRequest, Method};

/// The parameters of one call.
#[derive(Debug, Default)]
pub(super) struct Params {
    values: Map<String, Value>,
    /// Whether the client declared its body to be JSON.
    pub json: bool,
}

impl Params {
    pub fn read(method: Method, request: &AdminRequest) -> Self {
        let json = is_json(&request.content_type);
        let values = match method {
            Method::Get => from_query(&request.query),
            Method::Delete if !json => from_query(&request.query),
            Method::Post | Method::Patch | Method::Delete if json => from_body(&request.body),
            Method::Post | Method::Patch | Method::Delete => Map::new(),
        };
        Self { values, json }
    }

    pub fn has(&self, name: &str) -> bool {
        self.values.contains_key(name)
    }

    /// The value, where `null` counts as absent.
    pub fn optional(&self, name: &str) -> Option<&Value> {
        self.values.get(name).filter(|value| !value.is_null())
    }

    pub fn required(&self, name: &str) -> Result<&Value, Refusal> {
        self.values.get(name).ok_or_else(|| {
            Refusal::invalid(format!(
                "Missing value for required parameter '{name}'. See the API docs for more \
                 information about request parameters."
            ))
        })
    }

    pub fn text(&self, name: &str) -> Result<&str, Refusal> {
        let value = self.required(name)?;
        value.as_str().ok_or_else(|| not_a("string", name, value))
    }

    pub fn flag(&self, name: &str) -> Result<bool, Refusal> {
        let value = self.required(name)?;
        value.as_bool().ok_or_else(|| not_a("boolean", name, value))
    }

    /// A row's id: a JSON integer, or decimal digits as queries carry them.
    pub fn id(&self, name: &str) -> Result<i64, Refusal> {
        let value = self.required(name)?;
        let id = match value {
            Value::String(digits) if digits.bytes().all(|byte| byte.is_ascii_digit()) => {
                digits.parse().ok()
            }
            Value::Number(number) => number.as_i64(),
            _ => None,
        };
        id.ok_or_else(|| {
            Refusal::invalid(format!(
                "Parameter '{name}' must be an integer. Got: {}",
                python_repr(value)
            ))
        })
    }
}

fn not_a(kind: &str, name: &str, value: &Value) -> Refusal {
    Refusal::invalid(format!("Parameter '{name}' must be a {kind}. Got: {}", python_repr(value)))
}

/// werkzeug's `Request.is_json`; the argument is the essence, in lower case.
fn is_json(content_type: &str) -> bool {
    content_type == "application/json"
        || (content_type.starts_with("application/") && content_type.ends_with("+json"))
}

/// The first value of a repeated key, as werkzeug's `MultiDict` answers.
fn from_query(query: &[(String, String)]) -> Map<String, Value> {
    let mut values = Map::new();
    for (name, value) in query {
        values.entry(name.as_str()).or_insert_with(|| Value::String(value.clone()));
    }
    values
}

/// What is not a JSON object has no parameters; the handler then misses its first one.
fn from_body(body: &[u8]) -> Map<String, Value> {
    serde_json::from_slice(body).unwrap_or_default()
}

/// The value as Python's `repr` writes it, which MLflow's messages quote.
pub(super) fn python_repr(value: &Value) -> String {
    match value {
        Value::Null => "None".to_owned(),
        Value::Bool(true) => "True".to_owned(),
        Value::Bool(false) => "False".to_owned(),
        Value::Number(number) => number.to_string(),
        Value::String(text) => python_repr_of_text(text),
        Value::Array(items) => {
            format!("[{}]", items.iter().map(python_repr).collect::<Vec<_>>().join(", "))
        }
        Value::Object(fields) => {
            let fields = fields.iter().map(|(name, value)| {
                format!("{}: {}", python_repr_of_text(name), python_repr(value))
            });
            format!("{{{}}}", fields.collect::<Vec<_>>().join(", "))
        }
    }
}

pub(super) fn python_repr_of_text(text: &str) -> String {
    let quote = if text.contains('\'') && !text.contains('"') { '"' } else { '\'' };
    let mut out = String::from(quote);
    for c in text.chars() {
        match c {
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if c == quote => out.extend(['\\', c]),
            c if c.is_control() => out.push_str(&format!("\\x{:02x}", u32::from(c))),
            c => out.push(c),
        }
    }
    out.push(quote);
    out
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn request(content_type: &str, query: &[(&str, &str)], body: &str) -> AdminRequest {
        AdminRequest {
            method: String::new(),
            path: String::new(),
            query: query.iter().map(|&(k, v)| (k.to_owned(), v.to_owned())).collect(),
            content_type: content_type.to_owned(),
            body: body.as_bytes().to_vec(),
            workspace: String::new(),
        }
    }

    fn message(refusal: Refusal) -> String {
        match refusal {
            Refusal::Coded { message, .. } => message,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_get_reads_the_query_and_never_the_body() {
        let request = request("application/json", &[("username", "bob")], r#"{"role_id":1}"#);
        let params = Params::read(Method::Get, &request);
        assert_eq!(params.text("username").unwrap(), "bob");
        assert!(!params.has("role_id"));
    }

    #[test]
    fn a_post_reads_the_body_and_never_the_query() {
        let request = request("application/json", &[("username", "bob")], r#"{"role_id":1}"#);
        let params = Params::read(Method::Post, &request);
        assert_eq!(params.id("role_id").unwrap(), 1);
        assert!(!params.has("username"));
    }

    #[test]
    fn a_delete_reads_one_of_the_two_and_never_both() {
        let both = |content_type| request(content_type, &[("role_id", "1")], r#"{"role_id":2}"#);
        let by =
            |content_type| Params::read(Method::Delete, &both(content_type)).id("role_id").unwrap();
        assert_eq!(by("application/json"), 2);
        assert_eq!(by("application/merge-patch+json"), 2);
        assert_eq!(by(""), 1);
        assert_eq!(by("text/json"), 1);
    }

    #[test]
    fn a_body_without_the_json_content_type_has_no_parameters() {
        let params = Params::read(Method::Post, &request("text/plain", &[], r#"{"role_id":2}"#));
        assert!(!params.has("role_id"));
    }

    #[test]
    fn an_id_is_an_integer_or_its_digits() {
        let id = |value: Value| {
            let body = json!({ "role_id": value }).to_string();
            Params::read(Method::Post, &request("application/json", &[], &body)).id("role_id")
        };
        assert_eq!(id(json!(7)), Ok(7));
        assert_eq!(id(json!("7")), Ok(7));
        for bad in [json!("+7"), json!(" 7"), json!("7_0"), json!(""), json!("９")] {
            assert!(id(bad.clone()).is_err(), "{bad}");
        }
        let got = |value| message(id(value).unwrap_err());
        let said = |repr| format!("Parameter 'role_id' must be an integer. Got: {repr}");
        assert_eq!(got(json!(null)), said("None"));
        assert_eq!(got(json!(true)), said("True"));
        assert_eq!(got(json!(7.5)), said("7.5"));
        assert_eq!(got(json!([1, "a'b"])), said(r#"[1, "a'b"]"#));
        assert_eq!(got(json!("x")), said("'x'"));
        assert_eq!(got(json!(u64::MAX)), said("18446744073709551615"));
    }

    #[test]
    fn a_username_that_is_no_string_is_refused_by_name() {
        let params =
            Params::read(Method::Post, &request("application/json", &[], r#"{"username":5}"#));
        assert_eq!(
            message(params.text("username").unwrap_err()),
            "Parameter 'username' must be a string. Got: 5"
        );
    }
}
