//! Cuts sets of ids down to those that a principal may see.

use super::authorize::{Situation, listed};
use super::requirement::{Translation, Unresolved, resource};
use crate::contract as pb;
use crate::domain::{Action, ResourceType};
use crate::policy::{Check, RowKey};
use crate::resolver::ModelKind;

/// Most ids in all scopes of one request.
const MAX_IDS: usize = 10_000;

/// More ids than this are not listed for a scope of every id.
const MAX_LISTED: usize = 5000;

/// One result per scope, in order.
///
/// # Errors
/// `Unresolved`.
pub async fn scopes(
    scopes: &[pb::Scope],
    translation: &mut Translation<'_>,
    situation: &Situation<'_>,
) -> Result<Vec<pb::ScopeResult>, Unresolved> {
    if scopes.iter().map(|scope| scope.ids.len()).sum::<usize>() > MAX_IDS {
        return Err(Unresolved::Malformed("too many ids in scopes"));
    }
    let mut results = Vec::with_capacity(scopes.len());
    for scope in scopes {
        results.push(one(scope, translation, situation).await?);
    }
    Ok(results)
}

async fn one(
    scope: &pb::Scope,
    translation: &mut Translation<'_>,
    situation: &Situation<'_>,
) -> Result<pb::ScopeResult, Unresolved> {
    if scope.every && !scope.ids.is_empty() {
        return Err(Unresolved::Malformed("a scope of every id has no ids"));
    }
    for &veto in &scope.vetoes {
        if situation.denies(resource(veto, ModelKind::Model)?) {
            return Ok(pb::ScopeResult::default());
        }
    }
    if scope.every {
        return every(scope, situation);
    }
    let mut allowed = Vec::new();
    for id in &scope.ids {
        let check = translation.ladder(&rungs(scope, id), false).await?;
        if situation.decide(&[check]).allowed {
            allowed.push(id.clone());
        }
    }
    Ok(pb::ScopeResult { allowed, ..pb::ScopeResult::default() })
}

/// Without knowing which ids exist: those with rows are looked at one by one, and all others are
/// decided alike.
fn every(scope: &pb::Scope, situation: &Situation<'_>) -> Result<pb::ScopeResult, Unresolved> {
    let unlisted = pb::ScopeResult { unlisted: true, ..pb::ScopeResult::default() };
    if situation.unrestricted() {
        return Ok(pb::ScopeResult { all_but: true, ..pb::ScopeResult::default() });
    }
    // Whether a name is a model or a prompt is not known without the name.
    if !scope.rungs.is_empty() || scope.r#type == pb::ResourceType::ModelOrPrompt as i32 {
        return Ok(unlisted);
    }
    let resource = resource(scope.r#type, ModelKind::Model)?;
    let allows = |key| {
        let [mut own, workspace] = listed(resource, "", Action::Read);
        own.key = key;
        let check = Check::Ladder { rungs: vec![own, workspace], explicit_only: false };
        situation.decide(&[check]).allowed
    };
    if let Some(experiments) = situation.reach.experiments() {
        if resource == ResourceType::Scorer {
            return Ok(unlisted);
        }
        let ids = experiments.iter().filter(|_| resource == ResourceType::Experiment);
        let allowed = ids.filter(|id| allows(RowKey::Id((*id).clone()))).cloned().collect();
        return Ok(pb::ScopeResult { allowed, ..pb::ScopeResult::default() });
    }
    let others = allows(RowKey::Every);
    let Some(grants) = situation.principal.grants.in_workspace(situation.workspace) else {
        return Ok(pb::ScopeResult { all_but: others, ..pb::ScopeResult::default() });
    };
    let exact = grants.exact_ids(resource);
    if grants.has_globs(resource) || exact.len() > MAX_LISTED {
        return Ok(unlisted);
    }
    let mut differing: Vec<String> = exact
        .filter(|id| allows(RowKey::Id((*id).to_owned())) != others)
        .map(str::to_owned)
        .collect();
    differing.sort_unstable();
    let (allowed, except) = if others { (Vec::new(), differing) } else { (differing, Vec::new()) };
    Ok(pb::ScopeResult { allowed, all_but: others, except, unlisted: false })
}

/// The rungs of one id: those that name nothing take the id.
fn rungs(scope: &pb::Scope, id: &str) -> Vec<pb::Rung> {
    let own = pb::rung::Key::Id(id.to_owned());
    let action = pb::Action::Read.into();
    if scope.rungs.is_empty() {
        let every = pb::rung::Key::Every(pb::Every {});
        return vec![
            pb::Rung { r#type: scope.r#type, action, key: Some(own) },
            pb::Rung { r#type: pb::ResourceType::Workspace.into(), action, key: Some(every) },
        ];
    }
    scope
        .rungs
        .iter()
        .map(|rung| {
            let key = rung.key.clone().filter(|key| *key != pb::rung::Key::Id(String::new()));
            pb::Rung { key: key.or_else(|| Some(own.clone())), ..rung.clone() }
        })
        .collect()
}
