//! What decisions about one principal depend on, in one statement.

use std::collections::BTreeSet;

use sqlx::any::AnyRow;
use sqlx::{AssertSqlSafe, Row};

use super::error::{Result, StoreError};
use super::model::{PrincipalGrants, RoleId, User, UserId};
use super::{Store, changes, rows};
use crate::domain::{Action, Grant, ResourceType};

/// Most groups that a principal can claim. A claim that is cut short could lose a DENY, so more
/// are refused.
pub const MAX_GROUPS: usize = 1024;

impl Store {
    /// The user of this name with all roles and grants, those of the groups included.
    ///
    /// # Errors
    /// `Invalid` for more than [`MAX_GROUPS`] groups, `Unavailable`, or `Unreadable`.
    pub async fn principal(&self, username: &str, groups: &[String]) -> Result<PrincipalGrants> {
        self.read_principal("u.username = $1", |query| query.bind(username), groups).await
    }

    /// As [`Store::principal`], by id; with None, only what the groups give.
    ///
    /// # Errors
    /// As for [`Store::principal`].
    pub async fn principal_grants(
        &self,
        user: Option<UserId>,
        groups: &[String],
    ) -> Result<PrincipalGrants> {
        self.read_principal("u.id = $1", |query| query.bind(user.map(|id| id.0)), groups).await
    }

    /// The workspaces in which the principal has a role, even one that permits nothing; of their
    /// own grants only one on the workspace itself counts.
    ///
    /// # Errors
    /// As for [`Store::principal`].
    pub async fn workspaces_of(
        &self,
        username: &str,
        groups: &[String],
    ) -> Result<BTreeSet<String>> {
        let principal = self.principal(username, groups).await?;
        let on_workspace = |grant: &&Grant| {
            grant.resource == ResourceType::Workspace && grant.level.permits(Action::Read)
        };
        let granted = principal.grants.iter().filter(on_workspace);
        let mut workspaces: BTreeSet<_> = granted.map(|grant| grant.workspace.clone()).collect();
        if principal.roles.is_empty() {
            return Ok(workspaces);
        }
        let ids: Vec<_> = principal.roles.iter().map(|role| role.0.to_string()).collect();
        let statement = format!(
            "SELECT DISTINCT workspace FROM roles WHERE user_id IS NULL AND id IN ({})",
            ids.join(", ")
        );
        for row in sqlx::query(AssertSqlSafe(statement)).fetch_all(self.pool()).await? {
            workspaces.insert(row.try_get(0)?);
        }
        Ok(workspaces)
    }

    async fn read_principal<'q>(
        &self,
        subject: &str,
        bind: impl FnOnce(AnyQuery<'q>) -> AnyQuery<'q>,
        groups: &'q [String],
    ) -> Result<PrincipalGrants> {
        let names: BTreeSet<&str> = groups.iter().map(String::as_str).collect();
        if names.len() > MAX_GROUPS {
            return Err(StoreError::invalid(
                "groups",
                format!("{} groups; at most {MAX_GROUPS} can be claimed", names.len()),
            ));
        }
        let slots = slots(names.len());
        let mut query = bind(sqlx::query(AssertSqlSafe(statement(subject, slots))));
        // Slots that are left over repeat a name, which changes nothing.
        let filler = names.last().copied().unwrap_or_default();
        let padded = names.iter().copied().chain(std::iter::repeat(filler));
        for name in padded.take(slots) {
            query = query.bind(name);
        }
        collect(&query.fetch_all(self.pool()).await?, names)
    }
}

type AnyQuery<'q> = sqlx::query::Query<'q, sqlx::Any, sqlx::any::AnyArguments>;

/// Powers of two, so that only a few statements have to be prepared.
fn slots(names: usize) -> usize {
    if names == 0 { 0 } else { names.next_power_of_two() }
}

/// Rows of three shapes: 0 the revision and the user, 1 a role and one of its permissions (or
/// none), 2 a group. One statement, and so one snapshot on both databases.
fn statement(subject: &str, slots: usize) -> String {
    let placeholders: Vec<String> = (0..slots).map(|slot| format!("${}", slot + 2)).collect();
    let claimed = if slots == 0 { "NULL".to_owned() } else { placeholders.join(", ") };
    format!(
        "WITH subject AS (SELECT u.* FROM users u WHERE {subject}), \
         in_groups AS ( \
             SELECT g.id, g.name FROM user_groups g WHERE g.name IN ({claimed}) \
             UNION SELECT g.id, g.name FROM subject s \
                   JOIN group_members m ON m.user_id = s.id JOIN user_groups g ON g.id = m.group_id), \
         in_roles AS ( \
             SELECT a.role_id FROM subject s JOIN user_role_assignments a ON a.user_id = s.id \
             UNION SELECT gr.role_id FROM in_groups g JOIN group_roles gr ON gr.group_id = g.id) \
         SELECT 0 AS shape, v.value AS number, s.id AS id, s.is_admin AS flag_a, \
                s.disabled AS flag_b, s.service_account AS flag_c, s.created_at AS at, \
                s.username AS text_a, s.password_hash AS text_b, CAST(NULL AS TEXT) AS text_c, \
                CAST(NULL AS TEXT) AS text_d, CAST(NULL AS TEXT) AS text_e \
         FROM revision v LEFT JOIN subject s ON 1 = 1 \
         UNION ALL \
         SELECT 1, r.id, p.id, 0, 0, 0, 0, \
                r.workspace, p.resource_type, p.resource_pattern, p.pattern_kind, p.permission \
         FROM in_roles i JOIN roles r ON r.id = i.role_id \
              LEFT JOIN role_permissions p ON p.role_id = r.id \
         UNION ALL \
         SELECT 2, g.id, NULL, 0, 0, 0, 0, g.name, NULL, NULL, NULL, NULL FROM in_groups g"
    )
}

fn collect(rows: &[AnyRow], claimed: BTreeSet<&str>) -> Result<PrincipalGrants> {
    let mut revision = None;
    let mut user = None;
    let mut roles = BTreeSet::new();
    let mut groups: BTreeSet<String> = claimed.into_iter().map(str::to_owned).collect();
    let mut grants = Vec::new();
    for row in rows {
        let number: i64 = row.try_get(1)?;
        match shape(row)? {
            Shape::Subject => {
                revision = Some(changes::from_row(number)?);
                user = subject(row)?;
            }
            Shape::Role => {
                roles.insert(RoleId(number));
                grants.extend(grant(row)?);
            }
            Shape::Group => {
                groups.insert(row.try_get(7)?);
            }
        }
    }
    Ok(PrincipalGrants {
        revision: revision.ok_or_else(|| StoreError::unreadable("revision", "it is missing"))?,
        user,
        roles: roles.into_iter().collect(),
        groups: groups.into_iter().collect(),
        grants,
    })
}

enum Shape {
    Subject,
    Role,
    Group,
}

fn shape(row: &AnyRow) -> Result<Shape> {
    match row.try_get::<i64, _>(0)? {
        0 => Ok(Shape::Subject),
        1 => Ok(Shape::Role),
        2 => Ok(Shape::Group),
        other => Err(StoreError::unreadable("principal", format!("row of shape {other}"))),
    }
}

fn subject(row: &AnyRow) -> Result<Option<User>> {
    let Some(id) = row.try_get::<Option<i64>, _>(2)? else { return Ok(None) };
    Ok(Some(User {
        id: UserId(id),
        username: row.try_get(7)?,
        password_hash: row.try_get::<Option<String>, _>(8)?.map(Into::into),
        is_admin: rows::flag(row, 3)?,
        disabled: rows::flag(row, 4)?,
        service_account: rows::flag(row, 5)?,
        created_at: row.try_get(6)?,
    }))
}

fn grant(row: &AnyRow) -> Result<Option<Grant>> {
    if row.try_get::<Option<i64>, _>(2)?.is_none() {
        return Ok(None);
    }
    Ok(Some(Grant {
        workspace: row.try_get(7)?,
        resource: rows::word(row.try_get(8)?)?,
        pattern: rows::pattern(row.try_get(9)?, row.try_get(10)?)?,
        level: rows::word(row.try_get(11)?)?,
    }))
}
