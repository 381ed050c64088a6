//! Between rows and the model's types. A word that this version does not know is an error, never
//! a default: the row might be a DENY.

use sqlx::Row;
use sqlx::any::AnyRow;

use super::error::{Result, StoreError};
use super::model::{Role, RoleId, RolePermission, RolePermissionId, User, UserId};
use crate::domain::Pattern;

/// Columns of `users` in the order that [`user`] reads them.
pub(super) const USER_COLUMNS: &str =
    "id, username, password_hash, is_admin, disabled, service_account, created_at";

pub(super) fn user(row: &AnyRow) -> Result<User> {
    Ok(User {
        id: UserId(row.try_get(0)?),
        username: row.try_get(1)?,
        password_hash: row.try_get::<Option<String>, _>(2)?.map(Into::into),
        is_admin: flag(row, 3)?,
        disabled: flag(row, 4)?,
        service_account: flag(row, 5)?,
        created_at: row.try_get(6)?,
    })
}

/// Columns of `roles` in the order that [`role`] reads them.
pub(super) const ROLE_COLUMNS: &str = "r.id, r.name, r.workspace, r.description, r.user_id";

/// Without its permissions.
pub(super) fn role(row: &AnyRow) -> Result<Role> {
    Ok(Role {
        id: RoleId(row.try_get(0)?),
        name: row.try_get(1)?,
        workspace: row.try_get(2)?,
        description: row.try_get(3)?,
        user_id: row.try_get::<Option<i64>, _>(4)?.map(UserId),
        permissions: Vec::new(),
    })
}

/// Columns of `role_permissions` in the order that [`role_permission`] reads them.
pub(super) const PERMISSION_COLUMNS: &str =
    "p.id, p.role_id, p.resource_type, p.resource_pattern, p.pattern_kind, p.permission";

pub(super) fn role_permission(row: &AnyRow) -> Result<RolePermission> {
    Ok(RolePermission {
        id: RolePermissionId(row.try_get(0)?),
        role_id: RoleId(row.try_get(1)?),
        resource: word(row.try_get(2)?)?,
        pattern: pattern(row.try_get(3)?, row.try_get(4)?)?,
        level: word(row.try_get(5)?)?,
    })
}

pub(super) fn word<T: std::str::FromStr<Err = crate::domain::UnknownWord>>(
    text: &str,
) -> Result<T> {
    text.parse().map_err(|why| StoreError::unreadable("role permission", why))
}

pub(super) fn pattern(text: &str, kind: &str) -> Result<Pattern> {
    match kind {
        "every" => Ok(Pattern::Every),
        "exact" => Ok(Pattern::Exact(text.to_owned())),
        "glob" => Ok(Pattern::Glob(text.to_owned())),
        _ => Err(StoreError::unreadable("role permission", format!("pattern kind {kind:?}"))),
    }
}

pub(super) const fn pattern_kind(pattern: &Pattern) -> &'static str {
    match pattern {
        Pattern::Every => "every",
        Pattern::Exact(_) => "exact",
        Pattern::Glob(_) => "glob",
    }
}

pub(super) fn flag(row: &AnyRow, column: usize) -> Result<bool> {
    Ok(row.try_get::<i64, _>(column)? != 0)
}
