//! MLflow's REST API for users, roles and permissions, as `mlflow.server.auth` 3.17.2 serves it,
//! so that `AuthServiceClient` and MLflow's account and admin pages work unmodified; and the calls
//! that MLflow had before 3.14, so that older clients do. Besides, calls for what MLflow has not:
//! tokens and groups, below `/2.0/mlgate`.
//!
//! Every call is two steps, as in MLflow: whether the caller may make it, then what it does.
//! Super admins skip the first. Where the first fails, the answer is 403 with the same bytes
//! whether what was named is absent or not the caller's.

mod answer;
mod authority;
mod groups;
mod legacy;
mod params;
mod permissions;
mod roles;
mod routes;
mod shapes;
mod tokens;
mod users;
mod words;
mod workspaces;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use crate::credentials::Verifier;
use crate::domain::DEFAULT_WORKSPACE;
use crate::policy::Reach;
use crate::store::{Actor, Channel, Settings, Store};

pub use self::answer::AdminResponse;
use self::answer::{Answer, ErrorCode, Refusal};
use self::authority::Authority;
use self::params::Params;
use self::routes::{Call, Found};

/// What the API works on.
#[derive(Clone)]
pub struct AdminContext {
    pub store: Store,
    /// Verifies and computes password hashes within its bounds.
    pub verifier: Arc<Verifier>,
}

/// Who calls, as authentication established it for this very request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    pub username: String,
    /// The user's own flag, or an administrators' group of the identity provider.
    pub super_admin: bool,
    /// Groups that the credential claims.
    pub groups: Vec<String>,
    pub means: Means,
    /// How far the credential reaches. One that is limited changes nothing here, whosever it is.
    pub reach: Reach,
}

/// What the caller has logged in by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Means {
    /// It came as HTTP Basic, so a browser may be caching it: the interface then offers to log
    /// out and to change the password.
    Password,
    /// One of our own.
    Token,
    IdentityProvider,
}

/// A call, already canonical.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AdminRequest {
    /// Upper case.
    pub method: String,
    /// Decoded, without static prefix and query, e.g. `/api/2.0/mlflow/users/get`.
    pub path: String,
    /// Decoded, in order.
    pub query: Vec<(String, String)>,
    /// The content type's essence, lower case; empty when there is none.
    pub content_type: String,
    pub body: Vec<u8>,
    /// `X-MLFLOW-WORKSPACE`; empty when there is none.
    pub workspace: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Method {
    Get,
    Post,
    Patch,
    Delete,
}

impl Method {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Post => "POST",
            Self::Patch => "PATCH",
            Self::Delete => "DELETE",
        }
    }
}

/// One call in progress.
struct Context<'a> {
    store: &'a Store,
    verifier: &'a Verifier,
    caller: &'a Caller,
    actor: Actor,
    settings: Settings,
    authority: Authority<'a>,
    /// Where the per-user permissions of this request live.
    workspace: &'a str,
    query: &'a [(String, String)],
    params: Params,
}

/// Answers one call of the API. Errors are answers too.
pub async fn handle(
    context: &AdminContext,
    caller: &Caller,
    request: &AdminRequest,
) -> AdminResponse {
    match route(context, caller, request).await {
        Ok(response) => response,
        Err(refusal) => refusal.into(),
    }
}

async fn route(context: &AdminContext, caller: &Caller, request: &AdminRequest) -> Answer {
    let settings = context.store.settings().await?;
    let workspace = workspace(&settings, &request.workspace)?;
    let (call, method) = match routes::find(&request.method, &request.path) {
        Found::Call(call, method) => (call, method),
        // MLflow fails closed on what it does not know, before it says that it does not.
        _ if !caller.super_admin => return Err(Refusal::denied()),
        Found::OtherMethod { allow } => return Err(Refusal::MethodNotAllowed { allow }),
        Found::Nothing => {
            return Err(Refusal::new(
                ErrorCode::EndpointNotFound,
                format!("No endpoint matches {} {}.", request.method, request.path),
            ));
        }
    };
    if !within_reach(&caller.reach, method, &call) {
        return Err(Refusal::denied());
    }
    let context = Context {
        store: &context.store,
        verifier: &context.verifier,
        caller,
        actor: Actor::new(caller.username.clone(), Channel::Api),
        settings,
        authority: Authority::load(&context.store, caller, settings).await?,
        workspace,
        query: &request.query,
        params: Params::read(method, request),
    };
    context.answer(call).await
}

/// A credential for less than everything may only look, and one for some experiments only at who
/// it is: users, roles and permissions are in no experiment.
fn within_reach(reach: &Reach, method: Method, call: &Call<'_>) -> bool {
    reach.is_everything()
        || (method == Method::Get
            && (reach.experiments().is_none() || matches!(call, Call::CurrentUser)))
}

/// MLflow's `_get_active_workspace_name`: `default` when workspaces are off, and then nothing
/// else may be named.
fn workspace<'r>(settings: &Settings, named: &'r str) -> Result<&'r str, Refusal> {
    match (settings.workspaces, named.trim()) {
        (_, "") => Ok(DEFAULT_WORKSPACE),
        (true, _) => Ok(named),
        (false, _) => Err(workspaces_are_off()),
    }
}

fn workspaces_are_off() -> Refusal {
    Refusal::new(
        ErrorCode::FeatureDisabled,
        "Workspace APIs are not available: workspaces are not enabled on this server",
    )
}

impl Context<'_> {
    async fn answer(&self, call: Call<'_>) -> Answer {
        match call {
            Call::CreateUser => self.create_user().await,
            Call::GetUser => self.get_user().await,
            Call::ListUsers => self.list_users().await,
            Call::CurrentUser => self.current_user(),
            Call::UpdatePassword => self.update_password().await,
            Call::UpdateAdmin => self.update_admin().await,
            Call::DeleteUser => self.delete_user().await,
            Call::SignUp => self.sign_up(),
            Call::CreateRole => self.create_role().await,
            Call::GetRole => self.get_role().await,
            Call::ListRoles => self.list_roles().await,
            Call::UpdateRole => self.update_role().await,
            Call::DeleteRole => self.delete_role().await,
            Call::AddRolePermission => self.add_role_permission().await,
            Call::RemoveRolePermission => self.remove_role_permission().await,
            Call::ListRolePermissions => self.list_role_permissions().await,
            Call::UpdateRolePermission => self.update_role_permission().await,
            Call::AssignRole => self.assign_role().await,
            Call::UnassignRole => self.unassign_role().await,
            Call::ListRoleUsers => self.list_role_users().await,
            Call::ListUserRoles => self.list_user_roles().await,
            Call::CurrentPermissions => self.current_permissions().await,
            Call::ListUserPermissions => self.list_user_permissions().await,
            Call::GrantUserPermission => self.grant_user_permission().await,
            Call::RevokeUserPermission => self.revoke_user_permission().await,
            Call::GetUserPermission => self.get_user_permission().await,
            Call::Legacy(family, operation) => self.legacy(family, operation).await,
            Call::ListWorkspacePermissions(name) => self.list_workspace_permissions(name).await,
            Call::SetWorkspacePermission(name) => self.set_workspace_permission(name).await,
            Call::DeleteWorkspacePermission(name) => self.delete_workspace_permission(name).await,
            Call::ListUserWorkspacePermissions => self.list_user_workspace_permissions().await,
            Call::CreateToken => self.create_token().await,
            Call::ListTokens => self.list_tokens().await,
            Call::RevokeToken => self.revoke_token().await,
            Call::ListGroups => self.list_groups().await,
            Call::CreateGroup => self.create_group().await,
            Call::DeleteGroup => self.delete_group().await,
            Call::AddGroupMember => self.add_group_member().await,
            Call::RemoveGroupMember => self.remove_group_member().await,
            Call::AddGroupRole => self.add_group_role().await,
            Call::RemoveGroupRole => self.remove_group_role().await,
        }
    }

    /// Refuses tokens of our own, a super admin's too: a stolen one must end with its revocation,
    /// and not live on in the tokens, accounts, passwords and administrators it has made.
    fn require_login(&self) -> Result<(), Refusal> {
        match self.caller.means {
            Means::Password | Means::IdentityProvider => Ok(()),
            Means::Token => Err(Refusal::new(
                ErrorCode::PermissionDenied,
                "A token makes no credentials. Log in.",
            )),
        }
    }

    /// Whether the caller names themselves.
    fn is_caller(&self, username: &str) -> bool {
        self.caller.username == username
    }
}
