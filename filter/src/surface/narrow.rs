//! Cutting a request down to the ids that its principal may see.

use crate::operation::{Forward, Place, ScopedField, WhenEmpty};
use crate::requirement::Selection;

use super::json::{self, Value};
use super::path::split_target;
use super::query::Query;

/// What becomes of a request once its scopes are answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Narrowed {
    /// Forward this; `scoped` is done and empty.
    Forward(Forward),
    /// Nothing is left: 200 with this body, as MLflow answers.
    Answer(&'static str),
    /// Nothing is left, or it cannot be cut: 403.
    Deny,
}

/// The longest list of ids that is put into a filter in a query: well inside of the 64 KiB that
/// servers accept as a request head.
const MAX_IN_QUERY: usize = 500;
/// The same in a body; SQLite accepts 32766 variables.
const MAX_IN_BODY: usize = 5000;

/// `left[i]` is what is left of `Operation::scopes[i]`; a missing entry is nothing.
///
/// A selection that cannot be put into a filter leaves the request as it is: the rows of its
/// response are judged in any case.
pub fn narrow(forward: Forward, left: &[Selection]) -> Narrowed {
    let mut forward = forward;
    for field in std::mem::take(&mut forward.scoped) {
        let nothing = Selection::Only(Vec::new());
        let left = left.get(field.scope).unwrap_or(&nothing);
        if matches!(left, Selection::Only(ids) if ids.is_empty()) {
            return match field.when_empty {
                WhenEmpty::Answer(body) => Narrowed::Answer(body),
                WhenEmpty::Deny => Narrowed::Deny,
            };
        }
        let replaced = match (field.place, left) {
            (Place::Body, Selection::Only(ids)) => in_body(&mut forward, &field, ids),
            (Place::Query, Selection::Only(ids)) => in_query(&mut forward, &field, ids),
            (Place::Body | Place::Query, _) => None,
            (Place::FilterInBody, left) => condition(&field.field, left, MAX_IN_BODY)
                .map_or(Some(()), |c| filter_in_body(&mut forward, &c)),
            (Place::FilterInQuery, left) => condition(&field.field, left, MAX_IN_QUERY)
                .map_or(Some(()), |c| filter_in_query(&mut forward, &c)),
        };
        if replaced.is_none() {
            return Narrowed::Deny;
        }
    }
    Narrowed::Forward(forward)
}

/// The condition in MLflow's filter grammar; `None` where there is none to put.
///
/// Only ids that cannot end the literal they stand in are put into a filter.
fn condition(attribute: &str, left: &Selection, most: usize) -> Option<String> {
    let (operator, ids) = match left {
        Selection::Only(ids) => ("IN", ids),
        Selection::AllBut(ids) => ("NOT IN", ids),
        Selection::Unknown => return None,
    };
    let plain = |id: &String| !id.is_empty() && id.bytes().all(|b| b.is_ascii_alphanumeric());
    if ids.is_empty() || ids.len() > most || !ids.iter().all(plain) {
        return None;
    }
    Some(format!("{attribute} {operator} ('{}')", ids.join("', '")))
}

/// Ours comes first: nothing in the caller's text, a comment or a second statement for one, can
/// then undo it.
fn composed(condition: &str, caller: &str) -> String {
    if caller.trim().is_empty() {
        condition.to_owned()
    } else {
        format!("{condition} AND {caller}")
    }
}

fn filter_in_body(forward: &mut Forward, condition: &str) -> Option<()> {
    let mut body = json::read_object(forward.body.as_deref()?).ok()?;
    match body.get_mut("filter") {
        Some(Value::String(caller)) => *caller = composed(condition, caller),
        Some(value @ Value::Null) => *value = Value::String(condition.to_owned()),
        Some(_) => return None,
        None => body.0.push(("filter".into(), Value::String(condition.to_owned()))),
    }
    forward.body = Some(body.to_bytes());
    Some(())
}

fn filter_in_query(forward: &mut Forward, condition: &str) -> Option<()> {
    let (path, query) = split_target(forward.path.as_bytes());
    let path = std::str::from_utf8(path).ok()?.to_owned();
    let mut query = Query::read(query, &[]).ok()?;
    let filter = composed(condition, query.first("filter").unwrap_or_default());
    query.replace("filter", &[filter]);
    forward.path = format!("{path}?{}", query.canonical());
    Some(())
}

fn in_body(forward: &mut Forward, field: &ScopedField, ids: &[String]) -> Option<()> {
    let mut body = json::read_object(forward.body.as_deref()?).ok()?;
    let value = body.get_mut(&field.field)?;
    *value = Value::Array(ids.iter().cloned().map(Value::String).collect());
    forward.body = Some(body.to_bytes());
    Some(())
}

fn in_query(forward: &mut Forward, field: &ScopedField, ids: &[String]) -> Option<()> {
    let (path, query) = split_target(forward.path.as_bytes());
    let path = std::str::from_utf8(path).ok()?.to_owned();
    let mut query = Query::read(query, &[&field.field]).ok()?;
    query.first(&field.field)?;
    query.replace(&field.field, ids);
    forward.path = format!("{path}?{}", query.canonical());
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn forward(place: Place) -> Forward {
        Forward {
            path: "/x?experiment_ids=1&experiment_ids=2&a=b".into(),
            body: Some(br#"{"filter":"x","experimentIds":["1","2"],"max_results":1.0}"#.to_vec()),
            scoped: vec![ScopedField {
                scope: 0,
                field: if place == Place::Body { "experimentIds" } else { "experiment_ids" }.into(),
                place,
                when_empty: WhenEmpty::Answer("{}"),
            }],
        }
    }

    #[test]
    fn only_the_allowed_ids_are_forwarded_and_nothing_else_changes() {
        let Narrowed::Forward(out) =
            narrow(forward(Place::Body), &[Selection::Only(vec!["2".into()])])
        else {
            panic!("must forward");
        };
        assert_eq!(
            out.body.as_deref(),
            Some(&br#"{"filter":"x","experimentIds":["2"],"max_results":1.0}"#[..])
        );
        let Narrowed::Forward(out) =
            narrow(forward(Place::Query), &[Selection::Only(vec!["2".into()])])
        else {
            panic!("must forward");
        };
        assert_eq!(out.path, "/x?experiment_ids=2&a=b");
        assert!(out.scoped.is_empty());
    }

    #[test]
    fn nothing_left_is_answered_as_mlflow_would() {
        assert_eq!(
            narrow(forward(Place::Body), &[Selection::Only(vec![])]),
            Narrowed::Answer("{}")
        );
        assert_eq!(narrow(forward(Place::Body), &[]), Narrowed::Answer("{}"));
    }

    #[test]
    fn a_field_that_is_not_there_denies() {
        let mut missing = forward(Place::Body);
        missing.scoped[0].field = "other".into();
        assert_eq!(narrow(missing, &[Selection::Only(vec!["1".into()])]), Narrowed::Deny);
    }
}
