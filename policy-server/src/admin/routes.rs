//! The calls of the API, one line each.

use super::Method;
use super::legacy::{Family, Operation};

/// What a call is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Call<'p> {
    CreateUser,
    GetUser,
    ListUsers,
    CurrentUser,
    UpdatePassword,
    UpdateAdmin,
    DeleteUser,
    SignUp,
    CreateRole,
    GetRole,
    ListRoles,
    UpdateRole,
    DeleteRole,
    AddRolePermission,
    RemoveRolePermission,
    ListRolePermissions,
    UpdateRolePermission,
    AssignRole,
    UnassignRole,
    ListRoleUsers,
    ListUserRoles,
    CurrentPermissions,
    ListUserPermissions,
    GrantUserPermission,
    RevokeUserPermission,
    GetUserPermission,
    /// A per-resource call of MLflow before 3.14.
    Legacy(Family, Operation),
    /// Calls of MLflow 3.10 to 3.13; the name is that of a workspace.
    ListWorkspacePermissions(&'p str),
    SetWorkspacePermission(&'p str),
    DeleteWorkspacePermission(&'p str),
    ListUserWorkspacePermissions,
    // What MLflow does not have.
    CreateToken,
    ListTokens,
    RevokeToken,
    ListGroups,
    CreateGroup,
    DeleteGroup,
    AddGroupMember,
    RemoveGroupMember,
    AddGroupRole,
    RemoveGroupRole,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Found<'p> {
    Call(Call<'p>, Method),
    /// The path is known; these are its methods.
    OtherMethod {
        allow: &'static str,
    },
    Nothing,
}

use Method::{Delete, Get, Patch, Post};

/// Paths below `/api` and `/ajax-api`.
const TABLE: &[(Method, &str, Call<'static>)] = &[
    (Post, "/2.0/mlflow/users/create", Call::CreateUser),
    (Post, "/2.0/mlflow/users/create-ui", Call::SignUp),
    (Get, "/2.0/mlflow/users/get", Call::GetUser),
    (Get, "/2.0/mlflow/users/list", Call::ListUsers),
    (Get, "/2.0/mlflow/users/current", Call::CurrentUser),
    (Patch, "/2.0/mlflow/users/update-password", Call::UpdatePassword),
    (Patch, "/2.0/mlflow/users/update-admin", Call::UpdateAdmin),
    (Delete, "/2.0/mlflow/users/delete", Call::DeleteUser),
    (Post, "/3.0/mlflow/roles/create", Call::CreateRole),
    (Get, "/3.0/mlflow/roles/get", Call::GetRole),
    (Get, "/3.0/mlflow/roles/list", Call::ListRoles),
    (Patch, "/3.0/mlflow/roles/update", Call::UpdateRole),
    (Delete, "/3.0/mlflow/roles/delete", Call::DeleteRole),
    (Post, "/3.0/mlflow/roles/permissions/add", Call::AddRolePermission),
    (Delete, "/3.0/mlflow/roles/permissions/remove", Call::RemoveRolePermission),
    (Get, "/3.0/mlflow/roles/permissions/list", Call::ListRolePermissions),
    (Patch, "/3.0/mlflow/roles/permissions/update", Call::UpdateRolePermission),
    (Post, "/3.0/mlflow/roles/assign", Call::AssignRole),
    (Delete, "/3.0/mlflow/roles/unassign", Call::UnassignRole),
    (Get, "/3.0/mlflow/roles/users/list", Call::ListRoleUsers),
    (Get, "/3.0/mlflow/users/roles/list", Call::ListUserRoles),
    (Get, "/3.0/mlflow/users/current/permissions", Call::CurrentPermissions),
    (Get, "/3.0/mlflow/users/permissions/list", Call::ListUserPermissions),
    (Post, "/3.0/mlflow/users/permissions/grant", Call::GrantUserPermission),
    (Post, "/3.0/mlflow/users/permissions/revoke", Call::RevokeUserPermission),
    (Get, "/3.0/mlflow/users/permissions/get", Call::GetUserPermission),
    (Get, "/3.0/mlflow/workspace-permissions", Call::ListUserWorkspacePermissions),
    (Post, "/2.0/mlgate/tokens/create", Call::CreateToken),
    (Get, "/2.0/mlgate/tokens/list", Call::ListTokens),
    (Post, "/2.0/mlgate/tokens/revoke", Call::RevokeToken),
    (Get, "/2.0/mlgate/groups/list", Call::ListGroups),
    (Post, "/2.0/mlgate/groups/create", Call::CreateGroup),
    (Post, "/2.0/mlgate/groups/delete", Call::DeleteGroup),
    (Post, "/2.0/mlgate/groups/add-member", Call::AddGroupMember),
    (Post, "/2.0/mlgate/groups/remove-member", Call::RemoveGroupMember),
    (Post, "/2.0/mlgate/groups/add-role", Call::AddGroupRole),
    (Post, "/2.0/mlgate/groups/remove-role", Call::RemoveGroupRole),
];

/// Each has `/create`, `/get`, `/update` and `/delete` below it.
const LEGACY: &[(&str, Family)] = &[
    ("/2.0/mlflow/experiments/permissions", Family::Experiment),
    ("/2.0/mlflow/registered-models/permissions", Family::RegisteredModel),
    ("/3.0/mlflow/scorers/permissions", Family::Scorer),
    ("/3.0/mlflow/gateway/secrets/permissions", Family::GatewaySecret),
    ("/3.0/mlflow/gateway/endpoints/permissions", Family::GatewayEndpoint),
    ("/3.0/mlflow/gateway/model-definitions/permissions", Family::GatewayModelDefinition),
];

/// The call that a method and a path make.
pub(super) fn find<'p>(method: &str, path: &'p str) -> Found<'p> {
    if path == "/signup" {
        return chosen(method, [(Get, Call::SignUp)]);
    }
    let below = path.strip_prefix("/api").or_else(|| path.strip_prefix("/ajax-api"));
    let Some(below) = below else { return Found::Nothing };
    if let Some(&(only, _, call)) = TABLE.iter().find(|(_, template, _)| *template == below) {
        return chosen(method, [(only, call)]);
    }
    if let Some(found) = legacy(method, below) {
        return found;
    }
    if let Some(name) = workspace_of(below) {
        return chosen(
            method,
            [
                (Get, Call::ListWorkspacePermissions(name)),
                (Post, Call::SetWorkspacePermission(name)),
                (Delete, Call::DeleteWorkspacePermission(name)),
            ],
        );
    }
    Found::Nothing
}

fn legacy(method: &str, below: &str) -> Option<Found<'static>> {
    let (collection, operation) = below.rsplit_once('/')?;
    let (_, family) = LEGACY.iter().find(|(template, _)| *template == collection)?;
    let (only, operation) = match operation {
        "create" => (Post, Operation::Create),
        "get" => (Get, Operation::Get),
        "update" => (Patch, Operation::Update),
        "delete" => (Delete, Operation::Delete),
        _ => return None,
    };
    Some(chosen(method, [(only, Call::Legacy(*family, operation))]))
}

fn workspace_of(below: &str) -> Option<&str> {
    let name = below.strip_prefix("/3.0/mlflow/workspaces/")?.strip_suffix("/permissions")?;
    (!name.is_empty() && !name.contains('/')).then_some(name)
}

fn chosen<'p, const N: usize>(method: &str, calls: [(Method, Call<'p>); N]) -> Found<'p> {
    match calls.iter().find(|(only, _)| only.as_str() == method) {
        Some(&(only, call)) => Found::Call(call, only),
        None => Found::OtherMethod {
            allow: match calls.as_slice() {
                [(only, _)] => only.as_str(),
                _ => "DELETE, GET, POST",
            },
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_prefixes_reach_every_call() {
        for &(method, template, call) in TABLE {
            for prefix in ["/api", "/ajax-api"] {
                let path = format!("{prefix}{template}");
                assert_eq!(find(method.as_str(), &path), Found::Call(call, method), "{path}");
            }
        }
    }

    #[test]
    fn a_legacy_call_is_found_by_family_and_operation() {
        assert_eq!(
            find("PATCH", "/api/3.0/mlflow/gateway/secrets/permissions/update"),
            Found::Call(Call::Legacy(Family::GatewaySecret, Operation::Update), Patch)
        );
        assert_eq!(find("GET", "/api/2.0/mlflow/experiments/permissions/list"), Found::Nothing);
        assert_eq!(find("GET", "/api/3.0/mlflow/experiments/permissions/get"), Found::Nothing);
    }

    #[test]
    fn a_workspace_is_one_segment() {
        let path = "/api/3.0/mlflow/workspaces/team-a/permissions";
        assert_eq!(
            find("DELETE", path),
            Found::Call(Call::DeleteWorkspacePermission("team-a"), Delete)
        );
        for bad in ["//", "/a/b/", "/"] {
            let path = format!("/api/3.0/mlflow/workspaces{bad}permissions");
            assert_eq!(find("GET", &path), Found::Nothing, "{path}");
        }
    }

    #[test]
    fn another_method_is_told_apart_from_an_unknown_path() {
        assert_eq!(find("PUT", "/api/2.0/mlflow/users/get"), Found::OtherMethod { allow: "GET" });
        assert_eq!(find("get", "/api/2.0/mlflow/users/get"), Found::OtherMethod { allow: "GET" });
        assert_eq!(find("GET", "/api/2.0/mlflow/users/get/"), Found::Nothing);
        assert_eq!(find("GET", "/API/2.0/mlflow/users/get"), Found::Nothing);
        assert_eq!(find("GET", "/apix/2.0/mlflow/users/get"), Found::Nothing);
        assert_eq!(find("GET", "/2.0/mlflow/users/get"), Found::Nothing);
    }
}
