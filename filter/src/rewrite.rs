//! Carries out a [`ResponseWork`] on a JSON answer: which questions its rows raise, and what is
//! left of it once they are answered. Pure; whoever calls it asks the policy server.

use crate::contract as pb;
use crate::operation::{
    GraphRows, Otherwise, Path, Redaction, ResponseWork, RowId, RowTest, Rows, When,
};
use crate::requirement::{Action, ResourceType};
use crate::surface::json::{Object, Value};
use std::collections::{HashMap, HashSet};

/// The actions that `allowed_actions` may list, as MLflow orders them.
const STAMPED: &[(Action, &str)] = &[
    (Action::Read, "read"),
    (Action::Use, "use"),
    (Action::Update, "update"),
    (Action::Delete, "delete"),
    (Action::Manage, "manage"),
];

/// A tag that makes a registered model a prompt.
const PROMPT_TAG: &str = "mlflow.prompt.is_prompt";

/// What must be done to one answer, for one principal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Work {
    pub what: ResponseWork,
    pub graph: Vec<GraphRows>,
    /// Types that are DENY on `*`.
    pub denied_tiers: Vec<i32>,
    pub username: String,
    /// Scope 0 of the operation was answered with something left.
    pub scoped: bool,
}

/// What a question is about; ids with the same kind go into one question.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Kind {
    resource: i32,
    action: i32,
    reference: i32,
    owned: bool,
}

/// Questions to the policy server, without duplicates.
#[derive(Debug, Default)]
pub struct Questions {
    kinds: Vec<Kind>,
    ids: Vec<Vec<String>>,
    seen: HashSet<(Kind, String)>,
}

impl Questions {
    pub fn is_empty(&self) -> bool {
        self.kinds.is_empty()
    }

    fn add(&mut self, kind: Kind, id: String) {
        if !self.seen.insert((kind, id.clone())) {
            return;
        }
        match self.kinds.iter().position(|other| *other == kind) {
            Some(at) => {
                if let Some(ids) = self.ids.get_mut(at) {
                    ids.push(id);
                }
            }
            None => {
                self.kinds.push(kind);
                self.ids.push(vec![id]);
            }
        }
    }

    pub fn to_contract(&self) -> Vec<pb::Question> {
        let pairs = self.kinds.iter().zip(&self.ids);
        pairs
            .map(|(kind, ids)| pb::Question {
                r#type: kind.resource,
                ids: ids.clone(),
                action: kind.action,
                reference: kind.reference,
                owned: kind.owned,
            })
            .collect()
    }

    /// What the server says passes. An answer that is missing passes nothing.
    pub fn answered(&self, answers: &[pb::Answer]) -> Answers {
        let pairs = self.kinds.iter().zip(answers);
        Answers(
            pairs.map(|(kind, answer)| (*kind, answer.allowed.iter().cloned().collect())).collect(),
        )
    }
}

/// What passes.
#[derive(Debug, Default)]
pub struct Answers(HashMap<Kind, HashSet<String>>);

impl Answers {
    fn passes(&self, kind: Kind, id: &str) -> bool {
        self.0.get(&kind).is_some_and(|ids| ids.contains(id))
    }
}

impl Work {
    /// Whether there is anything to do.
    pub fn is_needed(&self) -> bool {
        match self.what {
            ResponseWork::None => false,
            ResponseWork::Redact(redactions) => redactions.iter().any(|r| self.may_apply(r)),
            ResponseWork::Rewrite(_) => true,
            ResponseWork::Graph => !self.graph.is_empty(),
        }
    }

    /// What must be known about the rows of this answer.
    pub fn questions(&self, body: &Object) -> Questions {
        let mut questions = Questions::default();
        match self.what {
            ResponseWork::Rewrite(rewrite) => {
                for rows in rewrite.rows {
                    visit(body, rows.at, &mut |row| self.ask(rows, row, &mut questions));
                }
            }
            ResponseWork::Graph => {
                for rows in &self.graph {
                    visit_graph(body, &rows.at, &mut |row| {
                        if let Some(name) = text(row.get(&rows.name)) {
                            questions.add(graph_kind(), name);
                        }
                    });
                }
            }
            ResponseWork::None | ResponseWork::Redact(_) => {}
        }
        questions
    }

    fn ask(&self, rows: &Rows, row: &Object, questions: &mut Questions) {
        for test in rows.keep {
            if let Some((kind, Some(id))) = question_of(test, row) {
                questions.add(kind, id);
            }
        }
        if let Otherwise::Stamp { resource, id } = rows.otherwise
            && let Some(id) = id_of(row, id)
        {
            for (action, _) in STAMPED {
                questions.add(may(resource, *action), id.clone());
            }
        }
    }

    /// What is left of the answer.
    pub fn apply(&self, mut body: Object, answers: &Answers) -> Object {
        match self.what {
            ResponseWork::Rewrite(rewrite) => {
                for rows in rewrite.rows {
                    self.rewrite(&mut body, rows, answers);
                }
                self.redact(&mut body, rewrite.redactions);
            }
            ResponseWork::Redact(redactions) => self.redact(&mut body, redactions),
            ResponseWork::Graph => {
                for rows in &self.graph {
                    let at: Vec<&str> = rows.at.iter().map(String::as_str).collect();
                    retain_graph(&mut body, &at, &|row| {
                        text(row.get(&rows.name))
                            .is_some_and(|name| answers.passes(graph_kind(), &name))
                    });
                }
            }
            ResponseWork::None => {}
        }
        body
    }

    fn rewrite(&self, body: &mut Object, rows: &Rows, answers: &Answers) {
        let keeps = |row: &Object| rows.keep.iter().all(|test| self.holds(test, row, answers));
        match rows.otherwise {
            Otherwise::Drop => retain(body, rows.at, &keeps),
            Otherwise::Clear(fields) => each(body, rows.at, &mut |row| {
                if !keeps(row) {
                    for field in fields {
                        clear(row, field);
                    }
                }
            }),
            Otherwise::Stamp { resource, id } => each(body, rows.at, &mut |row| {
                let actions = STAMPED.iter().filter(|(action, _)| {
                    id_of(row, id).is_some_and(|id| answers.passes(may(resource, *action), &id))
                });
                let actions = actions.map(|(_, name)| Value::String((*name).to_owned())).collect();
                row.0.retain(|(name, _)| name != "allowed_actions");
                row.0.push(("allowed_actions".to_owned(), Value::Array(actions)));
            }),
        }
    }

    fn holds(&self, test: &RowTest, row: &Object, answers: &Answers) -> bool {
        let asked = || match question_of(test, row) {
            Some((kind, Some(id))) => answers.passes(kind, &id),
            _ => false,
        };
        match test {
            RowTest::May { .. } | RowTest::MayByReference { .. } | RowTest::Owned { .. } => asked(),
            RowTest::MayReadModelOrPrompt { version, .. } => {
                let tier = version_tier(row);
                asked() && !(*version && self.is_denied(tier))
            }
            RowTest::NotDenied(resource) => !self.is_denied(*resource),
            RowTest::ListedUnlessScoped(path) => self.scoped || self.is_listed(row, path),
            RowTest::RunDirectory(path) => match field(row, path) {
                Some(Value::String(name)) => {
                    !(is_run_id(base_name(name)) && self.is_denied(ResourceType::Run))
                }
                _ => false,
            },
            RowTest::ExperimentDirectory(path) => match text(field(row, path)) {
                Some(name) if is_experiment_id(base_name(&name)) => asked(),
                Some(_) => true,
                None => false,
            },
        }
    }

    fn is_listed(&self, row: &Object, path: Path) -> bool {
        field(row, path)
            .and_then(Value::as_array)
            .is_some_and(|names| names.iter().any(|n| n.as_str() == Some(self.username.as_str())))
    }

    fn is_denied(&self, resource: ResourceType) -> bool {
        self.denied_tiers.contains(&i32::from(resource))
    }

    fn may_apply(&self, redaction: &Redaction) -> bool {
        match redaction.when {
            When::Always => true,
            When::Denied(ResourceType::ModelOrPromptVersion) => {
                self.is_denied(ResourceType::RegisteredModelVersion)
                    || self.is_denied(ResourceType::PromptVersion)
            }
            When::Denied(resource) => self.is_denied(resource),
        }
    }

    fn redact(&self, body: &mut Object, redactions: &[Redaction]) {
        for redaction in redactions.iter().filter(|redaction| self.may_apply(redaction)) {
            if redaction.when == When::Denied(ResourceType::ModelOrPromptVersion) {
                let Some((last, owner)) = redaction.path.split_last() else { continue };
                each(body, owner, &mut |object| {
                    if self.is_denied(version_tier(object)) {
                        clear(object, &[last]);
                    }
                });
            } else {
                clear(body, redaction.path);
            }
        }
    }
}

fn may(resource: ResourceType, action: Action) -> Kind {
    Kind { resource: resource.into(), action: action.into(), reference: 0, owned: false }
}

fn graph_kind() -> Kind {
    may(ResourceType::ModelOrPrompt, Action::Read)
}

/// What a test asks about a row: `None` where it asks nothing, an id of `None` where the row has
/// none that can be read.
fn question_of(test: &RowTest, row: &Object) -> Option<(Kind, Option<String>)> {
    Some(match test {
        RowTest::May { resource, action, id } => (may(*resource, *action), id_of(row, *id)),
        RowTest::MayByReference { resource, action, kind, id } => {
            (Kind { reference: (*kind).into(), ..may(*resource, *action) }, id_of(row, *id))
        }
        RowTest::MayReadModelOrPrompt { name, .. } => {
            (may(model_or_prompt(row), Action::Read), id_of(row, *name))
        }
        RowTest::Owned { kind, id } => {
            let kind = Kind { resource: 0, action: 0, reference: (*kind).into(), owned: true };
            (kind, id_of(row, *id))
        }
        RowTest::ExperimentDirectory(path) => {
            let name = text(field(row, path))?;
            let id = base_name(&name);
            let id = is_experiment_id(id).then(|| id.to_owned());
            (may(ResourceType::Experiment, Action::Read), id)
        }
        RowTest::NotDenied(_) | RowTest::ListedUnlessScoped(_) | RowTest::RunDirectory(_) => {
            return None;
        }
    })
}

/// By the row's own tags; a version of a prompt carries the tag too.
fn model_or_prompt(row: &Object) -> ResourceType {
    if is_prompt(row) { ResourceType::Prompt } else { ResourceType::RegisteredModel }
}

fn version_tier(row: &Object) -> ResourceType {
    if is_prompt(row) { ResourceType::PromptVersion } else { ResourceType::RegisteredModelVersion }
}

fn is_prompt(row: &Object) -> bool {
    let tags = row.get("tags").and_then(Value::as_array).unwrap_or_default();
    tags.iter().filter_map(Value::as_object).any(|tag| {
        let is = |key: &str, value: &str| {
            tag.get(key).and_then(Value::as_str).is_some_and(|v| v.eq_ignore_ascii_case(value))
        };
        tag.get("key").and_then(Value::as_str) == Some(PROMPT_TAG) && is("value", "true")
    })
}

// --- ids ------------------------------------------------------------------------------------

fn id_of(row: &Object, id: RowId) -> Option<String> {
    match id {
        RowId::Field(path) => text(field(row, path)),
        RowId::Either(first, second) => match field(row, first) {
            Some(value) => text(Some(value)),
            None => text(field(row, second)),
        },
        RowId::Scorer { experiment_id, name } => {
            let experiment = text(field(row, experiment_id))?;
            let name = text(field(row, name))?;
            Some(format!("{experiment}/{}", percent_encode(&name)))
        }
    }
}

/// As Python's `urllib.parse.quote(name, safe="")`, which MLflow makes scorer keys with.
fn percent_encode(name: &str) -> String {
    let mut out = String::with_capacity(name.len());
    for byte in name.bytes() {
        if byte.is_ascii_alphanumeric() || b"_.-~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

/// The id at a path of fields. MLflow writes int64 ids as numbers or strings.
pub fn id_at(object: &Object, path: &[&str]) -> Option<String> {
    text(field(object, path))
}

fn text(value: Option<&Value>) -> Option<String> {
    match value? {
        Value::String(id) | Value::Number(id) if !id.is_empty() => Some(id.clone()),
        _ => None,
    }
}

fn field<'a>(object: &'a Object, path: &[&str]) -> Option<&'a Value> {
    let (last, parents) = path.split_last()?;
    let mut object = object;
    for step in parents {
        object = object.get(step)?.as_object()?;
    }
    object.get(last)
}

fn base_name(path: &str) -> &str {
    path.trim_end_matches('/').rsplit('/').next().unwrap_or(path)
}

fn is_run_id(name: &str) -> bool {
    name.len() == 32 && name.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
}

fn is_experiment_id(name: &str) -> bool {
    !name.is_empty() && name.len() <= 19 && name.bytes().all(|byte| byte.is_ascii_digit())
}

// --- walking --------------------------------------------------------------------------------

/// Shows every object at a path.
fn visit(object: &Object, at: &[&str], see: &mut dyn FnMut(&Object)) {
    let Some((step, rest)) = at.split_first() else { return see(object) };
    let Some(value) = object.get(step) else { return };
    visit_value(value, rest, see);
}

fn visit_value(value: &Value, at: &[&str], see: &mut dyn FnMut(&Object)) {
    match (value, at) {
        (Value::Array(items), ["[]", rest @ ..]) => {
            items.iter().for_each(|item| visit_value(item, rest, see));
        }
        (Value::Object(object), at) => visit(object, at, see),
        _ => {}
    }
}

/// The same, to change them.
fn each(object: &mut Object, at: &[&str], change: &mut dyn FnMut(&mut Object)) {
    let Some((step, rest)) = at.split_first() else { return change(object) };
    if let Some(value) = object.get_mut(step) {
        each_value(value, rest, change);
    }
}

fn each_value(value: &mut Value, at: &[&str], change: &mut dyn FnMut(&mut Object)) {
    match (value, at) {
        (Value::Array(items), ["[]", rest @ ..]) => {
            items.iter_mut().for_each(|item| each_value(item, rest, change));
        }
        (Value::Object(object), at) => each(object, at, change),
        _ => {}
    }
}

/// Drops the rows of the array at a path that ends in `[]` unless they are to be kept. Whatever
/// is not a list of objects where one must be is shown to nobody.
fn retain(body: &mut Object, at: &[&str], keep: &dyn Fn(&Object) -> bool) {
    let Some((last, parents)) = at.split_last() else { return };
    let Some((array, owners)) = parents.split_last() else { return };
    debug_assert_eq!(*last, "[]", "rows are dropped from arrays");
    each(body, owners, &mut |owner| match owner.get_mut(array) {
        Some(Value::Array(rows)) => rows.retain(|row| row.as_object().is_some_and(keep)),
        Some(other) => *other = Value::Array(Vec::new()),
        None => {}
    });
}

/// Removes the field at a path.
fn clear(object: &mut Object, path: &[&str]) {
    match path {
        [] => {}
        [name] => object.0.retain(|(other, _)| other != name),
        [name, rest @ ..] => {
            if let Some(value) = object.get_mut(name) {
                clear_value(value, rest);
            }
        }
    }
}

fn clear_value(value: &mut Value, path: &[&str]) {
    match (value, path) {
        (Value::Array(items), ["[]"]) => items.clear(),
        (Value::Array(items), ["[]", rest @ ..]) => {
            items.iter_mut().for_each(|item| clear_value(item, rest));
        }
        (Value::Array(items), [key]) if key.starts_with('=') => {
            let key = key.trim_start_matches('=');
            items.retain(|item| {
                item.as_object().and_then(|pair| pair.get("key")?.as_str()) != Some(key)
            });
        }
        (Value::Object(object), path) => clear(object, path),
        _ => {}
    }
}

/// GraphQL: below `data`, arrays on the way are stepped into.
fn visit_graph(body: &Object, at: &[String], see: &mut dyn FnMut(&Object)) {
    fn step(value: &Value, at: &[String], see: &mut dyn FnMut(&Object)) {
        match (value, at.split_first()) {
            (Value::Array(items), _) => items.iter().for_each(|item| step(item, at, see)),
            (Value::Object(object), None) => see(object),
            (Value::Object(object), Some((key, rest))) => {
                if let Some(value) = object.get(key) {
                    step(value, rest, see);
                }
            }
            _ => {}
        }
    }
    if let Some(data) = body.get("data") {
        step(data, at, see);
    }
}

/// Drops rows from arrays, and sets a row that stands alone to null.
fn retain_graph(body: &mut Object, at: &[&str], keep: &dyn Fn(&Object) -> bool) {
    fn step(value: &mut Value, at: &[&str], keep: &dyn Fn(&Object) -> bool) {
        match (value, at.split_first()) {
            (Value::Array(items), None) => items.retain(|item| match item {
                Value::Object(row) => keep(row),
                Value::Null => true,
                _ => false,
            }),
            (Value::Array(items), Some(_)) => {
                items.iter_mut().for_each(|item| step(item, at, keep));
            }
            (Value::Object(object), Some((key, rest))) => {
                if let Some(value) = object.get_mut(key) {
                    step(value, rest, keep);
                }
            }
            (Value::Null, _) => {}
            (value, None) => {
                if !value.as_object().is_some_and(keep) {
                    *value = Value::Null;
                }
            }
            (value, Some(_)) => *value = Value::Null,
        }
    }
    if let Some(data) = body.get_mut("data") {
        step(data, at, keep);
    }
}

#[cfg(test)]
mod tests;
