//! Requests for routes of the catalogue, most of them spelt in some way that a parser may trip on.

use std::fmt;

use mlgate_filter::catalogue::{self, Route};
use mlgate_filter::surface::id::Form;
use mlgate_filter::surface::inputs::{Field, camel_case};
use mlgate_filter::surface::method::Method;
use serde_json::{Map, Value, json};

pub struct Request {
    pub route: &'static Route,
    pub method: &'static str,
    pub target: Vec<u8>,
    pub content_type: Option<String>,
    pub body: Option<Vec<u8>>,
    /// Something was done to its spelling.
    pub odd: bool,
}

impl fmt::Display for Request {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} {}", self.method, self.target.escape_ascii())?;
        match &self.body {
            Some(body) => write!(out, " ({:?}) {}", self.content_type, body.escape_ascii()),
            None => Ok(()),
        }
    }
}

/// Makes the same requests of the same seed (splitmix64).
pub struct Speller {
    state: u64,
    routes: Vec<&'static Route>,
}

const HEX: [&str; 2] = ["0123456789abcdef0123456789abcdef", "fedcba9876543210fedcba9876543210"];
/// Put where an id belongs, or after one.
const ODD_VALUES: &[&str] = &[
    "",
    " ",
    "0",
    "01",
    "+1",
    "1.0",
    "1e0",
    "-1",
    "١",
    "１",
    "1_0",
    "null",
    "*",
    "%",
    "%2F",
    "..",
    "a b",
    "a+b",
    "a&b",
    "a=b",
    "a;b",
    "é",
    "e\u{301}",
    "\u{feff}1",
    "日本",
    "\"",
    "\\",
    "[1]",
    "{}",
    "𝟏",
    "K",
];
/// Written into a path at any place.
const PATH_PIECES: &[&str] = &[
    "/", "//", "/./", "/../", "/%2e%2e/", "%2F", "%252F", "%5C", "\\", ";", ";v=1", "%3B", "%00",
    "%0A", "%20", "+", "%2B", "%", "%zz", "%C3%A9", "%FF", "é", "?", "%3F", "#", "%23", "*", ":",
    "@", "%41", "~", "%7E",
];
/// Written into a query at any place.
const QUERY_PIECES: &[&str] = &[
    "&", "&&", "=", "==", ";", "+", "%20", "%2B", "%26", "%3D", "%3B", "%", "%zz", "%C3%A9", "%ff",
    "é", "%00", "#", "[]", "%5B%5D", "_", "%5F", "?", "%25", "%2525", "\u{feff}",
];
/// Written into a JSON text at any place.
const JSON_PIECES: &[&str] = &[
    " ",
    "\n",
    "\u{a0}",
    "\u{feff}",
    ",",
    ":",
    "{}",
    "[]",
    "null",
    "NaN",
    "-Infinity",
    "1e400",
    "1E5",
    "-0",
    "0.10",
    "12345678901234567890123",
    "\\u0061",
    "\\ud800",
    "\\ud83d\\ude00",
    "\\/",
    "\\x",
    "\"",
    "'",
    "//",
    "/**/",
    "\0",
    "\u{7f}",
    "é",
    "true",
    "\\u0000",
    "\\n",
    "\t",
];

impl Speller {
    pub fn new(seed: u64) -> Self {
        let routes = catalogue::routes()
            .filter(|route| !route.is_administration() && !super::fields(route).is_empty())
            // The MLflow that reads along may be older than these: tests/skill_registry.rs has them.
            .filter(|route| !route.path.starts_with("/3.0/mlflow/skills"))
            .collect();
        Self { state: seed, routes }
    }

    fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, most: usize) -> usize {
        usize::try_from(self.next() % u64::try_from(most.max(1)).unwrap()).unwrap()
    }

    fn one_in(&mut self, many: usize) -> bool {
        self.below(many) == 0
    }

    fn pick<'a, T: ?Sized>(&mut self, from: &[&'a T]) -> &'a T {
        from[self.below(from.len())]
    }

    pub fn request(&mut self) -> Request {
        let at = self.below(self.routes.len());
        let route = self.routes[at];
        let fields: Vec<Field> = route
            .needs
            .iter()
            .flat_map(|need| need.fields())
            .chain(route.scopes.iter().map(|scope| scope.field))
            .collect();
        let mut odd = false;
        let mut path = self.path(route, &fields);
        let by_query = route.method == Method::Get || self.one_in(12);
        let mut pairs = Vec::new();
        let mut document = Map::new();
        for field in &fields {
            if route.path.contains(&format!("{{{}}}", field.name)) && !self.one_in(8) {
                continue;
            }
            let value = self.value(field.form, &mut odd);
            if by_query {
                pairs.push((self.key(field.name, &mut odd), value));
            } else {
                self.put(&mut document, field.name, value, &mut odd);
            }
        }
        if !by_query && self.one_in(6) {
            document.insert("max_results".to_owned(), json!(self.below(9)));
        }
        let mut query = self.query(&mut pairs, &mut odd);
        let mut body = (!by_query).then(|| self.body(&document, &mut odd));
        if self.one_in(5) {
            odd |= self.insert(&mut path, PATH_PIECES);
        }
        if !query.is_empty() && self.one_in(3) {
            odd |= self.insert(&mut query, QUERY_PIECES);
        }
        if by_query && self.one_in(40) {
            body = Some(self.body(&document, &mut odd));
        }
        let mut target = path.into_bytes();
        if !query.is_empty() {
            target.push(b'?');
            target.extend_from_slice(query.as_bytes());
        }
        let content_type = body.as_ref().map(|_| self.content_type());
        Request { route, method: route.method.as_str(), target, content_type, body, odd }
    }

    fn content_type(&mut self) -> String {
        let usual = "application/json";
        let any = [usual, "application/json; charset=utf-8", "application/json;a=b", "text/plain"];
        if self.one_in(6) { self.pick(&any) } else { usual }.to_owned()
    }

    fn value(&mut self, form: Form, odd: &mut bool) -> String {
        let hex = self.pick(&HEX);
        let usual = match form {
            Form::Experiment => self.pick(&["0", "1", "42"]).to_owned(),
            Form::Run => hex.to_owned(),
            Form::Trace => format!("tr-{hex}"),
            Form::LoggedModel => format!("m-{hex}"),
            Form::Dataset => format!("d-{hex}"),
            Form::Token => format!("q-{hex}"),
            Form::Name | Form::NewName => self.pick(&["mine", "yours", "a b/c", "ünï"]).to_owned(),
            Form::Skill | Form::Organization => {
                self.pick(&["reviewer", "a-b", "A", "a--b"]).to_owned()
            }
            Form::SkillKey => self.pick(&["own", "@acme/own", "@acme.com/a-b"]).to_owned(),
            Form::Text => self.pick(&["x = 'y'", "text", ""]).to_owned(),
        };
        if self.one_in(12) {
            *odd = true;
            let piece = self.pick(ODD_VALUES);
            return if self.one_in(2) { piece.to_owned() } else { usual + piece };
        }
        usual
    }

    /// A field's name at the top, sometimes in the other spelling.
    fn key(&mut self, name: &str, odd: &mut bool) -> String {
        let name = name.split(['.', '[']).next().unwrap_or(name);
        if self.one_in(15) {
            *odd = true;
            return match self.below(4) {
                0 => camel_case(name),
                1 => name.to_uppercase(),
                2 => format!("{name}[]"),
                _ => name.replace("run_id", "run_uuid"),
            };
        }
        name.to_owned()
    }

    /// Places a value at a dotted path of the body.
    fn put(
        &mut self,
        document: &mut Map<String, Value>,
        name: &str,
        value: String,
        odd: &mut bool,
    ) {
        let (head, rest) = name.split_once('.').map_or((name, None), |(h, r)| (h, Some(r)));
        let key = self.key(head, odd);
        let value = match rest {
            Some(rest) => {
                let mut inner = Map::new();
                self.put(&mut inner, rest, value, odd);
                Value::Object(inner)
            }
            None if self.one_in(40) => {
                *odd = true;
                [json!(null), json!(1), json!(true), json!({ "a": value }), json!([[value]])]
                    [self.below(5)]
                .clone()
            }
            None => Value::String(value),
        };
        let listed = head.ends_with("[]") || (rest.is_none() && head.ends_with("ids"));
        let value = if listed != self.one_in(40) { json!([value]) } else { value };
        document.insert(key, value);
    }

    fn query(&mut self, pairs: &mut Vec<(String, String)>, odd: &mut bool) -> String {
        if !pairs.is_empty() && self.one_in(12) {
            *odd = true;
            let mut again = pairs[self.below(pairs.len())].clone();
            if self.one_in(2) {
                again.1.push('0');
            }
            pairs.push(again);
        }
        let encoded: Vec<String> = pairs
            .iter()
            .map(|(key, value)| format!("{}={}", self.encoded(key), self.encoded(value)))
            .collect();
        encoded.join("&")
    }

    /// Percent-encoded where it must be, and here and there where it need not.
    fn encoded(&mut self, text: &str) -> String {
        let mut out = String::new();
        for byte in text.bytes() {
            let plain = byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte);
            if plain && !self.one_in(40) {
                out.push(char::from(byte));
            } else if self.one_in(2) {
                out.push_str(&format!("%{byte:02x}"));
            } else {
                out.push_str(&format!("%{byte:02X}"));
            }
        }
        out
    }

    fn body(&mut self, document: &Map<String, Value>, odd: &mut bool) -> Vec<u8> {
        let mut text = if self.one_in(4) {
            serde_json::to_string_pretty(document).unwrap()
        } else {
            serde_json::to_string(document).unwrap()
        };
        if self.one_in(12) {
            *odd = true;
            if let Some((key, value)) = document.iter().next() {
                let again = [camel_case(key), key.clone(), key.replace("_id", "\\u005fid")];
                let again = &again[self.below(3)];
                text = text.replacen('{', &format!("{{\"{again}\":{value},"), 1);
            }
        }
        if self.one_in(4) {
            *odd |= self.insert(&mut text, JSON_PIECES);
        }
        match self.below(60) {
            0 => text.encode_utf16().flat_map(u16::to_le_bytes).collect(),
            1 => serde_json::to_vec(&text).unwrap(),
            2 => [b"\xef\xbb\xbf", text.as_bytes()].concat(),
            _ => text.into_bytes(),
        }
    }

    /// Puts one of the pieces anywhere into the text.
    fn insert(&mut self, text: &mut String, pieces: &[&str]) -> bool {
        let places: Vec<usize> =
            text.char_indices().map(|(at, _)| at).skip(1).chain([text.len()]).collect();
        let at = places[self.below(places.len())];
        text.insert_str(at, self.pick(pieces));
        true
    }

    fn path(&mut self, route: &Route, fields: &[Field]) -> String {
        let prefixes = route.mount.prefixes();
        let mut out = self.pick(prefixes).to_owned();
        for part in route.path.split_inclusive('}') {
            let Some((before, name)) = part.split_once('{') else {
                out.push_str(part);
                continue;
            };
            let name = name.trim_end_matches('}');
            let form = fields.iter().find(|field| field.name == name).map(|field| field.form);
            out.push_str(before);
            match (name.strip_prefix('*'), form) {
                (Some(_), _) => out.push_str("1/0123456789abcdef0123456789abcdef/artifacts/a%20b"),
                (None, Some(form)) => {
                    let value = self.value(form, &mut false);
                    out.push_str(&self.encoded(&value));
                }
                (None, None) => out.push_str("x1"),
            }
        }
        out
    }
}
