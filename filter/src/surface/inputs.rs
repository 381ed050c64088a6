//! Where ids are looked for: path, query, JSON body and headers of one request, together.
//!
//! Whatever place MLflow's validator or handler would take an id from, all places that carry it
//! must agree, so that the id that is authorized is the id that is used.

use std::cell::RefCell;

use crate::refusal::Refusal;

use super::headers::RequestHeaders;
use super::id::Form;
use super::json::{FEW, Object, Value};
use super::method::Method;
use super::order::{Looked, Weight, put_first};
use super::query::Query;

/// At the top of a body. MLflow's messages have tens.
const MAX_MEMBERS: usize = 4_096;

/// More ids than this in one field are refused; MLflow's bulk routes stop at a few hundred.
pub const MAX_IDS: usize = 10_000;

/// How many ids a field may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arity {
    One,
    ZeroOrOne,
    Many,
    /// Without any, MLflow lets only admins reach its handler.
    AtLeastOne,
}

/// A field of a request that holds ids.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Field {
    /// MLflow's snake_case name; in JSON a path such as `metrics[].model_id`.
    pub name: &'static str,
    pub form: Form,
    pub arity: Arity,
}

impl Field {
    pub const fn one(name: &'static str, form: Form) -> Self {
        Self { name, form, arity: Arity::One }
    }

    pub const fn optional(name: &'static str, form: Form) -> Self {
        Self { name, form, arity: Arity::ZeroOrOne }
    }

    pub const fn many(name: &'static str, form: Form) -> Self {
        Self { name, form, arity: Arity::Many }
    }

    pub const fn some(name: &'static str, form: Form) -> Self {
        Self { name, form, arity: Arity::AtLeastOne }
    }
}

/// Everything that was read from one request.
#[derive(Debug, Clone)]
pub struct Inputs {
    pub method: Method,
    /// Path parameters by the template's names.
    pub params: Vec<(&'static str, String)>,
    pub query: Query,
    pub body: Option<Object>,
    /// The bytes without their content coding, for routes whose body is not JSON.
    pub raw_body: Vec<u8>,
    pub headers: RequestHeaders,
    /// What has been looked at, in that order.
    pub looked: RefCell<Vec<Looked>>,
}

impl Inputs {
    pub fn param(&self, name: &str) -> Option<&str> {
        self.params.iter().find(|(key, _)| *key == name).map(|(_, value)| value.as_str())
    }

    /// The one id of a field.
    pub fn one(&self, field: Field) -> Result<String, Refusal> {
        self.optional(field)?.ok_or_else(|| Refusal::invalid(field.name, "is required"))
    }

    /// The id of a field that may be absent.
    pub fn optional(&self, field: Field) -> Result<Option<String>, Refusal> {
        let mut values = self.gather(field)?.into_iter();
        let first = values.next();
        if values.any(|other| Some(&other) != first.as_ref()) {
            return Err(Refusal::ambiguous(field.name, "has two different values"));
        }
        Ok(first)
    }

    /// All ids of a field, in their order, each once.
    pub fn all(&self, field: Field) -> Result<Vec<String>, Refusal> {
        match field.arity {
            Arity::One => self.one(field).map(|id| vec![id]),
            Arity::ZeroOrOne => self.optional(field).map(|id| id.into_iter().collect()),
            Arity::Many | Arity::AtLeastOne => self.gather(field),
        }
    }

    /// Text that is not an id, e.g. a filter. Absent and `null` are the same.
    pub fn text(&self, name: &'static str) -> Result<Option<String>, Refusal> {
        self.optional(Field::optional(name, Form::Text))
    }

    /// A top-level JSON member in either spelling; `null` counts as absent.
    pub fn member(&self, name: &'static str) -> Result<Option<&Value>, Refusal> {
        self.look(name, Weight::Other);
        match &self.body {
            Some(body) => member(body, name),
            None => Ok(None),
        }
    }

    /// The body as it is forwarded: what has been looked at comes first.
    pub fn forwarded_body(&mut self) -> Option<Vec<u8>> {
        let mut body = self.body.take()?;
        put_first(&mut body, self.looked.get_mut());
        Some(body.to_python_bytes())
    }

    #[inline(never)]
    fn look(&self, path: &'static str, weight: Weight) {
        self.looked.borrow_mut().push(Looked { path, weight });
    }

    fn gather(&self, field: Field) -> Result<Vec<String>, Refusal> {
        let mut ids = Vec::new();
        self.refuse_null_beside_alias(field.name)?;
        for name in aliases(field.name) {
            self.look(name, if field.form == Form::Text { Weight::Other } else { Weight::Id });
            self.gather_named(Field { name, ..field }, &mut ids)?;
        }
        if ids.len() > 1 {
            let mut seen = std::collections::HashSet::new();
            ids.retain(|id: &String| seen.insert(id.clone()));
        }
        if ids.len() > MAX_IDS {
            return Err(Refusal::invalid(field.name, "has too many ids"));
        }
        Ok(ids)
    }

    fn gather_named(&self, field: Field, ids: &mut Vec<String>) -> Result<(), Refusal> {
        if let Some(value) = self.param(field.name) {
            field.form.check(field.name, value)?;
            ids.push(value.to_owned());
        }
        if let Some(body) = &self.body {
            walk(body, field.name, field, ids)?;
        }
        if self.reads_query() {
            for value in self.query.all(field.name) {
                field.form.check(field.name, value)?;
                ids.push(value.to_owned());
            }
        }
        Ok(())
    }

    /// Some of MLflow's readers take a null for the id, some the other name.
    fn refuse_null_beside_alias(&self, name: &'static str) -> Result<(), Refusal> {
        let Some(body) = self.body.as_ref().filter(|_| aliases(name).nth(1).is_some()) else {
            return Ok(());
        };
        let named = |key: &str| aliases(name).any(|alias| is_spelt(alias, key));
        let (mut null, mut given) = (false, false);
        for (_, value) in body.0.iter().filter(|(key, _)| named(key)) {
            *(if matches!(value, Value::Null) { &mut null } else { &mut given }) = true;
        }
        if null && given {
            return Err(Refusal::ambiguous(name, "is null beside its other name"));
        }
        Ok(())
    }

    /// MLflow's handlers read the query of a GET, and of uploads whose body is not JSON.
    fn reads_query(&self) -> bool {
        self.body.is_none() && self.method != Method::Delete
    }
}

/// `run_id` and `run_uuid` are one id: MLflow's handlers take whichever they know, and its client
/// sends both.
fn aliases(name: &'static str) -> impl Iterator<Item = &'static str> {
    let other = if name == "run_id" { Some("run_uuid") } else { None };
    std::iter::once(name).chain(other)
}

/// `experiment_id` as protobuf's JSON also spells it.
pub fn camel_case(snake: &str) -> String {
    camel(snake).collect()
}

fn camel(snake: &str) -> impl Iterator<Item = char> {
    let mut upper = false;
    snake.chars().filter_map(move |character| {
        if character == '_' {
            upper = true;
            return None;
        }
        let upper = std::mem::take(&mut upper);
        Some(if upper { character.to_ascii_uppercase() } else { character })
    })
}

/// Whether `other` is the other spelling of `snake`.
fn is_twin(snake: &str, other: &str) -> bool {
    camel(snake).eq(other.chars())
}

/// Whether `key` is `snake` in either spelling.
#[inline(never)]
pub fn is_spelt(snake: &str, key: &str) -> bool {
    snake == key || is_twin(snake, key)
}

/// A member in either spelling; both at once are refused, `null` is absent.
pub fn member<'a>(object: &'a Object, name: &str) -> Result<Option<&'a Value>, Refusal> {
    let snake = object.get(name);
    let twin = || object.0.iter().find(|(other, _)| is_twin(name, other)).map(|(_, value)| value);
    // Without an underscore there is one spelling.
    let other = if name.contains('_') { twin() } else { None };
    match (snake, other) {
        (Some(_), Some(_)) => Err(Refusal::ambiguous(name, "is given in two spellings")),
        (value, other) => Ok(value.or(other).filter(|value| **value != Value::Null)),
    }
}

fn walk(object: &Object, path: &str, field: Field, ids: &mut Vec<String>) -> Result<(), Refusal> {
    let (head, rest) = match path.split_once('.') {
        Some((head, rest)) => (head, Some(rest)),
        None => (path, None),
    };
    let name = head.strip_suffix("[]").unwrap_or(head);
    let Some(value) = member(object, name)? else {
        return Ok(());
    };
    match (rest, value) {
        // MLflow's auth app takes the letters of a text for a list of ids.
        (None, Value::String(_)) if is_list(head, field) => {
            Err(Refusal::invalid(field.name, "must be a list"))
        }
        (None, Value::String(text)) => {
            field.form.check(field.name, text)?;
            ids.push(text.clone());
            Ok(())
        }
        (None, Value::Array(items)) if is_list(head, field) => {
            items.iter().try_for_each(|item| match item {
                Value::String(text) => {
                    field.form.check(field.name, text)?;
                    ids.push(text.clone());
                    Ok(())
                }
                _ => Err(Refusal::invalid(field.name, "must hold strings")),
            })
        }
        (None, _) => Err(Refusal::invalid(field.name, "must be a string")),
        (Some(rest), Value::Object(inner)) if !head.ends_with("[]") => {
            walk(inner, rest, field, ids)
        }
        (Some(rest), Value::Array(items)) if head.ends_with("[]") => {
            items.iter().try_for_each(|item| match item {
                Value::Object(inner) => walk(inner, rest, field, ids),
                _ => Err(Refusal::invalid(field.name, "must be in a list of objects")),
            })
        }
        (Some(_), _) => Err(Refusal::invalid(field.name, "is not where MLflow has it")),
    }
}

fn is_list(head: &str, field: Field) -> bool {
    let many = matches!(field.arity, Arity::Many | Arity::AtLeastOne);
    head.ends_with("[]") || (many && !field.name.bytes().any(|b| b == b'['))
}

/// Refuses both spellings of one field at the top of a body, whether the gate reads it or not.
pub fn refuse_double_spellings(body: &Object) -> Result<(), Refusal> {
    if body.0.len() > MAX_MEMBERS {
        return Err(Refusal::invalid("body", "has too many members"));
    }
    let all = || body.0.iter().map(|(name, _)| name.as_str());
    let many: Option<std::collections::HashSet<&str>> =
        (body.0.len() > FEW).then(|| all().collect());
    for name in all().filter(|name| name.contains('_')) {
        let twice = match &many {
            Some(names) => names.contains(camel_case(name).as_str()),
            None => all().any(|other| is_twin(name, other)),
        };
        if twice {
            let shown: String = name.chars().take(64).collect();
            return Err(Refusal::ambiguous(shown, "is given in two spellings"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::surface::json::read_object;

    const RUN: Field = Field::one("run_id", Form::Run);
    const A: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
    const B: &str = "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb";

    fn posted(body: &str) -> Inputs {
        Inputs {
            method: Method::Post,
            params: Vec::new(),
            query: Query::default(),
            body: Some(read_object(body.as_bytes()).unwrap()),
            raw_body: Vec::new(),
            headers: RequestHeaders::default(),
            looked: RefCell::default(),
        }
    }

    #[test]
    fn run_id_and_run_uuid_may_come_together_if_they_are_equal() {
        let both = posted(&format!(r#"{{"run_uuid":"{A}","run_id":"{A}"}}"#));
        assert_eq!(both.one(RUN).unwrap(), A);
        for body in [
            format!(r#"{{"run_uuid":"{A}","run_id":"{B}"}}"#),
            format!(r#"{{"run_uuid":"{A}","runId":"{B}"}}"#),
            format!(r#"{{"runUuid":"{A}","run_id":"{B}"}}"#),
            format!(r#"{{"run_id":"{A}","runId":"{A}"}}"#),
        ] {
            assert!(matches!(posted(&body).one(RUN), Err(Refusal::Ambiguous { .. })), "{body}");
        }
    }

    #[test]
    fn an_id_in_path_and_body_must_agree() {
        let field = Field::one("model_id", Form::LoggedModel);
        let mut inputs = posted(&format!(r#"{{"model_id":"m-{A}"}}"#));
        inputs.params.push(("model_id", format!("m-{A}")));
        assert_eq!(inputs.one(field).unwrap(), format!("m-{A}"));
        inputs.params = vec![("model_id", format!("m-{B}"))];
        assert!(matches!(inputs.one(field), Err(Refusal::Ambiguous { .. })));
    }

    #[test]
    fn present_but_empty_or_not_a_string_is_refused() {
        for body in [r#"{"run_id":""}"#, r#"{"run_id":1}"#, r#"{"run_id":[]}"#, r#"{"run_id":{}}"#]
        {
            assert!(posted(body).one(RUN).is_err(), "{body}");
        }
        assert!(posted(r#"{"run_id":null}"#).optional(RUN).unwrap().is_none());
        assert!(posted(r#"{"run_id":null}"#).one(RUN).is_err());
    }

    #[test]
    fn a_null_beside_the_other_name_is_refused() {
        for body in [
            format!(r#"{{"run_id":null,"run_uuid":"{A}"}}"#),
            format!(r#"{{"runUuid":null,"run_id":"{A}"}}"#),
            format!(r#"{{"runId":"{A}","runUuid":null}}"#),
        ] {
            assert!(posted(&body).one(RUN).is_err(), "{body}");
        }
        assert!(posted(r#"{"run_id":null,"run_uuid":null}"#).optional(RUN).unwrap().is_none());
    }

    #[test]
    fn nested_ids_are_found_in_either_spelling() {
        let field = Field::many("metrics[].model_id", Form::LoggedModel);
        let inputs = posted(&format!(
            r#"{{"metrics":[{{"modelId":"m-{A}"}},{{"key":"x"}},{{"model_id":"m-{B}"}}]}}"#
        ));
        assert_eq!(inputs.all(field).unwrap(), [format!("m-{A}"), format!("m-{B}")]);
        let twice = posted(&format!(r#"{{"metrics":[{{"modelId":"m-{A}","model_id":"m-{A}"}}]}}"#));
        assert!(twice.all(field).is_err());
        assert!(posted(r#"{"metrics":[1]}"#).all(field).is_err());
        assert!(posted(r#"{"metrics":{}}"#).all(field).is_err());
    }

    #[test]
    fn a_delete_reads_no_ids_from_the_query() {
        let mut inputs = posted("{}");
        inputs.body = None;
        inputs.method = Method::Delete;
        inputs.query = Query::read(b"name=mine", &[]).unwrap();
        assert!(inputs.one(Field::one("name", Form::Name)).is_err());
    }

    #[test]
    fn both_spellings_of_any_top_level_field_are_refused() {
        let body = read_object(br#"{"max_results":1,"maxResults":2}"#).unwrap();
        assert!(refuse_double_spellings(&body).is_err());
        let body = read_object(br#"{"max_results":1,"a":{"x_y":1,"xY":2}}"#).unwrap();
        assert!(refuse_double_spellings(&body).is_ok());
        let filler: String = (0..2 * FEW).map(|i| format!("\"a_{i}\":0,")).collect();
        let many = |end: &str| read_object(format!("{{{filler}{end}}}").as_bytes()).unwrap();
        assert!(refuse_double_spellings(&many(r#""max_results":1,"maxResults":2"#)).is_err());
        assert!(refuse_double_spellings(&many(r#""max_results":1"#)).is_ok());
    }

    #[test]
    fn camel_case_is_protobufs() {
        assert_eq!(camel_case("filter_string"), "filterString");
        assert_eq!(camel_case("filter_string1"), "filterString1");
        assert_eq!(camel_case("name"), "name");
    }
}
