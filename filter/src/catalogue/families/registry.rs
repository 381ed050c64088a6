//! Registered models, prompts, and their versions. Both share routes; which one a name is, the
//! policy server knows by the persisted tag.

use crate::operation::{Effect, EffectId};
use crate::refusal::Refusal;
use crate::requirement::{
    Action, Requirement,
    ResourceType::{
        self, ModelOrPrompt, ModelOrPromptVersion, Prompt, PromptVersion, RegisteredModel,
        RegisteredModelVersion,
    },
    Standing,
};
use crate::surface::id::Form;
use crate::surface::inputs::{Field, Inputs, member};
use crate::surface::json::Value;

use super::super::field::*;
use super::super::need::{Need, every, nameable, not_denied, on, renamable, rung};
use super::super::oracle::FILTER_ON_RUNS;
use super::super::route::{ANYONE, EffectSpec, Mount::*, Rule, delete, get, patch, post};
use super::super::{Route, rows};
use super::runs::SAFE_PATH;
use super::version_source;

/// The tag that makes a registered model a prompt.
const IS_PROMPT: &str = "mlflow.prompt.is_prompt";
const NEW: Field = Field::one("name", Form::NewName);
const NEW_NAME: Field = Field::optional("new_name", Form::NewName);

/// `action` on the version tier or, without a grant there, on the model or prompt.
fn version(action: Action, name: &str) -> Requirement {
    let own = rung(ModelOrPrompt, action, name);
    Requirement::Ladder(vec![every(ModelOrPromptVersion, action), own])
}

const fn versions(text: &'static str, rule: Rule<Vec<Requirement>>) -> Need {
    Need::Rule(text, &[NAME], rule)
}

const READS_VERSIONS: Need = versions("version tier not denied", |inputs| {
    Ok(vec![version(Action::NotDenied, &inputs.one(NAME)?)])
});
const VERSION_READ: Need =
    versions("version tier:read", |inputs| Ok(vec![version(READ, &inputs.one(NAME)?)]));
const VERSION_UPDATE: Need =
    versions("version tier:update", |inputs| Ok(vec![version(UPDATE, &inputs.one(NAME)?)]));
const VERSION_DELETE: Need =
    versions("version tier:delete", |inputs| Ok(vec![version(DELETE, &inputs.one(NAME)?)]));

/// The `is_prompt` tag in a body, or `None`. MLflow takes the last of two.
fn prompt_tag(inputs: &Inputs) -> Result<Option<bool>, Refusal> {
    let Some(tags) = inputs.member("tags")? else { return Ok(None) };
    let malformed = || Refusal::invalid("tags", "must be a list of keys and values");
    let mut found = None;
    for tag in tags.as_array().ok_or_else(malformed)? {
        let tag = tag.as_object().ok_or_else(malformed)?;
        // MLflow's parser would stop here, and not see the tags that follow.
        if !tag.0.iter().all(is_key_or_value) {
            return Err(malformed());
        }
        let Some(Value::String(key)) = member(tag, "key")? else { continue };
        if key != IS_PROMPT {
            continue;
        }
        let value = match member(tag, "value")? {
            Some(Value::String(value)) => value.eq_ignore_ascii_case("true"),
            None => false,
            Some(_) => return Err(malformed()),
        };
        if found.replace(value).is_some_and(|other| other != value) {
            return Err(Refusal::ambiguous("tags", "say both that it is a prompt and that not"));
        }
    }
    Ok(found)
}

fn is_key_or_value((name, value): &(String, Value)) -> bool {
    matches!(name.as_str(), "key" | "value") && matches!(value, Value::String(_) | Value::Null)
}

fn family(inputs: &Inputs) -> Result<ResourceType, Refusal> {
    Ok(if prompt_tag(inputs)? == Some(true) { Prompt } else { RegisteredModel })
}

/// PD-12: nothing may be called `*`, or its creator's grant would be one on everything.
const CREATES: Need = Need::Rule("the name not denied in its family", &[NEW], |inputs| {
    let (family, name) = (family(inputs)?, inputs.one(NEW)?);
    Ok(vec![on(family, Action::NotDenied, &name), nameable(family, name)])
});
const OWN: EffectSpec = EffectSpec::By(|inputs| {
    let name = inputs.one(NEW)?;
    let id = EffectId::Known(name.clone());
    Ok(vec![Effect::Created { resource: family(inputs)?, id, name }])
});

/// Grants of both families go: a name that is used again must not inherit any.
const FORGET: EffectSpec = EffectSpec::By(|inputs| {
    let id = inputs.one(NAME)?;
    let deleted = |resource| Effect::Deleted { resource, id: id.clone() };
    Ok(vec![deleted(RegisteredModel), deleted(Prompt)])
});
const MOVE: EffectSpec = EffectSpec::By(|inputs| {
    let Some(to) = inputs.optional(NEW_NAME)? else { return Ok(Vec::new()) };
    let from = inputs.one(NAME)?;
    let renamed = |resource| Effect::Renamed { resource, from: from.clone(), to: to.clone() };
    Ok(vec![renamed(RegisteredModel), renamed(Prompt)])
});
/// A DENY on the new name must not be shaken off by moving there.
const RENAMES: Need = Need::Rule("the new name not denied", &[NEW_NAME], |inputs| {
    let current = inputs.one(NAME)?;
    Ok(inputs
        .optional(NEW_NAME)?
        .into_iter()
        .flat_map(|name| {
            let free = |family| on(family, Action::NotDenied, &name);
            [free(RegisteredModel), free(Prompt), renamable(ModelOrPrompt, &name, &current)]
        })
        .collect())
});

/// Setting this tag moves an object from one family of grants to the other.
const NOT_THE_FAMILY_TAG: Need =
    Need::Rule("a super admin for the tag that makes a prompt", &[], |inputs| {
        Ok(match inputs.text("key")? {
            Some(key) if key.trim() == IS_PROMPT => {
                vec![Requirement::Standing(Standing::SuperAdmin)]
            }
            _ => Vec::new(),
        })
    });

/// A version whose tag contradicts its parent is governed by the other tier too.
const VERSION_FAMILY: Need = Need::Rule("both version tiers not denied if tagged", &[], |inputs| {
    Ok(match prompt_tag(inputs)? {
        Some(_) => vec![not_denied(RegisteredModelVersion), not_denied(PromptVersion)],
        None => Vec::new(),
    })
});

/// MLflow asks for a grant on the registered model even where the name is a prompt's.
const READS_AS_MODEL: Need = Need::On { resource: RegisteredModel, action: READ, id: NAME };

const MODELS_AND_PROMPTS: &[ResourceType] = &[ResourceType::RegisteredModel, ResourceType::Prompt];

pub const ROUTES: &[Route] = &[
    post(
        Both,
        "/2.0/mlflow/registered-models/create",
        &[Need::Standing(Standing::WorkspaceCreate), CREATES],
    )
    .then(&[OWN]),
    get(Both, "/2.0/mlflow/registered-models/get", &[model(READ)]).response(rows::REGISTERED_MODEL),
    get(Both, "/2.0/mlflow/registered-models/search", ANYONE)
        .telling(MODELS_AND_PROMPTS)
        .response(rows::REGISTERED_MODELS),
    post(Both, "/2.0/mlflow/registered-models/rename", &[model(UPDATE), RENAMES])
        .then(&[MOVE])
        .response(rows::REGISTERED_MODEL),
    patch(Both, "/2.0/mlflow/registered-models/update", &[model(UPDATE)])
        .response(rows::REGISTERED_MODEL),
    delete(Both, "/2.0/mlflow/registered-models/delete", &[model(DELETE), VERSION_DELETE])
        .then(&[FORGET])
        .note("PD-03: ids are read from the body only"),
    post(Both, "/2.0/mlflow/registered-models/set-tag", &[model(UPDATE), NOT_THE_FAMILY_TAG]),
    delete(Both, "/2.0/mlflow/registered-models/delete-tag", &[model(UPDATE), NOT_THE_FAMILY_TAG]),
    get(Both, "/2.0/mlflow/registered-models/get-latest-versions", &[model(READ), READS_VERSIONS])
        .response(rows::LATEST_VERSIONS),
    post(Both, "/2.0/mlflow/registered-models/get-latest-versions", &[model(READ), READS_VERSIONS])
        .response(rows::LATEST_VERSIONS),
    post(Both, "/2.0/mlflow/registered-models/alias", &[model(UPDATE), VERSION_READ]),
    delete(Both, "/2.0/mlflow/registered-models/alias", &[model(DELETE), VERSION_READ]),
    get(Both, "/2.0/mlflow/registered-models/alias", &[model(READ), READS_VERSIONS])
        .response(rows::MODEL_VERSION),
    post(
        Both,
        "/2.0/mlflow/model-versions/create",
        &[model(UPDATE), READS_VERSIONS, VERSION_FAMILY, version_source::READABLE],
    )
    .response(rows::MODEL_VERSION),
    get(Both, "/2.0/mlflow/model-versions/get", &[model(READ), READS_VERSIONS])
        .response(rows::MODEL_VERSION),
    get(Both, "/2.0/mlflow/model-versions/get-download-uri", &[model(READ), READS_VERSIONS]),
    get(
        Both,
        "/2.0/mlflow/model-versions/search",
        &[Need::Standing(Standing::Authenticated), FILTER_ON_RUNS],
    )
    .telling(MODELS_AND_PROMPTS)
    .response(rows::MODEL_VERSIONS),
    patch(Both, "/2.0/mlflow/model-versions/update", &[model(READ), VERSION_UPDATE])
        .response(rows::MODEL_VERSION),
    post(Both, "/2.0/mlflow/model-versions/transition-stage", &[model(READ), VERSION_UPDATE])
        .response(rows::MODEL_VERSION),
    post(
        Both,
        "/2.0/mlflow/model-versions/set-tag",
        &[model(READ), VERSION_UPDATE, NOT_THE_FAMILY_TAG],
    ),
    delete(Both, "/2.0/mlflow/model-versions/delete", &[model(READ), VERSION_DELETE]),
    delete(
        Both,
        "/2.0/mlflow/model-versions/delete-tag",
        &[model(READ), VERSION_DELETE, NOT_THE_FAMILY_TAG],
    ),
    get(
        Root,
        "/model-versions/get-artifact",
        &[READS_AS_MODEL, model(READ), READS_VERSIONS, SAFE_PATH],
    )
    .note("CVE-2026-2614: what a version's source may be is decided when it is created"),
];
