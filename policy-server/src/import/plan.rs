//! What an import would do.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;

use secrecy::SecretString;

use super::{GrantKey, ImportError, Note, Source};
use crate::domain::{Level, Pattern, ResourceType, validate_grant};
use crate::store::{Role, Store, UserId};

/// One addition to the store, in an order in which they can be made.
#[derive(Debug)]
pub enum Step {
    SetDefaultPermission(Level),
    CreateUser {
        username: String,
        password_hash: Option<SecretString>,
        is_admin: bool,
    },
    CreateRole {
        workspace: String,
        name: String,
        description: Option<String>,
    },
    Permit {
        workspace: String,
        role: String,
        resource: ResourceType,
        pattern: Pattern,
        level: Level,
    },
    Assign {
        workspace: String,
        role: String,
        username: String,
    },
    Grant {
        username: String,
        workspace: String,
        resource: ResourceType,
        pattern: Pattern,
        level: Level,
    },
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::SetDefaultPermission(level) => write!(f, "set default_permission to {level}"),
            Self::CreateUser { username, password_hash, is_admin } => {
                let kind = if *is_admin { "administrator" } else { "user" };
                let how = if password_hash.is_some() { "" } else { ", without a password" };
                write!(f, "create {kind} {username}{how}")
            }
            Self::CreateRole { workspace, name, .. } => {
                write!(f, "create role {name} in {workspace}")
            }
            Self::Permit { workspace, role, resource, pattern, level } => {
                write!(f, "let role {role} in {workspace} have {level} on {resource} {pattern}")
            }
            Self::Assign { workspace, role, username } => {
                write!(f, "give role {role} in {workspace} to {username}")
            }
            Self::Grant { username, workspace, resource, pattern, level } => {
                write!(f, "grant {username} {level} on {resource} {pattern} in {workspace}")
            }
        }
    }
}

/// The difference between a source and the store.
#[derive(Debug, Default)]
pub struct Plan {
    pub steps: Vec<Step>,
    pub notes: Vec<Note>,
    /// Things of the source that the store has already.
    pub present: usize,
}

impl Plan {
    fn note(&mut self, what: impl Into<String>, why: impl Into<String>) {
        self.notes.push(Note { what: what.into(), why: why.into() });
    }
}

/// Compares. Nothing that the store has is changed: where the two differ, a note says so.
///
/// # Errors
/// `Store`.
pub async fn plan(
    store: &Store,
    source: Source,
    default_permission: Option<Level>,
) -> Result<Plan, ImportError> {
    let held = Held::read(store).await?;
    let mut plan = Plan { notes: source.notes, ..Plan::default() };
    if let Some(level) = default_permission {
        match store.stored_settings().await?.default_permission {
            stored if stored == level => plan.present += 1,
            _ => plan.steps.push(Step::SetDefaultPermission(level)),
        }
        warn_of_floor(&mut plan, &source.grants, level);
    }
    let reserved = store.reserved_prefixes().await?;
    for (username, user) in source.users {
        match held.admins.get(&username) {
            None => {
                // With or without the password: its grants would be the identity provider's user's.
                reserved.refuse_password_of(&username)?;
                let (password_hash, is_admin) = (user.password_hash, user.is_admin);
                plan.steps.push(Step::CreateUser { username, password_hash, is_admin });
            }
            Some(is_admin) => {
                plan.present += 1;
                if *is_admin != user.is_admin {
                    let is = if *is_admin { "is" } else { "is not" };
                    plan.note(
                        format!("user {username}"),
                        format!("{is} an administrator here, unlike in the source; kept so"),
                    );
                }
            }
        }
    }
    for ((workspace, name), role) in source.roles {
        let held_role = held.roles.get(&(workspace.clone(), name.clone()));
        if held_role.is_none() {
            let (workspace, name) = (workspace.clone(), name.clone());
            plan.steps.push(Step::CreateRole { workspace, name, description: role.description });
        } else {
            plan.present += 1;
        }
        for ((resource, pattern), level) in role.permissions {
            let there =
                held_role.and_then(|held| held.permissions.get(&(resource, pattern.clone())));
            let what = format!("role {name} in {workspace}: {resource} {pattern}");
            if is_new(&mut plan, there, level, what) {
                let (workspace, role) = (workspace.clone(), name.clone());
                plan.steps.push(Step::Permit { workspace, role, resource, pattern, level });
            }
        }
        for username in role.assigned {
            if held_role.is_some_and(|held| held.assigned.contains(&username)) {
                plan.present += 1;
            } else {
                let (workspace, role) = (workspace.clone(), name.clone());
                plan.steps.push(Step::Assign { workspace, role, username });
            }
        }
    }
    for (key, level) in source.grants {
        let what = format!("{} on {} {} in {}", key.0, key.2, key.3, key.1);
        let there = held.grants.get(&key);
        let (username, workspace, resource, pattern) = key;
        if let Err(why) = validate_grant(resource, &pattern, level) {
            plan.note(what, why.to_string());
        } else if is_new(&mut plan, there, level, what) {
            plan.steps.push(Step::Grant { username, workspace, resource, pattern, level });
        }
    }
    Ok(plan)
}

fn is_new(plan: &mut Plan, there: Option<&Level>, level: Level, what: String) -> bool {
    match there {
        None => return true,
        Some(there) if *there == level => {}
        Some(there) => plan.note(what, format!("has {there} here, not {level}; kept so")),
    }
    plan.present += 1;
    false
}

/// Before 3.12, a row below the default lowered it for its user. Since, only DENY restricts.
fn warn_of_floor(plan: &mut Plan, grants: &BTreeMap<GrantKey, Level>, default: Level) {
    let lowered = grants.values().filter(|level| **level != Level::Deny && **level < default);
    let count = lowered.count();
    if count > 0 {
        plan.note(
            format!("{count} permissions below default_permission {default}"),
            "do not take anything away, here as in MLflow since 3.14; in MLflow up to 3.11 they \
             did",
        );
    }
}

/// What the store has, by the names that sources use.
struct Held {
    /// Whether each user is an administrator.
    admins: HashMap<String, bool>,
    roles: HashMap<(String, String), HeldRole>,
    grants: HashMap<GrantKey, Level>,
}

struct HeldRole {
    permissions: HashMap<(ResourceType, Pattern), Level>,
    assigned: BTreeSet<String>,
}

impl Held {
    async fn read(store: &Store) -> Result<Self, ImportError> {
        let users = store.users().await?;
        let names: HashMap<UserId, &str> =
            users.iter().map(|user| (user.id, user.username.as_str())).collect();
        let mut held = Self {
            admins: users.iter().map(|user| (user.username.clone(), user.is_admin)).collect(),
            roles: HashMap::new(),
            grants: HashMap::new(),
        };
        let assignments = store.assignments(None).await?;
        for role in store.roles(None).await? {
            let Role { id, name, workspace, user_id, permissions, .. } = role;
            if let Some(username) = user_id.and_then(|id| names.get(&id)) {
                held.grants.extend(permissions.into_iter().map(|held| {
                    let key =
                        ((*username).to_owned(), workspace.clone(), held.resource, held.pattern);
                    (key, held.level)
                }));
                continue;
            }
            let assigned = assignments
                .iter()
                .filter(|assignment| assignment.role_id == id)
                .filter_map(|assignment| names.get(&assignment.user_id))
                .map(|name| (*name).to_owned())
                .collect();
            let permissions = permissions
                .into_iter()
                .map(|held| ((held.resource, held.pattern), held.level))
                .collect();
            held.roles.insert((workspace, name), HeldRole { permissions, assigned });
        }
        Ok(held)
    }
}
