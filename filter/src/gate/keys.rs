//! A token whose key is not known here: the request waits while the policy server is asked.

use super::decide::What;
use super::{GRACE_MS, Gate, Held, State, Step, Unread, Who, head_body};
use crate::authn::Unproven;
use crate::contract as pb;
use crate::host::{Flow, Host};
use crate::operation::BodyNeed;
use crate::worker::{KeyRefused, Worker};

/// A request that needs no body, or has none.
pub struct Unidentified {
    unread: Unread,
    need: BodyNeed,
}

impl Gate {
    /// Waits for the keys, and for nothing else.
    pub(super) fn await_keys<H: Host>(
        &mut self,
        worker: &mut Worker,
        host: &H,
        unread: Unread,
        need: BodyNeed,
    ) -> Step {
        let what = What::Keys(Box::new(Unidentified { unread, need }));
        self.wait(worker, host, Ok(()), BodyNeed::Unread, what)
    }

    /// The body is there before the keys are.
    pub(super) fn body_ended<H: Host>(
        &mut self,
        worker: &Worker,
        host: &H,
        unread: Unread,
        limit: usize,
    ) -> Flow {
        let wait = u64::from(worker.client.timeout_ms()).saturating_add(GRACE_MS);
        self.deadline_ms = Some(host.now_ms().saturating_add(wait));
        let who = Who::AwaitsKeys { body_ended: true };
        self.state = State::NeedBody(Box::new(Held { unread, who, limit }));
        Flow::Buffer
    }

    /// The keys have come, or not, while the body is still coming.
    pub(super) fn on_keys_before_body<H: Host>(&mut self, worker: &mut Worker, host: &H) {
        let State::NeedBody(held) = std::mem::replace(&mut self.state, State::Done) else { return };
        let Held { unread, who, limit } = *held;
        let body_ended = match who {
            Who::AwaitsKeys { body_ended } => body_ended,
            // Nobody asked.
            Who::Known(_) => {
                self.state = State::NeedBody(Box::new(Held { unread, who, limit }));
                return;
            }
        };
        let step = match self.identity(worker, host) {
            Ok(who) if body_ended => self.whole(worker, host, unread, who, limit),
            Ok(who) => {
                let who = Who::Known(who);
                self.state = State::NeedBody(Box::new(Held { unread, who, limit }));
                return;
            }
            Err(step) => step,
        };
        self.settle(worker, host, step, false);
    }

    pub(super) fn identified<H: Host>(
        &mut self,
        worker: &mut Worker,
        host: &H,
        waited: Unidentified,
    ) -> Step {
        match self.identity(worker, host) {
            Ok(who) => self.read(worker, host, waited.unread, who, head_body(waited.need)),
            Err(step) => step,
        }
    }

    /// Who asks, now that the policy server has been asked for the key.
    fn identity<H: Host>(&mut self, worker: &mut Worker, host: &H) -> Result<pb::Subject, Step> {
        match self.authenticate(worker, host) {
            Ok(who) => Ok(who),
            Err(Unproven::Refused(why)) => Err(self.unauthenticated(worker, host, &why)),
            Err(Unproven::Flood { retry_after_ms }) => {
                Err(self.flooded(worker, host, retry_after_ms))
            }
            Err(Unproven::UnknownKey(key)) => {
                let refused = worker.key_refused(host, &key);
                Err(self.keyless(worker, host, &refused))
            }
        }
    }

    pub(super) fn keyless<H: Host>(
        &mut self,
        worker: &mut Worker,
        host: &H,
        why: &KeyRefused,
    ) -> Step {
        match why {
            KeyRefused::Unknown(why) => self.unauthenticated(worker, host, why),
            KeyRefused::Unavailable => {
                let answer = worker.replies.unavailable("jwt_keys_unavailable");
                self.refused(worker, host, answer)
            }
        }
    }
}
