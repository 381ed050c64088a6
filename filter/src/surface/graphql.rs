//! GraphQL requests, with aliases, fragments and variables resolved.
//!
//! The result is what would be executed: root fields with their arguments' values, and the tree
//! of response keys below them. Directives are taken as if everything were included.

use std::cell::Cell;
use std::collections::HashMap;

use apollo_parser::Parser;
use apollo_parser::cst::{self, CstNode, Definition, Selection};

use crate::refusal::Refusal;

use super::json::{Object, Value};

/// Bytes of the query text; the UI's are under 4 KiB.
const MAX_QUERY: usize = 32 * 1024;
const MAX_TOKENS: usize = 8_000;
/// MLflow's own limits: `graphql_no_batching.py` and `MLFLOW_SERVER_GRAPHQL_MAX_*`.
const MAX_DEPTH: usize = 10;
const MAX_SELECTIONS: usize = 1_000;
const MAX_ROOT_FIELDS: usize = 10;
const MAX_ALIASES: usize = 10;

/// Bytes of all arguments together, each value counting some: a variable may be named thousands of
/// times, and the copies of a large one would be more than the worker's memory.
const MAX_ARGUMENTS: usize = 512 * 1024;

/// What a value takes besides its text.
const PER_VALUE: usize = 16;

const QUERY: &str = "query";

/// A selected field. Those below are merged by nobody: the same key may occur twice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Field {
    /// The alias, or the name.
    pub key: String,
    pub name: String,
    pub arguments: Object,
    pub fields: Vec<Field>,
}

/// Reads the body of a GraphQL request and gives its root fields.
pub fn read(body: &Object) -> Result<Vec<Field>, Refusal> {
    let text = match body.get(QUERY) {
        Some(Value::String(text)) if text.len() <= MAX_QUERY => text,
        Some(Value::String(_)) => return Err(Refusal::invalid(QUERY, "is too long")),
        _ => return Err(Refusal::invalid(QUERY, "must be a string")),
    };
    let variables = match body.get("variables") {
        None | Some(Value::Null) => Object::default(),
        Some(Value::Object(variables)) => variables.clone(),
        Some(_) => return Err(Refusal::invalid("variables", "must be an object")),
    };
    let tree = Parser::new(text).recursion_limit(64).token_limit(MAX_TOKENS).parse();
    if tree.errors().next().is_some() {
        return Err(Refusal::invalid(QUERY, "is not well-formed GraphQL"));
    }
    let document = tree.document();
    let mut reader = Reader {
        fragments: HashMap::new(),
        variables,
        selections: 0,
        aliases: 0,
        room: Cell::new(MAX_ARGUMENTS),
    };
    let operation = reader.take_definitions(&document)?;
    reader.take_defaults(&operation)?;
    let roots = reader.selections(operation.selection_set(), 1)?;
    match roots.len() {
        0 => Err(Refusal::invalid(QUERY, "selects nothing")),
        count if count > MAX_ROOT_FIELDS => Err(Refusal::invalid(QUERY, "has too many roots")),
        _ => Ok(roots),
    }
}

struct Reader {
    fragments: HashMap<String, cst::FragmentDefinition>,
    variables: Object,
    selections: usize,
    aliases: usize,
    /// What is left of [`MAX_ARGUMENTS`].
    room: Cell<usize>,
}

impl Reader {
    /// One operation, so that `operationName` chooses nothing.
    fn take_definitions(
        &mut self,
        document: &cst::Document,
    ) -> Result<cst::OperationDefinition, Refusal> {
        let mut operation = None;
        for definition in document.definitions() {
            match definition {
                Definition::OperationDefinition(found) if operation.is_none() => {
                    operation = Some(found);
                }
                Definition::OperationDefinition(_) => {
                    return Err(Refusal::ambiguous(QUERY, "has more than one operation"));
                }
                Definition::FragmentDefinition(fragment) => {
                    let name = fragment.fragment_name().and_then(|name| name.name());
                    if self.fragments.insert(text(name)?, fragment).is_some() {
                        return Err(Refusal::ambiguous(QUERY, "defines a fragment twice"));
                    }
                }
                _ => return Err(Refusal::invalid(QUERY, "has more than operations")),
            }
        }
        let operation = operation.ok_or_else(|| Refusal::invalid(QUERY, "has no operation"))?;
        if operation.operation_type().is_some_and(|kind| kind.subscription_token().is_some()) {
            return Err(Refusal::invalid(QUERY, "is a subscription"));
        }
        Ok(operation)
    }

    /// A variable that was not sent has its default value.
    fn take_defaults(&mut self, operation: &cst::OperationDefinition) -> Result<(), Refusal> {
        let definitions = operation.variable_definitions();
        for definition in definitions.iter().flat_map(|list| list.variable_definitions()) {
            let name = text(definition.variable().and_then(|variable| variable.name()))?;
            let default = definition.default_value().and_then(|default| default.value());
            if let Some(default) = default
                && self.variables.get(&name).is_none()
            {
                let value = self.value(&default, 0)?;
                self.variables.0.push((name, value));
            }
        }
        Ok(())
    }

    fn selections(
        &mut self,
        set: Option<cst::SelectionSet>,
        depth: usize,
    ) -> Result<Vec<Field>, Refusal> {
        if depth > MAX_DEPTH {
            return Err(Refusal::invalid(QUERY, "is nested too deeply"));
        }
        let mut fields = Vec::new();
        for selection in set.iter().flat_map(cst::SelectionSet::selections) {
            self.selections = self.selections.saturating_add(1);
            if self.selections > MAX_SELECTIONS {
                return Err(Refusal::invalid(QUERY, "selects too much"));
            }
            match selection {
                Selection::Field(field) => fields.push(self.field(&field, depth)?),
                Selection::InlineFragment(inline) => {
                    // A fragment is no level of the response, but cycles must end.
                    let inner = self.selections(inline.selection_set(), deeper(depth))?;
                    fields.extend(inner);
                }
                Selection::FragmentSpread(spread) => {
                    let name = text(spread.fragment_name().and_then(|name| name.name()))?;
                    let set = self
                        .fragments
                        .get(&name)
                        .ok_or_else(|| Refusal::invalid(QUERY, "uses an unknown fragment"))?
                        .selection_set();
                    fields.extend(self.selections(set, deeper(depth))?);
                }
            }
        }
        Ok(fields)
    }

    fn field(&mut self, field: &cst::Field, depth: usize) -> Result<Field, Refusal> {
        let name = text(field.name())?;
        let key = match field.alias() {
            Some(alias) => {
                self.aliases = self.aliases.saturating_add(1);
                text(alias.name())?
            }
            None => name.clone(),
        };
        if self.aliases > MAX_ALIASES {
            return Err(Refusal::invalid(QUERY, "has too many aliases"));
        }
        let mut arguments = Object::default();
        for argument in field.arguments().iter().flat_map(|list| list.arguments()) {
            let value = argument.value().ok_or_else(malformed)?;
            let value = self.value(&value, 0)?;
            push_unique(&mut arguments, text(argument.name())?, value)?;
        }
        let fields = self.selections(field.selection_set(), deeper(depth))?;
        Ok(Field { key, name, arguments, fields })
    }

    fn spend(&self, size: usize) -> Result<(), Refusal> {
        let left = self.room.get().checked_sub(size);
        self.room.set(left.ok_or_else(|| Refusal::invalid(QUERY, "has too many arguments"))?);
        Ok(())
    }

    fn value(&self, value: &cst::Value, depth: usize) -> Result<Value, Refusal> {
        if depth > MAX_DEPTH {
            return Err(Refusal::invalid(QUERY, "is nested too deeply"));
        }
        self.spend(PER_VALUE)?;
        Ok(match value {
            cst::Value::Variable(variable) => match self.variables.get(&text(variable.name())?) {
                Some(value) => {
                    self.spend(weight(value))?;
                    value.clone()
                }
                None => Value::Null,
            },
            cst::Value::StringValue(string) => Value::String(literal(&string.source_string())?),
            cst::Value::IntValue(number) => Value::Number(number.source_string().trim().into()),
            cst::Value::FloatValue(number) => Value::Number(number.source_string().trim().into()),
            cst::Value::BooleanValue(boolean) => {
                Value::Bool(boolean.source_string().trim() == "true")
            }
            cst::Value::NullValue(_) => Value::Null,
            // Nothing the gate reads is an enum; as a string it fails every form but names.
            cst::Value::EnumValue(word) => Value::Array(vec![Value::String(text(word.name())?)]),
            cst::Value::ListValue(list) => Value::Array(
                list.values()
                    .map(|item| self.value(&item, deeper(depth)))
                    .collect::<Result<_, _>>()?,
            ),
            cst::Value::ObjectValue(object) => {
                let mut out = Object::default();
                for field in object.object_fields() {
                    let value = field.value().ok_or_else(malformed)?;
                    let value = self.value(&value, deeper(depth))?;
                    push_unique(&mut out, text(field.name())?, value)?;
                }
                Value::Object(out)
            }
        })
    }
}

/// About the bytes that a copy takes.
fn weight(value: &Value) -> usize {
    let inner = match value {
        Value::Null | Value::Bool(_) => 0,
        Value::Number(text) | Value::String(text) => text.len(),
        Value::Array(items) => items.iter().map(weight).fold(0, usize::saturating_add),
        Value::Object(object) => {
            let each = object.0.iter().map(|(name, item)| weight(item).saturating_add(name.len()));
            each.fold(0, usize::saturating_add)
        }
    };
    inner.saturating_add(PER_VALUE)
}

fn deeper(depth: usize) -> usize {
    depth.saturating_add(1)
}

fn push_unique(object: &mut Object, name: String, value: Value) -> Result<(), Refusal> {
    if object.get(&name).is_some() {
        return Err(Refusal::ambiguous(QUERY, "gives an argument twice"));
    }
    object.0.push((name, value));
    Ok(())
}

fn text(name: Option<cst::Name>) -> Result<String, Refusal> {
    name.map(|name| name.source_string().trim().to_owned())
        .filter(|name| !name.is_empty())
        .ok_or_else(malformed)
}

/// A string literal. Ids and paths need no escapes, and clients use variables.
fn literal(source: &str) -> Result<String, Refusal> {
    let source = source.trim();
    let inner = source
        .strip_prefix('"')
        .and_then(|rest| rest.strip_suffix('"'))
        .filter(|inner| !inner.contains(['"', '\\', '\n', '\r']));
    match inner {
        Some(inner) => Ok(inner.to_owned()),
        None => Err(Refusal::invalid(QUERY, "has a string with escapes; use variables")),
    }
}

fn malformed() -> Refusal {
    Refusal::invalid(QUERY, "is not well-formed GraphQL")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::surface::json::read_object;

    fn roots(query: &str, variables: &str) -> Result<Vec<Field>, Refusal> {
        let query = serde_json::to_string(query).unwrap();
        let body = format!(r#"{{"query":{query},"variables":{variables}}}"#);
        read(&read_object(body.as_bytes()).unwrap())
    }

    #[test]
    fn variables_defaults_aliases_and_fragments_are_resolved() {
        let fields = roots(
            "query A($d: I!, $e: String = \"7\") { ...F x: two(input: {id: $e}) }
             fragment F on Query { one(input: $d) { a ... on T { b: c } } }",
            r#"{"d":{"runId":"r"}}"#,
        )
        .unwrap();
        let names: Vec<_> = fields.iter().map(|f| (f.key.as_str(), f.name.as_str())).collect();
        assert_eq!(names, [("one", "one"), ("x", "two")]);
        let input = |at: usize| fields[at].arguments.get("input").unwrap().as_object().unwrap();
        assert_eq!(input(0).get("runId").unwrap().as_str(), Some("r"));
        assert_eq!(input(1).get("id").unwrap().as_str(), Some("7"));
        let below: Vec<_> = fields[0].fields.iter().map(|f| f.key.as_str()).collect();
        assert_eq!(below, ["a", "b"]);
    }

    #[test]
    fn an_absent_variable_is_null() {
        let fields = roots("query($d: I) { one(input: $d) }", "null").unwrap();
        assert_eq!(fields[0].arguments.get("input"), Some(&Value::Null));
    }

    #[test]
    fn copies_of_a_variable_are_bounded_however_they_are_asked_for() {
        let large = format!(r#"{{"v":"{}"}}"#, "x".repeat(100_000));
        assert!(roots("query($v: S) { a(b: [$v, $v]) }", &large).is_ok());
        let listed = format!("query($v: S) {{ a(b: [{}]) }}", "$v ".repeat(2_000));
        assert!(roots(&listed, &large).is_err());
        let spread = "...F ".repeat(500);
        let spread = format!("query($v: S) {{ {spread} }} fragment F on Query {{ a(b: [$v $v]) }}");
        assert!(roots(&spread, &large).is_err());
        let arguments: String = (0..2_000).map(|n| format!("a{n}: 1 ")).collect();
        let spread =
            format!("{{ b {{ {} }} }} fragment F on Q {{ a({arguments}) }}", "...F ".repeat(500));
        assert!(roots(&spread, "{}").is_err());
    }

    #[test]
    fn what_multiplies_work_or_meaning_is_refused() {
        let aliases: String = (0..11).map(|n| format!("a{n}: test ")).collect();
        let fields: String = (0..11).map(|n| format!("f{n} ")).collect();
        let deep = format!("{{ {}x{} }}", "a { ".repeat(12), " }".repeat(12));
        let large = format!("{{ a(input: \"{}\") }}", "x".repeat(MAX_QUERY));
        for query in [
            "{ a } { b }",
            "query A { a } query B { b }",
            "subscription { a }",
            "{ ...F } fragment F on Q { ...F }",
            "{ ...F } fragment F on Q { ...G } fragment G on Q { ...F }",
            "{ ...Missing }",
            "{ a(input: {id: \"1\", id: \"2\"}) }",
            "{ a(input: 1, input: 2) }",
            "{ a(input: \"\\u0031\") }",
            "{ a(input: \"\"\"1\"\"\") }",
            "type A { b: C } { a }",
            "{ a",
            "",
            aliases.as_str(),
            &format!("{{ {aliases} }}"),
            &format!("{{ {fields} }}"),
            &deep,
            &large,
        ] {
            assert!(roots(query, "{}").is_err(), "{query}");
        }
    }

    #[test]
    fn a_batch_is_no_request() {
        assert!(read_object(br#"[{"query":"{a}"}]"#).is_err());
        assert!(read(&read_object(br#"{"query":["{a}"]}"#).unwrap()).is_err());
        assert!(read(&read_object(br#"{"query":"{a}","variables":[]}"#).unwrap()).is_err());
    }
}
