//! What an import would do.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;

use secrecy::SecretString;

use super::{GrantKey, ImportError, Note, Source, SourceGroup, SourceUser};
use crate::domain::{Level, Pattern, ResourceType, validate_grant};
use crate::store::{Role, RoleId, Store, User, UserId};

/// One addition to the store, in an order in which they can be made.
#[derive(Debug)]
pub enum Step {
    SetDefaultPermission(Level),
    CreateUser {
        username: String,
        password_hash: Option<SecretString>,
        is_admin: bool,
        service_account: bool,
    },
    DisableUser {
        username: String,
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
    GiveToGroup {
        workspace: String,
        role: String,
        group: String,
    },
    AddToGroup {
        username: String,
        group: String,
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
            Self::CreateUser { username, password_hash, is_admin, service_account } => {
                let kind = match (is_admin, service_account) {
                    (true, _) => "administrator",
                    (false, true) => "service account",
                    (false, false) => "user",
                };
                let without = password_hash.is_none() && !service_account;
                let how = if without { ", without a password" } else { "" };
                write!(f, "create {kind} {username}{how}")
            }
            Self::DisableUser { username } => write!(f, "disable user {username}"),
            Self::CreateRole { workspace, name, .. } => {
                write!(f, "create role {name} in {workspace}")
            }
            Self::Permit { workspace, role, resource, pattern, level } => {
                write!(f, "let role {role} in {workspace} have {level} on {resource} {pattern}")
            }
            Self::Assign { workspace, role, username } => {
                write!(f, "give role {role} in {workspace} to {username}")
            }
            Self::GiveToGroup { workspace, role, group } => {
                write!(f, "give role {role} in {workspace} to group {group}")
            }
            Self::AddToGroup { username, group } => write!(f, "add {username} to group {group}"),
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
        match held.users.get(&username) {
            None => {
                // With or without the password: its grants would be the identity provider's user's.
                reserved.refuse_password_of(&username)?;
                create(&mut plan, username, user);
            }
            Some(held) => {
                plan.present += 1;
                compare(&mut plan, &username, held, &user);
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
    groups(&mut plan, source.groups, &held);
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

fn create(plan: &mut Plan, username: String, user: SourceUser) {
    let SourceUser { password_hash, is_admin, service_account, disabled } = user;
    let disable = disabled.then(|| Step::DisableUser { username: username.clone() });
    plan.steps.push(Step::CreateUser { username, password_hash, is_admin, service_account });
    plan.steps.extend(disable);
}

fn compare(plan: &mut Plan, username: &str, held: &HeldUser, user: &SourceUser) {
    for (what, here, there) in [
        ("an administrator", held.is_admin, user.is_admin),
        ("disabled", held.disabled, user.disabled),
    ] {
        if here != there {
            let is = if here { "is" } else { "is not" };
            plan.note(
                format!("user {username}"),
                format!("{is} {what} here, unlike in the source; kept so"),
            );
        }
    }
}

fn groups(plan: &mut Plan, groups: BTreeMap<String, SourceGroup>, held: &Held) {
    for (group, SourceGroup { roles, members }) in groups {
        let there = held.groups.get(&group);
        for (workspace, role) in roles {
            let key = (workspace, role);
            if there.is_some_and(|there| there.roles.contains(&key)) {
                plan.present += 1;
            } else {
                let ((workspace, role), group) = (key, group.clone());
                plan.steps.push(Step::GiveToGroup { workspace, role, group });
            }
        }
        for username in members {
            if there.is_some_and(|there| there.members.contains(&username)) {
                plan.present += 1;
            } else {
                plan.steps.push(Step::AddToGroup { username, group: group.clone() });
            }
        }
    }
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
    users: HashMap<String, HeldUser>,
    groups: BTreeMap<String, SourceGroup>,
    roles: HashMap<(String, String), HeldRole>,
    grants: HashMap<GrantKey, Level>,
}

struct HeldUser {
    is_admin: bool,
    disabled: bool,
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
            users: users
                .iter()
                .map(|User { username, is_admin, disabled, .. }| {
                    (username.clone(), HeldUser { is_admin: *is_admin, disabled: *disabled })
                })
                .collect(),
            groups: BTreeMap::new(),
            roles: HashMap::new(),
            grants: HashMap::new(),
        };
        let assignments = store.assignments(None).await?;
        let mut roles: HashMap<RoleId, (String, String)> = HashMap::new();
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
            roles.insert(id, (workspace.clone(), name.clone()));
            held.roles.insert((workspace, name), HeldRole { permissions, assigned });
        }
        for group in store.groups().await? {
            let given = group.roles.iter().filter_map(|id| roles.get(id)).cloned().collect();
            let members = group.members.into_iter().collect();
            held.groups.insert(group.name, SourceGroup { roles: given, members });
        }
        Ok(held)
    }
}
