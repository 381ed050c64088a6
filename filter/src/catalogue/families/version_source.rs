//! Where a new model version says its files are. Reading the version's artifacts later reads
//! from there with the server's own credentials, so the caller must be able to read it now.

use crate::refusal::Refusal;
use crate::requirement::{
    Action, Reference, ReferenceKind, Requirement,
    ResourceType::{Experiment, LoggedModel, ModelOrPrompt, ModelOrPromptVersion, Run, Skill},
};
use crate::surface::artifact::{self, Owner};
use crate::surface::id::Form;
use crate::surface::inputs::{Field, Inputs};
use crate::surface::uri;

use super::super::field::READ;
use super::super::need::{
    Need, every, nobody_but_admins, on, on_owner, rung, tier_of, tier_of_owner,
};
use super::artifacts::everything_in;

const SOURCE: Field = Field::optional("source", Form::Text);
const RUN: Field = Field::optional("run_id", Form::Run);
const MODEL: Field = Field::optional("model_id", Form::LoggedModel);
/// What MLflow's clients send for prompts, which have no files.
const NO_SOURCE: [&str; 2] = ["dummy-source", "prompt-template"];

pub const READABLE: Need = Need::Rule(
    "read on the source: a model version, run, logged model or artifact location",
    &[SOURCE, RUN, MODEL],
    readable,
);

fn readable(inputs: &Inputs) -> Result<Vec<Requirement>, Refusal> {
    let source = inputs.optional(SOURCE)?.unwrap_or_default();
    uri::check_spelling("source", &source)?;
    if let Some(rest) = source.strip_prefix("models:/")
        && !Form::LoggedModel.accepts(rest)
    {
        // A copy: the version is itself the boundary. Its run and model are only lineage, and MLflow
        // refuses others than those of the version that is named.
        return copied(rest);
    }
    let mut needs = Vec::new();
    if let Some(id) = inputs.optional(RUN)? {
        needs.extend(run_readable(&id));
    }
    if let Some(id) = inputs.optional(MODEL)? {
        needs.extend(model_readable(&id));
    }
    needs.extend(located(&source, inputs.headers.workspace.as_deref())?);
    Ok(needs)
}

fn located(source: &str, workspace: Option<&str>) -> Result<Vec<Requirement>, Refusal> {
    if NO_SOURCE.contains(&source) || source.is_empty() {
        return Ok(Vec::new());
    }
    if let Some(rest) = source.strip_prefix("models:/") {
        return Ok(model_readable(rest));
    }
    if let Some(rest) = source.strip_prefix("runs:/") {
        // Behind two slashes would be a host, and behind that the run that MLflow reads.
        let id = rest.split('/').next().unwrap_or_default();
        Form::Run.check("source", id)?;
        if rest.contains("//") {
            return Err(Refusal::ambiguous("source", "has an empty segment"));
        }
        return Ok(run_readable(id));
    }
    if let Some(rest) = source.strip_prefix("mlflow-artifacts:") {
        return proxied(rest, workspace);
    }
    let location = Reference::new(ReferenceKind::ArtifactUri, source);
    Ok(vec![on_owner(Experiment, READ, &location)])
}

/// `mlflow-artifacts:/1/…` or `mlflow-artifacts://host[:port]/1/…`.
fn proxied(rest: &str, workspace: Option<&str>) -> Result<Vec<Requirement>, Refusal> {
    let path = match rest.strip_prefix("//") {
        Some(authority) => authority.split_once('/').map_or("", |(_, path)| path),
        None => rest
            .strip_prefix('/')
            .ok_or_else(|| Refusal::ambiguous("source", "has no slash behind its scheme"))?,
    };
    let path = artifact::read_value("source", path)?;
    Ok(match artifact::owner(&path, workspace)? {
        // Every experiment's artifacts are below.
        Owner::Nobody if path.is_empty() => vec![nobody_but_admins()],
        Owner::Nobody => vec![Requirement::Floor(READ)],
        Owner::Experiment { id } => everything_in(&id, READ),
        Owner::Tier { experiment, tier, .. } => tier_of(tier, READ, READ, &experiment),
        Owner::Skill { key } => vec![on(Skill, READ, &key)],
        Owner::Reserved => vec![nobody_but_admins()],
    })
}

/// `models:/<name>/<version or stage>` or `models:/<name>@<alias>`.
fn copied(rest: &str) -> Result<Vec<Requirement>, Refusal> {
    let name = uri::versioned("source", rest)?;
    let parent = rung(ModelOrPrompt, Action::NotDenied, name);
    Ok(vec![
        on(ModelOrPrompt, READ, name),
        Requirement::Ladder(vec![every(ModelOrPromptVersion, Action::NotDenied), parent]),
    ])
}

fn run_readable(id: &str) -> Vec<Requirement> {
    tier_of_owner(Run, READ, READ, &Reference::new(ReferenceKind::RunId, id))
}

fn model_readable(id: &str) -> Vec<Requirement> {
    tier_of_owner(LoggedModel, READ, READ, &Reference::new(ReferenceKind::LoggedModelId, id))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::requirement::ResourceType::Trace;

    const HEX: &str = "0123456789abcdef0123456789abcdef";

    #[test]
    fn every_source_is_read_by_what_owns_it() {
        assert_eq!(located(&format!("runs:/{HEX}/model"), None).unwrap(), run_readable(HEX));
        let model = format!("m-{HEX}");
        assert_eq!(located(&format!("models:/{model}"), None).unwrap(), model_readable(&model));
        assert_eq!(
            located(&format!("mlflow-artifacts:/7/{HEX}/artifacts/m"), None).unwrap(),
            tier_of(Run, READ, READ, "7")
        );
        assert_eq!(
            located("mlflow-artifacts://host:1/7/models/m", None).unwrap(),
            tier_of(LoggedModel, READ, READ, "7")
        );
        assert!(located("dummy-source", None).unwrap().is_empty());
    }

    #[test]
    fn a_location_that_nobody_is_known_to_own_is_asked_for() {
        for source in ["/etc", "file:///etc", "s3://bucket/x", "dummy-sources", "https://a/b"] {
            let needs = located(source, None).unwrap();
            assert!(matches!(needs.as_slice(), [Requirement::Ladder(_)]), "{source}");
        }
    }

    #[test]
    fn a_run_or_path_behind_an_authority_or_no_slash_is_refused() {
        for source in [
            format!("runs://{HEX}/{HEX}/m"),
            format!("runs:///{HEX}/m"),
            format!("runs:/{HEX}//m"),
            "runs:/short/x".to_owned(),
            format!("mlflow-artifacts:7/{HEX}/artifacts"),
            format!("mlflow-artifacts:///7//{HEX}/artifacts"),
        ] {
            assert!(located(&source, None).is_err(), "{source}");
        }
    }

    #[test]
    fn a_directory_above_several_experiments_is_nobodys_source() {
        for source in
            ["mlflow-artifacts:/", "mlflow-artifacts://host", "mlflow-artifacts:/Workspaces/a"]
        {
            assert_eq!(located(source, None).unwrap(), [nobody_but_admins()], "{source}");
        }
        let elsewhere = "mlflow-artifacts:/workspaces/b/7/models/m";
        assert_eq!(located(elsewhere, Some("a")).unwrap(), [nobody_but_admins()]);
        assert_ne!(located(elsewhere, Some("b")).unwrap(), [nobody_but_admins()]);
        let whole = located("mlflow-artifacts:/7", None).unwrap();
        assert!(tier_of(Trace, READ, READ, "7").iter().all(|need| whole.contains(need)));
    }

    #[test]
    fn a_copied_version_needs_its_model() {
        assert_eq!(copied("iris/3").unwrap(), copied("iris@prod").unwrap());
        assert!(copied("a/b/1").is_err());
        assert!(copied("a").is_err());
    }
}
