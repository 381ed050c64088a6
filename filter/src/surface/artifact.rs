//! Artifact paths, decoded as MLflow decodes them.
//!
//! `validate_path_is_safe` (mlflow.utils.uri) unquotes a path until it no longer changes, at most
//! ten times, and lets Python's `urlparse` tidy it on the way. So `%252e/1` is `./1`, `%31` is `1`
//! and `a.txt%3F` is `a.txt`. The gate decodes as often, refuses what `urlparse` would tidy, and
//! hands on the result.

use crate::refusal::Refusal;
use crate::requirement::ResourceType;

use super::id::{Form, skill_key};

/// The directory under the artifact root where 3.18 keeps what is uploaded for skills.
const SKILLS: &str = "skills";
/// The directory under the artifact root where workspaces other than the default one are.
const WORKSPACES: &str = "workspaces";
const DEFAULT_WORKSPACE: &str = "default";

/// Rounds after which MLflow gives up.
const MAX_ROUNDS: usize = 10;

const PROXY: [&str; 2] = ["/api/2.0/mlflow-artifacts/", "/ajax-api/2.0/mlflow-artifacts/"];

/// What an artifact path of the proxy's is under.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Owner {
    /// No experiment id leads the path: MLflow falls to the default permission.
    Nobody,
    /// The root of an experiment, or something in it that is none of the tiers below.
    Experiment { id: String },
    /// Below a run, a trace or a logged model of an experiment: by words in any case, as from 3.18
    /// on, and to the letter, as before.
    Tier { experiment: String, tier: ResourceType, spelt: Option<ResourceType> },
    /// What was uploaded for one skill, as grants name it.
    Skill { key: String },
    /// Where skills are kept, but not below one: what is there would tell their names. Where
    /// workspaces are kept, but not below the one of the request.
    Reserved,
}

/// The stable decoding of a proxy path, or `None` where the path is none.
pub fn canonical_proxy_path(bytes: &[u8], prefixes: &[&str]) -> Result<Option<String>, Refusal> {
    // Nothing that decodes to a proxy path lacks these letters altogether, encoded or not.
    let Ok(text) = std::str::from_utf8(bytes) else {
        return Ok(None);
    };
    let stable = match stable_decoding(text) {
        Ok(stable) => stable,
        Err(_) if !text.contains("artifacts") => return Ok(None),
        Err(refusal) => return Err(refusal),
    };
    let mut rest = stable.as_str();
    for prefix in prefixes {
        rest = rest.strip_prefix(prefix.trim_end_matches('/')).unwrap_or(rest);
    }
    let is_proxy = PROXY.iter().any(|proxy| rest.starts_with(proxy));
    Ok(is_proxy.then_some(stable))
}

/// Reads a path that comes as a value (a query parameter or a JSON field) and checks it.
pub fn read_value(field: &'static str, text: &str) -> Result<String, Refusal> {
    let decoded = stable_decoding(text)?;
    let unsafe_character = |c: char| c.is_control() || matches!(c, '\\' | '#' | '?' | ';');
    if decoded.chars().any(unsafe_character) {
        return Err(Refusal::ambiguous(field, "contains a character that paths must not"));
    }
    let inner = decoded.strip_suffix('/').unwrap_or(&decoded);
    if !decoded.is_empty() && inner.split('/').any(|part| matches!(part, "" | "." | "..")) {
        return Err(Refusal::ambiguous(field, "has an empty or dot segment"));
    }
    check_first_segment(field, &decoded)?;
    Ok(decoded)
}

/// `urlparse` strips leading blanks and lower-cases what looks like a scheme.
fn check_first_segment(field: &'static str, decoded: &str) -> Result<(), Refusal> {
    let first = decoded.split('/').next().unwrap_or_default();
    if first.contains(':') || first.starts_with(' ') {
        return Err(Refusal::ambiguous(field, "looks like a URL"));
    }
    Ok(())
}

/// Unquotes until nothing changes; a `%` that starts no escape stays, as in Python.
fn stable_decoding(text: &str) -> Result<String, Refusal> {
    let mut current = text.to_owned();
    for _ in 0..MAX_ROUNDS {
        let decoded =
            unquote(&current).ok_or_else(|| Refusal::ambiguous("path", "is not UTF-8"))?;
        if decoded == current {
            return Ok(current);
        }
        current = decoded;
    }
    Err(Refusal::ambiguous("path", "is encoded too often"))
}

fn unquote(text: &str) -> Option<String> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, tail)) = rest.split_first() {
        let escape = match tail {
            [high, low, ..] if byte == b'%' => hex_pair(*high, *low),
            _ => None,
        };
        out.push(escape.unwrap_or(byte));
        rest = match escape {
            Some(_) => tail.get(2..).unwrap_or_default(),
            None => tail,
        };
    }
    String::from_utf8(out).ok()
}

fn hex_pair(high: u8, low: u8) -> Option<u8> {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|d| u8::try_from(d).ok());
    Some(digit(high)? << 4 | digit(low)?)
}

/// Who owns a canonical artifact path in the request's workspace, in the layout of MLflow's default
/// artifact root (`_parse_artifact_auth_target` of mlflow.server.auth).
pub fn owner(path: &str, workspace: Option<&str>) -> Result<Owner, Refusal> {
    check_first_segment("path", path)?;
    let lower = path.to_lowercase();
    let (whole, folded) = (segments(path), segments(&lower));
    let (mut whole, mut folded) = (whole.as_slice(), folded.as_slice());
    let in_workspace = folded.first() == Some(&WORKSPACES);
    if in_workspace {
        match *whole {
            [WORKSPACES, name, _, ..] if name == workspace.unwrap_or(DEFAULT_WORKSPACE) => {}
            _ => return Ok(Owner::Reserved),
        }
        whole = whole.get(2..).unwrap_or_default();
        folded = folded.get(2..).unwrap_or_default();
    }
    let (Some((&experiment, whole)), Some((&first, folded))) =
        (whole.split_first(), folded.split_first())
    else {
        return Ok(Owner::Nobody);
    };
    if first == WORKSPACES {
        return Ok(Owner::Reserved);
    }
    if first == SKILLS {
        // A skill's key is its own only within a workspace, and grants are read in the request's.
        let readable = experiment == SKILLS && !in_workspace;
        return Ok(readable.then(|| skill(whole)).flatten().unwrap_or(Owner::Reserved));
    }
    if !experiment.chars().all(|c| c.is_numeric()) {
        return Ok(Owner::Nobody);
    }
    Form::Experiment.check("path", experiment)?;
    let experiment = experiment.to_owned();
    Ok(match tier(folded) {
        Some(named) => Owner::Tier { experiment, tier: named, spelt: tier(whole) },
        None => Owner::Experiment { id: experiment },
    })
}

fn segments(path: &str) -> Vec<&str> {
    path.split('/').filter(|segment| !segment.is_empty()).collect()
}

/// The tier that a path below an experiment is judged by.
fn tier(below: &[&str]) -> Option<ResourceType> {
    match *below {
        ["models", ..] => Some(ResourceType::LoggedModel),
        ["traces", ..] => Some(ResourceType::Trace),
        [_, "artifacts", ..] => Some(ResourceType::Run),
        [first, ..] if Form::Run.accepts(first) => Some(ResourceType::Run),
        _ => None,
    }
}

/// MLflow's `parse_skill_upload_path`: `[@organization/]name/…`.
fn skill(below: &[&str]) -> Option<Owner> {
    let (organization, name) = match below {
        [first, rest @ ..] if first.starts_with('@') => (first.strip_prefix('@'), *rest.first()?),
        [name, ..] => (None, *name),
        [] => return None,
    };
    let known = organization.is_none_or(|organization| Form::Organization.accepts(organization));
    (known && Form::Skill.accepts(name))
        .then(|| Owner::Skill { key: skill_key(organization, name) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::surface::path::read_any;

    fn proxied(rest: &str) -> Result<String, Refusal> {
        let path = format!("/api/2.0/mlflow-artifacts/artifacts/{rest}");
        read_any(path.as_bytes(), &[]).map(|path| path.encoded())
    }

    fn ends(path: Result<String, Refusal>) -> String {
        path.unwrap().trim_start_matches("/api/2.0/mlflow-artifacts/artifacts/").to_owned()
    }

    #[test]
    fn what_mlflow_decodes_is_decoded_and_forwarded_in_one_spelling() {
        assert_eq!(ends(proxied("%31/a")), "1/a");
        assert_eq!(ends(proxied("%2531/a")), "1/a");
        assert_eq!(ends(proxied("1%2Fa")), "1/a");
        assert_eq!(ends(proxied("1/caf%C3%A9%20x")), "1/caf%C3%A9%20x");
        assert_eq!(ends(proxied("1/100%25.txt")), "1/100%25.txt");
    }

    #[test]
    fn paths_that_reach_another_experiment_are_refused() {
        for path in [
            "./1/x",
            "%2e/1/x",
            "%252e/1/x",
            "%25252e%25252f1/x",
            "0/../1/x",
            "0/%2e%2e/1/x",
            "0/%252e%252e/1/x",
            "0/..%5c1",
            "0/..;/1",
            "0/%23/../1",
            "0/a.txt%3F",
            "0/a.txt%23",
            "/1/x",
            "0//1",
            "0/a%00",
            "0/%0a",
            "..%2f..%2fetc%2fpasswd",
        ] {
            assert!(proxied(path).is_err(), "{path}");
        }
        assert!(owner("file:1/x", None).is_err());
    }

    #[test]
    fn decoding_stops_where_mlflows_does() {
        let mut path = "1".to_owned();
        for _ in 0..20 {
            path = path.replace('1', "%31").replace('%', "%25");
        }
        assert!(proxied(&path).is_err());
    }

    #[test]
    fn the_layout_names_the_owner() {
        let run = "0123456789abcdef0123456789abcdef";
        let tier = |tier| Owner::Tier { experiment: "7".into(), tier, spelt: Some(tier) };
        assert_eq!(owner(&format!("7/{run}/artifacts/x"), None).unwrap(), tier(ResourceType::Run));
        assert_eq!(owner(&format!("7/{run}"), None).unwrap(), tier(ResourceType::Run));
        assert_eq!(
            owner("7/models/m-1/artifacts/x", None).unwrap(),
            tier(ResourceType::LoggedModel)
        );
        assert_eq!(owner("7/traces/tr-1/artifacts/x", None).unwrap(), tier(ResourceType::Trace));
        assert_eq!(owner("workspaces/a/7/traces/x", Some("a")).unwrap(), tier(ResourceType::Trace));
        assert_eq!(owner("7/models", None).unwrap(), tier(ResourceType::LoggedModel));
        assert_eq!(owner("7", None).unwrap(), Owner::Experiment { id: "7".into() });
        assert_eq!(owner("7/x", None).unwrap(), Owner::Experiment { id: "7".into() });
        assert_eq!(owner("team/x", None).unwrap(), Owner::Nobody);
        assert_eq!(owner("", None).unwrap(), Owner::Nobody);
    }

    #[test]
    fn a_word_of_the_layout_in_another_case_is_read_both_ways() {
        let run = "0123456789ABCDEF0123456789ABCDEF";
        let both = |tier, spelt| Owner::Tier { experiment: "7".into(), tier, spelt };
        assert_eq!(owner("7/x/ARTIFACTS/y", None).unwrap(), both(ResourceType::Run, None));
        assert_eq!(owner("7/MODELS/y", None).unwrap(), both(ResourceType::LoggedModel, None));
        assert_eq!(owner("7/Traces/y", None).unwrap(), both(ResourceType::Trace, None));
        assert_eq!(owner(&format!("7/{run}/y"), None).unwrap(), both(ResourceType::Run, None));
        assert_eq!(
            owner("7/MODELS/artifacts", None).unwrap(),
            both(ResourceType::LoggedModel, Some(ResourceType::Run))
        );
        assert!(owner("07/x", None).is_err());
        assert!(owner("\u{661}/x", None).is_err());
    }

    #[test]
    fn a_workspace_is_the_requests_own_or_nobodys() {
        for path in [
            "workspaces",
            "workspaces/",
            "workspaces/a",
            "workspaces/a/",
            "WORKSPACES/a/7/x",
            // Python lower-cases the Kelvin sign to k.
            "wor\u{212a}spaces/a/7/x",
            "workspaces/b/7/x",
            "workspaces/default/7/x",
            "workspaces/a/workspaces/b/7/x",
        ] {
            assert_eq!(owner(path, Some("a")).unwrap(), Owner::Reserved, "{path}");
        }
        let seven = Owner::Experiment { id: "7".into() };
        assert_eq!(owner("workspaces/a/7/x", Some("a")).unwrap(), seven);
        assert_eq!(owner("workspaces/default/7/x", None).unwrap(), seven);
        assert_eq!(owner("workspaces/a/x", Some("a")).unwrap(), Owner::Nobody);
        assert_eq!(owner("workspaces/a/7/x", None).unwrap(), Owner::Reserved);
    }

    #[test]
    fn what_is_uploaded_for_a_skill_is_that_skills() {
        let skill = |key: &str| Owner::Skill { key: key.to_owned() };
        let token = "0123456789abcdef0123456789abcdef";
        assert_eq!(
            owner(&format!("skills/reviewer/{token}/SKILL.md"), None).unwrap(),
            skill("reviewer")
        );
        assert_eq!(owner("skills/reviewer", None).unwrap(), skill("reviewer"));
        assert_eq!(owner("skills/@acme/reviewer/x", None).unwrap(), skill("@acme/reviewer"));
        for path in [
            "skills",
            "skills/",
            "skills/@acme",
            "skills/@/reviewer",
            "skills/@ACME/reviewer",
            "skills/Reviewer/x",
            "SKILLS/reviewer/x",
            "skills/*/x",
            "workspaces/a/skills/reviewer/x",
            "Workspaces/a/Skills",
        ] {
            assert_eq!(owner(path, None).unwrap(), Owner::Reserved, "{path}");
        }
        assert_eq!(owner("team/skills/reviewer", None).unwrap(), Owner::Nobody);
    }

    #[test]
    fn a_path_given_as_a_value_follows_the_same_rules() {
        assert_eq!(read_value("path", "1/%2531").unwrap(), "1/1");
        assert_eq!(read_value("path", "").unwrap(), "");
        for path in ["./1", "../1", "/1", "1//2", "a?b", "a#b", "a;b", "a\\b", "%2e/1", "file:1"] {
            assert!(read_value("path", path).is_err(), "{path}");
        }
    }
}
