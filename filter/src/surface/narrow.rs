//! Cutting a request down to the ids that its principal may see.

use crate::operation::{Forward, Place, ScopedField, WhenEmpty};

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

/// `allowed[i]` are the ids that are left of `Operation::scopes[i]`; a missing entry allows none.
pub fn narrow(forward: Forward, allowed: &[Vec<String>]) -> Narrowed {
    let mut forward = forward;
    for field in std::mem::take(&mut forward.scoped) {
        let ids = allowed.get(field.scope).map(Vec::as_slice).unwrap_or_default();
        if ids.is_empty() {
            return match field.when_empty {
                WhenEmpty::Answer(body) => Narrowed::Answer(body),
                WhenEmpty::Deny => Narrowed::Deny,
            };
        }
        let replaced = match field.place {
            Place::Body => in_body(&mut forward, &field, ids),
            Place::Query => in_query(&mut forward, &field, ids),
        };
        if replaced.is_none() {
            return Narrowed::Deny;
        }
    }
    Narrowed::Forward(forward)
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
        let Narrowed::Forward(out) = narrow(forward(Place::Body), &[vec!["2".into()]]) else {
            panic!("must forward");
        };
        assert_eq!(
            out.body.as_deref(),
            Some(&br#"{"filter":"x","experimentIds":["2"],"max_results":1.0}"#[..])
        );
        let Narrowed::Forward(out) = narrow(forward(Place::Query), &[vec!["2".into()]]) else {
            panic!("must forward");
        };
        assert_eq!(out.path, "/x?experiment_ids=2&a=b");
        assert!(out.scoped.is_empty());
    }

    #[test]
    fn nothing_left_is_answered_as_mlflow_would() {
        assert_eq!(narrow(forward(Place::Body), &[vec![]]), Narrowed::Answer("{}"));
        assert_eq!(narrow(forward(Place::Body), &[]), Narrowed::Answer("{}"));
    }

    #[test]
    fn a_field_that_is_not_there_denies() {
        let mut missing = forward(Place::Body);
        missing.scoped[0].field = "other".into();
        assert_eq!(narrow(missing, &[vec!["1".into()]]), Narrowed::Deny);
    }
}
