//! Model versions in a GraphQL answer, which MLflow filters row by row.

use super::judge::{Kind, Verdicts};
use super::{Facts, ResponseError, path};
use crate::operation::GraphRows;
use crate::requirement::{Action, ResourceType};
use crate::surface::json::{Object, Value};

/// By the persisted tag: the rows do not tell whether their parent is a prompt.
const READABLE: Kind = Kind::Listed(ResourceType::ModelOrPrompt, Action::Read);

pub fn need(
    rows: &[GraphRows],
    value: &Value,
    verdicts: &mut Verdicts,
    facts: &Facts,
) -> Result<(), ResponseError> {
    for rows in rows {
        visit(value, &keys(rows), &mut |row| {
            if let Some(name) = path::id(row, &[&rows.name]) {
                verdicts.ask(READABLE, name, facts);
            }
        });
    }
    Ok(())
}

pub fn apply(
    rows: &[GraphRows],
    value: &mut Value,
    verdicts: &Verdicts,
    facts: &Facts,
) -> Result<(), ResponseError> {
    // Which of the two tiers a row is of cannot be told from it.
    let tier_denied = facts.is_denied(ResourceType::RegisteredModelVersion)
        || facts.is_denied(ResourceType::PromptVersion);
    for rows in rows {
        retain(value, &keys(rows), &mut |row| {
            let name = path::id(row, &[&rows.name]);
            !tier_denied && name.is_some_and(|name| verdicts.passes(READABLE, &name, facts))
        });
    }
    Ok(())
}

fn keys(rows: &GraphRows) -> Vec<&str> {
    std::iter::once("data").chain(rows.at.iter().map(String::as_str)).collect()
}

/// Steps into arrays wherever they are. A denied field is `null`, and then nothing is below it.
fn visit<'v>(value: &'v Value, keys: &[&str], row: &mut dyn FnMut(&'v Object)) {
    match (value, keys.split_first()) {
        (Value::Array(items), _) => items.iter().for_each(|item| visit(item, keys, row)),
        (Value::Object(object), None) => row(object),
        (Value::Object(object), Some((key, rest))) => {
            if let Some(value) = object.get(key) {
                visit(value, rest, row);
            }
        }
        _ => {}
    }
}

fn retain(value: &mut Value, keys: &[&str], keep: &mut dyn FnMut(&Object) -> bool) {
    match (value, keys.split_first()) {
        (Value::Array(items), None) => {
            items.retain(|item| item.as_object().is_some_and(&mut *keep));
        }
        (Value::Array(items), Some(_)) => {
            items.iter_mut().for_each(|item| retain(item, keys, keep));
        }
        (Value::Object(object), Some((key, rest))) => {
            if let Some(value) = object.get_mut(key) {
                retain(value, rest, keep);
            }
        }
        // One object where a list should be: it is no row that could be dropped, so it is emptied.
        (Value::Object(object), None) => object.0.clear(),
        _ => {}
    }
}
