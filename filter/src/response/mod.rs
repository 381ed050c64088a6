//! What is done to a response before the client sees it (semantics §7, §8).
//!
//! Pure: [`Rewriting`] is told what came and says what to do next. A response that cannot be read
//! is an error and never passed on. Rows are judged by the policy server's answers, except where
//! the decision itself has already told which ids the principal may read.

mod effects;
mod graph;
mod judge;
mod listing;
mod path;
mod rewrite;
mod token;

#[cfg(test)]
mod tests;

pub use self::effects::{Recording, effects, recording};
pub use self::judge::scorer_key;
pub use self::rewrite::{Next, Rewriting};

use crate::requirement::{ResourceType, Selection};

/// The most further pages that are fetched for one request. A page that is short after them keeps
/// its token, and clients go on from there.
pub const MAX_FETCHES: u32 = 50;

/// Fewest rows to ask for when a page is refilled.
pub const MIN_FETCH: u64 = 100;

/// Why a response cannot be passed on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ResponseError {
    /// It is compressed although nothing else than identity was accepted.
    Encoded,
    /// Its content type is not JSON.
    NotJson,
    /// It is not one well-formed JSON object.
    Malformed,
    /// A field is not of the shape that MLflow gives it.
    Shape { at: String },
    /// The id of what was created is not in it.
    NoCreatedId { at: String },
    /// The policy server's answer does not fit the questions.
    Answer,
}

/// What the decision told of the principal.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Facts {
    pub username: String,
    /// Types that are DENY on `*`.
    pub denied: Vec<ResourceType>,
    /// For types whose readable ids were told with the decision.
    pub selections: Vec<(ResourceType, Selection)>,
    /// Something was left of the operation's scope 0.
    pub scope_left: bool,
}

/// Whether a response with this head can be rewritten: `Ok(false)` passes it as it is.
///
/// Errors of MLflow pass; they have no rows. `content_encoding` and `content_type` are the values
/// of those headers.
pub fn is_rewritable(
    status: u16,
    content_encoding: Option<&[u8]>,
    content_type: Option<&[u8]>,
) -> Result<bool, ResponseError> {
    if !(200..300).contains(&status) {
        return Ok(false);
    }
    let identity = content_encoding.is_none_or(|coding| {
        let coding = coding.trim_ascii();
        coding.is_empty() || coding.eq_ignore_ascii_case(b"identity")
    });
    if !identity {
        return Err(ResponseError::Encoded);
    }
    let essence = content_type.and_then(|value| value.split(|&byte| byte == b';').next());
    match essence {
        Some(essence) if essence.trim_ascii().eq_ignore_ascii_case(b"application/json") => Ok(true),
        _ => Err(ResponseError::NotJson),
    }
}
