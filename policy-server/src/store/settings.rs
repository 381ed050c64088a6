//! Settings of the policy, shared by all servers on one store.

use std::str::FromStr;

use serde_json::json;
use sqlx::Row;

use super::Store;
use super::creations;
use super::error::{Entity, Result, StoreError};
use super::model::{Actor, Committed};
use super::reserved::{self, ReservedPrefixes};
use super::write::WriteTx;
use crate::domain::Level;
use crate::policy::Settings;

/// Settings that this server's configuration fixes, whatever the store says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SettingOverrides {
    pub default_permission: Option<Level>,
    pub grant_default_workspace_access: Option<bool>,
    pub workspaces: Option<bool>,
    pub reserved_prefixes: Option<ReservedPrefixes>,
}

impl SettingOverrides {
    fn apply(&self, stored: Settings) -> Settings {
        Settings {
            default_permission: self.default_permission.unwrap_or(stored.default_permission),
            grant_default_workspace_access: self
                .grant_default_workspace_access
                .unwrap_or(stored.grant_default_workspace_access),
            workspaces: self.workspaces.unwrap_or(stored.workspaces),
        }
    }
}

impl Default for Settings {
    /// Of a new installation: what nobody granted, nobody may do.
    fn default() -> Self {
        Self {
            default_permission: Level::NoPermissions,
            workspaces: false,
            grant_default_workspace_access: false,
        }
    }
}

impl Settings {
    pub const NAMES: &'static [&'static str] =
        &["default_permission", "grant_default_workspace_access", "workspaces"];

    /// The settings by name, as they are stored.
    pub fn entries(&self) -> [(&'static str, String); 3] {
        [
            ("default_permission", self.default_permission.to_string()),
            ("grant_default_workspace_access", self.grant_default_workspace_access.to_string()),
            ("workspaces", self.workspaces.to_string()),
        ]
    }

    fn set(&mut self, name: &str, value: &str) -> Result<()> {
        match name {
            "default_permission" => self.default_permission = default_permission(value)?,
            "grant_default_workspace_access" => {
                self.grant_default_workspace_access =
                    boolean("grant_default_workspace_access", value)?;
            }
            "workspaces" => self.workspaces = boolean("workspaces", value)?,
            _ => return Err(StoreError::not_found(Entity::Setting, name)),
        }
        Ok(())
    }
}

/// Reads a `default_permission`.
///
/// # Errors
/// `Invalid` for any word but NO_PERMISSIONS, READ, USE, EDIT and MANAGE. DENY is an explicit
/// refusal; a default of it would take away what grants give, which MLflow knows no case of.
pub fn default_permission(value: &str) -> Result<Level> {
    match Level::from_str(value) {
        Ok(level) if level != Level::Deny => Ok(level),
        _ => Err(StoreError::invalid(
            "default_permission",
            format!("{value:?}; expected NO_PERMISSIONS, READ, USE, EDIT or MANAGE"),
        )),
    }
}

fn boolean(name: &'static str, value: &str) -> Result<bool> {
    value
        .parse()
        .map_err(|_| StoreError::invalid(name, format!("{value:?}; expected true or false")))
}

impl Store {
    /// The settings in force: those of the store, unless this server's configuration fixes them.
    ///
    /// # Errors
    /// `Unavailable`, or `Unreadable`.
    pub async fn settings(&self) -> Result<Settings> {
        Ok(self.shared.overrides.apply(self.stored_settings().await?))
    }

    /// The settings in the store.
    ///
    /// # Errors
    /// `Unavailable`, or `Unreadable`.
    pub async fn stored_settings(&self) -> Result<Settings> {
        let mut settings = Settings::default();
        let query = sqlx::query("SELECT name, value FROM settings WHERE name NOT IN ($1, $2, $3)");
        let others = query.bind(reserved::NAME).bind(creations::NAMES).bind(creations::GROUPS);
        for row in others.fetch_all(self.pool()).await? {
            settings
                .set(row.try_get(0)?, row.try_get(1)?)
                .map_err(|why| StoreError::unreadable("setting", why))?;
        }
        Ok(settings)
    }

    /// Changes one setting.
    ///
    /// # Errors
    /// `NotFound` for a name that is none, `Invalid` for its value, `Unavailable`.
    pub async fn set_setting(
        &self,
        actor: &Actor,
        name: &str,
        value: &str,
    ) -> Result<Committed<()>> {
        let value = match name {
            reserved::NAME => ReservedPrefixes::parse(value)?.to_string(),
            _ => match creations::normalise(name, value)? {
                Some(value) => value,
                None => {
                    Settings::default().set(name, value)?;
                    value.to_owned()
                }
            },
        };
        let mut tx = self.begin(actor).await?;
        tx.put_setting(name, &value).await?;
        tx.commit(()).await
    }
}

impl WriteTx<'_> {
    /// Writes a checked value, if it differs.
    pub(crate) async fn put_setting(&mut self, name: &str, value: &str) -> Result<()> {
        let before: Option<String> = sqlx::query("SELECT value FROM settings WHERE name = $1")
            .bind(name)
            .fetch_optional(self.connection())
            .await?
            .map(|row| row.try_get(0))
            .transpose()?;
        if before.as_deref() == Some(value) {
            return Ok(());
        }
        sqlx::query(
            "INSERT INTO settings (name, value) VALUES ($1, $2) \
             ON CONFLICT (name) DO UPDATE SET value = excluded.value",
        )
        .bind(name)
        .bind(value)
        .execute(self.connection())
        .await?;
        self.touch_everyone();
        let before = before.map(|value| json!(value));
        self.audit("setting.set", name, before, Some(json!(value))).await
    }
}
