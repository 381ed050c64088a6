//! Makes up for answers of MLflow's that were lost: a creation whose creator has no grant yet, a
//! deletion or renaming whose grants are still in place.
//!
//! What happened is read from MLflow, and compared with what was there when the request was
//! allowed. In doubt nothing is granted: an object that nobody owns can be given to somebody by
//! an administrator, one that was given to the wrong user cannot be called back.

use std::sync::Arc;
use std::time::Duration;

use super::authorize::Decider;
use super::intents::wanted;
use crate::domain::{Incumbent, ResourceType};
use crate::resolver::{LookupError, ModelKind, Wanted, same};
use crate::store::{Effect, Intent, Millis, Prior, Settled, Step, StoreError, now};

/// How often what is open is looked at, if anything is.
const EVERY: Duration = Duration::from_secs(1);

/// Younger intents belong to requests that are answered right now.
const SETTLING: Millis = 3_000;

/// How long MLflow may take for a request. What is found to have been created later is not the
/// work of this intent; what has not happened by then has not happened.
pub const WINDOW: Millis = 120_000;

/// How far MLflow's clock and ours may be apart.
const SKEW: Millis = 30_000;

/// Intents that are looked at in one go.
const BATCH: u32 = 256;

/// What became of an intent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing can be said yet.
    Wait,
    /// It was made, and by this request if by any.
    Made(Incumbent),
    Happened(Effect),
    /// It did not happen, or it cannot be told who did it. The text is for the log.
    Nothing(&'static str),
}

/// Looks at what is open, until dropped.
pub async fn keep_reconciling(decider: Arc<Decider>) {
    loop {
        let pause = decider.look(now()).await.unwrap_or_else(|error| {
            tracing::warn!(%error, "intents could not be looked at");
            EVERY
        });
        tokio::time::sleep(pause).await;
    }
}

impl Decider {
    /// Settles what can be settled. Gives how long there will be nothing more.
    async fn look(&self, at: Millis) -> Result<Duration, StoreError> {
        // Not one, however young: what is announced from now on must settle first.
        if self.snapshots.store().intents_before(Millis::MAX, None, 1).await?.is_empty() {
            return Ok(Duration::from_millis(SETTLING.unsigned_abs()));
        }
        self.reconcile(at).await?;
        Ok(EVERY)
    }

    /// Settles what can be settled at this time.
    ///
    /// # Errors
    /// `Unavailable`.
    pub async fn reconcile(&self, at: Millis) -> Result<(), StoreError> {
        let mut last: Option<Intent> = None;
        loop {
            let before = at.saturating_sub(SETTLING);
            let store = self.snapshots.store();
            let intents = store.intents_before(before, last.as_ref(), BATCH).await?;
            for intent in &intents {
                match self.judge(intent, at).await {
                    Ok(Verdict::Wait) => {}
                    Ok(verdict) => self.carry_out(intent, &verdict).await?,
                    Err(error) => self.give_up(intent, at, &error).await?,
                }
            }
            match intents.into_iter().last() {
                Some(newest) => last = Some(newest),
                None => return Ok(()),
            }
        }
    }

    /// What is known of the intent by now.
    pub(super) async fn judge(&self, intent: &Intent, at: Millis) -> Result<Verdict, LookupError> {
        let workspace = intent.author.workspace.as_str();
        let resource = intent.step.resource();
        let found = self.resolver.incumbent(resource, wanted(&intent.step), workspace).await?;
        let renamed = match &intent.step {
            Step::Rename { to, .. } => {
                self.resolver.incumbent(resource, Wanted::Named(to), workspace).await?
            }
            Step::Create { .. } | Step::Delete { .. } => None,
        };
        let verdict = verdict(intent, at, found, renamed);
        match (&verdict, resource) {
            (Verdict::Made(_), ResourceType::RegisteredModel | ResourceType::Prompt) => {
                let is = self.resolver.model_kind(intent.step.name(), workspace).await?;
                let announced = match resource {
                    ResourceType::Prompt => ModelKind::Prompt,
                    _ => ModelKind::Model,
                };
                if is == Some(announced) {
                    Ok(verdict)
                } else {
                    Ok(Verdict::Nothing("it is not of the family that was announced"))
                }
            }
            _ => Ok(verdict),
        }
    }

    pub(super) async fn carry_out(
        &self,
        intent: &Intent,
        verdict: &Verdict,
    ) -> Result<(), StoreError> {
        let store = self.snapshots.store();
        let (user, step) = (intent.author.username.as_str(), &intent.step);
        let settled = match verdict {
            Verdict::Wait => return Ok(()),
            Verdict::Made(incumbent) => store.settle_creation(intent, incumbent).await?,
            Verdict::Happened(effect) => store.settle_removal(intent, effect).await?,
            Verdict::Nothing(why) => {
                tracing::info!(user, ?step, why, "an intent came to nothing");
                return store.forget_intent(intent).await;
            }
        };
        match settled {
            Settled::Done => tracing::warn!(user, ?step, "made up for a lost answer"),
            Settled::Gone => {}
            Settled::Owned => store.forget_intent(intent).await?,
            Settled::Contested => {
                tracing::error!(user, ?step, "several users may have created it: nobody owns it");
            }
        }
        Ok(())
    }

    /// What a creation came to must be known within its window. A deletion is kept until it is
    /// known: its grants are still in place.
    async fn give_up(
        &self,
        intent: &Intent,
        at: Millis,
        error: &LookupError,
    ) -> Result<(), StoreError> {
        let over = at.saturating_sub(intent.created_at) > WINDOW;
        let lasting = matches!(error, LookupError::Unconfigured | LookupError::Misspelt);
        if over && (lasting || matches!(intent.step, Step::Create { .. })) {
            let (user, step) = (intent.author.username.as_str(), &intent.step);
            tracing::error!(user, ?step, %error, "it is not known what came of it");
            return self.snapshots.store().forget_intent(intent).await;
        }
        tracing::debug!(%error, "an intent cannot be looked into");
        Ok(())
    }
}

fn verdict(
    intent: &Intent,
    at: Millis,
    found: Option<Incumbent>,
    renamed: Option<Incumbent>,
) -> Verdict {
    let resource = intent.step.resource();
    let over = at.saturating_sub(intent.created_at) > WINDOW;
    let later = |why| if over { Verdict::Nothing(why) } else { Verdict::Wait };
    let is_prior = |incumbent: &Incumbent| matches!(&intent.prior, Prior::Existing(prior) if same(resource, prior, incumbent));
    match (&intent.step, &intent.prior, found) {
        (Step::Create { .. }, Prior::Unknown, _) => later("what had the name before is not known"),
        (Step::Create { .. }, _, None) => later("it was not created"),
        (Step::Create { .. }, _, Some(found)) if is_prior(&found) => later("it was there before"),
        (Step::Create { .. }, _, Some(found)) => made(intent, found),
        (_, Prior::Absent, _) => Verdict::Nothing("there was nothing of that name"),
        (_, Prior::Unknown, Some(_)) => later("something has the name still"),
        (_, Prior::Existing(_), Some(found)) if is_prior(&found) => later("it is still there"),
        // Gone, or another one has the name.
        (Step::Delete { resource, id }, ..) => {
            Verdict::Happened(Effect::Deleted { resource: *resource, id: id.clone() })
        }
        (Step::Rename { resource, from, to }, prior, _) => {
            let (resource, from) = (*resource, from.clone());
            // The name is part of what a model is told by; here it is what has changed.
            let moved = matches!((prior, &renamed), (Prior::Existing(prior), Some(renamed))
                if prior.born.is_some() && prior.born == renamed.born);
            Verdict::Happened(match moved {
                true => Effect::Renamed { resource, from, to: to.clone() },
                false => Effect::Deleted { resource, id: from },
            })
        }
    }
}

fn made(intent: &Intent, found: Incumbent) -> Verdict {
    let (from, to) = (intent.created_at - SKEW, intent.created_at + WINDOW + SKEW);
    match found.born {
        Some(born) if (from..=to).contains(&born) => Verdict::Made(found),
        // Creating one gives its creator nothing that a super admin does not have.
        None if intent.step.resource() == ResourceType::Workspace => Verdict::Made(found),
        _ => Verdict::Nothing("it was created at another time"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Author;

    const T: Millis = 1_000_000_000;

    fn model(born: Millis) -> Incumbent {
        Incumbent { id: "m".to_owned(), born: Some(born) }
    }

    fn intent(step: Step, prior: Prior) -> Intent {
        let author = Author {
            username: "alice".to_owned(),
            groups: Vec::new(),
            workspace: "default".to_owned(),
        };
        Intent { id: "i".to_owned(), number: 0, author, step, prior, created_at: T }
    }

    fn create(prior: Prior) -> Intent {
        let resource = ResourceType::RegisteredModel;
        intent(Step::Create { resource, name: "m".to_owned() }, prior)
    }

    fn delete(prior: Prior) -> Intent {
        let resource = ResourceType::RegisteredModel;
        intent(Step::Delete { resource, id: "m".to_owned() }, prior)
    }

    fn soon(intent: &Intent, found: Option<Incumbent>) -> Verdict {
        verdict(intent, T + 5_000, found, None)
    }

    fn late(intent: &Intent, found: Option<Incumbent>) -> Verdict {
        verdict(intent, T + WINDOW + 1, found, None)
    }

    #[test]
    fn what_was_absent_and_was_made_in_the_window_was_made_by_the_request() {
        assert_eq!(soon(&create(Prior::Absent), Some(model(T + 9))), Verdict::Made(model(T + 9)));
        assert_eq!(soon(&create(Prior::Absent), None), Verdict::Wait);
        assert!(matches!(late(&create(Prior::Absent), None), Verdict::Nothing(_)));
    }

    #[test]
    fn what_was_there_before_or_was_made_at_another_time_is_nobodys() {
        let before = model(T - 5_000_000);
        let existing = create(Prior::Existing(before.clone()));
        assert_eq!(soon(&existing, Some(before.clone())), Verdict::Wait);
        assert!(matches!(late(&existing, Some(before)), Verdict::Nothing(_)));
        for born in [T - SKEW - 1, T + WINDOW + SKEW + 1] {
            assert!(matches!(soon(&create(Prior::Absent), Some(model(born))), Verdict::Nothing(_)));
        }
        let ageless = Incumbent { id: "m".to_owned(), born: None };
        assert!(matches!(soon(&create(Prior::Absent), Some(ageless)), Verdict::Nothing(_)));
        assert!(matches!(late(&create(Prior::Unknown), Some(model(T))), Verdict::Nothing(_)));
    }

    #[test]
    fn a_namesake_that_replaced_what_was_there_was_made_by_the_request() {
        let existing = create(Prior::Existing(model(T - 5)));
        assert_eq!(soon(&existing, Some(model(T + 5))), Verdict::Made(model(T + 5)));
    }

    #[test]
    fn a_deletion_has_happened_when_the_object_is_gone_or_another_one() {
        let prior = || Prior::Existing(model(5));
        let gone = Effect::Deleted { resource: ResourceType::RegisteredModel, id: "m".to_owned() };
        for found in [None, Some(model(T))] {
            assert_eq!(soon(&delete(prior()), found), Verdict::Happened(gone.clone()));
        }
        assert_eq!(soon(&delete(prior()), Some(model(5))), Verdict::Wait);
        assert!(matches!(late(&delete(prior()), Some(model(5))), Verdict::Nothing(_)));
        assert!(matches!(soon(&delete(Prior::Absent), None), Verdict::Nothing(_)));
        assert_eq!(soon(&delete(Prior::Unknown), None), Verdict::Happened(gone));
        assert_eq!(soon(&delete(Prior::Unknown), Some(model(5))), Verdict::Wait);
    }

    #[test]
    fn a_renaming_moves_grants_only_to_the_very_object() {
        let (from, to) = ("m".to_owned(), "n".to_owned());
        let resource = ResourceType::RegisteredModel;
        let step = Step::Rename { resource, from: from.clone(), to: to.clone() };
        let renaming = intent(step, Prior::Existing(model(5)));
        let at = |found, renamed| verdict(&renaming, T + 5_000, found, renamed);
        let now_n = |born| Some(Incumbent { id: "n".to_owned(), born: Some(born) });
        let moved = Effect::Renamed { resource, from: from.clone(), to };
        assert_eq!(at(None, now_n(5)), Verdict::Happened(moved));
        let gone = Effect::Deleted { resource, id: from };
        assert_eq!(at(None, now_n(6)), Verdict::Happened(gone.clone()));
        assert_eq!(at(None, None), Verdict::Happened(gone));
        assert_eq!(at(Some(model(5)), None), Verdict::Wait);
    }
}
