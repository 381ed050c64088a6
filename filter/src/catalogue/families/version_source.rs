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

use super::super::field::READ;
use super::super::need::{
    Need, every, nobody_but_admins, on, on_owner, rung, tier_of, tier_of_owner,
};

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
    if let Some(rest) = source.strip_prefix("models:/")
        && !is_model_id(rest)
    {
        // A copy: the version is itself the boundary, its run and model are only lineage.
        return copied(rest);
    }
    let mut needs = Vec::new();
    if let Some(id) = inputs.optional(RUN)? {
        needs.extend(run_readable(&id));
    }
    if let Some(id) = inputs.optional(MODEL)? {
        needs.extend(model_readable(&id));
    }
    needs.extend(located(&source)?);
    Ok(needs)
}

fn located(source: &str) -> Result<Vec<Requirement>, Refusal> {
    if NO_SOURCE.contains(&source) || source.is_empty() {
        return Ok(Vec::new());
    }
    check_spelling(source)?;
    if let Some(rest) = source.strip_prefix("models:/") {
        return Ok(model_readable(rest));
    }
    if let Some(rest) = source.strip_prefix("runs:/") {
        let id = rest.trim_start_matches('/').split('/').next().unwrap_or_default();
        Form::Run.check("source", id)?;
        return Ok(run_readable(id));
    }
    if let Some(rest) = source.strip_prefix("mlflow-artifacts:") {
        return proxied(rest);
    }
    let location = Reference::new(ReferenceKind::ArtifactUri, source);
    Ok(vec![on_owner(Experiment, READ, &location)])
}

/// `mlflow-artifacts:/1/…` or `mlflow-artifacts://host[:port]/1/…`.
fn proxied(rest: &str) -> Result<Vec<Requirement>, Refusal> {
    let path = match rest.strip_prefix("//") {
        Some(authority) => authority.split_once('/').map_or("", |(_, path)| path),
        None => rest.strip_prefix('/').unwrap_or(rest),
    };
    Ok(match artifact::owner(&artifact::read_value("source", path)?)? {
        Owner::Nobody => vec![Requirement::Floor(READ)],
        Owner::Experiment { id } => {
            [Run, LoggedModel].into_iter().flat_map(|tier| tier_of(tier, READ, READ, &id)).collect()
        }
        Owner::Tier { experiment, tier } => tier_of(tier, READ, READ, &experiment),
        Owner::Skill { key } => vec![on(Skill, READ, &key)],
        Owner::Skills => vec![nobody_but_admins()],
    })
}

/// CVE-2026-2614, CVE-2024-1594 and kin: forms that some reader resolves elsewhere.
fn check_spelling(source: &str) -> Result<(), Refusal> {
    let odd = |c: char| c.is_control() || matches!(c, '\\' | '#' | '?' | ';' | '%');
    let dots = source.split('/').any(|segment| matches!(segment, "." | ".."));
    if dots || source.chars().any(odd) {
        return Err(Refusal::ambiguous("source", "could be read as another location"));
    }
    Ok(())
}

fn is_model_id(rest: &str) -> bool {
    Form::LoggedModel.accepts(rest)
}

/// `models:/<name>/<version or stage>` or `models:/<name>@<alias>`.
fn copied(rest: &str) -> Result<Vec<Requirement>, Refusal> {
    let (name, selector) = rest
        .rsplit_once('@')
        .or_else(|| rest.rsplit_once('/'))
        .ok_or_else(|| Refusal::invalid("source", "names no model version"))?;
    Form::Name.check("source", name)?;
    Form::Name.check("source", selector)?;
    if name.contains(['/', ':']) || selector.contains('/') {
        return Err(Refusal::ambiguous("source", "could name two models"));
    }
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

    const HEX: &str = "0123456789abcdef0123456789abcdef";

    #[test]
    fn every_source_is_read_by_what_owns_it() {
        assert_eq!(located(&format!("runs:/{HEX}/model")).unwrap(), run_readable(HEX));
        let model = format!("m-{HEX}");
        assert_eq!(located(&format!("models:/{model}")).unwrap(), model_readable(&model));
        assert_eq!(
            located(&format!("mlflow-artifacts:/7/{HEX}/artifacts/m")).unwrap(),
            tier_of(Run, READ, READ, "7")
        );
        assert_eq!(
            located("mlflow-artifacts://host:1/7/models/m").unwrap(),
            tier_of(LoggedModel, READ, READ, "7")
        );
        assert!(located("dummy-source").unwrap().is_empty());
    }

    #[test]
    fn a_location_that_nobody_is_known_to_own_is_asked_for() {
        for source in ["/etc", "file:///etc", "s3://bucket/x", "dummy-sources", "https://a/b"] {
            let needs = located(source).unwrap();
            assert!(matches!(needs.as_slice(), [Requirement::Ladder(_)]), "{source}");
        }
    }

    #[test]
    fn a_source_that_could_be_read_as_another_is_refused() {
        for source in [
            "s3://b/../x",
            "s3://b/x#/../y",
            "file:///a;b",
            "s3://b/%2e%2e/x",
            "mlflow-artifacts:/./7/x",
            "runs:/short/x",
        ] {
            assert!(located(source).is_err(), "{source}");
        }
        assert!(copied("a/b/1").is_err());
        assert!(copied("a").is_err());
    }

    #[test]
    fn a_copied_version_needs_its_model() {
        assert_eq!(copied("iris/3").unwrap(), copied("iris@prod").unwrap());
    }
}
