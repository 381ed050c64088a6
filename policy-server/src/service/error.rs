//! The one place where errors become gRPC statuses.

use tonic::Status;

use super::requirement::Unresolved;
use crate::store::StoreError;

/// Why a call has no answer. An outcome that the contract knows is no error.
#[derive(Debug)]
pub enum Refusal {
    /// The peer sent something that means nothing here; nothing was decided.
    Malformed(&'static str),
    Unavailable(&'static str),
    Draining,
}

impl From<Refusal> for Status {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Malformed(what) => Status::invalid_argument(what),
            Refusal::Unavailable(what) => Status::unavailable(what),
            Refusal::Draining => Status::unavailable("the server is stopping"),
        }
    }
}

impl From<StoreError> for Refusal {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Invalid { field, why } => {
                tracing::warn!(field, why, "a call was refused by the policy store");
                Self::Malformed("the policy store refuses one of the fields")
            }
            error => {
                tracing::error!(%error, "the policy store failed");
                Self::Unavailable("the policy store is unavailable")
            }
        }
    }
}

impl From<Unresolved> for Refusal {
    fn from(unresolved: Unresolved) -> Self {
        match unresolved {
            Unresolved::Malformed(what) => Self::Malformed(what),
            Unresolved::Lookup(error) => {
                tracing::warn!(%error, "a lookup failed");
                Self::Unavailable("a lookup failed")
            }
            Unresolved::Store(error) => error.into(),
        }
    }
}
