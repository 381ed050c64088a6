//! A principal's grants, indexed for the evaluator.

use std::collections::HashMap;
use std::sync::LazyLock;

use crate::domain::{Grant, Level, Pattern, ResourceType};

/// Everything that is granted to one principal, in all workspaces.
#[derive(Debug, Clone, Default)]
pub struct Grants {
    workspaces: HashMap<String, WorkspaceGrants>,
}

/// The grants of one principal in one workspace.
#[derive(Debug, Clone, Default)]
pub struct WorkspaceGrants {
    types: HashMap<ResourceType, TypeGrants>,
    admin: bool,
}

#[derive(Debug, Clone, Default)]
struct TypeGrants {
    every: Option<Level>,
    exact: HashMap<String, Level>,
    globs: Vec<(Pattern, Level)>,
}

/// The row, or the strongest of several equal rows, that decided.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Deciding {
    pub resource: ResourceType,
    pub pattern: Pattern,
    pub level: Level,
}

/// Which rows a rung looks at.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum RowKey {
    /// Rows for this id, and `*` rows.
    Id(String),
    /// Only `*` rows.
    Every,
}

/// Among rows of one rung: DENY beats everything, then the highest level (semantics §3).
pub(super) fn stronger(one: Level, other: Level) -> Level {
    match (deny_if_nothing(one), deny_if_nothing(other)) {
        (Level::Deny, _) | (_, Level::Deny) => Level::Deny,
        (one, other) => one.max(other),
    }
}

/// NO_PERMISSIONS is not grantable since MLflow 3.14; before, it meant an explicit denial.
fn deny_if_nothing(level: Level) -> Level {
    if level == Level::NoPermissions { Level::Deny } else { level }
}

impl Grants {
    pub fn new<'a>(rows: impl IntoIterator<Item = &'a Grant>) -> Self {
        let mut grants = Self::default();
        for row in rows {
            grants.workspaces.entry(row.workspace.clone()).or_default().add(row);
        }
        grants
    }

    pub fn in_workspace(&self, workspace: &str) -> Option<&WorkspaceGrants> {
        self.workspaces.get(workspace)
    }

    /// Whether `(workspace, *, MANAGE)` is held in any workspace.
    pub fn administers_any_workspace(&self) -> bool {
        self.workspaces.values().any(|workspace| workspace.admin)
    }

    pub fn workspaces(&self) -> impl Iterator<Item = &str> {
        self.workspaces.keys().map(String::as_str)
    }
}

impl WorkspaceGrants {
    fn add(&mut self, row: &Grant) {
        let level = deny_if_nothing(row.level);
        let rows = self.types.entry(row.resource).or_default();
        match &row.pattern {
            Pattern::Every => {
                rows.every = Some(rows.every.map_or(level, |held| stronger(held, level)));
                self.admin |= row.resource == ResourceType::Workspace && level == Level::Manage;
            }
            // MLflow ignores such rows of wildcard-only types (permissions.matches).
            _ if row.resource.wildcard_only() => {}
            Pattern::Exact(id) => {
                rows.exact
                    .entry(id.clone())
                    .and_modify(|held| *held = stronger(*held, level))
                    .or_insert(level);
            }
            glob @ Pattern::Glob(_) => rows.globs.push((glob.clone(), level)),
        }
    }

    /// `(workspace, *, MANAGE)`: not restrictable, not even by DENY.
    pub fn administers(&self) -> bool {
        self.admin
    }

    /// Ids of the type that have a row of their own.
    pub fn exact_ids(&self, resource: ResourceType) -> impl ExactSizeIterator<Item = &str> {
        static NONE: LazyLock<HashMap<String, Level>> = LazyLock::new(HashMap::new);
        let exact = self.types.get(&resource).map_or(&*NONE, |rows| &rows.exact);
        exact.keys().map(String::as_str)
    }

    /// Whether some ids of the type are decided by globs, so that they cannot be listed.
    pub fn has_globs(&self, resource: ResourceType) -> bool {
        self.types.get(&resource).is_some_and(|rows| !rows.globs.is_empty())
    }

    /// The row that speaks for one rung; `None` when none does.
    pub fn at(&self, resource: ResourceType, key: &RowKey) -> Option<Deciding> {
        let rows = self.types.get(&resource)?;
        let mut found: Option<Deciding> = None;
        let mut consider = |pattern: &dyn Fn() -> Pattern, level: Level| {
            let wins = found
                .as_ref()
                .is_none_or(|held| held.level != level && stronger(held.level, level) == level);
            if wins {
                found = Some(Deciding { resource, pattern: pattern(), level });
            }
        };
        if let RowKey::Id(id) = key {
            if let Some(&level) = rows.exact.get(id) {
                consider(&|| Pattern::Exact(id.clone()), level);
            }
            for (glob, level) in rows.globs.iter().filter(|(glob, _)| glob.matches(id)) {
                consider(&|| glob.clone(), *level);
            }
        }
        if let Some(level) = rows.every {
            consider(&|| Pattern::Every, level);
        }
        found
    }
}
