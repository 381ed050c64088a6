//! Which of many objects a principal may use, for filtering lists.

use std::collections::HashSet;

use super::authorize::{Decider, Situation, listed};
use super::error::Refusal;
use super::requirement::{Translation, Unresolved, action, resource};
use crate::contract as pb;
use crate::domain::{Action, DEFAULT_WORKSPACE};
use crate::policy::{Check, Reach};
use crate::resolver::ModelKind;

const MAX_QUESTIONS: usize = 16;

/// Most ids of one request.
const MAX_IDS: usize = 50_000;

impl Decider {
    /// For each question the ids that pass, in their order.
    ///
    /// # Errors
    /// `Refusal`; then nothing may be shown.
    pub async fn visible(
        &self,
        request: &pb::VisibleRequest,
    ) -> Result<pb::VisibleResponse, Refusal> {
        if request.username.is_empty() {
            return Err(Refusal::Malformed("no principal"));
        }
        let ids: usize = request.questions.iter().map(|question| question.ids.len()).sum();
        if request.questions.len() > MAX_QUESTIONS || ids > MAX_IDS {
            return Err(Refusal::Malformed("too many questions or ids"));
        }
        let revision = self.snapshots.at_least(request.min_revision).await?;
        let principal = self.snapshots.principal(&request.username, &request.groups).await?;
        let settings = self.snapshots.settings().await?;
        let workspace = match request.workspace.as_str() {
            "" => DEFAULT_WORKSPACE,
            named => named,
        };
        if !settings.workspaces && workspace != DEFAULT_WORKSPACE {
            return Err(Refusal::Malformed("workspaces are off, and one was named"));
        }
        let reach = Reach::parse(&request.scopes).ok_or(Refusal::Malformed("unknown scopes"))?;
        let situation = Situation { principal: &principal, settings, workspace, reach: &reach };
        let mut translation = Translation::new(
            &self.resolver,
            self.snapshots.store(),
            &request.username,
            situation.passes_everything(),
            settings.workspaces,
            workspace,
        );
        let mut answers = Vec::with_capacity(request.questions.len());
        for question in &request.questions {
            if is_about_workspaces(question) {
                let allowed = self.workspaces(request, question, &situation).await?;
                answers.push(pb::Answer { allowed });
                continue;
            }
            let prompts = self.prompts(question, &translation).await?;
            let mut allowed = Vec::new();
            for id in question.ids.iter().filter(|id| !id.is_empty()) {
                let check = check(question, id, &prompts, &mut translation).await?;
                if situation.decide(&[check]).allowed {
                    allowed.push(id.clone());
                }
            }
            answers.push(pb::Answer { allowed });
        }
        Ok(pb::VisibleResponse { answers, revision })
    }

    /// MLflow lists the workspaces in which the user has a role, whatever the role permits, and
    /// not those of which the grants say that they may be read.
    async fn workspaces(
        &self,
        request: &pb::VisibleRequest,
        question: &pb::Question,
        situation: &Situation<'_>,
    ) -> Result<Vec<String>, Refusal> {
        if situation.principal.super_admin() {
            return Ok(question.ids.clone());
        }
        if situation.principal.disabled() {
            return Ok(Vec::new());
        }
        let store = self.snapshots.store();
        let seen = store.workspaces_of(&request.username, &request.groups).await?;
        let default = situation.settings.grant_default_workspace_access;
        let visible =
            |name: &&String| seen.contains(*name) || (default && *name == DEFAULT_WORKSPACE);
        Ok(question.ids.iter().filter(visible).cloned().collect())
    }

    /// Which of the question's ids are prompts, where it asks about models and prompts at once.
    async fn prompts(
        &self,
        question: &pb::Question,
        translation: &Translation<'_>,
    ) -> Result<HashSet<String>, Refusal> {
        let open = question.r#type == pb::ResourceType::ModelOrPrompt as i32;
        if !open || by_reference(question) || translation.super_admin {
            return Ok(HashSet::new());
        }
        let names: Vec<&str> =
            question.ids.iter().map(String::as_str).filter(|id| !id.is_empty()).collect();
        let found = self.resolver.prompts(&names, translation.workspace).await;
        Ok(found.map_err(Unresolved::Lookup)?)
    }
}

fn is_about_workspaces(question: &pb::Question) -> bool {
    question.r#type == pb::ResourceType::Workspace as i32
        && question.action == pb::Action::Read as i32
        && !question.point
        && !by_reference(question)
}

/// The ids are of something else, through which the rows are decided.
fn by_reference(question: &pb::Question) -> bool {
    question.owned || question.reference != pb::ReferenceKind::Unspecified as i32
}

async fn check(
    question: &pb::Question,
    id: &str,
    prompts: &HashSet<String>,
    translation: &mut Translation<'_>,
) -> Result<Check, Refusal> {
    if by_reference(question) {
        let kind = question.reference;
        let reference = pb::Reference { kind, id: id.to_owned(), parent: String::new() };
        if question.owned {
            return Ok(translation.owned(&reference).await?);
        }
        action(question.action)?;
        return owner(question, reference, translation).await;
    }
    let wanted = action(question.action)?;
    let family = if prompts.contains(id) { ModelKind::Prompt } else { ModelKind::Model };
    Ok(row(resource(question.r#type, family)?, id, wanted, question.point))
}

/// A row of MLflow's list of that type; it is in the request's workspace, or MLflow would not
/// have listed it.
fn row(resource: crate::domain::ResourceType, id: &str, wanted: Action, point: bool) -> Check {
    let [own, workspace] = listed(resource, id, wanted);
    let rungs = if point { vec![own] } else { vec![own, workspace] };
    Check::Ladder { rungs, explicit_only: false }
}

/// The id refers to something; what it belongs to decides.
async fn owner(
    question: &pb::Question,
    reference: pb::Reference,
    translation: &mut Translation<'_>,
) -> Result<Check, Refusal> {
    let rung = |kind, key| pb::Rung { r#type: kind, action: question.action, key: Some(key) };
    let rungs = [
        rung(question.r#type, pb::rung::Key::OwnerOf(reference)),
        rung(pb::ResourceType::Workspace.into(), pb::rung::Key::Every(pb::Every {})),
    ];
    let [own, _] = &rungs;
    let asked = if question.point { std::slice::from_ref(own) } else { &rungs };
    Ok(translation.ladder(asked, false).await?)
}
