//! Who asks.

use super::head::CredentialHeader;
use super::{Gate, Step, Unread, Who, head_body};
use crate::authn::forwarded::Forwarded;
use crate::authn::{self, Credential, Unauthenticated, Unproven};
use crate::contract as pb;
use crate::contract::subject::Kind;
use crate::host::Host;
use crate::operation::BodyNeed;
use crate::surface::cross_site::{self, Page};
use crate::worker::Worker;
use std::rc::Rc;

impl Gate {
    /// Says who asks, then reads on, or waits for the body. Nobody's body is waited for.
    pub(super) fn identify<H: Host>(
        &mut self,
        worker: &mut Worker,
        host: &H,
        need: BodyNeed,
        unread: Unread,
    ) -> Step {
        let foreign = self.head.as_ref().is_none_or(|head| {
            cross_site::page(&head.raw(), &worker.config.allowed_origins) == Page::Foreign
        });
        if foreign {
            let answer = worker.replies.cross_site();
            return self.refused(worker, host, answer);
        }
        let who = match self.authenticate(worker, host) {
            Ok(who) => Who::Known(who),
            Err(Unproven::Refused(why)) => return self.unauthenticated(worker, host, &why),
            Err(Unproven::Flood { retry_after_ms }) => {
                return self.flooded(worker, host, retry_after_ms);
            }
            Err(Unproven::UnknownKey(key)) => match worker.ask_for_key(host, self.id, &key) {
                Ok(()) => Who::AwaitsKeys { body_ended: false },
                Err(why) => return self.keyless(worker, host, &why),
            },
        };
        let ended = self.ends_with_head();
        match (need, who) {
            (BodyNeed::Whole { limit }, who) if !ended => {
                self.opening = match &unread {
                    Unread::Routed(routed) if self.mark.is_some() => Some(Rc::clone(routed)),
                    _ => None,
                };
                self.await_body(worker, host, unread, who, limit)
            }
            (_, Who::Known(who)) => self.read(worker, host, unread, who, head_body(need)),
            (_, Who::AwaitsKeys { .. }) => self.await_keys(worker, host, unread, need),
        }
    }

    pub(super) fn authenticate<H: Host>(
        &mut self,
        worker: &mut Worker,
        host: &H,
    ) -> Result<pb::Subject, Unproven> {
        let Some(head) = &self.head else {
            return Err(Unauthenticated::basic("no_head").into());
        };
        let (value, from) = head.credential(self.route);
        self.credential_header = from;
        let forwarded = worker.forwarded(host, head.headers())?;
        if let Forwarded::Identity(identity) = forwarded {
            // Two credentials may be two people, and whichever went first would surprise somebody.
            if value.is_some() {
                return Err(Unauthenticated::basic("forwarded_and_authorization").into());
            }
            self.credential_header = CredentialHeader::Forwarded;
            return Ok(authn::subject(Kind::Verified(identity)));
        }
        if let Some(known) = value.and_then(|value| worker.recall(host, value)) {
            return Ok(known);
        }
        match authn::read(value)? {
            Credential::Absent if forwarded == Forwarded::Ignored => {
                Err(Unauthenticated::basic("forwarded_untrusted").into())
            }
            Credential::Jwt(token) => worker.verify(host, &token),
            other => authn::claimed(other).ok_or(Unauthenticated::basic("no_credential").into()),
        }
    }
}
