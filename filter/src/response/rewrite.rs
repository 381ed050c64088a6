//! One response's way: read, ask, cut, perhaps fetch more, done.

use super::judge::{Kind, Verdicts, is_prompt, row_id};
use super::listing::{Listing, Page};
use super::{Facts, ResponseError, graph, path};
use crate::contract as pb;
use crate::operation::{
    Forward, GraphRows, Operation, Otherwise, Paging, Redaction, ResponseWork, Rewrite, RowId,
    Rows, When,
};
use crate::requirement::{Action, ResourceType, Selection};
use crate::surface::json::{self, Object, Value};

/// What to do next.
#[derive(Debug, Clone, PartialEq)]
pub enum Next {
    /// Ask the policy server, then [`Rewriting::answered`].
    Ask(Vec<pb::Question>),
    /// Send this to MLflow, then [`Rewriting::body`], or [`Rewriting::cut_short`] if that fails.
    Fetch(Forward),
    /// Give the client this body.
    Done(Vec<u8>),
}

/// The actions that an object's `allowed_actions` may name, in MLflow's order.
const STAMPED: [(Action, &str); 4] = [
    (Action::Use, "USE"),
    (Action::Update, "UPDATE"),
    (Action::Delete, "DELETE"),
    (Action::Manage, "MANAGE"),
];

/// The work on one response.
#[derive(Debug)]
pub struct Rewriting {
    work: Work,
    facts: Facts,
    verdicts: Verdicts,
    listing: Option<Listing>,
    /// The page that is being judged.
    page: Option<Value>,
}

#[derive(Debug)]
enum Work {
    Redact(&'static [Redaction]),
    Rewrite(&'static Rewrite),
    Graph(Vec<GraphRows>),
}

impl Rewriting {
    /// `None`: the response may stream to the client unread. To be called before
    /// [`narrow`](crate::surface::narrow::narrow) consumes what it needs of the operation.
    pub fn plan(operation: &Operation, answer: &pb::AuthorizeResponse) -> Option<Self> {
        let principal = answer.principal.as_ref()?;
        if principal.super_admin {
            return None;
        }
        let facts = Facts::of(operation, &principal.username, answer);
        let work = match operation.response {
            ResponseWork::None => return None,
            ResponseWork::Redact(redactions) => {
                if !redactions.iter().any(|redaction| facts.may_apply(redaction.when)) {
                    return None;
                }
                Work::Redact(redactions)
            }
            ResponseWork::Rewrite(rewrite) => Work::Rewrite(rewrite),
            ResponseWork::Graph if operation.graph.is_empty() => return None,
            ResponseWork::Graph => Work::Graph(operation.graph.clone()),
        };
        Some(Self { work, facts, verdicts: Verdicts::default(), listing: None, page: None })
    }

    /// Whether [`Next::Fetch`] may come.
    pub fn refills(&self) -> bool {
        matches!(self.work, Work::Rewrite(Rewrite { paging: Paging::Refill { .. }, .. }))
    }

    /// Takes the first response, or after [`Next::Fetch`] that of a further page. `request` is
    /// what was sent for the first one.
    pub fn body(&mut self, request: &Forward, body: &[u8]) -> Result<Next, ResponseError> {
        let value = json::read_object(body).map_err(|_| ResponseError::Malformed)?;
        let value = Value::Object(value);
        match &self.work {
            Work::Redact(_) => {}
            Work::Rewrite(rewrite) => {
                if self.listing.is_none() {
                    self.listing = Some(Listing::new(rewrite, request));
                }
                for rows in rewrite.rows {
                    need(rows, &value, &mut self.verdicts, &self.facts)?;
                }
            }
            Work::Graph(rows) => graph::need(rows, &value, &mut self.verdicts, &self.facts)?,
        }
        self.page = Some(value);
        let questions = self.verdicts.questions();
        if questions.is_empty() { self.judged() } else { Ok(Next::Ask(questions)) }
    }

    /// Takes the policy server's answers to [`Next::Ask`].
    pub fn answered(&mut self, answers: &[pb::Answer]) -> Result<Next, ResponseError> {
        self.verdicts.answered(answers)?;
        self.judged()
    }

    /// No further page can be had: the client gets a short one, with a token to go on from.
    pub fn cut_short(&mut self) -> Result<Next, ResponseError> {
        let listing = self.listing.take().ok_or(ResponseError::Malformed)?;
        let value = listing.finish()?;
        self.finish(value)
    }

    fn judged(&mut self) -> Result<Next, ResponseError> {
        let value = self.page.take().ok_or(ResponseError::Malformed)?;
        let Work::Rewrite(rewrite) = self.work else { return self.finish(value) };
        let listing = self.listing.take().ok_or(ResponseError::Malformed)?;
        let keep = |row: &Object| {
            rewrite.rows.first().is_none_or(|rows| self.verdicts.hold(rows.keep, row, &self.facts))
        };
        match listing.add(value, keep)? {
            Page::Full(value) => self.finish(value),
            Page::Short(listing, request) => {
                self.listing = Some(*listing);
                Ok(Next::Fetch(request))
            }
        }
    }

    /// Drops, clears, stamps and redacts, in this order.
    fn finish(&mut self, mut value: Value) -> Result<Next, ResponseError> {
        let redactions: &[Redaction] = match &self.work {
            Work::Redact(redactions) => redactions,
            Work::Rewrite(rewrite) => {
                for rows in rewrite.rows {
                    apply(rows, &mut value, &self.verdicts, &self.facts)?;
                }
                rewrite.redactions
            }
            Work::Graph(rows) => {
                graph::apply(rows, &mut value, &self.verdicts, &self.facts)?;
                &[]
            }
        };
        for redaction in redactions {
            redact(redaction, &mut value, &self.facts)?;
        }
        match value {
            Value::Object(object) => Ok(Next::Done(object.to_bytes())),
            _ => Err(ResponseError::Malformed),
        }
    }
}

impl Facts {
    fn of(operation: &Operation, username: &str, answer: &pb::AuthorizeResponse) -> Self {
        let mut facts = Self {
            username: username.to_owned(),
            denied: answer.denied_tiers().collect(),
            selections: Vec::new(),
            scope_left: answer.scopes.first().is_some_and(|scope| !scope.allowed.is_empty()),
        };
        for (scope, result) in operation.scopes.iter().zip(&answer.scopes) {
            // Only then it is an answer to the same question as Visible's.
            if scope.every && scope.rungs.is_empty() && scope.vetoes.is_empty() {
                facts.selections.push((scope.resource, Selection::from(result)));
            }
        }
        facts
    }

    fn may_apply(&self, when: When) -> bool {
        match when {
            When::Always => true,
            When::Denied(ResourceType::ModelOrPromptVersion) => {
                self.is_denied(ResourceType::RegisteredModelVersion)
                    || self.is_denied(ResourceType::PromptVersion)
            }
            When::Denied(resource) => self.is_denied(resource),
        }
    }

    fn applies(&self, when: When, holder: &Object) -> bool {
        match when {
            When::Always => true,
            When::Denied(ResourceType::ModelOrPromptVersion) if is_prompt(holder) => {
                self.is_denied(ResourceType::PromptVersion)
            }
            When::Denied(ResourceType::ModelOrPromptVersion) => {
                self.is_denied(ResourceType::RegisteredModelVersion)
            }
            When::Denied(resource) => self.is_denied(resource),
        }
    }
}

fn need(
    rows: &Rows,
    value: &Value,
    verdicts: &mut Verdicts,
    facts: &Facts,
) -> Result<(), ResponseError> {
    path::each(value, rows.at, &mut |row| {
        verdicts.need(rows.keep, row, facts);
        if let Otherwise::Stamp { resource, id } = rows.otherwise
            && let Some(id) = row_id(row, id)
        {
            for (action, _) in STAMPED {
                verdicts.ask(Kind::Point(resource, action), id.clone(), facts);
            }
        }
    })
}

fn apply(
    rows: &Rows,
    value: &mut Value,
    verdicts: &Verdicts,
    facts: &Facts,
) -> Result<(), ResponseError> {
    match rows.otherwise {
        Otherwise::Drop => {
            path::retain(value, rows.at, &mut |row| verdicts.hold(rows.keep, row, facts))
        }
        Otherwise::Clear(fields) => {
            let fails = |row: &Object| !verdicts.hold(rows.keep, row, facts);
            let mut result = Ok(());
            path::each_mut(value, rows.at, &mut |row| {
                if fails(row) {
                    let cleared = clear(row, fields);
                    result = std::mem::replace(&mut result, Ok(())).and(cleared);
                }
            })?;
            result
        }
        Otherwise::Stamp { resource, id } => path::each_mut(value, rows.at, &mut |row| {
            stamp(row, resource, id, verdicts, facts);
        }),
    }
}

fn clear(row: &mut Object, fields: &[crate::operation::Path]) -> Result<(), ResponseError> {
    let mut value = Value::Object(std::mem::take(row));
    let result = fields.iter().try_for_each(|field| path::remove(&mut value, field, &|_| true));
    if let Value::Object(object) = value {
        *row = object;
    }
    result
}

fn stamp(row: &mut Object, resource: ResourceType, id: RowId, verdicts: &Verdicts, facts: &Facts) {
    let id = row_id(row, id);
    let allowed = STAMPED.iter().filter(|(action, _)| {
        id.as_ref().is_some_and(|id| verdicts.passes(Kind::Point(resource, *action), id, facts))
    });
    let actions = Value::Array(allowed.map(|(_, name)| Value::String((*name).into())).collect());
    match row.get_mut("allowed_actions") {
        Some(held) => *held = actions,
        None => row.0.push(("allowed_actions".into(), actions)),
    }
}

fn redact(redaction: &Redaction, value: &mut Value, facts: &Facts) -> Result<(), ResponseError> {
    if !facts.may_apply(redaction.when) {
        return Ok(());
    }
    path::remove(value, redaction.path, &|holder| facts.applies(redaction.when, holder))
}
