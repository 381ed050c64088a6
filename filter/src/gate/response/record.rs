//! Making what a request has done durable before its client hears of success.

use super::super::plan::{Plan, Recording, Stage};
use super::super::{GRACE_MS, Gate};
use crate::contract as pb;
use crate::host::{Flow, Host};
use crate::metrics::Count;
use crate::policy_client::Method;
use crate::response::effects;
use crate::worker::{Question, Worker};

/// How long recording is tried, in ms. MLflow has done its part by then: giving up early would
/// tell the client of an object that it cannot use.
const RECORD_PATIENCE_MS: u64 = 15_000;

/// Between two attempts to record, in ms.
const RECORD_REST_MS: u64 = 250;

impl Gate {
    /// Makes the effects durable before the client sees success.
    pub(super) fn record<H: Host>(
        &mut self,
        worker: &mut Worker,
        host: &H,
        mut plan: Box<Plan>,
        bytes: Option<Vec<u8>>,
        inline: bool,
    ) -> Flow {
        if plan.effects.is_empty() {
            return self.release(worker, host, bytes.as_deref(), inline);
        }
        let recorded = plan.recorded.take().unwrap_or_else(|| effects(&plan.effects, &[]));
        let effects = match recorded {
            Ok(effects) => effects,
            Err(error) => {
                log::error!("mlgate: {}: {error:?}", self.route);
                return self.unrecorded(worker, host, &plan, &[]);
            }
        };
        let until_ms = host.now_ms().saturating_add(RECORD_PATIENCE_MS);
        let recording = Box::new(Recording { effects, body: bytes, until_ms });
        self.send_record(worker, host, plan, recording)
    }

    pub(super) fn send_record<H: Host>(
        &mut self,
        worker: &mut Worker,
        host: &H,
        plan: Box<Plan>,
        recording: Box<Recording>,
    ) -> Flow {
        let request = pb::RecordRequest {
            username: plan.username.clone(),
            workspace: plan.workspace.clone(),
            effects: recording.effects.clone(),
            intent_id: plan.intent_id.clone(),
            groups: plan.groups.clone(),
        };
        let question = Question::uncached(Method::Record, &request);
        if worker.ask(host, self.id, question).is_err() {
            return self.rest(worker, host, plan, recording);
        }
        let wait = u64::from(worker.client.timeout_ms()).saturating_add(GRACE_MS);
        self.hold(host, plan, Stage::Record(recording), wait)
    }

    /// A policy server that is being restarted is back in a moment: until then the client waits
    /// for an answer that is true.
    pub(super) fn rest<H: Host>(
        &mut self,
        worker: &mut Worker,
        host: &H,
        plan: Box<Plan>,
        recording: Box<Recording>,
    ) -> Flow {
        if host.now_ms() >= recording.until_ms {
            return self.unrecorded(worker, host, &plan, &recording.effects);
        }
        self.hold(host, plan, Stage::Resting(recording), RECORD_REST_MS)
    }

    /// It exists, but nobody owns it: say so, and who can help.
    pub(super) fn unrecorded<H: Host>(
        &mut self,
        worker: &mut Worker,
        host: &H,
        plan: &Plan,
        effects: &[pb::Effect],
    ) -> Flow {
        worker.metrics.count(host, Count::RecordsFailed);
        log::error!(
            "mlgate: {}: done, but its grants could not be recorded: user={:?} effects={:?}",
            self.route,
            plan.username,
            plan.effects,
        );
        let answer = worker.replies.unrecorded(&plan.username, effects);
        self.replace_response(worker, host, &answer)
    }
}
