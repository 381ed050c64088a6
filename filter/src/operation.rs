//! The seam between reading a request and deciding on it.
//!
//! `surface` (canonicalisation, catalogue, extraction) produces these values from raw bytes;
//! the gate (credentials, cache, policy calls, responses) consumes them and knows nothing of
//! MLflow's paths.

use crate::headers::Headers;
use crate::requirement::{Action, ReferenceKind, Requirement, ResourceType, Scope};
use crate::surface::id::Form;

/// A request head as the proxy shows it. Bytes, because a client chooses them.
#[derive(Debug, Clone, Copy)]
pub struct RawHead<'a> {
    pub method: &'a [u8],
    /// `:path`, with the query.
    pub path: &'a [u8],
    /// All headers in their order, pseudo-headers included, names in lower case.
    pub headers: &'a Headers,
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
    /// With [`ResponseWork::Graph`]: where the answer has rows to judge.
    pub graph: Vec<GraphRows>,
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
    /// A condition on the attribute `field` is put before the body's `filter`.
    FilterInBody,
    /// The same in the query.
    FilterInQuery,
    /// The ids become the query's list `field`, which came without one. Ids that are not in this
    /// form name nothing, and MLflow would refuse the whole list for one of them.
    ListInQuery(Form),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WhenEmpty {
    /// Answer 200 with this body.
    Answer(&'static str),
    Deny,
}

/// What must happen to the response, unless the principal is a super admin.
///
/// Carried out by [`crate::response`]. Anything but `None` needs the response body, whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ResponseWork {
    #[default]
    None,
    /// Clear fields; decided by `AuthorizeResponse.denied_tiers` alone.
    Redact(&'static [Redaction]),
    /// Drop rows or clear fields of objects, each judged by its own id; then redact.
    Rewrite(&'static Rewrite),
    /// The rows of a GraphQL answer: see [`Operation::graph`].
    Graph,
}

/// How to rewrite a list response.
#[derive(Debug, PartialEq, Eq)]
pub struct Rewrite {
    pub rows: &'static [Rows],
    pub redactions: &'static [Redaction],
    pub paging: Paging,
}

/// A path of JSON fields from the top of the response, or from a row.
///
/// `[]` steps into every element of an array. At the end, `=KEY` means the elements of an array
/// of `{"key", "value"}` whose key is KEY. What is absent on the way is nothing to do.
pub type Path = &'static [&'static str];

/// Objects in a response that are judged one by one.
#[derive(Debug, PartialEq, Eq)]
pub struct Rows {
    /// The objects; ends in `[]` where rows may be dropped.
    pub at: Path,
    /// A row stays as it is when all of these hold. An id that cannot be read fails.
    pub keep: &'static [RowTest],
    pub otherwise: Otherwise,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Otherwise {
    /// Remove the row from its array.
    Drop,
    /// Remove these fields of the row.
    Clear(&'static [Path]),
    /// Tests or not: set `allowed_actions` to what the principal may do with the object itself.
    Stamp { resource: ResourceType, id: RowId },
}

/// What must hold for a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RowTest {
    /// The principal may do `action` on the object, with the workspace grant as fallback.
    May { resource: ResourceType, action: Action, id: RowId },
    /// The same without the fallback.
    MayItself { resource: ResourceType, action: Action, id: RowId },
    /// The same, without the fallback, for an object that is named by another kind of id.
    MayByReference { resource: ResourceType, action: Action, kind: ReferenceKind, id: RowId },
    /// READ on a registered model or prompt, whichever the row's own tags make it, and, where the
    /// row is a version, no DENY on that version tier.
    MayReadModelOrPrompt { name: RowId, version: bool },
    /// No DENY on `*` of this type.
    NotDenied(ResourceType),
    /// The principal is the recorded creator of what the id names.
    Owned { kind: ReferenceKind, id: RowId },
    /// One of the usernames in this array is the principal's, or scope 0 of the operation was
    /// answered with something left.
    ListedUnlessScoped(Path),
    /// No DENY on `*` of RUN where the field is a run id (32 lower-case hex digits).
    RunDirectory(Path),
    /// READ on the experiment where the field is an experiment id.
    ExperimentDirectory(Path),
}

/// Where a row's id is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RowId {
    Field(Path),
    /// The first, or where it is absent the second.
    Either(Path, Path),
    /// A scorer's key in grants: `<experiment_id>/<name, percent-encoded>`.
    Scorer {
        experiment_id: Path,
        name: Path,
    },
    /// A skill's key in grants: `name`, or `@organization/name`.
    Skill {
        organization: Path,
        name: Path,
    },
}

/// How a list's pages are kept full although rows are dropped (semantics §7).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Paging {
    /// There are none, or the request is scoped, or MLflow's auth app leaves short pages too.
    AsTheyCome,
    /// Tokens are `base64({"offset": n})` over all rows: fetch on until the page is full.
    Refill { default_size: Option<u32> },
}

/// Where a GraphQL answer has model versions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GraphRows {
    /// Response keys (aliases) below `data`; arrays on the way are stepped into.
    pub at: Vec<String>,
    /// The response key of the row's `name`.
    pub name: String,
}

/// A field to remove.
#[derive(Debug, PartialEq, Eq)]
pub struct Redaction {
    pub when: When,
    pub path: Path,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum When {
    Always,
    /// This type is DENY on `*`. `ModelOrPromptVersion` is read by the tags of the object that
    /// has the field.
    Denied(ResourceType),
}

/// A change of grants that follows from a successful response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// The principal gets MANAGE on the created object.
    Created {
        resource: ResourceType,
        id: EffectId,
        /// What the client calls it, by which it is found again if the answer is lost; empty
        /// where it has no name.
        name: String,
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
