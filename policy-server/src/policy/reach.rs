//! How far a credential reaches, whatever its owner is granted.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use super::check::RungCheck;
use super::grants::RowKey;
use crate::domain::{Action, Level, ResourceType};

/// One word of a token's scopes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum TokenScope {
    /// Nothing above this level; with several, the highest counts.
    Level(Level),
    /// Nothing but this experiment and what belongs to it; with several, any of them.
    Experiment(String),
}

/// Why a word is no scope.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?}; expected read, use, edit, manage or experiment:ID")]
pub struct UnknownScope(String);

impl FromStr for TokenScope {
    type Err = UnknownScope;

    fn from_str(text: &str) -> Result<Self, UnknownScope> {
        let unknown = || UnknownScope(text.to_owned());
        match text {
            "read" => Ok(Self::Level(Level::Read)),
            "use" => Ok(Self::Level(Level::Use)),
            "edit" => Ok(Self::Level(Level::Edit)),
            "manage" => Ok(Self::Level(Level::Manage)),
            _ => {
                let id = text.strip_prefix("experiment:").ok_or_else(unknown)?;
                // As MLflow writes ids: "07" would be compared with "7", and never be found.
                let number: u64 = id.parse().map_err(|_| unknown())?;
                (number.to_string() == id)
                    .then(|| Self::Experiment(id.to_owned()))
                    .ok_or_else(unknown)
            }
        }
    }
}

impl fmt::Display for TokenScope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Level(level) => f.write_str(&level.as_str().to_ascii_lowercase()),
            Self::Experiment(id) => write!(f, "experiment:{id}"),
        }
    }
}

/// What all scopes of a credential amount to. Binds super admins too.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reach {
    ceiling: Level,
    experiments: Option<BTreeSet<String>>,
}

/// Of passwords, of an identity provider's tokens, and of our tokens without scopes.
pub static EVERYTHING: Reach = Reach { ceiling: Level::Manage, experiments: None };

impl Reach {
    pub fn of(scopes: impl IntoIterator<Item = TokenScope>) -> Self {
        let mut ceiling = None;
        let mut experiments = None;
        for scope in scopes {
            match scope {
                TokenScope::Level(level) => ceiling = ceiling.max(Some(level)),
                TokenScope::Experiment(id) => {
                    experiments.get_or_insert_with(BTreeSet::new).insert(id);
                }
            }
        }
        Self { ceiling: ceiling.unwrap_or(Level::Manage), experiments }
    }

    /// From stored or transmitted words; `None` when one of them is not understood, for then
    /// nobody knows what the credential may do.
    pub fn parse(words: &[String]) -> Option<Self> {
        let scopes: Result<Vec<TokenScope>, _> = words.iter().map(|word| word.parse()).collect();
        scopes.ok().map(Self::of)
    }

    /// As words, of which [`Reach::parse`] makes the same again; none when nothing is limited.
    pub fn words(&self) -> Vec<String> {
        let level = (self.ceiling != Level::Manage).then_some(TokenScope::Level(self.ceiling));
        let experiments = self.experiments.iter().flatten().cloned().map(TokenScope::Experiment);
        level.into_iter().chain(experiments).map(|scope| scope.to_string()).collect()
    }

    pub fn is_everything(&self) -> bool {
        *self == EVERYTHING
    }

    /// The experiments that it is confined to.
    pub fn experiments(&self) -> Option<&BTreeSet<String>> {
        self.experiments.as_ref()
    }

    /// Whether the level suffices for things that no experiment owns.
    pub(super) fn permits_anywhere(&self, level: Level) -> bool {
        self.experiments.is_none() && self.ceiling >= level
    }

    pub(super) fn permits_action_anywhere(&self, action: Action) -> bool {
        self.experiments.is_none() && self.ceiling.permits(action)
    }

    /// Whether it reaches what a ladder is about. Every ladder about something in an experiment
    /// has the experiment on one of its rungs; that nothing is denied gives nothing by itself.
    pub(super) fn covers(&self, rungs: &[RungCheck]) -> bool {
        rungs.iter().all(|rung| self.ceiling.permits(rung.action))
            && match &self.experiments {
                None => true,
                Some(experiments) => {
                    rungs.iter().all(|rung| rung.action == Action::NotDenied)
                        || rungs.iter().any(|rung| is_within(rung, experiments))
                }
            }
    }
}

fn is_within(rung: &RungCheck, experiments: &BTreeSet<String>) -> bool {
    match (rung.resource, &rung.key) {
        (ResourceType::Experiment, RowKey::Id(id)) => experiments.contains(id),
        // Scorers are called `<experiment>/<name>`.
        (ResourceType::Scorer, RowKey::Id(id)) => {
            id.split_once('/').is_some_and(|(experiment, _)| experiments.contains(experiment))
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(words: &[&str]) -> Option<Reach> {
        let words: Vec<String> = words.iter().map(|&word| word.to_owned()).collect();
        Reach::parse(&words)
    }

    #[test]
    fn scopes_are_read_and_written_alike() {
        for words in [&[][..], &["read"], &["experiment:12"], &["edit", "experiment:7"]] {
            assert_eq!(parse(words).unwrap().words(), words);
        }
        assert_eq!(parse(&["read", "edit"]).unwrap().words(), ["edit"], "the highest counts");
        assert!(parse(&["manage"]).unwrap().is_everything());
        assert!(!parse(&["experiment:0"]).unwrap().is_everything());
    }

    #[test]
    fn a_scope_that_is_not_understood_makes_a_credential_useless() {
        for word in
            ["experiments:7", "experiment:", "experiment:07", "experiment:*", "READ", "", "read "]
        {
            assert_eq!(parse(&["read", word]), None, "{word}");
        }
    }
}
