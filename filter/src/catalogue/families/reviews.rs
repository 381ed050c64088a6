//! Label schemas, review queues and issues.

use crate::refusal::Refusal;
use crate::requirement::{
    Action, Reference,
    ReferenceKind::JobId,
    ReferenceKind::{IssueId, LabelSchemaId, ReviewQueueId, ReviewQueueName},
    Requirement,
    ResourceType::{Experiment, ReviewQueue, Run},
    Scope,
};
use crate::surface::id::Form;
use crate::surface::inputs::{Field, Inputs};

use super::super::field::*;
use super::super::need::{Need, every, on_owner, owner_rung, rung, tier_of_owner};
use super::super::oracle::FILTER_STRING_ON_RUNS;
use super::super::route::{ADMIN, EffectSpec, Mount::*, delete, get, patch, post};
use super::super::{Route, rows};

const SCHEMA_ID: Field = Field::one("schema_id", Form::Token);
const ISSUE_ID: Field = Field::one("issue_id", Form::Token);
const COMPLETED_BY: Field = Field::optional("completed_by", Form::Name);
/// Any trace; the handler binds them to the queue's experiment.
const ITEMS: Field = Field::many("item_ids", Form::Trace);

fn queue(inputs: &Inputs) -> Result<Reference, Refusal> {
    Ok(Reference::new(ReviewQueueId, inputs.one(QUEUE_ID)?))
}

fn named_queue(inputs: &Inputs) -> Result<Reference, Refusal> {
    let mut reference = Reference::new(ReviewQueueName, inputs.one(NAME)?);
    reference.parent = Some(inputs.one(EXPERIMENT_ID)?);
    Ok(reference)
}

/// `action` on the review queue tier or the queue's experiment.
fn may(action: Action, queue: &Reference) -> Requirement {
    let experiment = owner_rung(Experiment, action, queue);
    Requirement::Ladder(vec![every(ReviewQueue, action), experiment])
}

/// A queue is seen by who manages it, who is assigned to it, and who made it.
fn sees(queue: &Reference) -> Vec<Requirement> {
    let mut needs = tier_of_owner(ReviewQueue, READ, READ, queue);
    needs.push(Requirement::AnyOf(vec![
        may(MANAGE, queue),
        Requirement::Assigned(queue.clone()),
        made(queue),
    ]));
    needs
}

fn made(queue: &Reference) -> Requirement {
    Requirement::AllOf(vec![may(UPDATE, queue), Requirement::Owned(queue.clone())])
}

const SEES: Need =
    Need::Rule("review_queue:read, and manage, assignment or authorship", &[QUEUE_ID], |inputs| {
        Ok(sees(&queue(inputs)?))
    });
const SEES_NAMED: Need = Need::Rule(
    "review_queue:read, and manage, assignment or authorship",
    &[EXPERIMENT_ID, NAME],
    |inputs| Ok(sees(&named_queue(inputs)?)),
);
const fn queue_tier(action: Action) -> Need {
    Need::Tier { tier: ReviewQueue, action, fallback: action, id: QUEUE_ID, kind: ReviewQueueId }
}

/// The item's reviewer is taken from the body where MLflow runs without its own auth (§17).
const REVIEWS: Need = Need::Rule(
    "review_queue:update, assignment, and no other's name",
    &[QUEUE_ID, COMPLETED_BY],
    |inputs| {
        let queue = queue(inputs)?;
        let mut needs = tier_of_owner(ReviewQueue, UPDATE, UPDATE, &queue);
        needs.push(Requirement::Assigned(queue));
        needs.extend(inputs.optional(COMPLETED_BY)?.map(Requirement::Myself));
        Ok(needs)
    },
);

/// Who may update queues sees all of an experiment's; others those they are assigned to.
fn updatable(inputs: &Inputs) -> Result<Vec<Scope>, Refusal> {
    let id = inputs.one(EXPERIMENT_ID)?;
    let rungs = vec![every(ReviewQueue, UPDATE), rung(Experiment, UPDATE, &id)];
    Ok(vec![Scope { resource: Experiment, ids: vec![id], every: false, rungs, vetoes: Vec::new() }])
}

/// A custom queue must not be called like a user, whom the gate cannot look up here; it takes
/// a manager to name one.
const UPDATES: Need = Need::Rule(
    "manage for a new name or owner; else manage, or update and authorship",
    &[QUEUE_ID],
    |inputs| {
        let queue = queue(inputs)?;
        let renames = inputs.member("name")?.is_some() || inputs.member("new_owner")?.is_some();
        let mut needs = tier_of_owner(ReviewQueue, READ, READ, &queue);
        needs.push(if renames {
            may(MANAGE, &queue)
        } else {
            Requirement::AnyOf(vec![may(MANAGE, &queue), made(&queue)])
        });
        Ok(needs)
    },
);

const fn schema(action: Action) -> Need {
    experiment_of(LabelSchemaId, SCHEMA_ID, action)
}

const fn issue(action: Action) -> Need {
    experiment_of(IssueId, ISSUE_ID, action)
}

/// From 3.18 on the client may choose the id of a new issue.
const NEW_ISSUE: Need = Need::Rule(
    "an issue_id that is given is new, or the caller's to change",
    &[Field::optional("issue_id", Form::Token)],
    |inputs| {
        Ok(match inputs.optional(Field::optional("issue_id", Form::Token))? {
            Some(id) => {
                let issue = Reference::new(IssueId, id);
                let own = on_owner(Experiment, UPDATE, &issue);
                vec![Requirement::AnyOf(vec![Requirement::Absent(issue), own])]
            }
            None => Vec::new(),
        })
    },
);

pub const ROUTES: &[Route] = &[
    post(Both, "/3.0/mlflow/label-schemas/create", &[experiment(MANAGE)]),
    get(Both, "/3.0/mlflow/label-schemas/get", &[schema(READ)]),
    get(Both, "/3.0/mlflow/label-schemas/get-by-name", &[experiment(READ)]),
    get(Both, "/3.0/mlflow/label-schemas/list", &[experiment(READ)]),
    patch(Both, "/3.0/mlflow/label-schemas/update", &[schema(MANAGE)]),
    delete(Both, "/3.0/mlflow/label-schemas/delete", &[schema(MANAGE)]),
    post(
        Both,
        "/3.0/mlflow/review-queues/create",
        &[experiment(MANAGE), Need::NotDenied(ReviewQueue)],
    )
    .then(&[EffectSpec::Owned(ReviewQueueId, &["review_queue", "queue_id"])])
    .note("MLflow asks for update and refuses the names of users, which the gate does not know"),
    post(
        Both,
        "/3.0/mlflow/review-queues/get-or-create-user",
        &[experiment(UPDATE), Need::NotDenied(ReviewQueue)],
    ),
    get(Both, "/3.0/mlflow/review-queues/get", &[SEES]),
    get(Both, "/3.0/mlflow/review-queues/get-by-name", &[SEES_NAMED]),
    get(Both, "/3.0/mlflow/review-queues/list", &[experiment(READ)])
        .judged_by(updatable)
        .response(rows::REVIEW_QUEUES),
    post(Both, "/3.0/mlflow/review-queues/update", &[UPDATES]),
    post(Both, "/3.0/mlflow/review-queues/delete", &[queue_tier(MANAGE)])
        .note("MLflow lets authors delete custom queues; the gate does not know the type"),
    post(Both, "/3.0/mlflow/review-queues/items/add", &[queue_tier(UPDATE), trace_in(ITEMS, READ)]),
    get(Both, "/3.0/mlflow/review-queues/items/list", &[SEES]),
    post(Both, "/3.0/mlflow/review-queues/items/remove", &[queue_tier(MANAGE)]).note("as delete"),
    post(Both, "/3.0/mlflow/review-queues/items/set-status", &[REVIEWS]),
    post(Both, "/3.0/mlflow/issues", &[experiment(UPDATE), READABLE_SOURCE_RUN, NEW_ISSUE])
        .response(rows::ISSUE)
        .note("MLflow does not authorize source_run_id"),
    post(Both, "/3.0/mlflow/issues/search", &[experiment(READ), FILTER_STRING_ON_RUNS])
        .response(rows::ISSUES),
    get(Both, "/3.0/mlflow/issues/{issue_id}", &[issue(READ)]).response(rows::ISSUE),
    patch(Both, "/3.0/mlflow/issues/{issue_id}", &[issue(UPDATE)]).response(rows::ISSUE),
    post(
        Ajax,
        "/3.0/mlflow/issues/invoke",
        &[
            experiment(UPDATE),
            Need::NotDenied(Run),
            READABLE_TRACES,
            secret_in(Field::optional("secret_id", Form::Token), USE),
            endpoint_named(Field::optional("endpoint_name", Form::Name), USE),
        ],
    )
    .then(&[EffectSpec::Owned(JobId, &["job_id"])])
    .note("MLflow does not authorize endpoint_name"),
    post(Ajax, "/3.0/mlflow/issues/schedule/state", ADMIN)
        .note("3.18; it schedules jobs that run as the server"),
];
