//! Which versions of the contract understand each other.
//!
//! A version is one set of fields and calls, and what they mean. Filters and policy servers are
//! never replaced at one moment, so each understands the version before its own; of more, nobody
//! knows what a missing field meant. It is the server that refuses, in both directions.

use std::sync::atomic::{AtomicU32, Ordering};

use tonic::metadata::MetadataMap;
use tonic::{Request, Status};

use crate::contract as pb;

/// The version that this server speaks; filters have their own (`policy_client.rs`).
///
/// 2: tokens may be limited (`Principal.scopes`, `VisibleRequest.scopes`), answers and heartbeats
/// have an age, skills are resources, and questions may be put on a stream (`Decide`).
pub const CONTRACT: u32 = 2;

/// Where filters name theirs.
pub const HEADER: &str = "x-mlgate-contract";

/// How the caller's version compares with [`CONTRACT`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Peer {
    Previous,
    Current,
    Next,
}

impl Peer {
    /// As the interceptor has found it.
    pub fn of<T>(request: &Request<T>) -> Self {
        request.extensions().get().copied().unwrap_or(Self::Current)
    }

    /// Reads the version of a call. Without one it is a person's (`grpcurl`), with the contract at
    /// hand: every filter names its own.
    ///
    /// # Errors
    /// `FAILED_PRECONDITION`, which is used for nothing else, two and more versions apart.
    pub fn read(metadata: &MetadataMap) -> Result<Self, Status> {
        let Some(value) = metadata.get(HEADER) else { return Ok(Self::Current) };
        let spoken: Option<u32> = value.to_str().ok().and_then(|text| text.parse().ok());
        match spoken {
            Some(spoken) if spoken == CONTRACT => Ok(Self::Current),
            Some(spoken) if spoken.checked_add(1) == Some(CONTRACT) && spoken > 0 => {
                Ok(Self::Previous)
            }
            Some(spoken) if spoken == CONTRACT + 1 => Ok(Self::Next),
            _ => Err(refused(spoken.unwrap_or_default())),
        }
    }

    /// What an answer may say to the caller.
    ///
    /// A filter of version 1 does not pass a token's limits on when it asks what may be listed,
    /// so limited tokens are worth nothing there. Nor does it know that an answer is older than
    /// its question, so it may keep it less long.
    pub fn adapt(self, response: &mut pb::AuthorizeResponse) {
        if self != Self::Previous {
            return;
        }
        response.ttl_ms = response.ttl_ms.saturating_sub(response.age_ms);
        let limited = response.principal.as_ref().is_some_and(|who| !who.scopes.is_empty());
        if limited && response.outcome() == pb::Outcome::Allowed {
            response.outcome = pb::Outcome::Denied.into();
            response.reason = "filter_too_old_for_limited_tokens".to_owned();
            response.ttl_ms = 0;
            response.scopes.clear();
        }
    }
}

/// Refuses, and logs each foreign version once and not at each call.
fn refused(spoken: u32) -> Status {
    static LOGGED: AtomicU32 = AtomicU32::new(CONTRACT);
    if LOGGED.swap(spoken, Ordering::Relaxed) != spoken {
        tracing::error!(
            spoken,
            understood = CONTRACT,
            "a filter's contract is too far from this server's; upgrade the older one step by step"
        );
    }
    Status::failed_precondition(format!(
        "the filter speaks contract {spoken}, this policy server {CONTRACT}; one step either way \
         is understood"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(value: &str) -> Option<Peer> {
        let mut metadata = MetadataMap::new();
        metadata.insert(HEADER, value.parse().unwrap());
        Peer::read(&metadata).ok()
    }

    #[test]
    fn one_step_either_way_is_understood_and_nothing_else() {
        assert_eq!(Peer::read(&MetadataMap::new()).ok(), Some(Peer::Current));
        assert_eq!(read("1"), Some(Peer::Previous));
        assert_eq!(read("2"), Some(Peer::Current));
        assert_eq!(read("3"), Some(Peer::Next));
        for other in ["0", "4", "-1", "", "two", "2.0", "4294967295", "4294967296"] {
            assert_eq!(read(other), None, "{other}");
        }
    }

    #[test]
    fn an_older_filter_keeps_an_answer_no_longer_than_it_is_good_for() {
        let told = pb::AuthorizeResponse { ttl_ms: 5000, age_ms: 2000, ..Default::default() };
        let mut response = told.clone();
        Peer::Previous.adapt(&mut response);
        assert_eq!(response.ttl_ms, 3000);
        let mut response = told.clone();
        Peer::Current.adapt(&mut response);
        assert_eq!(response, told);
    }
}
