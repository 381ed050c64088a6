//! The store's rows as MLflow's API spells them (`mlflow.server.auth.entities`).

use serde_json::{Value, json};

use crate::store::{Assignment, Role, RolePermission, User};

pub(super) fn user(user: &User) -> Value {
    json!({ "id": user.id, "username": user.username, "is_admin": user.is_admin })
}

pub(super) fn role(role: &Role) -> Value {
    json!({
        "id": role.id,
        "name": role.name,
        "workspace": role.workspace,
        "description": role.description,
        "permissions": role.permissions.iter().map(role_permission).collect::<Vec<_>>(),
    })
}

pub(super) fn roles<'a>(rows: impl IntoIterator<Item = &'a Role>) -> Value {
    rows.into_iter().map(role).collect()
}

pub(super) fn role_permission(permission: &RolePermission) -> Value {
    json!({
        "id": permission.id,
        "role_id": permission.role_id,
        "resource_type": permission.resource.as_str(),
        "resource_pattern": permission.pattern.as_str(),
        "permission": permission.level.as_str(),
    })
}

pub(super) fn assignment(assignment: &Assignment) -> Value {
    json!({
        "id": assignment.id,
        "user_id": assignment.user_id,
        "role_id": assignment.role_id,
    })
}

/// Every permission of the roles, each with its role: what the interface shows of a user.
pub(super) fn held_permissions<'a>(
    is_admin: bool,
    roles: impl IntoIterator<Item = &'a Role>,
) -> Value {
    let rows: Vec<_> = roles
        .into_iter()
        .flat_map(|role| role.permissions.iter().map(move |permission| (role, permission)))
        .map(|(role, permission)| {
            json!({
                "role_id": role.id,
                "role_name": role.name,
                "workspace": role.workspace,
                "resource_type": permission.resource.as_str(),
                "resource_pattern": permission.pattern.as_str(),
                "permission": permission.level.as_str(),
            })
        })
        .collect();
    json!({ "is_admin": is_admin, "permissions": rows })
}
