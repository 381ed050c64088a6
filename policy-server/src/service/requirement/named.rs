//! What a name of the registry is the name of: models and prompts share routes, not grants.

use std::time::Duration;

use super::{Result, Translation, Unresolved};
use crate::contract as pb;
use crate::resolver::{LookupError, ModelKind, Stability};

/// What has a name of the registry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Called {
    Is(ModelKind),
    Nothing,
    /// MLflow finds something by it that is called differently.
    Otherwise,
}

impl Translation<'_> {
    /// Whether the named object of this ladder is a model or a prompt, where it matters; `None`
    /// where nobody passes. As in MLflow, what has no such name is judged as a model by its own
    /// grants, while versions of it are nobody's to look for: saying that they are not there
    /// would tell which names are. With workspaces it is in none, where nobody has a right.
    pub(super) async fn family(&mut self, rungs: &[pb::Rung]) -> Result<Option<ModelKind>> {
        let open = [pb::ResourceType::ModelOrPrompt, pb::ResourceType::ModelOrPromptVersion];
        if !rungs.iter().any(|rung| open.iter().any(|&kind| rung.r#type == kind as i32)) {
            return Ok(Some(ModelKind::Model));
        }
        let Some(pb::rung::Key::Id(name)) = rungs.last().and_then(|rung| rung.key.as_ref()) else {
            return Err(Unresolved::Malformed("model or prompt: the last rung names nothing"));
        };
        if self.super_admin {
            return Ok(Some(ModelKind::Model));
        }
        let version = pb::ResourceType::ModelOrPromptVersion as i32;
        let of_versions = rungs.iter().any(|rung| rung.r#type == version);
        Ok(match self.called(name).await? {
            Called::Is(kind) => Some(kind),
            Called::Nothing if !of_versions && !self.workspaces => Some(ModelKind::Model),
            Called::Nothing | Called::Otherwise => None,
        })
    }

    pub(super) async fn called(&mut self, name: &str) -> Result<Called> {
        let found = match self.resolver.model_kind(name, self.workspace).await {
            Ok(Some(kind)) => Called::Is(kind),
            Ok(None) => Called::Nothing,
            Err(LookupError::Misspelt) => Called::Otherwise,
            Err(error) => return Err(error.into()),
        };
        match found {
            // Clients ask for a prompt and, without one, make it.
            Called::Nothing => self.limit_reuse(Duration::ZERO),
            Called::Is(_) | Called::Otherwise => {
                self.note(Stability::Brief(Duration::from_millis(500)));
            }
        }
        Ok(found)
    }
}
