//! Rewriting as the gate drives it, with a policy server that is a closure.

mod graph;
mod redactions;
mod refill;
mod rows;

use super::{Next, ResponseError, Rewriting};
use crate::contract as pb;
use crate::operation::{Forward, Operation, ResponseWork};
use crate::requirement::{ResourceType, Scope};

/// A principal `ann`, with DENY on `*` of these types.
fn decision(denied: &[ResourceType]) -> pb::AuthorizeResponse {
    pb::AuthorizeResponse {
        principal: Some(pb::Principal {
            username: "ann".into(),
            super_admin: false,
            scopes: Vec::new(),
        }),
        denied_tiers: denied.iter().map(|&tier| tier.into()).collect(),
        ..Default::default()
    }
}

fn operation(response: ResponseWork, forward: Forward) -> Operation {
    Operation {
        route: "/test",
        requirements: Vec::new(),
        scopes: Vec::new(),
        workspace: None,
        forward,
        response,
        graph: Vec::new(),
        effects: Vec::new(),
    }
}

fn every(resource: ResourceType) -> Scope {
    Scope { resource, ids: Vec::new(), every: true, rungs: Vec::new(), vetoes: Vec::new() }
}

fn get(path: &str) -> Forward {
    Forward { path: path.into(), ..Forward::default() }
}

/// Answers every question by `allow(question, id)`.
fn answer(
    questions: &[pb::Question],
    allow: &dyn Fn(&pb::Question, &str) -> bool,
) -> Vec<pb::Answer> {
    let allowed = |question: &pb::Question| {
        question.ids.iter().filter(|id| allow(question, id)).cloned().collect()
    };
    questions.iter().map(|question| pb::Answer { allowed: allowed(question) }).collect()
}

/// Rewrites one response without further pages.
fn rewrite(
    work: ResponseWork,
    denied: &[ResourceType],
    body: &str,
    allow: &dyn Fn(&pb::Question, &str) -> bool,
) -> Result<String, ResponseError> {
    let operation = operation(work, get("/x"));
    let Some(mut rewriting) = Rewriting::plan(&operation, &decision(denied)) else {
        return Ok(body.to_owned());
    };
    let mut next = rewriting.body(&operation.forward, body.as_bytes())?;
    loop {
        next = match next {
            Next::Ask(questions) => rewriting.answered(&answer(&questions, allow))?,
            Next::Fetch(_) => rewriting.cut_short()?,
            Next::Done(body) => return Ok(String::from_utf8(body).unwrap()),
        };
    }
}
