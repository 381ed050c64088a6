//! Doing what a plan says.

use super::{ImportError, Plan, Step};
use crate::store::{
    Actor, Committed, Entity, GrantSlot, IfExists, NewUser, Store, StoreError, User,
};

/// Makes all additions in one transaction: an import is there as a whole, or not at all.
///
/// # Errors
/// `Store`, e.g. `AlreadyExists` when the store was changed since the plan was made.
pub async fn apply(
    store: &Store,
    actor: &Actor,
    plan: Plan,
) -> Result<Committed<usize>, ImportError> {
    let count = plan.steps.len();
    let mut tx = store.begin(actor).await?;
    // Everything may change at once; naming thousands of scopes would help nobody.
    tx.touch_everyone();
    for step in plan.steps {
        match step {
            Step::SetDefaultPermission(level) => {
                tx.put_setting("default_permission", level.as_str()).await?;
            }
            Step::CreateUser { username, password_hash, is_admin, service_account } => {
                let new = NewUser { username, password_hash, is_admin, service_account };
                tx.insert_user(&new).await?;
            }
            Step::DisableUser { username } => {
                let before = tx.require_user(&username).await?;
                let after = User { disabled: true, ..before.clone() };
                tx.update_user("user.set_disabled", &before, &after).await?;
            }
            Step::GiveToGroup { workspace, role, group } => {
                let role = require(tx.find_role(&workspace, &role).await?, &role)?;
                tx.link_group_role(&group, &role).await?;
            }
            Step::AddToGroup { username, group } => {
                let user = tx.require_user(&username).await?;
                tx.link_group_member(&group, &user).await?;
            }
            Step::CreateRole { workspace, name, description } => {
                tx.insert_role(&workspace, &name, description.as_deref()).await?;
            }
            Step::Permit { workspace, role, resource, pattern, level } => {
                let role = require(tx.find_role(&workspace, &role).await?, &role)?;
                tx.add_permission(&role, resource, &pattern, level).await?;
            }
            Step::Assign { workspace, role, username } => {
                let role = require(tx.find_role(&workspace, &role).await?, &role)?;
                let user = tx.require_user(&username).await?;
                tx.assign(&user, &role).await?;
            }
            Step::Grant { username, workspace, resource, pattern, level } => {
                let user = tx.require_user(&username).await?;
                let slot = GrantSlot { workspace: &workspace, resource, pattern: &pattern };
                tx.put_grant(&user, slot, level, IfExists::Refuse).await?;
            }
        }
    }
    Ok(tx.commit(count).await?)
}

fn require<T>(found: Option<T>, name: &str) -> Result<T, StoreError> {
    found.ok_or_else(|| StoreError::not_found(Entity::Role, name))
}
