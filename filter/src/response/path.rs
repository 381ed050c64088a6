//! Walking a JSON document along a [`Path`](crate::operation::Path).

use super::ResponseError;
use crate::surface::json::{Object, Value};

/// The steps that are left of a path.
pub type Steps<'a> = &'a [&'a str];

/// Calls `visit` with every object at the path. Absent and `null` on the way is nothing to do;
/// any other shape than the path says is an error, since then nothing is known of the document.
pub fn each<'v>(
    value: &'v Value,
    steps: Steps<'_>,
    visit: &mut dyn FnMut(&'v Object),
) -> Result<(), ResponseError> {
    match (steps.split_first(), value) {
        (_, Value::Null) => Ok(()),
        (None, Value::Object(object)) => {
            visit(object);
            Ok(())
        }
        (Some((&"[]", rest)), Value::Array(items)) => {
            items.iter().try_for_each(|item| each(item, rest, visit))
        }
        (Some((field, rest)), Value::Object(object)) if *field != "[]" => {
            object.get(field).map_or(Ok(()), |value| each(value, rest, visit))
        }
        _ => Err(unexpected(steps)),
    }
}

/// The same, to change the objects.
pub fn each_mut(
    value: &mut Value,
    steps: Steps<'_>,
    visit: &mut dyn FnMut(&mut Object),
) -> Result<(), ResponseError> {
    match (steps.split_first(), value) {
        (_, Value::Null) => Ok(()),
        (None, Value::Object(object)) => {
            visit(object);
            Ok(())
        }
        (Some((&"[]", rest)), Value::Array(items)) => {
            items.iter_mut().try_for_each(|item| each_mut(item, rest, visit))
        }
        (Some((field, rest)), Value::Object(object)) if *field != "[]" => {
            object.get_mut(field).map_or(Ok(()), |value| each_mut(value, rest, visit))
        }
        _ => Err(unexpected(steps)),
    }
}

/// Keeps the elements of every array at the path (which ends in `[]`) that `keep` is true for.
/// What is no object is not kept.
pub fn retain(
    value: &mut Value,
    steps: Steps<'_>,
    keep: &mut dyn FnMut(&Object) -> bool,
) -> Result<(), ResponseError> {
    match (steps.split_first(), value) {
        (_, Value::Null) => Ok(()),
        (Some((&"[]", [])), Value::Array(items)) => {
            items.retain(|item| item.as_object().is_some_and(&mut *keep));
            Ok(())
        }
        (Some((&"[]", rest)), Value::Array(items)) => {
            items.iter_mut().try_for_each(|item| retain(item, rest, keep))
        }
        (Some((field, rest)), Value::Object(object)) if *field != "[]" => {
            object.get_mut(field).map_or(Ok(()), |value| retain(value, rest, keep))
        }
        _ => Err(unexpected(steps)),
    }
}

/// Removes the field at the end of the path wherever `when` is true of the object that has it.
/// A last step `=KEY` removes the elements with that key of an array of `{"key", "value"}`.
pub fn remove(
    value: &mut Value,
    path: Steps<'_>,
    when: &dyn Fn(&Object) -> bool,
) -> Result<(), ResponseError> {
    let Some((last, to_object)) = path.split_last() else { return Ok(()) };
    match last.strip_prefix('=') {
        None => each_mut(value, to_object, &mut |object| {
            if when(object) {
                object.0.retain(|(name, _)| name != last);
            }
        }),
        Some(key) => {
            let elements: Vec<&str> = to_object.iter().copied().chain(["[]"]).collect();
            retain(value, &elements, &mut |entry| {
                entry.get("key").and_then(Value::as_str) != Some(key)
            })
        }
    }
}

/// The value at a path without `[]`.
pub fn get<'v>(object: &'v Object, path: Steps<'_>) -> Option<&'v Value> {
    let (first, rest) = path.split_first()?;
    let value = object.get(first)?;
    if rest.is_empty() { Some(value) } else { get(value.as_object()?, rest) }
}

/// An id: a string, or a whole number as MLflow writes some experiment ids.
pub fn id(object: &Object, path: Steps<'_>) -> Option<String> {
    match get(object, path)? {
        Value::String(text) if !text.is_empty() => Some(text.clone()),
        Value::Number(text) if text.bytes().all(|byte| byte.is_ascii_digit()) => Some(text.clone()),
        _ => None,
    }
}

fn unexpected(steps: Steps<'_>) -> ResponseError {
    ResponseError::Shape { at: steps.join(".") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::surface::json::read_value;

    fn document(text: &str) -> Value {
        read_value(text.as_bytes()).unwrap()
    }

    fn text(value: &Value) -> String {
        match value {
            Value::Object(object) => String::from_utf8(object.to_bytes()).unwrap(),
            other => panic!("not an object: {other:?}"),
        }
    }

    #[test]
    fn a_field_is_removed_from_every_element() {
        let mut value = document(r#"{"a":[{"b":{"x":1,"y":2}},{"b":null},{},{"b":{"y":3}}]}"#);
        remove(&mut value, &["a", "[]", "b", "x"], &|_| true).unwrap();
        assert_eq!(text(&value), r#"{"a":[{"b":{"y":2}},{"b":null},{},{"b":{"y":3}}]}"#);
    }

    #[test]
    fn an_entry_of_a_list_of_pairs_is_removed_by_its_key() {
        let mut value = document(r#"{"m":[{"key":"k","value":"1"},{"key":"l","value":"2"}]}"#);
        remove(&mut value, &["m", "=k"], &|_| true).unwrap();
        assert_eq!(text(&value), r#"{"m":[{"key":"l","value":"2"}]}"#);
    }

    #[test]
    fn a_key_with_dots_is_one_step() {
        let mut value = document(r#"{"m":{"mlflow.sourceRun":"r","o":"2"}}"#);
        remove(&mut value, &["m", "mlflow.sourceRun"], &|_| true).unwrap();
        assert_eq!(text(&value), r#"{"m":{"o":"2"}}"#);
    }

    #[test]
    fn another_shape_than_the_path_says_is_an_error() {
        for body in [r#"{"a":{}}"#, r#"{"a":[1]}"#, r#"{"a":"x"}"#, r#"{"a":[{"b":[]}]}"#] {
            let mut value = document(body);
            assert!(remove(&mut value, &["a", "[]", "b", "x"], &|_| true).is_err(), "{body}");
        }
    }

    #[test]
    fn what_is_absent_is_nothing_to_do() {
        for body in ["{}", r#"{"a":null}"#, r#"{"a":[]}"#] {
            let mut value = document(body);
            retain(&mut value, &["a", "[]"], &mut |_| false).unwrap();
            assert_eq!(text(&value), body);
        }
    }

    #[test]
    fn an_id_is_a_string_or_a_whole_number() {
        let value = document(r#"{"s":"1","n":2,"f":1.5,"e":"","b":true,"o":{"i":"3"},"m":-1}"#);
        let object = value.as_object().unwrap();
        assert_eq!(id(object, &["s"]).as_deref(), Some("1"));
        assert_eq!(id(object, &["n"]).as_deref(), Some("2"));
        assert_eq!(id(object, &["o", "i"]).as_deref(), Some("3"));
        for field in ["f", "e", "b", "o", "m", "absent"] {
            assert_eq!(id(object, &[field]), None, "{field}");
        }
    }
}
