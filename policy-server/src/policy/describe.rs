//! Checks in words, for the decision log.

use std::fmt::{self, Display};

use super::check::{Check, Fact, RungCheck, Standing};
use super::grants::{Deciding, RowKey};

impl Display for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ladder { rungs, .. } => joined(f, rungs, ", else "),
            Self::Standing(standing) => f.write_str(match standing {
                Standing::Authenticated => "a login",
                Standing::SuperAdmin => "to be a super admin",
                Standing::WorkspaceAdmin => "to administer the workspace",
                Standing::AnyWorkspaceAdmin => "to administer a workspace",
                Standing::WorkspaceCreate => "that one may create in the workspace",
            }),
            Self::Floor(action) => write!(f, "{action} by default_permission"),
            Self::Fact(fact, _) => f.write_str(match fact {
                Fact::Owned => "to have created it",
                Fact::Assigned => "to be assigned to it",
                Fact::Myself => "to be the user that is named",
                Fact::Nameable => "that the name may be given",
                Fact::Absent => "that there is none of this name",
                Fact::Present => "that there is one of this name",
            }),
            Self::AnyOf(checks) => within(f, "one of", checks, " | "),
            Self::AllOf(checks) => within(f, "all of", checks, " & "),
            Self::Unresolved => f.write_str("an object that is known"),
            Self::Missing => f.write_str("an object that exists"),
            Self::Untold => f.write_str("an object that MLflow's REST API tells of"),
        }
    }
}

impl Display for RungCheck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let id = match &self.key {
            RowKey::Id(id) => id,
            RowKey::Every => "*",
        };
        write!(f, "{} on {} {id}", self.action, self.resource)
    }
}

impl Display for Deciding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} on {} {}", self.level, self.resource, self.pattern.as_str())
    }
}

fn within(f: &mut fmt::Formatter<'_>, what: &str, checks: &[Check], by: &str) -> fmt::Result {
    write!(f, "{what} (")?;
    joined(f, checks, by)?;
    f.write_str(")")
}

fn joined<T: Display>(f: &mut fmt::Formatter<'_>, items: &[T], by: &str) -> fmt::Result {
    for (index, item) in items.iter().enumerate() {
        if index > 0 {
            f.write_str(by)?;
        }
        item.fmt(f)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{Action, ResourceType};

    #[test]
    fn a_ladder_is_told_rung_by_rung() {
        let rung = |resource, key| RungCheck { resource, action: Action::Update, key };
        let rungs = vec![
            rung(ResourceType::Run, RowKey::Every),
            rung(ResourceType::Experiment, RowKey::Id("12".to_owned())),
        ];
        let ladder = Check::Ladder { rungs, explicit_only: false };
        let told = Check::AnyOf(vec![ladder, Check::Standing(Standing::SuperAdmin)]).to_string();
        assert_eq!(
            told,
            "one of (update on run *, else update on experiment 12 | to be a super admin)"
        );
    }
}
