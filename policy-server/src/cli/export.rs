//! `mlgate export`.

use std::collections::HashMap;

use serde_json::{Value, json};

use super::output::Output;
use super::role::role_json;
use super::user::user_json;
use super::{Session, settings};
use crate::store::UserId;

/// The whole policy. Hashes stay in the store: an export is something that people mail around.
pub(super) async fn run(session: &Session) -> anyhow::Result<Output> {
    let store = &session.store;
    let before = store.revision().await?;
    let users = store.users().await?;
    let names: HashMap<UserId, &str> =
        users.iter().map(|user| (user.id, user.username.as_str())).collect();
    let assignments: Vec<Value> = store
        .assignments(None)
        .await?
        .iter()
        .map(|held| json!({ "username": names.get(&held.user_id), "role_id": held.role_id }))
        .collect();
    let settings: serde_json::Map<String, Value> = settings::stored(store)
        .await?
        .into_iter()
        .map(|(name, value)| (name.to_owned(), json!(value)))
        .collect();
    let roles = store.roles(None).await?;
    let groups = store.groups().await?;
    if store.revision().await? != before {
        anyhow::bail!("the policy changed while it was read; try again");
    }
    let json = json!({
        "revision": before,
        "settings": settings,
        "users": users.iter().map(user_json).collect::<Vec<_>>(),
        "roles": roles.iter().map(role_json).collect::<Vec<_>>(),
        "assignments": assignments,
        "groups": groups,
    });
    Ok(Output::new(format!("{json:#}"), json))
}
