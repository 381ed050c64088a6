//! JWTs and the keys that they are signed with, and what proxies in front say.

use super::{KeyRefused, Question, Worker};
use crate::authn::forwarded::{self, Forwarded};
use crate::authn::issuers::Next;
use crate::authn::{self, Unauthenticated, UnknownKey, Unproven};
use crate::contract as pb;
use crate::host::{ContextId, Headers, Host};
use crate::metrics::Count;
use crate::policy_client::Method;
use crate::recognizer::Mark;

impl Worker {
    /// What a proxy in front says, where that counts.
    pub fn forwarded<H: Host>(
        &self,
        host: &H,
        headers: &Headers,
    ) -> Result<Forwarded, Unauthenticated> {
        let Some(config) = &self.config.forwarded_identity else { return Ok(Forwarded::Nothing) };
        forwarded::read(config, self.issuers.prefixes(), host, headers)
    }

    /// Whose an `Authorization` is, if it holds a JWT that was verified before: then it need not
    /// even be read.
    pub fn recall<H: Host>(&mut self, host: &H, authorization: &[u8]) -> Option<pb::Subject> {
        let token = authn::after_bearer(authorization)?;
        let mark = self.issuers.mark(host, token)?;
        self.recall_marked(host, mark)
    }

    /// The same for the mark of such a token.
    pub fn recall_marked<H: Host>(&mut self, host: &H, token: Mark) -> Option<pb::Subject> {
        let known = self.issuers.recall(token, host.now_ms())?;
        self.metrics.count(host, Count::JwtVerified);
        Some(known)
    }

    /// The identity that a JWT proves.
    pub fn verify<H: Host>(&mut self, host: &H, token: &str) -> Result<pb::Subject, Unproven> {
        let verified = self.issuers.verify(host, token, host.now_ms());
        match &verified {
            Ok(_) => self.metrics.count(host, Count::JwtVerified),
            Err(Unproven::Refused(_)) => self.metrics.count(host, Count::JwtRefused),
            Err(Unproven::UnknownKey(_) | Unproven::Flood { .. }) => {}
        }
        verified
    }

    /// Asks the policy server for a key, or joins those who wait for the same issuer's.
    pub fn ask_for_key<H: Host>(
        &mut self,
        host: &H,
        waiter: ContextId,
        key: &UnknownKey,
    ) -> Result<(), KeyRefused> {
        if self.issuers.next(&key.issuer, host.now_ms()) != Next::Ask {
            return Err(self.key_refused(host, key));
        }
        if self.flights.join_issuer(&key.issuer, waiter) {
            self.metrics.count(host, Count::SharedFlight);
            return Ok(());
        }
        let kid = key.kid.clone().unwrap_or_default();
        let message = pb::KeysRequest { issuer: key.issuer.clone(), kid };
        let question = Question::uncached(Method::Keys, &message);
        self.metrics.count(host, Count::KeysAsked);
        let sent = self.send(host, waiter, question);
        let ticket = sent.map_err(|_| KeyRefused::Unavailable)?;
        self.flights.asks_issuer(&key.issuer, ticket);
        Ok(())
    }

    /// What is said of a key that the policy server was asked for in vain.
    pub fn key_refused<H: Host>(&self, host: &H, key: &UnknownKey) -> KeyRefused {
        match self.issuers.next(&key.issuer, host.now_ms()) {
            Next::Refuse => {
                self.metrics.count(host, Count::JwtRefused);
                let why = Unauthenticated::bearer("jwt_kid", "the token's key is not known");
                KeyRefused::Unknown(why)
            }
            Next::Ask | Next::Unavailable => KeyRefused::Unavailable,
        }
    }
}
