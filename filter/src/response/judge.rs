//! What is asked of the policy server about rows, and what its answers mean for them.

use std::collections::{HashMap, HashSet};

use super::{Facts, ResponseError, path};
use crate::contract as pb;
use crate::operation::{RowId, RowTest};
use crate::requirement::{Action, ReferenceKind, ResourceType, Selection};
use crate::surface::id::skill_key;
use crate::surface::json::{Object, Value};
use crate::surface::path::encode;

/// A kind of question; all ids of one kind are asked about at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// On the object, with the workspace grant as fallback.
    Listed(ResourceType, Action),
    /// On the object alone.
    Point(ResourceType, Action),
    /// On the object of this type that the id names.
    Named(ResourceType, Action, ReferenceKind),
    Owned(ReferenceKind),
}

impl Kind {
    fn question(self, ids: Vec<String>) -> pb::Question {
        let (resource, action, reference, owned) = match self {
            Self::Listed(resource, action) | Self::Point(resource, action) => {
                (resource, action, ReferenceKind::Unspecified, false)
            }
            Self::Named(resource, action, kind) => (resource, action, kind, false),
            Self::Owned(kind) => (ResourceType::Unspecified, Action::Unspecified, kind, true),
        };
        pb::Question {
            r#type: resource.into(),
            ids,
            action: action.into(),
            reference: reference.into(),
            owned,
            point: matches!(self, Self::Point(..) | Self::Named(..)),
        }
    }
}

/// One thing that must hold for a row.
enum Atom {
    Known(bool),
    Ask(Kind, String),
}

/// Questions that are still to be asked, and answers that have come.
#[derive(Debug, Default)]
pub struct Verdicts {
    open: Vec<(Kind, Vec<String>)>,
    seen: HashMap<Kind, HashSet<String>>,
    allowed: HashMap<Kind, HashSet<String>>,
}

impl Verdicts {
    /// Notes what must be asked to judge the row.
    pub fn need(&mut self, tests: &[RowTest], row: &Object, facts: &Facts) {
        for test in tests {
            for atom in atoms(*test, row, facts) {
                if let Atom::Ask(kind, id) = atom {
                    self.ask(kind, id, facts);
                }
            }
        }
    }

    pub fn ask(&mut self, kind: Kind, id: String, facts: &Facts) {
        if facts.known(kind, &id).is_some()
            || !self.seen.entry(kind).or_default().insert(id.clone())
        {
            return;
        }
        match self.open.iter_mut().find(|(known, _)| *known == kind) {
            Some((_, ids)) => ids.push(id),
            None => self.open.push((kind, vec![id])),
        }
    }

    /// The questions to send now; empty when nothing is open.
    pub fn questions(&self) -> Vec<pb::Question> {
        self.open.iter().map(|(kind, ids)| kind.question(ids.clone())).collect()
    }

    /// Takes the answers, which must be one per question.
    pub fn answered(&mut self, answers: &[pb::Answer]) -> Result<(), ResponseError> {
        if answers.len() != self.open.len() {
            return Err(ResponseError::Answer);
        }
        for ((kind, _), answer) in std::mem::take(&mut self.open).into_iter().zip(answers) {
            self.allowed.entry(kind).or_default().extend(answer.allowed.iter().cloned());
        }
        Ok(())
    }

    /// Whether the row passes all tests. What was not asked or not answered fails.
    pub fn hold(&self, tests: &[RowTest], row: &Object, facts: &Facts) -> bool {
        tests.iter().all(|test| {
            atoms(*test, row, facts).iter().all(|atom| match atom {
                Atom::Known(holds) => *holds,
                Atom::Ask(kind, id) => self.passes(*kind, id, facts),
            })
        })
    }

    pub fn passes(&self, kind: Kind, id: &str, facts: &Facts) -> bool {
        facts
            .known(kind, id)
            .unwrap_or_else(|| self.allowed.get(&kind).is_some_and(|allowed| allowed.contains(id)))
    }
}

impl Facts {
    /// What the decision itself has told of an id.
    fn known(&self, kind: Kind, id: &str) -> Option<bool> {
        let Kind::Listed(resource, Action::Read) = kind else { return None };
        let (_, selection) = self.selections.iter().find(|(known, _)| *known == resource)?;
        let named = |ids: &[String]| ids.iter().any(|known| known == id);
        match selection {
            Selection::Only(ids) => Some(named(ids)),
            Selection::AllBut(ids) => Some(!named(ids)),
            Selection::Unknown => None,
        }
    }

    pub fn is_denied(&self, resource: ResourceType) -> bool {
        self.denied.contains(&resource)
    }
}

fn atoms(test: RowTest, row: &Object, facts: &Facts) -> Vec<Atom> {
    let about = |kind: Kind, id: RowId| match row_id(row, id) {
        Some(id) => Atom::Ask(kind, id),
        None => Atom::Known(false),
    };
    match test {
        RowTest::May { resource, action, id } => vec![about(Kind::Listed(resource, action), id)],
        RowTest::MayItself { resource, action, id } => {
            vec![about(Kind::Point(resource, action), id)]
        }
        RowTest::MayByReference { resource, action, kind, id } => {
            vec![about(Kind::Named(resource, action, kind), id)]
        }
        RowTest::MayReadModelOrPrompt { name, version } => {
            let (object, tier) = if is_prompt(row) {
                (ResourceType::Prompt, ResourceType::PromptVersion)
            } else {
                (ResourceType::RegisteredModel, ResourceType::RegisteredModelVersion)
            };
            vec![
                Atom::Known(!version || !facts.is_denied(tier)),
                about(Kind::Listed(object, Action::Read), name),
            ]
        }
        RowTest::NotDenied(resource) => vec![Atom::Known(!facts.is_denied(resource))],
        RowTest::Owned { kind, id } => vec![about(Kind::Owned(kind), id)],
        RowTest::ListedUnlessScoped(users) => {
            vec![Atom::Known(facts.scope_left || is_listed(row, users, &facts.username))]
        }
        RowTest::RunDirectory(field) => {
            let is_run = path::id(row, field).is_none_or(|name| is_run_id(&name));
            vec![Atom::Known(!is_run || !facts.is_denied(ResourceType::Run))]
        }
        RowTest::ExperimentDirectory(field) => match path::id(row, field) {
            Some(name) if name.bytes().all(|byte| byte.is_ascii_digit()) => {
                vec![Atom::Ask(Kind::Listed(ResourceType::Experiment, Action::Read), name)]
            }
            Some(_) => Vec::new(),
            None => vec![Atom::Known(false)],
        },
    }
}

pub fn row_id(row: &Object, id: RowId) -> Option<String> {
    match id {
        RowId::Field(field) => path::id(row, field),
        RowId::Either(first, second) => path::id(row, first).or_else(|| path::id(row, second)),
        RowId::Scorer { experiment_id, name } => {
            let experiment_id = path::id(row, experiment_id)?;
            let name = path::get(row, name)?.as_str()?;
            Some(scorer_key(&experiment_id, name))
        }
        RowId::Skill { organization, name } => {
            let organization = match path::get(row, organization) {
                Some(organization) => organization.as_str()?,
                None => "",
            };
            let name = path::get(row, name)?.as_str()?;
            Some(skill_key((!organization.is_empty()).then_some(organization), name))
        }
    }
}

/// A scorer's id in grants: MLflow's `urllib.parse.quote(name, safe="")` keeps `A-Za-z0-9_.-~`.
pub fn scorer_key(experiment_id: &str, name: &str) -> String {
    let mut key = format!("{experiment_id}/");
    encode(name, &mut key);
    key
}

/// Whether the object's own tags make it a prompt (semantics §3).
pub fn is_prompt(object: &Object) -> bool {
    let tags = object.get("tags").and_then(Value::as_array).unwrap_or_default();
    tags.iter().filter_map(Value::as_object).any(|tag| {
        tag.get("key").and_then(Value::as_str) == Some("mlflow.prompt.is_prompt")
            && tag
                .get("value")
                .and_then(Value::as_str)
                .is_some_and(|value| value.eq_ignore_ascii_case("true"))
    })
}

fn is_run_id(name: &str) -> bool {
    name.len() == 32 && name.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// MLflow stores assigned users trimmed and in lower case.
fn is_listed(row: &Object, users: &[&str], username: &str) -> bool {
    let username = username.trim().to_lowercase();
    let users = path::get(row, users).and_then(Value::as_array).unwrap_or_default();
    !username.is_empty() && users.iter().any(|user| user.as_str() == Some(username.as_str()))
}
