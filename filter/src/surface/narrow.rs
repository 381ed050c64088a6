//! Cutting a request down to the ids that its principal may see.

use std::borrow::Cow;

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
/// The same for ids that are names, of which each may be 130 bytes long and encoded.
const MAX_NAMES_IN_QUERY: usize = 200;
/// The same in a body; SQLite accepts 32766 variables.
const MAX_IN_BODY: usize = 5000;

/// `left[i]` is what is left of `Operation::scopes[i]`; a missing entry is nothing.
///
/// A selection that cannot be put into a filter, or may not be (`filters`: this MLflow's filters
/// take ids), leaves the request as it is: the rows of its response are judged in any case.
pub fn narrow(forward: Forward, left: &[Selection], filters: bool) -> Narrowed {
    let mut forward = forward;
    for field in std::mem::take(&mut forward.scoped) {
        let nothing = Selection::Only(Vec::new());
        let left = left.get(field.scope).unwrap_or(&nothing);
        let left = &*of_form(field.place, left);
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
            (Place::ListInQuery(_), Selection::Only(ids)) if ids.len() <= MAX_NAMES_IN_QUERY => {
                list_in_query(&mut forward, &field, ids)
            }
            // MLflow cannot be told what to leave out.
            (Place::ListInQuery(_), _) => Some(()),
            (Place::FilterInBody | Place::FilterInQuery, _) if !filters => Some(()),
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

/// The selection without ids that the place cannot hold.
fn of_form(place: Place, left: &Selection) -> Cow<'_, Selection> {
    match (place, left) {
        (Place::ListInQuery(form), Selection::Only(ids)) => {
            let ids = ids.iter().filter(|id| form.accepts(id)).cloned().collect();
            Cow::Owned(Selection::Only(ids))
        }
        _ => Cow::Borrowed(left),
    }
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
    // First: what MLflow's parser stops at must not come before it.
    let at = body.0.iter().position(|(key, _)| key == "filter")?;
    body.0.swap(0, at);
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

fn list_in_query(forward: &mut Forward, field: &ScopedField, ids: &[String]) -> Option<()> {
    let (path, query) = split_target(forward.path.as_bytes());
    let path = std::str::from_utf8(path).ok()?.to_owned();
    let mut query = Query::read(query, &[]).ok()?;
    query.replace(&field.field, ids);
    forward.path = format!("{path}?{}", query.canonical());
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::surface::id::Form;

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
            narrow(forward(Place::Body), &[Selection::Only(vec!["2".into()])], true)
        else {
            panic!("must forward");
        };
        assert_eq!(
            out.body.as_deref(),
            Some(&br#"{"filter":"x","experimentIds":["2"],"max_results":1.0}"#[..])
        );
        let Narrowed::Forward(out) =
            narrow(forward(Place::Query), &[Selection::Only(vec!["2".into()])], true)
        else {
            panic!("must forward");
        };
        assert_eq!(out.path, "/x?experiment_ids=2&a=b");
        assert!(out.scoped.is_empty());
    }

    #[test]
    fn nothing_left_is_answered_as_mlflow_would() {
        assert_eq!(
            narrow(forward(Place::Body), &[Selection::Only(vec![])], true),
            Narrowed::Answer("{}")
        );
        assert_eq!(narrow(forward(Place::Body), &[], true), Narrowed::Answer("{}"));
    }

    #[test]
    fn a_field_that_is_not_there_denies() {
        let mut missing = forward(Place::Body);
        missing.scoped[0].field = "other".into();
        assert_eq!(narrow(missing, &[Selection::Only(vec!["1".into()])], true), Narrowed::Deny);
    }

    fn search(place: Place, path: &str, body: Option<&str>) -> Forward {
        Forward {
            path: path.into(),
            body: body.map(|body| body.as_bytes().to_vec()),
            scoped: vec![ScopedField {
                scope: 0,
                field: "experiment_id".into(),
                place,
                when_empty: WhenEmpty::Answer("{}"),
            }],
        }
    }

    fn in_filter(body: &str, left: Selection) -> String {
        let forward = search(Place::FilterInBody, "/x", Some(body));
        match narrow(forward, &[left], true) {
            Narrowed::Forward(out) => String::from_utf8(out.body.unwrap()).unwrap(),
            other => panic!("{other:?}"),
        }
    }

    fn only(ids: &[&str]) -> Selection {
        Selection::Only(ids.iter().map(|id| (*id).to_owned()).collect())
    }

    #[test]
    fn the_condition_stands_before_the_callers_own_filter() {
        assert_eq!(
            in_filter(r#"{"filter":"name LIKE 'a%' -- x","max_results":5}"#, only(&["3", "5"])),
            r#"{"filter":"experiment_id IN ('3', '5') AND name LIKE 'a%' -- x","max_results":5}"#
        );
        let but = Selection::AllBut(vec!["7".into()]);
        assert_eq!(in_filter("{}", but.clone()), r#"{"filter":"experiment_id NOT IN ('7')"}"#);
        assert_eq!(
            in_filter(r#"{"filter":" "}"#, but),
            r#"{"filter":"experiment_id NOT IN ('7')"}"#
        );
    }

    #[test]
    fn the_condition_reaches_a_query_too() {
        let forward = search(Place::FilterInQuery, "/x?filter=a%3D1&max_results=5", None);
        let Narrowed::Forward(out) = narrow(forward, &[only(&["3"])], true) else {
            panic!("must forward");
        };
        assert_eq!(
            out.path,
            "/x?filter=experiment_id%20IN%20%28%273%27%29%20AND%20a%3D1&max_results=5"
        );
    }

    #[test]
    fn what_cannot_be_put_into_a_filter_leaves_the_request_as_it_is() {
        let many = (0..6000).map(|id| id.to_string()).collect();
        for left in [
            Selection::Unknown,
            Selection::AllBut(Vec::new()),
            Selection::Only(many),
            only(&["1') OR experiment_id IN ('2"]),
            only(&["*"]),
        ] {
            assert_eq!(in_filter(r#"{"filter":"a"}"#, left), r#"{"filter":"a"}"#);
        }
        let forward = search(Place::FilterInBody, "/x", Some("{}"));
        let Narrowed::Forward(out) = narrow(forward, &[only(&["1"])], false) else {
            panic!("must forward");
        };
        assert_eq!(out.body.as_deref(), Some(&b"{}"[..]));
    }

    #[test]
    fn readable_ids_become_a_list_where_there_was_none() {
        let listed = |left: Selection| {
            let mut forward = search(Place::ListInQuery(Form::SkillKey), "/x?max_results=5", None);
            forward.scoped[0].field = "only".into();
            narrow(forward, &[left], true)
        };
        let path = |narrowed| match narrowed {
            Narrowed::Forward(forward) => forward.path,
            other => panic!("{other:?}"),
        };
        assert_eq!(
            path(listed(only(&["a", "A b", "@acme/a"]))),
            "/x?max_results=5&only=a&only=%40acme%2Fa"
        );
        assert_eq!(listed(only(&["A b"])), Narrowed::Answer("{}"), "what names nothing");
        assert_eq!(path(listed(Selection::AllBut(vec!["a".into()]))), "/x?max_results=5");
        assert_eq!(path(listed(Selection::Unknown)), "/x?max_results=5");
        let many: Vec<_> = (0..201).map(|n| n.to_string()).collect();
        assert_eq!(path(listed(Selection::Only(many))), "/x?max_results=5");
    }

    #[test]
    fn who_may_read_nothing_is_answered_without_asking_mlflow() {
        for filters in [true, false] {
            let forward = search(Place::FilterInBody, "/x", Some("{}"));
            assert_eq!(narrow(forward, &[only(&[])], filters), Narrowed::Answer("{}"));
        }
    }
}
