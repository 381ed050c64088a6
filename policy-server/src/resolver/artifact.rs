//! Whose artifacts a URI is about, e.g. the `source` of a model version.
//!
//! Only what can be told for certain: a URI with anything in it that two parsers could read
//! differently is about nobody knows what, and that denies.

/// The owner of the artifacts that a URI names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ArtifactSource {
    /// `models:/NAME/VERSION`, `/STAGE`, `/latest` or `@ALIAS`: the boundary is the model itself.
    RegisteredModel {
        name: String,
    },
    /// `models:/MODEL_ID`, or a path in a logged model's artifacts.
    LoggedModel {
        id: String,
        within: Within,
    },
    /// `runs:/RUN_ID/…`, or a path in a run's artifacts.
    Run {
        id: String,
        within: Within,
    },
    /// A path in the root of an experiment's artifacts.
    Experiment {
        id: String,
    },
    Undeterminable,
}

/// What else must agree with the owner found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Within {
    /// The id is all that the URI says.
    Anything,
    /// It must belong to this experiment.
    Experiment(String),
    /// Its recorded artifact root must be a prefix of the URI.
    RecordedRoot,
}

/// Reads a URI as MLflow's `_parse_model_uri` and its artifact layout do.
pub fn parse_artifact_uri(uri: &str) -> ArtifactSource {
    if uri.is_empty() || uri.len() > 2048 || uri.chars().any(is_ambiguous) {
        return ArtifactSource::Undeterminable;
    }
    let Some((scheme, rest)) = uri.split_once(':') else { return in_recorded_root(uri) };
    match scheme {
        "models" => model(rest),
        "runs" => run(rest),
        "mlflow-artifacts" => proxied(rest),
        _ => in_recorded_root(uri),
    }
}

/// Escapes are decoded by some of MLflow's paths and not by others; queries, fragments and
/// parameters are dropped by some.
fn is_ambiguous(character: char) -> bool {
    character.is_control() || character.is_whitespace() || "%\\?#;".contains(character)
}

/// The segments after exactly one slash; none when there is an empty or a dot segment.
fn segments(rest: &str) -> Option<Vec<&str>> {
    let path = rest.strip_prefix('/')?;
    let segments: Vec<&str> = path.split('/').collect();
    let plain = |segment: &&str| !matches!(*segment, "" | "." | "..");
    segments.iter().all(plain).then_some(segments)
}

fn model(rest: &str) -> ArtifactSource {
    match segments(rest).as_deref() {
        Some([name, _version_or_stage]) => {
            ArtifactSource::RegisteredModel { name: (*name).to_owned() }
        }
        Some([only]) => match only.rsplit_once('@') {
            Some((name, alias)) if !name.is_empty() && !alias.is_empty() => {
                ArtifactSource::RegisteredModel { name: name.to_owned() }
            }
            Some(_) => ArtifactSource::Undeterminable,
            None => {
                ArtifactSource::LoggedModel { id: (*only).to_owned(), within: Within::Anything }
            }
        },
        _ => ArtifactSource::Undeterminable,
    }
}

fn run(rest: &str) -> ArtifactSource {
    match segments(rest).as_deref() {
        Some([id, ..]) if is_run_id(id) => {
            ArtifactSource::Run { id: (*id).to_owned(), within: Within::Anything }
        }
        _ => ArtifactSource::Undeterminable,
    }
}

/// `mlflow-artifacts:/…` or `mlflow-artifacts://HOST/…`: the layout that the server makes.
fn proxied(rest: &str) -> ArtifactSource {
    let path = match rest.strip_prefix("//") {
        Some(after) => match after.split_once('/') {
            Some((_host, path)) => format!("/{path}"),
            None => return ArtifactSource::Undeterminable,
        },
        None => rest.to_owned(),
    };
    let Some(segments) = segments(&path) else { return ArtifactSource::Undeterminable };
    let segments = match segments.as_slice() {
        ["workspaces", _, inner @ ..] => inner,
        all => all,
    };
    let Some((experiment, inner)) = segments.split_first() else {
        return ArtifactSource::Undeterminable;
    };
    if !super::database::is_decimal(experiment) {
        return ArtifactSource::Undeterminable;
    }
    let within = Within::Experiment((*experiment).to_owned());
    match inner {
        ["models", id, ..] => ArtifactSource::LoggedModel { id: (*id).to_owned(), within },
        [id, ..] if is_run_id(id) => ArtifactSource::Run { id: (*id).to_owned(), within },
        // Other directories of an experiment belong to other tiers, or to nobody known.
        ["traces", ..] | ["models"] => ArtifactSource::Undeterminable,
        _ => ArtifactSource::Experiment { id: (*experiment).to_owned() },
    }
}

/// Any other location: the last run or logged model whose `artifacts` directory the path is in.
fn in_recorded_root(uri: &str) -> ArtifactSource {
    let path = uri.split_once("://").map_or(uri, |(_, rest)| rest);
    let segments: Vec<&str> = path.trim_start_matches('/').split('/').collect();
    if segments.iter().any(|segment| matches!(*segment, "" | "." | "..")) {
        return ArtifactSource::Undeterminable;
    }
    let owner = segments.windows(3).rev().find_map(|window| match window {
        ["models", id, "artifacts"] => {
            Some(ArtifactSource::LoggedModel { id: (*id).to_owned(), within: Within::RecordedRoot })
        }
        [_, id, "artifacts"] if is_run_id(id) => {
            Some(ArtifactSource::Run { id: (*id).to_owned(), within: Within::RecordedRoot })
        }
        _ => None,
    });
    owner.unwrap_or(ArtifactSource::Undeterminable)
}

/// Whether the URI is the root or below it.
pub fn is_below(uri: &str, root: &str) -> bool {
    let root = root.trim_end_matches('/');
    !root.is_empty()
        && uri.strip_prefix(root).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

fn is_run_id(text: &str) -> bool {
    text.len() == 32 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

#[cfg(test)]
mod tests {
    use super::*;

    const RUN: &str = "0123456789abcdef0123456789abcdef";

    fn run(within: Within) -> ArtifactSource {
        ArtifactSource::Run { id: RUN.to_owned(), within }
    }

    #[test]
    fn a_registered_model_is_named_by_version_stage_latest_or_alias() {
        let expected = ArtifactSource::RegisteredModel { name: "fraud".to_owned() };
        for uri in [
            "models:/fraud/3",
            "models:/fraud/Production",
            "models:/fraud/latest",
            "models:/fraud@x",
        ] {
            assert_eq!(parse_artifact_uri(uri), expected, "{uri}");
        }
    }

    #[test]
    fn one_segment_is_a_logged_model() {
        assert_eq!(
            parse_artifact_uri("models:/m-1f2e"),
            ArtifactSource::LoggedModel { id: "m-1f2e".to_owned(), within: Within::Anything }
        );
    }

    #[test]
    fn a_run_is_named_directly_or_by_the_path_of_its_artifacts() {
        assert_eq!(parse_artifact_uri(&format!("runs:/{RUN}/model")), run(Within::Anything));
        let seven = || run(Within::Experiment("7".to_owned()));
        assert_eq!(parse_artifact_uri(&format!("mlflow-artifacts:/7/{RUN}/artifacts/m")), seven());
        assert_eq!(
            parse_artifact_uri(&format!("mlflow-artifacts://host:5000/7/{RUN}/artifacts/m")),
            seven()
        );
        assert_eq!(
            parse_artifact_uri(&format!("mlflow-artifacts:/workspaces/team/7/{RUN}/artifacts")),
            seven()
        );
        assert_eq!(
            parse_artifact_uri(&format!("s3://bucket/root/7/{RUN}/artifacts/m")),
            run(Within::RecordedRoot)
        );
        assert_eq!(
            parse_artifact_uri(&format!("/var/mlruns/7/{RUN}/artifacts/m")),
            run(Within::RecordedRoot)
        );
    }

    #[test]
    fn what_could_be_read_in_two_ways_is_undeterminable() {
        for uri in [
            "",
            "models:/",
            "models:fraud/1",
            "models://host/fraud/1",
            "models:/a/b/c",
            "models:/fraud%2f/1",
            "models:/fraud/1?x",
            "models:/@alias",
            "runs:/nothex/model",
            "mlflow-artifacts:/7/../8/x",
            "mlflow-artifacts:/07/x",
            "mlflow-artifacts:/x/7",
            "mlflow-artifacts://host",
            "mlflow-artifacts:/7/traces/tr-1",
            "file:///etc",
            "/etc/passwd",
            "s3://bucket/secret",
        ] {
            assert_eq!(parse_artifact_uri(uri), ArtifactSource::Undeterminable, "{uri}");
        }
        let dotted = format!("s3://b/../7/{RUN}/artifacts/m");
        assert_eq!(parse_artifact_uri(&dotted), ArtifactSource::Undeterminable);
    }

    #[test]
    fn below_a_root_means_whole_segments() {
        assert!(is_below("s3://b/7/x/artifacts/m", "s3://b/7/x/artifacts"));
        assert!(is_below("s3://b/7/x/artifacts", "s3://b/7/x/artifacts/"));
        assert!(!is_below("s3://b/7/x/artifacts-of-others", "s3://b/7/x/artifacts"));
        assert!(!is_below("s3://b", ""));
    }
}
