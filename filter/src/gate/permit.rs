//! The proof that a request may go on.

use crate::config::Mode;
use crate::contract as pb;
use crate::surface::Passage;

/// Needed to forward a request. Only a decision, a public route, or shadow mode makes one.
#[derive(Debug)]
pub struct Permit {
    principal: Option<pb::Principal>,
}

impl Permit {
    /// `None` unless the server said so in as many words, and named who it is.
    pub fn from_decision(answer: &pb::AuthorizeResponse) -> Option<Self> {
        let principal =
            answer.principal.as_ref().filter(|principal| !principal.username.is_empty())?;
        match answer.outcome() {
            pb::Outcome::Allowed => Some(Self { principal: Some(principal.clone()) }),
            _ => None,
        }
    }

    /// For what the surface has found to need no credential.
    pub fn public(_passage: &Passage) -> Self {
        Self { principal: None }
    }

    /// For what would have been refused, where refusals are only counted.
    pub fn shadow(mode: Mode) -> Option<Self> {
        (mode == Mode::Shadow).then_some(Self { principal: None })
    }

    pub fn principal(&self) -> Option<&pb::Principal> {
        self.principal.as_ref()
    }
}
