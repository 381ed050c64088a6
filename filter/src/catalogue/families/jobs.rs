//! Jobs, the assistant, demo data, workspaces and webhooks: mostly things that run as the server.

use crate::operation::{Redaction, ResponseWork, When};
use crate::refusal::Refusal;
use crate::requirement::{
    Action,
    ReferenceKind::{EvaluationDatasetId, JobId},
    Requirement,
    ResourceType::{ModelOrPrompt, Prompt, PromptVersion, Run, Scorer, ScorerVersion, Workspace},
};
use crate::surface::id::Form;
use crate::surface::inputs::{Field, Inputs};
use crate::surface::path::encode;
use crate::surface::uri;

use super::super::field::*;
use super::super::need::{Need, not_denied, on};
use super::super::route::{ADMIN, ANYONE, EffectSpec, Mount::*, delete, get, patch, post, put};
use super::super::{Route, rows};
use super::gateway_references;

const JOB_ID: Field = Field::one("job_id", Form::Token);
const WORKSPACE_NAME: Field = Field::one("workspace_name", Form::Name);
/// The caller submitted it: recorded from the response of the route that did.
const OWN_JOB: &[Need] = &[Need::Owned { id: JOB_ID, kind: JobId }];

/// The prompts that `source_prompt_uri` could name: the worker reads a bare `a@b` in two ways.
fn source_prompts(prompt: &str) -> Result<Vec<String>, Refusal> {
    const FIELD: &str = "source_prompt_uri";
    uri::check_spelling(FIELD, prompt)?;
    if let Some(rest) = prompt.strip_prefix("prompts:/") {
        return Ok(vec![uri::versioned(FIELD, rest)?.to_owned()]);
    }
    let mut names = vec![prompt.to_owned()];
    names.extend(prompt.rsplit_once('@').map(|(name, _)| name.to_owned()));
    names.iter().try_for_each(|name| uri::check_name(FIELD, name))?;
    Ok(names)
}

fn optimize(inputs: &Inputs) -> Result<Vec<Requirement>, Refusal> {
    let mut needs = vec![not_denied(Run), not_denied(ScorerVersion), not_denied(PromptVersion)];
    if let Some(prompt) = inputs.text("source_prompt_uri")? {
        for name in source_prompts(&prompt)? {
            needs.push(on(ModelOrPrompt, READ, &name));
            // Where there is none of that name, the family would be that of models.
            needs.push(on(Prompt, Action::NotDenied, &name));
        }
    }
    let experiment = inputs.one(EXPERIMENT_ID)?;
    for name in inputs.all(Field::many("config.scorers", Form::Name))? {
        let mut key = format!("{experiment}/");
        encode(&name, &mut key);
        needs.push(on(Scorer, Action::NotDenied, &key));
    }
    needs.extend(gateway_references::in_members(inputs, &["config"])?);
    Ok(needs)
}

const OPTIMIZE: Need = Need::Rule(
    "run and version tiers not denied, the prompt readable, scorers not denied, endpoints usable",
    &[EXPERIMENT_ID],
    optimize,
);
const OPTIMIZED_DATASET: Need =
    experiment_of(EvaluationDatasetId, Field::optional("config.dataset_id", Form::Dataset), READ);

/// Experiments and, to what looks like a local client, directories of the server.
const WITHOUT_PROJECTS: ResponseWork =
    ResponseWork::Redact(&[Redaction { when: When::Always, path: &["projects"] }]);

const LOCAL: &str = "meant for a loopback client, and every client looks local behind the gate";
const SERVER: &str = "runs with the server's rights and without the caller's identity";

pub const ROUTES: &[Route] = &[
    post(Ajax, "/3.0/jobs/", ADMIN).note("PD-13"),
    post(Ajax, "/3.0/jobs/search", ANYONE)
        .response(rows::JOBS)
        .note("by the recorded creator: MLflow does not know it here"),
    get(Ajax, "/3.0/jobs/{job_id}", OWN_JOB),
    patch(Ajax, "/3.0/jobs/cancel/{job_id}", OWN_JOB),
    get(Ajax, "/3.0/mlflow/jobs/{job_id}", OWN_JOB),
    patch(Ajax, "/3.0/mlflow/jobs/cancel/{job_id}", OWN_JOB),
    post(
        Both,
        "/3.0/mlflow/prompt-optimization/jobs",
        &[experiment(UPDATE), OPTIMIZE, OPTIMIZED_DATASET],
    )
    .note("MLflow does not authorize config.dataset_id"),
    get(Both, "/3.0/mlflow/prompt-optimization/jobs/search", &[experiment(READ)]),
    post(Both, "/3.0/mlflow/prompt-optimization/jobs/search", &[experiment(READ)]),
    get(Both, "/3.0/mlflow/prompt-optimization/jobs/{job_id}", ADMIN)
        .note("as in MLflow, whose validator never matches"),
    delete(Both, "/3.0/mlflow/prompt-optimization/jobs/{job_id}", ADMIN)
        .note("as in MLflow, whose validator never matches"),
    post(Both, "/3.0/mlflow/prompt-optimization/jobs/{job_id}/cancel", ADMIN)
        .note("as in MLflow, whose validator never matches"),
    post(Ajax, "/3.0/mlflow/demo/generate", ADMIN).note(SERVER),
    post(Ajax, "/3.0/mlflow/demo/delete", ADMIN),
    get(Ajax, "/3.0/mlflow/assistant/config", ANYONE)
        .response(WITHOUT_PROJECTS)
        .note("the UI asks for it on every page"),
    put(Ajax, "/3.0/mlflow/assistant/config", ADMIN).note(LOCAL),
    post(Ajax, "/3.0/mlflow/assistant/message", ADMIN).note(LOCAL),
    get(Ajax, "/3.0/mlflow/assistant/providers", ANYONE).note("the UI asks for it on every page"),
    get(Ajax, "/3.0/mlflow/assistant/providers/{provider}/health", ADMIN).note(LOCAL),
    get(Ajax, "/3.0/mlflow/assistant/providers/{provider}/models", ADMIN).note(LOCAL),
    post(Ajax, "/3.0/mlflow/assistant/skills/install", ADMIN).note(LOCAL),
    get(Ajax, "/3.0/mlflow/assistant/sessions/{session_id}/stream", ADMIN).note(LOCAL),
    patch(Ajax, "/3.0/mlflow/assistant/sessions/{session_id}", ADMIN).note(LOCAL),
    post(Ajax, "/3.0/mlflow/assistant/sessions/{session_id}/permission", ADMIN).note(LOCAL),
    post(Ajax, "/3.0/mlflow/assistant/sessions/{session_id}/tool-result", ADMIN).note(LOCAL),
    get(Both, "/3.0/mlflow/workspaces", ANYONE).response(rows::WORKSPACES),
    post(Both, "/3.0/mlflow/workspaces", ADMIN).then(&[EffectSpec::CreatedInResponse(
        Workspace,
        &["workspace", "name"],
        GIVEN_NAME,
    )]),
    get(Both, "/3.0/mlflow/workspaces/{workspace_name}", ADMIN)
        .note("as in MLflow 3.17, whose validator never matches"),
    patch(Both, "/3.0/mlflow/workspaces/{workspace_name}", ADMIN),
    delete(Both, "/3.0/mlflow/workspaces/{workspace_name}", ADMIN)
        .then(&[EffectSpec::Deleted(Workspace, WORKSPACE_NAME)]),
    get(Both, "/2.0/mlflow/webhooks", ADMIN),
    post(Both, "/2.0/mlflow/webhooks", ADMIN),
    get(Both, "/2.0/mlflow/webhooks/{webhook_id}", ADMIN),
    patch(Both, "/2.0/mlflow/webhooks/{webhook_id}", ADMIN),
    delete(Both, "/2.0/mlflow/webhooks/{webhook_id}", ADMIN),
    post(Both, "/2.0/mlflow/webhooks/{webhook_id}/test", ADMIN),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bare_prompt_with_an_alias_is_checked_under_both_readings() {
        assert_eq!(source_prompts("a@prod").unwrap(), ["a@prod", "a"]);
        assert_eq!(source_prompts("prompts:/a@prod").unwrap(), ["a"]);
        assert_eq!(source_prompts("prompts:/a/3").unwrap(), ["a"]);
        assert!(source_prompts("prompts:/a").is_err());
        assert!(source_prompts("@prod").is_err());
    }

    /// The worker makes `prompts:/<text>@latest` of a bare text.
    #[test]
    fn a_prompt_that_urlparse_would_cut_short_is_refused() {
        for prompt in [
            "prompts:/secret/1?/2",
            "prompts:/secret@prod?@x",
            "prompts:/a@b@prod",
            "prompts://host/secret/1",
            "Prompts:/secret/1",
            "secret/1?",
            "secret/1",
            "secret@prod?",
            " secret",
        ] {
            assert!(source_prompts(prompt).is_err(), "{prompt}");
        }
    }
}
