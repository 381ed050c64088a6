//! The seam between reading a request and deciding on it.
//!
//! `surface` (canonicalisation, catalogue, extraction) produces these values from raw bytes;
//! the gate (credentials, cache, policy calls, responses) consumes them and knows nothing of
//! MLflow's paths.

use crate::requirement::{ReferenceKind, Requirement, ResourceType, Scope};

/// A request head as the proxy shows it. Bytes, because a client chooses them.
#[derive(Debug, Clone, Copy)]
pub struct RawHead<'a> {
    pub method: &'a [u8],
    /// `:path`, with the query.
    pub path: &'a [u8],
    /// All headers in their order, pseudo-headers included, names in lower case.
    pub headers: &'a [(Vec<u8>, Vec<u8>)],
    /// No body follows.
    pub end_of_stream: bool,
}

/// How much of the body must be read before anything can be decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BodyNeed {
    /// Decide at headers; a body, if any, streams through unread.
    Unread,
    /// Decide at headers; the request must not have a body (GET, HEAD, DELETE by query).
    Forbidden,
    /// Buffer to the end, up to `limit` bytes.
    Whole { limit: usize },
}

/// What a matched request asks for, once everything it needs has been read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Operation {
    /// The catalogue's template, e.g. `/2.0/mlflow/runs/get`: for logs and metrics.
    pub route: &'static str,
    pub requirements: Vec<Requirement>,
    /// Parts of the request that are cut down instead of refused.
    pub scopes: Vec<Scope>,
    pub workspace: Option<String>,
    pub forward: Forward,
    pub response: ResponseWork,
    /// Recorded after success, before the client sees it.
    pub effects: Vec<Effect>,
}

/// The canonical form that is sent upstream.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Forward {
    /// The canonical `:path` with its query, always set.
    pub path: String,
    /// The re-serialised body; `None` leaves the bytes that came.
    pub body: Option<Vec<u8>>,
    /// How to cut the body down once the scopes are answered; indexes into `Operation::scopes`.
    pub scoped: Vec<ScopedField>,
}

/// Where the allowed ids of a scope replace the ones that came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScopedField {
    /// Index into `Operation::scopes`.
    pub scope: usize,
    /// Top-level JSON field (as the client spelt it) or query key.
    pub field: String,
    pub place: Place,
    /// What the gate answers itself when nothing is left, as MLflow would (e.g. `{}` for runs/search).
    pub when_empty: WhenEmpty,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    Body,
    Query,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WhenEmpty {
    /// Answer 200 with this body.
    Answer(&'static str),
    Deny,
}

/// What must happen to the response for non-admins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ResponseWork {
    #[default]
    None,
    /// Drop rows the principal may not read.
    FilterRows(&'static RowFilter),
    /// Clear fields that only holders of sub-tier DENY grants must not see.
    Redact(&'static [Redaction]),
}

/// How to find and judge the rows of a list response.
#[derive(Debug, PartialEq, Eq)]
pub struct RowFilter {
    /// The array's field at the top of the response.
    pub rows: &'static str,
    /// The row's id, as a path of fields within the row.
    pub id: &'static [&'static str],
    /// What the id is of; sent to `Visible`.
    pub resource: ResourceType,
    /// Where the row's id is not that of a resource: what it references.
    pub reference: Option<ReferenceKind>,
    pub also_require: &'static [ResourceType],
    pub redactions: &'static [Redaction],
}

/// A field to clear when `when_denied` is DENY on `*`.
#[derive(Debug, PartialEq, Eq)]
pub struct Redaction {
    pub when_denied: ResourceType,
    /// A path of fields; `[]` steps into every element of an array.
    pub path: &'static [&'static str],
}

/// A change of grants that follows from a successful response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// The principal gets MANAGE on the created object.
    Created {
        resource: ResourceType,
        id: EffectId,
    },
    Deleted {
        resource: ResourceType,
        id: String,
    },
    Renamed {
        resource: ResourceType,
        from: String,
        to: String,
    },
    /// The principal becomes the recorded creator.
    Owned {
        kind: ReferenceKind,
        id: EffectId,
    },
}

/// Where the id of a created object is found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EffectId {
    Known(String),
    /// A path of fields in the JSON response.
    Response(&'static [&'static str]),
}
