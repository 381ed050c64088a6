//! There, the first source that says anything about an object decides: the user's own row, then
//! those of their groups, their regular expressions by priority, their groups' regular
//! expressions. What comes later is hidden, even if it is higher. Here all rows count together:
//! the highest, or DENY. A row that something lower hides there would open more here, so it is
//! left out.

use std::collections::{BTreeMap, BTreeSet};

use super::regex::Shape;
use crate::domain::{Level, ResourceType};

/// Whose a row is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Holder {
    User(String),
    Group(String),
}

/// Where a row holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Place {
    Workspace(String),
    Everywhere,
}

/// Which source a row belongs to, and with which priority; the lower decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Rank {
    Own,
    Groups,
    Regex(i64),
    GroupsRegex(i64),
}

/// A row, as it is there.
#[derive(Debug, Clone)]
pub(super) struct Row {
    /// For people.
    pub(super) what: String,
    pub(super) holder: Holder,
    pub(super) resource: ResourceType,
    pub(super) place: Place,
    /// The names of the objects there; of scorers without, of experiments as ids.
    pub(super) shape: Shape,
    /// The scorer's experiment, else empty.
    pub(super) within: String,
    /// NO_PERMISSIONS is a refusal there.
    pub(super) level: Level,
    pub(super) rank: Rank,
}

impl Row {
    pub(super) fn is_regex(&self) -> bool {
        matches!(self.rank, Rank::Regex(_) | Rank::GroupsRegex(_))
    }
}

/// Group names and their members.
pub(super) type Members = BTreeMap<String, BTreeSet<String>>;

/// The row that hides `row`, being lower. `taken` says which rows are taken over: a refusal that
/// is has the last word here, too.
pub(super) fn hidden_by<'a>(
    row: &Row,
    rows: impl Iterator<Item = (&'a Row, bool)>,
    members: &Members,
) -> Option<&'a Row> {
    if row.level == Level::Deny || row.rank == Rank::Own {
        return None;
    }
    rows.filter(|(other, _)| other.rank < row.rank)
        .filter(|(other, taken)| match other.level {
            Level::Deny => !taken,
            level => level < row.level,
        })
        .map(|(other, _)| other)
        .find(|other| about_the_same(row, other) && meet(&row.holder, &other.holder, members))
}

fn about_the_same(one: &Row, other: &Row) -> bool {
    let places = match (&one.place, &other.place) {
        (Place::Workspace(one), Place::Workspace(other)) => one == other,
        _ => true,
    };
    let within = one.within == other.within || one.within.is_empty() || other.within.is_empty();
    same_kind(one, other) && places && within && one.shape.may_overlap(&other.shape)
}

/// Rows that name an object do not tell prompts from models; regular expressions do.
fn same_kind(one: &Row, other: &Row) -> bool {
    let by_name = |row: &Row| row.resource == ResourceType::RegisteredModel && !row.is_regex();
    one.resource == other.resource
        || by_name(one) && other.resource == ResourceType::Prompt
        || by_name(other) && one.resource == ResourceType::Prompt
}

/// Whether there is somebody for whom both rows count.
fn meet(one: &Holder, other: &Holder, members: &Members) -> bool {
    let none = BTreeSet::new();
    let of = |group: &String| members.get(group).unwrap_or(&none);
    match (one, other) {
        (Holder::User(one), Holder::User(other)) => one == other,
        (Holder::User(user), Holder::Group(group)) | (Holder::Group(group), Holder::User(user)) => {
            of(group).contains(user)
        }
        (Holder::Group(one), Holder::Group(other)) => {
            one == other || !of(one).is_disjoint(of(other))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Pattern;

    fn row(holder: Holder, name: &str, level: Level, rank: Rank) -> Row {
        Row {
            what: String::new(),
            holder,
            resource: ResourceType::RegisteredModel,
            place: Place::Workspace("default".into()),
            shape: Shape::Pattern(Pattern::parse(name)),
            within: String::new(),
            level,
            rank,
        }
    }

    fn ana() -> Holder {
        Holder::User("ana".into())
    }

    fn team() -> Holder {
        Holder::Group("team".into())
    }

    fn is_hidden(row: &Row, by: &Row, taken: bool, members: &[&str]) -> bool {
        let members = members.iter().map(|&name| name.to_owned()).collect();
        let members = Members::from([("team".to_owned(), members)]);
        hidden_by(row, [(by, taken)].into_iter(), &members).is_some()
    }

    #[test]
    fn a_groups_higher_row_is_hidden_by_a_members_own() {
        let high = row(team(), "m", Level::Edit, Rank::Groups);
        let own = row(ana(), "m", Level::Read, Rank::Own);
        assert!(is_hidden(&high, &own, true, &["ana"]));
        assert!(!is_hidden(&high, &own, true, &["bob"]), "she is not in it");
        let higher = row(ana(), "m", Level::Manage, Rank::Own);
        assert!(!is_hidden(&high, &higher, true, &["ana"]));
        let elsewhere = row(ana(), "n", Level::Read, Rank::Own);
        assert!(!is_hidden(&high, &elsewhere, true, &["ana"]));
    }

    #[test]
    fn a_refusal_hides_only_where_it_can_not_be_taken_over() {
        let pattern = row(ana(), "m*", Level::Edit, Rank::Regex(2));
        let refusal = row(ana(), "m-secret", Level::Deny, Rank::Own);
        assert!(!is_hidden(&pattern, &refusal, true, &[]), "DENY has the last word here");
        assert!(is_hidden(&pattern, &refusal, false, &[]));
    }

    #[test]
    fn among_regular_expressions_the_better_priority_hides() {
        let late = row(ana(), "m*", Level::Edit, Rank::Regex(2));
        let early = row(ana(), "m-x*", Level::Read, Rank::Regex(1));
        assert!(is_hidden(&late, &early, true, &[]));
        assert!(!is_hidden(&early, &late, true, &[]));
        let same = row(ana(), "m-x*", Level::Read, Rank::Regex(2));
        assert!(!is_hidden(&late, &same, true, &[]), "in one tier, the highest counts");
    }
}
