//! Scorers. Their grants are keyed by `<experiment id>/<quoted name>`, and never fall back to the
//! experiment's.

use crate::operation::{Effect, EffectId};
use crate::refusal::Refusal;
use crate::requirement::{
    Action,
    ReferenceKind::{JobId, OnlineScoringConfig, ScorerId},
    Requirement,
    ResourceType::{Assessment, Experiment, Run, Scorer, ScorerVersion, Trace},
};
use crate::response::scorer_key;
use crate::surface::id::Form;
use crate::surface::inputs::{Field, Inputs};
use crate::surface::json::{Value, read_value};

use super::super::field::*;
use super::super::need::{Need, every, not_denied, on, rung};
use super::super::route::{EffectSpec, Mount::*, delete, get, post, put};
use super::super::{Route, rows};
use super::gateway_references;

const SCORER_NAME: Field = Field::optional("scorer_name", Form::Name);
const SCORER_IDS: Field = Field::some("scorer_ids", Form::Token);

fn key(inputs: &Inputs) -> Result<String, Refusal> {
    Ok(scorer_key(&inputs.one(EXPERIMENT_ID)?, &inputs.one(NAME)?))
}

fn version(action: Action, key: &str) -> Requirement {
    Requirement::Ladder(vec![every(ScorerVersion, action), rung(Scorer, action, key)])
}

const FIELDS: &[Field] = &[EXPERIMENT_ID, NAME];

const READS: Need = Need::Rule("scorer:read, scorer_version not denied", FIELDS, |inputs| {
    let key = key(inputs)?;
    Ok(vec![on(Scorer, READ, &key), version(Action::NotDenied, &key)])
});

#[derive(PartialEq, Eq)]
enum Doomed {
    Whole,
    OneVersion,
}

/// MLflow deletes the whole scorer where it cannot read the version that is meant.
fn doomed(inputs: &Inputs) -> Result<Doomed, Refusal> {
    let digits = match inputs.member("version")? {
        None => return Ok(Doomed::Whole),
        Some(Value::Number(text) | Value::String(text)) => text.as_str(),
        Some(_) => "",
    };
    // An int32 of protobuf's, without its laxer spellings.
    let plain = !digits.starts_with('0') && digits.bytes().all(|b| b.is_ascii_digit());
    let fits = match digits.len() {
        1..=9 => true,
        10 => digits <= "2147483647",
        _ => false,
    };
    if plain && fits {
        Ok(Doomed::OneVersion)
    } else {
        Err(Refusal::invalid("version", "must be a version's number"))
    }
}

/// Deleting one version leaves the scorer.
const DELETES: Need = Need::Rule(
    "scorer_version:delete, and scorer:read for one version or scorer:delete for all",
    FIELDS,
    |inputs| {
        let key = key(inputs)?;
        let own = match doomed(inputs)? {
            Doomed::Whole => DELETE,
            Doomed::OneVersion => READ,
        };
        Ok(vec![on(Scorer, own, &key), version(DELETE, &key)])
    },
);

/// MLflow drops all grants even when one version goes; they are kept here until the scorer goes.
const FORGET: EffectSpec = EffectSpec::By(|inputs| {
    if doomed(inputs)? == Doomed::OneVersion {
        return Ok(Vec::new());
    }
    Ok(vec![Effect::Deleted { resource: Scorer, id: key(inputs)? }])
});

const NOT_DENIED: Need = Need::Rule("scorer and scorer_version not denied", FIELDS, |inputs| {
    Ok(vec![on(Scorer, Action::NotDenied, &key(inputs)?), not_denied(ScorerVersion)])
});

const OWN: EffectSpec = EffectSpec::By(|inputs| {
    let name = key(inputs)?;
    Ok(vec![Effect::Created { resource: Scorer, id: EffectId::Known(name.clone()), name }])
});

const NAMED: Need = Need::Rule(
    "the named scorer and its version not denied; without a name, no version denied",
    &[SCORER_NAME],
    |inputs| {
        Ok(match inputs.optional(SCORER_NAME)? {
            Some(name) => {
                let key = scorer_key(&inputs.one(EXPERIMENT_ID)?, &name);
                vec![on(Scorer, Action::NotDenied, &key), version(Action::NotDenied, &key)]
            }
            None => vec![not_denied(ScorerVersion)],
        })
    },
);

/// A scorer with a version is taken from the store; the others are in the request.
const EVALUATED: Need =
    Need::Rule("no named scorer denied, a version or null for each", &[EXPERIMENT_ID], |inputs| {
        let unpaired = || Refusal::invalid("scorer_versions", "must be one for each scorer");
        let Some(versions) = inputs.member("scorer_versions")? else { return Ok(Vec::new()) };
        let scorers = inputs.member("serialized_scorers")?.and_then(Value::as_array);
        let (Some(versions), Some(scorers)) = (versions.as_array(), scorers) else {
            return Err(unpaired());
        };
        if versions.len() != scorers.len() {
            return Err(unpaired());
        }
        let experiment = inputs.one(EXPERIMENT_ID)?;
        let stored = versions.iter().zip(scorers).filter(|(version, _)| **version != Value::Null);
        stored
            .map(|(_, scorer)| {
                let name = name_of(scorer).unwrap_or_default();
                Form::Name.check("serialized_scorers", &name)?;
                Ok(on(Scorer, Action::NotDenied, &scorer_key(&experiment, &name)))
            })
            .collect()
    });

fn name_of(serialized: &Value) -> Option<String> {
    let scorer = read_value(serialized.as_str()?.as_bytes()).ok()?;
    Some(scorer.as_object()?.get("name")?.as_str()?.to_owned())
}

/// By the scorer's name, which only the tracking database tells of its id.
const CONFIGURED_NOT_DENIED: Need =
    Need::OnOwner { resource: Scorer, action: Action::NotDenied, id: SCORER_IDS, kind: ScorerId };

const OPTIONAL_EXPERIMENT: Need = Need::On {
    resource: Experiment,
    action: READ,
    id: Field::optional("experiment_id", Form::Experiment),
};
const OPTIONAL_EXPERIMENTS: Need = Need::On {
    resource: Experiment,
    action: READ,
    id: Field::many("experiment_ids", Form::Experiment),
};

pub const ROUTES: &[Route] = &[
    post(
        Both,
        "/3.0/mlflow/scorers/register",
        &[
            experiment(UPDATE),
            NOT_DENIED,
            Need::Nameable(Scorer, NAME),
            gateway_references::IN_SCORERS,
        ],
    )
    .then(&[OWN]),
    get(Both, "/3.0/mlflow/scorers/list", &[OPTIONAL_EXPERIMENT, OPTIONAL_EXPERIMENTS])
        .telling(&[Experiment, Scorer])
        .response(rows::SCORERS),
    get(Both, "/3.0/mlflow/scorers/get", &[READS]),
    get(Both, "/3.0/mlflow/scorers/versions", &[READS]),
    delete(Both, "/3.0/mlflow/scorers/delete", &[DELETES]).then(&[FORGET]),
    put(Both, "/3.0/mlflow/scorers/online-config", &[experiment(UPDATE), NOT_DENIED]),
    get(
        Both,
        "/3.0/mlflow/scorers/online-configs",
        &[
            experiment_of(OnlineScoringConfig, SCORER_IDS, READ),
            CONFIGURED_NOT_DENIED,
            Need::NotDenied(ScorerVersion),
        ],
    ),
    post(
        Ajax,
        "/3.0/mlflow/scorer/invoke",
        &[
            experiment(UPDATE),
            Need::NotDenied(Trace),
            Need::NotDenied(Assessment),
            NAMED,
            READABLE_TRACES,
            gateway_references::IN_SCORERS,
        ],
    )
    .then(&[EffectSpec::Owned(JobId, &["jobs", "[]", "job_id"])])
    .note("the job runs without identity: what it refers to is authorized here"),
    post(
        Ajax,
        "/3.0/mlflow/genai/evaluate/invoke",
        &[
            experiment(UPDATE),
            Need::NotDenied(Run),
            Need::NotDenied(ScorerVersion),
            EVALUATED,
            READABLE_TRACES,
            gateway_references::IN_SCORERS,
        ],
    )
    .then(&[EffectSpec::Owned(JobId, &["job_id"])])
    .note("the job runs without identity: what it refers to is authorized here"),
];
