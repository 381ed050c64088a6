//! Rules for what is created: which names may be given, and which groups share in it.

use std::fmt;
use std::sync::Arc;

use sqlx::Row;

use super::Store;
use super::error::{Result, StoreError};
use super::grants::Slot;
use super::groups::MemberOf;
use super::intents::Author;
use super::model::User;
use super::write::{WriteTx, check_name};
use crate::domain::{Level, Pattern, ResourceType};

/// The settings' names, in the store.
pub(crate) const NAMES: &str = "creation_names";
pub(crate) const GROUPS: &str = "creation_groups";

/// Most rules of a kind.
const MAX_RULES: usize = 256;

/// Longest name of a group that can share, in bytes: its role's name has it inside.
const MAX_GROUP_BYTES: usize = 200;

/// Stands for the creator's name in a rule.
const USER: &str = "{user}";

/// Types whose objects have names that people choose.
const NAMED: &[ResourceType] = &[
    ResourceType::Experiment,
    ResourceType::RegisteredModel,
    ResourceType::Prompt,
    ResourceType::Scorer,
    ResourceType::GatewaySecret,
    ResourceType::GatewayEndpoint,
    ResourceType::GatewayModelDefinition,
    ResourceType::McpServer,
    ResourceType::Skill,
];

/// Both kinds of rules.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CreationRules {
    pub names: NameRules,
    pub groups: GroupShares,
}

/// Which names may be given: `TYPE=PATTERN`, separated by commas. A type without a rule is free.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NameRules(Arc<[(ResourceType, String)]>);

impl NameRules {
    /// # Errors
    /// `Invalid` for what is no rule.
    pub fn parse(text: &str) -> Result<Self> {
        let rules = parts(text, NAMES)?.map(|(word, pattern)| {
            let resource = word.parse().ok().filter(|resource| NAMED.contains(resource));
            match resource {
                Some(resource) if !pattern.is_empty() => Ok((resource, pattern.to_owned())),
                Some(_) => Err(StoreError::invalid(NAMES, format!("{word}: the pattern is empty"))),
                None => Err(StoreError::invalid(NAMES, format!("{word:?} is no type with names"))),
            }
        });
        Ok(Self(rules.collect::<Result<Vec<_>>>()?.into()))
    }

    /// Whether the user may give this name to an object of the type.
    pub fn permit(&self, resource: ResourceType, name: &str, username: &str) -> bool {
        let mut rules = self.0.iter().filter(|(of, _)| *of == resource).peekable();
        rules.peek().is_none() || rules.any(|(_, rule)| fits(rule, name, username))
    }
}

/// The creator's name is text: an asterisk in it must not become a wildcard.
fn fits(rule: &str, name: &str, username: &str) -> bool {
    if !rule.contains(USER) {
        return Pattern::parse(rule).matches(name);
    }
    !username.contains('*') && Pattern::parse(&rule.replace(USER, username)).matches(name)
}

impl fmt::Display for NameRules {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rules: Vec<_> = self.0.iter().map(|(of, rule)| format!("{of}={rule}")).collect();
        f.write_str(&rules.join(","))
    }
}

/// Which groups get a permission on what their members create: `GROUP=LEVEL`, separated by commas.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct GroupShares(Arc<[(String, Level)]>);

impl GroupShares {
    /// # Errors
    /// `Invalid` for what is no rule.
    pub fn parse(text: &str) -> Result<Self> {
        let shares = parts(text, GROUPS)?.map(|(group, word)| {
            check_name(GROUPS, group, MAX_GROUP_BYTES)?;
            match word.parse() {
                Ok(level @ (Level::Read | Level::Use | Level::Edit | Level::Manage)) => {
                    Ok((group.to_owned(), level))
                }
                _ => Err(StoreError::invalid(
                    GROUPS,
                    format!("{word:?}; expected READ, USE, EDIT or MANAGE"),
                )),
            }
        });
        Ok(Self(shares.collect::<Result<Vec<_>>>()?.into()))
    }
}

impl fmt::Display for GroupShares {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shares: Vec<_> =
            self.0.iter().map(|(group, level)| format!("{group}={level}")).collect();
        f.write_str(&shares.join(","))
    }
}

/// `KEY=VALUE` items that are separated by commas. A group's name may have `=` in it.
fn parts<'t>(
    text: &'t str,
    field: &'static str,
) -> Result<impl Iterator<Item = (&'t str, &'t str)>> {
    let items: Vec<_> = text.split(',').map(str::trim).filter(|item| !item.is_empty()).collect();
    let split = move |item: &&'t str| match field {
        GROUPS => item.rsplit_once('='),
        _ => item.split_once('='),
    };
    let unusable = |item: &&str| split_missing(item) || item.chars().any(char::is_control);
    if items.len() > MAX_RULES || items.iter().any(unusable) {
        return Err(StoreError::invalid(
            field,
            format!("expected at most {MAX_RULES} items such as KEY=VALUE, separated by commas"),
        ));
    }
    Ok(items.into_iter().filter_map(move |item| split(&item)))
}

fn split_missing(item: &str) -> bool {
    !item.contains('=')
}

/// Checks a setting of this module, and spells it as it is kept; `None` for another one.
pub(super) fn normalise(name: &str, value: &str) -> Result<Option<String>> {
    Ok(match name {
        NAMES => Some(NameRules::parse(value)?.to_string()),
        GROUPS => Some(GroupShares::parse(value)?.to_string()),
        _ => None,
    })
}

fn unreadable(why: StoreError) -> StoreError {
    StoreError::unreadable("setting", why)
}

impl Store {
    /// The rules in force.
    ///
    /// # Errors
    /// `Unavailable`, or `Unreadable`.
    pub async fn creation_rules(&self) -> Result<CreationRules> {
        let mut rules = CreationRules::default();
        let query = sqlx::query("SELECT name, value FROM settings WHERE name IN ($1, $2)");
        for row in query.bind(NAMES).bind(GROUPS).fetch_all(self.pool()).await? {
            let value: &str = row.try_get(1)?;
            match row.try_get(0)? {
                NAMES => rules.names = NameRules::parse(value).map_err(unreadable)?,
                _ => rules.groups = GroupShares::parse(value).map_err(unreadable)?,
            }
        }
        Ok(rules)
    }
}

impl WriteTx<'_> {
    /// Gives the creator's groups their share, through a role that each has for this.
    pub(super) async fn share_with_groups(
        &mut self,
        author: &Author,
        creator: &User,
        resource: ResourceType,
        id: &str,
    ) -> Result<()> {
        let query = sqlx::query("SELECT value FROM settings WHERE name = $1").bind(GROUPS);
        let Some(row) = query.fetch_optional(self.connection()).await? else { return Ok(()) };
        let shares = GroupShares::parse(row.try_get(0)?).map_err(unreadable)?;
        for (group, level) in shares.0.iter() {
            let member = MemberOf { claimed: &author.groups, user: creator.id };
            if !self.is_member(group, &member).await? {
                continue;
            }
            let name = format!("creations of {group}");
            let role = match self.find_role(&author.workspace, &name).await? {
                Some(role) => role,
                None => {
                    let about = "What members of the group have created";
                    self.insert_role(&author.workspace, &name, Some(about)).await?
                }
            };
            self.link_group_role(group, &role).await?;
            let pattern = Pattern::Exact(id.to_owned());
            let slot = Slot { workspace: &author.workspace, resource, pattern: &pattern };
            if self.find_permission(role.id, slot).await?.is_none() {
                self.add_permission(&role, resource, &pattern, *level).await?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_must_fit_one_of_its_types_rules() {
        let rules = NameRules::parse(
            "experiment={user}/*, registered_model=team-a.*,registered_model=shared",
        )
        .unwrap();
        let permit = |resource, name| rules.permit(resource, name, "alice");
        assert!(permit(ResourceType::Experiment, "alice/x"));
        assert!(!permit(ResourceType::Experiment, "bob/x"));
        assert!(permit(ResourceType::RegisteredModel, "team-a.x"));
        assert!(permit(ResourceType::RegisteredModel, "shared"));
        assert!(!permit(ResourceType::RegisteredModel, "sharedx"));
        assert!(permit(ResourceType::Prompt, "anything"), "no rule for prompts");
        assert!(!rules.permit(ResourceType::Experiment, "bob/x", "*"), "a name is no pattern");
    }

    #[test]
    fn rules_that_mean_nothing_are_refused() {
        for text in ["experiment", "run=x", "experiment=", "x=y", "experiment=a\u{7}"] {
            assert!(NameRules::parse(text).is_err(), "{text:?}");
        }
        for text in ["team", "team=DENY", "team=NO_PERMISSIONS", "=READ", "team=read"] {
            assert!(GroupShares::parse(text).is_err(), "{text:?}");
        }
        assert_eq!(GroupShares::parse("a=b=READ, c=EDIT").unwrap().to_string(), "a=b=READ,c=EDIT");
        assert!(NameRules::parse(" , ").unwrap().permit(ResourceType::Experiment, "x", "u"));
    }
}
