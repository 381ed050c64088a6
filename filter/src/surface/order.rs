//! The order in which the members of a body are forwarded: what was decided on comes first.
//!
//! MLflow parses a body into a protobuf message. At the first member that it cannot take, the
//! parser stops: what comes before is in the message, what comes after is not, and most handlers
//! go on with that. An id behind such a member would be authorized here and unknown there, and a
//! search without ids searches everything.

use super::inputs::is_spelt;
use super::json::{Object, Value};

/// What a member is to the decision.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Weight {
    /// It holds ids.
    Id,
    /// It says what is done to them.
    Other,
}

/// A member that was looked at on the way to a decision.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Looked {
    /// As in a field's name.
    pub path: &'static str,
    pub weight: Weight,
}

impl Looked {
    /// The name that the path has at this depth.
    fn name(self, depth: usize) -> Option<&'static str> {
        let name = self.path.split('.').nth(depth)?;
        Some(name.strip_suffix("[]").unwrap_or(name))
    }
}

/// How surely MLflow's parser takes what was read here: surest first. Ids were read where the message
/// has texts or lists of texts; the rest may be of any type.
fn rank(value: &Value, weight: Weight) -> u8 {
    match (value, weight) {
        (Value::String(_), Weight::Id) => 0,
        (Value::Array(items), Weight::Id) if items.iter().all(|i| i.as_str().is_some()) => 1,
        (Value::String(_), Weight::Other) => 2,
        (Value::Bool(_), _) => 3,
        (_, Weight::Id) => 4,
        _ => 5,
    }
}

/// Where a member goes: by its rank, and then by when it was looked at.
type Place = (u8, usize);
const LAST: Place = (u8::MAX, 0);

/// A name that was looked at, at the depth that is being arranged.
type Here = (&'static str, Weight);

fn place(key: &str, value: &Value, here: &[Option<Here>]) -> Place {
    let named = here.iter().enumerate().filter_map(|(index, one)| Some((index, (*one)?)));
    let meant = named.filter(|(_, (name, _))| is_spelt(name, key));
    meant.map(|(index, (_, weight))| (rank(value, weight), index)).min().unwrap_or(LAST)
}

/// Puts what was looked at before everything else, at every level that the paths lead through.
pub fn put_first(object: &mut Object, looked: &[Looked]) {
    arrange(object, looked, 0);
}

fn arrange(object: &mut Object, looked: &[Looked], depth: usize) {
    let members = &mut object.0;
    let here: Vec<Option<Here>> =
        looked.iter().map(|one| Some((one.name(depth)?, one.weight))).collect();
    let mut places: Vec<Place> =
        members.iter().map(|(key, value)| place(key, value, &here)).collect();
    for front in 0..members.len() {
        let least =
            |least: usize, at: usize| if places.get(at) < places.get(least) { at } else { least };
        let at = (front..members.len()).fold(front, least);
        if places.get(at) == Some(&LAST) {
            return;
        }
        members.swap(front, at);
        places.swap(front, at);
        if let Some((_, value)) = members.get_mut(front) {
            arrange_below(value, looked, depth.saturating_add(1));
        }
    }
}

/// Below one looked at, any name that a path has at this depth counts: too many do no harm.
fn arrange_below(value: &mut Value, looked: &[Looked], depth: usize) {
    if !looked.iter().any(|one| one.name(depth).is_some()) {
        return;
    }
    match value {
        Value::Object(inner) => arrange(inner, looked, depth),
        Value::Array(items) => {
            items.iter_mut().for_each(|item| arrange_below(item, looked, depth));
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::surface::json::read_object;

    fn ordered(body: &str, looked: &[Looked]) -> String {
        let mut object = read_object(body.as_bytes()).unwrap();
        put_first(&mut object, looked);
        String::from_utf8(object.to_bytes()).unwrap()
    }

    const fn id(path: &'static str) -> Looked {
        Looked { path, weight: Weight::Id }
    }

    const fn other(path: &'static str) -> Looked {
        Looked { path, weight: Weight::Other }
    }

    #[test]
    fn ids_come_before_what_was_not_looked_at() {
        let looked = [id("experiment_ids"), other("filter")];
        let wanted = r#"{"experimentIds":["1"],"filter":"x","[x]":1,"max_results":1e99}"#;
        for body in [
            wanted,
            r#"{"[x]":1,"max_results":1e99,"filter":"x","experimentIds":["1"]}"#,
            r#"{"[x]":1,"experimentIds":["1"],"max_results":1e99,"filter":"x"}"#,
        ] {
            let sent = ordered(body, &looked);
            assert!(sent.starts_with(r#"{"experimentIds":["1"],"filter":"x","#), "{sent}");
            assert_eq!(sent.len(), wanted.len(), "{sent}");
            assert_eq!(ordered(&sent, &looked), sent);
        }
    }

    #[test]
    fn what_the_parser_surely_takes_comes_before_what_it_may_refuse() {
        let looked = [
            other("order_by"),
            id("models[].model_id"),
            id("ids"),
            other("usage"),
            id("ids2"),
            other("view"),
        ];
        assert_eq!(
            ordered(
                r#"{"order_by":[5],"models":[{"a":5}],"ids":["1"],"usage":true,"view":"x","ids2":["2"]}"#,
                &looked
            ),
            r#"{"ids":["1"],"ids2":["2"],"view":"x","usage":true,"models":[{"a":5}],"order_by":[5]}"#
        );
    }

    #[test]
    fn nested_ids_come_first_at_every_level() {
        let looked = [id("a.b.c_d"), id("a.e"), id("l[].m.n")];
        assert_eq!(
            ordered(
                r#"{"z":1,"l":[{"y":1,"m":{"x":2,"n":"3"}},5],"a":{"w":0,"b":{"v":1,"cD":"4"},"e":"5"}}"#,
                &looked
            ),
            r#"{"a":{"e":"5","b":{"cD":"4","v":1},"w":0},"l":[{"m":{"n":"3","x":2},"y":1},5],"z":1}"#
        );
    }

    #[test]
    fn nothing_is_lost_or_doubled() {
        let looked = [id("a.b"), id("a"), other("a.c"), id("a.b")];
        assert_eq!(
            ordered(r#"{"x":1,"a":{"y":1,"c":2,"b":null}}"#, &looked),
            r#"{"a":{"b":null,"c":2,"y":1},"x":1}"#
        );
    }
}
