//! The forms in which MLflow makes ids. Anything else names nothing and is refused, because
//! MLflow reads `01`, `+1` or an Arabic-Indic one as experiment 1 while grants compare text.

use crate::refusal::Refusal;

/// Longest name of a model, prompt, scorer, queue or schema in bytes (MLflow's columns: 256).
const MAX_NAME: usize = 1024;
/// Longest name of a skill or an organization (MLflow: MAX_SKILL_NAME_LENGTH).
const MAX_SKILL: usize = 64;
/// Longest id of the kinds without a fixed form.
const MAX_TOKEN: usize = 64;

/// What an id looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Form {
    /// `0|[1-9][0-9]{0,18}`
    Experiment,
    /// `[0-9a-f]{32}`
    Run,
    /// `tr-[0-9a-f]{32}`, or `[0-9a-f]{32}` as made by 2.x
    Trace,
    /// `m-[0-9a-f]{32}`
    LoggedModel,
    /// `d-[0-9a-f]{32}`
    Dataset,
    /// Made by the server, with a prefix or as a UUID: letters, digits, `-` and `_`.
    Token,
    /// Chosen by a user; no control characters.
    Name,
    /// As a name, and neither `*` nor empty after trimming: a grant on it would be one on all.
    NewName,
    /// MLflow's pattern for a skill's name, at most 64 characters long.
    Skill,
    /// The same for the organization that a skill may belong to, where `.` joins too.
    Organization,
    /// A skill as grants name it: its name, or `@organization/name`.
    SkillKey,
    /// Text that is authorized by what it contains: filters, URIs, paths.
    Text,
}

impl Form {
    pub const fn describe(self) -> &'static str {
        match self {
            Self::Experiment => "must be an experiment id as MLflow prints it",
            Self::Run => "must be 32 lower-case hexadecimal digits",
            Self::Trace => "must be a trace id as MLflow makes them",
            Self::LoggedModel => "must be a logged model id as MLflow makes them",
            Self::Dataset => "must be a dataset id as MLflow makes them",
            Self::Token => "must be an id as MLflow makes them",
            Self::Name => "must be a name without control characters",
            Self::NewName => "must be a name that is not '*' and has no control characters",
            Self::Skill => "must be a skill's name: lower-case letters, digits and single hyphens",
            Self::Organization => {
                "must be an organization's name: lower-case letters, digits, single hyphens or dots"
            }
            Self::SkillKey => "must be a skill's name, or @organization/name",
            Self::Text => "must be text",
        }
    }

    pub fn accepts(self, text: &str) -> bool {
        match self {
            Self::Experiment => is_experiment(text),
            Self::Run => is_hex32(text),
            Self::Trace => is_hex32(text.strip_prefix("tr-").unwrap_or(text)),
            Self::LoggedModel => text.strip_prefix("m-").is_some_and(is_hex32),
            Self::Dataset => text.strip_prefix("d-").is_some_and(is_hex32),
            Self::Token => is_token(text),
            Self::Name => is_name(text),
            Self::NewName => is_name(text) && text != "*" && text.trim() == text,
            Self::Skill => is_joined(text, "-"),
            Self::Organization => is_joined(text, "-."),
            Self::SkillKey => is_skill_key(text),
            Self::Text => true,
        }
    }

    /// Refuses what is not in this form; present but empty is one such thing.
    pub fn check(self, field: &str, text: &str) -> Result<(), Refusal> {
        if self.accepts(text) { Ok(()) } else { Err(Refusal::invalid(field, self.describe())) }
    }
}

fn is_experiment(text: &str) -> bool {
    let digits = text.bytes().all(|b| b.is_ascii_digit());
    digits && (1..=19).contains(&text.len()) && (text == "0" || !text.starts_with('0'))
}

fn is_hex32(text: &str) -> bool {
    text.len() == 32 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

fn is_token(text: &str) -> bool {
    (1..=MAX_TOKEN).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
}

fn is_name(text: &str) -> bool {
    !text.trim().is_empty() && text.len() <= MAX_NAME && !text.chars().any(char::is_control)
}

/// Groups of lower-case letters and digits with one of the `joints` between any two.
fn is_joined(text: &str, joints: &str) -> bool {
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let group = |group: &str| !group.is_empty() && group.bytes().all(plain);
    text.len() <= MAX_SKILL && text.split(|c| joints.contains(c)).all(group)
}

fn is_skill_key(text: &str) -> bool {
    match text.strip_prefix('@').map(|rest| rest.split_once('/')) {
        None => Form::Skill.accepts(text),
        Some(Some((organization, name))) => {
            Form::Organization.accepts(organization) && Form::Skill.accepts(name)
        }
        Some(None) => false,
    }
}

/// A skill as grants name it (MLflow: `_format_skill_registry_resource_key`).
pub fn skill_key(organization: Option<&str>, name: &str) -> String {
    match organization {
        Some(organization) => format!("@{organization}/{name}"),
        None => name.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_experiment_id_has_one_spelling() {
        for id in ["0", "1", "42", "9223372036854775807"] {
            assert!(Form::Experiment.accepts(id), "{id}");
        }
        for id in [
            "",
            "01",
            " 1",
            "1 ",
            "+1",
            "-1",
            "0_1",
            "1_0",
            "\u{661}",
            "1.0",
            "1e1",
            "10000000000000000000",
        ] {
            assert!(!Form::Experiment.accepts(id), "{id}");
        }
    }

    #[test]
    fn a_run_id_is_32_lower_case_hexadecimal_digits() {
        assert!(Form::Run.accepts("0123456789abcdef0123456789abcdef"));
        for id in ["", "0123456789ABCDEF0123456789abcdef", "0123456789abcdef0123456789abcde"] {
            assert!(!Form::Run.accepts(id), "{id}");
        }
        assert!(!Form::Run.accepts("0123456789abcdef0123456789abcdef "));
    }

    #[test]
    fn prefixed_ids_need_their_prefix() {
        let hex = "0123456789abcdef0123456789abcdef";
        assert!(Form::Trace.accepts(&format!("tr-{hex}")));
        assert!(Form::Trace.accepts(hex));
        assert!(!Form::Trace.accepts(&format!("tr-tr-{hex}")));
        assert!(Form::LoggedModel.accepts(&format!("m-{hex}")));
        assert!(!Form::LoggedModel.accepts(hex));
    }

    #[test]
    fn a_skills_name_is_groups_of_letters_and_digits() {
        let long = "a".repeat(64);
        for name in ["a", "code-reviewer", "0", "a1-b2-c3", &long] {
            assert!(Form::Skill.accepts(name) && Form::Organization.accepts(name), "{name}");
        }
        let over_long = "a".repeat(65);
        for name in
            ["", "-a", "a-", "a--b", "A", "a_b", "@a", "*", "a/b", "a b", "\u{e9}", &over_long]
        {
            assert!(!Form::Skill.accepts(name) && !Form::Organization.accepts(name), "{name}");
        }
        assert!(Form::Organization.accepts("acme.com") && !Form::Skill.accepts("acme.com"));
        assert!(!Form::Organization.accepts("acme..com") && !Form::Organization.accepts(".acme"));
        for key in ["a", "a-b", "@acme.com/a-b"] {
            assert!(Form::SkillKey.accepts(key), "{key}");
        }
        for key in ["", "*", "@", "@/a", "@acme", "@acme/", "@acme/a/b", "acme/a", "@@acme/a", "A"]
        {
            assert!(!Form::SkillKey.accepts(key), "{key}");
        }
        assert_eq!(skill_key(None, "a"), "a");
        assert_eq!(skill_key(Some("acme"), "a"), "@acme/a");
    }

    #[test]
    fn a_star_cannot_be_the_name_of_something_new() {
        assert!(Form::Name.accepts("*"));
        for name in ["*", "", " ", " *", "a ", "a\nb", "a\0"] {
            assert!(!Form::NewName.accepts(name), "{name:?}");
        }
        assert!(Form::NewName.accepts("un modèle / v2"));
    }
}
