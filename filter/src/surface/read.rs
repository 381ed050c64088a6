//! From a head to what it is: outside, public, administration, a route of MLflow's, or unknown.

use std::collections::HashSet;

use crate::catalogue::{self, Input, Route};
use crate::operation::{BodyNeed, Forward, Operation, RawHead, ResponseWork};
use crate::refusal::Refusal;
use crate::requirement::{Requirement, Standing};

use super::coding;
use super::headers::{self, RequestHeaders};
use super::inputs::{Inputs, camel_case, refuse_double_spellings};
use super::json;
use super::method::Method;
use super::path::{self, MAX_TARGET, split_target};
use super::query::Query;
use super::{SurfaceSettings, scope};

mod administration;

pub use self::administration::Administration;

/// What a request is, as far as its head tells.
#[derive(Debug, Clone)]
pub enum Reading {
    /// Another host or path prefix: pass it on untouched.
    OutOfScope,
    /// Needs no credential; forward without one.
    Public(Passage),
    /// A CORS preflight: forward without a credential, MLflow's CORS rules answer it.
    Preflight(Passage),
    /// MLflow's user, role and permission API: answered by the policy server, never forwarded.
    Administer(Administration),
    /// A route of the catalogue.
    Routed(Routed),
    /// No such route: 403, unless the setting for admins lets this operation be decided. It needs
    /// a super admin and its body streams through unread.
    Unknown(Operation),
}

/// A request that is forwarded without a decision. It has no body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Passage {
    pub route: &'static str,
    pub forward: Forward,
}

/// What a request names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ids {
    pub parameters: Vec<String>,
    pub by_field: Vec<(&'static str, Vec<String>)>,
}

/// A request that matched a route; its body may still have to be read.
#[derive(Debug, Clone)]
pub struct Routed {
    route: &'static Route,
    inputs: Inputs,
    /// Encoded, with all prefixes, without the query.
    path: String,
    body_need: BodyNeed,
}

impl Routed {
    /// The catalogue's template, e.g. `/2.0/mlflow/runs/get`.
    pub fn route(&self) -> &'static str {
        self.route.path
    }

    pub fn workspace(&self) -> Option<&str> {
        self.inputs.headers.workspace.as_deref()
    }

    pub fn body_need(&self) -> BodyNeed {
        self.body_need
    }

    /// Reads what [`Self::body_need`] asked for: `Some` for [`BodyNeed::Whole`], else `None`.
    pub fn read(mut self, body: Option<&[u8]>) -> Result<Operation, Refusal> {
        self.take(body)?;
        self.operation()
    }

    /// The path's parameters, and the ids of every field that the route's line names: what is
    /// compared with other readers of the same request. A field without an id is left out.
    pub fn ids(mut self, body: Option<&[u8]>) -> Result<Ids, Refusal> {
        self.take(body)?;
        let needed = self.route.needs.iter().flat_map(|need| need.fields());
        let scoped = self.route.scopes.iter().map(|scope| scope.field);
        let by_field = needed
            .chain(scoped)
            .filter_map(|field| Some((field.name, self.inputs.all(field).ok()?)))
            .collect();
        let parameters = self.inputs.params.into_iter().map(|(_, value)| value).collect();
        Ok(Ids { parameters, by_field })
    }

    fn take(&mut self, body: Option<&[u8]>) -> Result<(), Refusal> {
        self.refuse_idle_query()?;
        match self.body_need {
            BodyNeed::Whole { limit } => {
                let bytes = body.unwrap_or_default();
                if bytes.len() > limit {
                    return Err(Refusal::TooLarge { limit });
                }
                self.take_body(bytes, limit)?;
            }
            BodyNeed::Forbidden if body.is_some_and(|bytes| !bytes.is_empty()) => {
                return Err(Refusal::ambiguous("body", "must be absent"));
            }
            BodyNeed::Forbidden | BodyNeed::Unread => {}
        }
        Ok(())
    }

    fn take_body(&mut self, bytes: &[u8], limit: usize) -> Result<(), Refusal> {
        match self.route.input {
            Input::Bytes => {
                let coding = self.inputs.headers.content_encoding.as_deref();
                self.inputs.raw_body = coding::decode(coding, bytes, limit)?.into_owned();
            }
            Input::Json | Input::Streamed | Input::Nothing => {
                // Without a body MLflow's handlers see an empty message.
                if bytes.is_empty() && self.inputs.headers.content_type.is_none() {
                    return Ok(());
                }
                let object = if bytes.is_empty() {
                    json::Object::default()
                } else {
                    json::read_object(bytes)?
                };
                refuse_double_spellings(&object)?;
                self.refuse_query_ids(&object)?;
                self.inputs.body = (!bytes.is_empty()).then_some(object);
            }
        }
        Ok(())
    }

    /// An id in the query of a route that takes it from the body or the path: MLflow's handler
    /// does not see it, and its auth app may see it first.
    fn refuse_idle_query(&self) -> Result<(), Refusal> {
        let by_body = self.route.input == Input::Json;
        for (key, value) in self.inputs.query.pairs() {
            let in_path = self.inputs.param(key);
            if in_path.is_some_and(|id| id != value) || (by_body && self.route.names_a_field(key)) {
                let shown: String = key.chars().take(64).collect();
                return Err(Refusal::ambiguous(shown, "is not read from the query"));
            }
        }
        Ok(())
    }

    /// Handlers of JSON routes ignore the query, validators of some versions do not.
    fn refuse_query_ids(&self, body: &json::Object) -> Result<(), Refusal> {
        if self.inputs.query.is_empty() {
            return Ok(());
        }
        // Each name once: thousands of keys beside as many members must not hold up the worker.
        let members: HashSet<String> = body.0.iter().map(|(name, _)| camel_case(name)).collect();
        for (key, _) in self.inputs.query.pairs() {
            let in_body = members.contains(&camel_case(key));
            if in_body || self.route.names_a_field(key) {
                let shown: String = key.chars().take(64).collect();
                return Err(Refusal::ambiguous(shown, "is given beside a JSON body"));
            }
        }
        Ok(())
    }

    fn operation(self) -> Result<Operation, Refusal> {
        let Self { route, mut inputs, path, .. } = self;
        let demand = route.demand(&inputs)?;
        let forward = Forward {
            path: target(path, &inputs.query),
            body: inputs.forwarded_body(),
            scoped: demand.scoped,
        };
        Ok(Operation {
            route: route.path,
            requirements: demand.requirements,
            scopes: demand.scopes,
            workspace: inputs.headers.workspace,
            forward,
            response: demand.response,
            graph: demand.graph,
            effects: demand.effects,
        })
    }
}

fn target(mut path: String, query: &Query) -> String {
    if !query.is_empty() {
        path.push('?');
        path.push_str(&query.canonical());
    }
    path
}

/// Reads a request's head.
pub fn read_head(settings: &SurfaceSettings, head: RawHead<'_>) -> Result<Reading, Refusal> {
    if scope::is_outside(settings, &head) {
        return Ok(Reading::OutOfScope);
    }
    let method = Method::read(head.method)?;
    let headers = headers::read(&head)?;
    if head.path.len() > MAX_TARGET {
        return Err(Refusal::invalid("path", "is too long"));
    }
    let (raw_path, raw_query) = split_target(head.path);
    let place = Place::read(settings, raw_path)?;
    let has_body = !head.end_of_stream && !headers.empty_body;

    if method == Method::Options && headers.preflight {
        return passage(method, place, raw_query, has_body).map(Reading::Preflight);
    }
    if method == Method::Head
        && let Some(found) = catalogue::find(Method::Get, &place.inner)
        && settings.public_routes.iter().any(|public| public == found.route.path)
    {
        return passage(method, place, raw_query, has_body).map(Reading::Public);
    }
    match catalogue::find(method, &place.inner) {
        Some(found) => routed(settings, method, headers, place, raw_query, has_body, found),
        None => unknown(method, headers, place, raw_query, has_body),
    }
}

/// A path split into what is kept and what is matched.
struct Place {
    /// Decoded, without the prefixes.
    inner: String,
    /// Encoded, whole.
    outer: String,
}

impl Place {
    fn read(settings: &SurfaceSettings, raw: &[u8]) -> Result<Self, Refusal> {
        let path = path::read_any(raw, &[&settings.path_prefix, &settings.static_prefix])?;
        let whole = path.as_str();
        let rest = strip_prefix(whole, &settings.path_prefix).ok_or_else(|| {
            Refusal::ambiguous("path", "leads into the gate's prefix in another spelling")
        })?;
        // FastAPI's artifact routes stay outside of the static prefix.
        let inner = strip_prefix(rest, &settings.static_prefix).unwrap_or(rest);
        let inner = if inner.is_empty() { "/" } else { inner };
        Ok(Self { inner: inner.to_owned(), outer: path.encoded() })
    }
}

fn strip_prefix<'a>(path: &'a str, prefix: &str) -> Option<&'a str> {
    let rest = path.strip_prefix(prefix.trim_end_matches('/'))?;
    (rest.is_empty() || rest.starts_with('/')).then_some(rest)
}

fn passage(
    method: Method,
    place: Place,
    raw_query: &[u8],
    has_body: bool,
) -> Result<Passage, Refusal> {
    if has_body {
        return Err(Refusal::ambiguous("body", "must be absent"));
    }
    let query = Query::read(raw_query, &[])?;
    let route = catalogue::find(method, &place.inner)
        .or_else(|| catalogue::find(Method::Get, &place.inner))
        .map_or("(unknown)", |found| found.route.path);
    let forward = Forward { path: target(place.outer, &query), body: None, scoped: Vec::new() };
    Ok(Passage { route, forward })
}

fn unknown(
    method: Method,
    headers: RequestHeaders,
    place: Place,
    raw_query: &[u8],
    has_body: bool,
) -> Result<Reading, Refusal> {
    if has_body && matches!(method, Method::Get | Method::Head | Method::Options) {
        return Err(Refusal::ambiguous("body", "must be absent"));
    }
    let query = Query::read(raw_query, &[])?;
    Ok(Reading::Unknown(Operation {
        route: "(unknown)",
        requirements: vec![Requirement::Standing(Standing::SuperAdmin)],
        scopes: Vec::new(),
        workspace: headers.workspace,
        forward: Forward { path: target(place.outer, &query), body: None, scoped: Vec::new() },
        response: ResponseWork::None,
        graph: Vec::new(),
        effects: Vec::new(),
    }))
}

fn routed(
    settings: &SurfaceSettings,
    method: Method,
    headers: RequestHeaders,
    place: Place,
    raw_query: &[u8],
    has_body: bool,
    found: catalogue::Found,
) -> Result<Reading, Refusal> {
    let catalogue::Found { route, params } = found;
    if settings.public_routes.iter().any(|public| public == route.path)
        && catalogue::may_be_public(route.path)
    {
        return passage(method, place, raw_query, has_body).map(Reading::Public);
    }
    let query = Query::read(raw_query, route.repeated_keys())?;
    let body_need = body_need(route, method, &headers, &query, has_body, settings.body_limit)?;
    if route.is_administration() {
        return Ok(Reading::Administer(Administration {
            method,
            path: place.inner,
            query: query.pairs().to_vec(),
            content_type: headers.content_type.unwrap_or_default().to_ascii_lowercase(),
            workspace: headers.workspace,
            route,
            body_need,
        }));
    }
    let inputs = Inputs {
        method,
        params,
        query,
        body: None,
        raw_body: Vec::new(),
        headers,
        looked: Default::default(),
    };
    Ok(Reading::Routed(Routed { route, inputs, path: place.outer, body_need }))
}

fn body_need(
    route: &Route,
    method: Method,
    headers: &RequestHeaders,
    query: &Query,
    has_body: bool,
    limit: usize,
) -> Result<BodyNeed, Refusal> {
    if matches!(method, Method::Get | Method::Head | Method::Options) {
        // MLflow would execute the body of a GET that has no query.
        return if has_body {
            Err(Refusal::ambiguous("body", "must be absent"))
        } else {
            Ok(BodyNeed::Forbidden)
        };
    }
    match route.input {
        Input::Streamed => Ok(BodyNeed::Unread),
        _ if !has_body => Ok(BodyNeed::Forbidden),
        Input::Nothing => Err(Refusal::ambiguous("body", "must be absent")),
        Input::Bytes => Ok(BodyNeed::Whole { limit }),
        Input::Json => {
            check_json_head(method, headers, query)?;
            Ok(BodyNeed::Whole { limit })
        }
    }
}

fn check_json_head(method: Method, headers: &RequestHeaders, query: &Query) -> Result<(), Refusal> {
    if headers.content_encoding.is_some() {
        return Err(Refusal::ambiguous("content-encoding", "is not read by MLflow"));
    }
    if headers.content_type.as_deref() != Some("application/json") {
        return Err(Refusal::invalid("content-type", "must be application/json"));
    }
    if method == Method::Delete && !query.is_empty() {
        return Err(Refusal::ambiguous("query", "is given beside a JSON body"));
    }
    Ok(())
}

#[cfg(test)]
mod tests;
