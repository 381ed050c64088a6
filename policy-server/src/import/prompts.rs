//! Telling prompts from models. Before MLflow 3.14 their permissions were the same rows; now a
//! grant on a model says nothing about a prompt, and whether a name is a prompt is known only to
//! the registry.

use std::collections::HashSet;

use sqlx::{AnyConnection, AssertSqlSafe, Row};

use super::mlflow::Tables;
use crate::domain::{DEFAULT_WORKSPACE, Level, Pattern, ResourceType};

/// What is known of the registry.
#[derive(Debug)]
pub(super) enum Prompts {
    /// (workspace, name) of every prompt.
    Known(HashSet<(String, String)>),
    Unknown,
    /// The source tells them apart itself.
    Separate,
}

impl Prompts {
    /// From the tags of registered models, where the database has them.
    pub(super) async fn read(
        connection: &mut AnyConnection,
        tables: &Tables,
    ) -> sqlx::Result<Option<Self>> {
        if !tables.has("registered_model_tags") {
            return Ok(None);
        }
        let workspace = match tables.has_column("registered_model_tags", "workspace") {
            true => "workspace".to_owned(),
            false => format!("'{DEFAULT_WORKSPACE}'"),
        };
        let statement = format!(
            "SELECT CAST({workspace} AS TEXT), name FROM registered_model_tags \
             WHERE key = 'mlflow.prompt.is_prompt' AND LOWER(value) = 'true'"
        );
        let rows = sqlx::query(AssertSqlSafe(statement)).fetch_all(connection).await?;
        let prompts = rows
            .iter()
            .map(|row| Ok((row.try_get(0)?, row.try_get(1)?)))
            .collect::<sqlx::Result<_>>()?;
        Ok(Some(Self::Known(prompts)))
    }

    /// The types that a row on registered models stands for. A DENY that might be about a prompt
    /// is kept for both; a permission that might be is given for models only, as MLflow's own
    /// upgrade does.
    pub(super) fn types(
        &self,
        workspace: &str,
        pattern: &Pattern,
        level: Level,
    ) -> &'static [ResourceType] {
        const MODEL: &[ResourceType] = &[ResourceType::RegisteredModel];
        const PROMPT: &[ResourceType] = &[ResourceType::Prompt];
        const BOTH: &[ResourceType] = &[ResourceType::RegisteredModel, ResourceType::Prompt];
        match (self, pattern) {
            (Self::Separate, _) => MODEL,
            (Self::Known(prompts), Pattern::Exact(name)) => {
                match prompts.contains(&(workspace.to_owned(), name.clone())) {
                    true => PROMPT,
                    false => MODEL,
                }
            }
            _ if level == Level::Deny => BOTH,
            _ => MODEL,
        }
    }

    /// Whether [`Prompts::types`] may have left out a permission on a prompt.
    pub(super) fn is_in_doubt(&self, pattern: &Pattern, level: Level) -> bool {
        match self {
            Self::Separate => false,
            Self::Known(_) => *pattern == Pattern::Every && level != Level::Deny,
            Self::Unknown => level != Level::Deny,
        }
    }
}
