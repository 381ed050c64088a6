//! Keeping a page full although rows are dropped (semantics §7).
//!
//! MLflow's auth app reads on from its store until the page is full; the token it gives is the
//! offset after the last row it consumed, hidden rows counted. So is ours, by further requests.

use super::{MAX_FETCHES, MIN_FETCH, ResponseError, token};
use crate::operation::{Forward, Paging, Rewrite};
use crate::surface::json::{self, Object, Value};
use crate::surface::path::split_target;
use crate::surface::query::Query;

const TOKEN: &str = "next_page_token";

/// A list response in the making.
#[derive(Debug)]
pub struct Listing {
    /// `None`: pages stay as they come.
    refill: Option<Refill>,
    /// The first page's other fields, once it is there.
    top: Option<Object>,
    rows: Vec<Value>,
    /// The token to give with what is there.
    token: Option<String>,
}

#[derive(Debug)]
struct Refill {
    field: &'static str,
    want: usize,
    request: Forward,
    /// Where the page that is awaited starts.
    start: u64,
    fetches: u32,
}

/// What a page came to.
pub enum Page {
    Full(Value),
    Short(Box<Listing>, Forward),
}

impl Listing {
    pub fn new(rewrite: &Rewrite, request: &Forward) -> Self {
        Self { refill: Refill::new(rewrite, request), top: None, rows: Vec::new(), token: None }
    }

    /// Adds a page; `keep` judges its rows.
    pub fn add(
        mut self,
        value: Value,
        keep: impl Fn(&Object) -> bool,
    ) -> Result<Page, ResponseError> {
        let Some(refill) = &mut self.refill else { return Ok(Page::Full(value)) };
        let Value::Object(mut page) = value else { return Err(ResponseError::Malformed) };
        let rows = take_rows(&mut page, refill.field)?;
        let next = take_token(&mut page)?;
        if self.top.is_none() {
            self.top = Some(page);
        }
        let came = rows.len();
        let mut consumed: usize = 0;
        for row in rows {
            if self.rows.len() >= refill.want {
                break;
            }
            consumed = consumed.saturating_add(1);
            if row.as_object().is_some_and(&keep) {
                self.rows.push(row);
            }
        }
        let full = self.rows.len() >= refill.want;
        let past = refill.start.saturating_add(u64::try_from(consumed).unwrap_or(u64::MAX));
        self.token = if consumed < came { Some(token::at(past)) } else { next };
        let start = self.token.as_deref().and_then(token::offset);
        match start {
            Some(start) if !full && came > 0 && refill.fetches < MAX_FETCHES => {
                refill.start = start;
                refill.fetches = refill.fetches.saturating_add(1);
                let Some(request) = refill.page_at(&token::at(start)) else {
                    return self.finish().map(Page::Full);
                };
                Ok(Page::Short(Box::new(self), request))
            }
            _ => {
                if came == 0 {
                    self.token = None;
                }
                self.finish().map(Page::Full)
            }
        }
    }

    /// The response with what is there.
    pub fn finish(self) -> Result<Value, ResponseError> {
        let (Some(refill), Some(mut top)) = (self.refill, self.top) else {
            return Err(ResponseError::Malformed);
        };
        let absent = self.rows.is_empty() && top.get(refill.field).is_none();
        fill(&mut top, refill.field, (!absent).then_some(self.rows), Value::Array);
        fill(&mut top, TOKEN, self.token, Value::String);
        Ok(Value::Object(top))
    }
}

impl Refill {
    fn new(rewrite: &Rewrite, request: &Forward) -> Option<Self> {
        let Paging::Refill { default_size } = rewrite.paging else { return None };
        let &[field, "[]"] = rewrite.rows.first()?.at else { return None };
        let given = Given::read(request)?;
        let want = match given.size {
            Some(size) => size,
            None => usize::try_from(default_size?).ok()?,
        };
        let start = match given.token {
            Some(token) => token::offset(&token)?,
            None => 0,
        };
        Some(Self { field, want, request: request.clone(), start, fetches: 0 })
    }

    /// The request for the page at a token.
    fn page_at(&self, token: &str) -> Option<Forward> {
        let size = u64::try_from(self.want).ok()?.max(MIN_FETCH);
        let mut request = self.request.clone();
        match &request.body {
            Some(body) => {
                let mut body = json::read_object(body).ok()?;
                set(&mut body, "page_token", "pageToken", Value::String(token.to_owned()));
                set(&mut body, "max_results", "maxResults", Value::Number(size.to_string()));
                request.body = Some(body.to_bytes());
            }
            None => {
                let (path, mut query) = target(&request)?;
                query.replace("page_token", &[token.to_owned()]);
                query.replace("max_results", &[size.to_string()]);
                request.path = format!("{path}?{}", query.canonical());
            }
        }
        Some(request)
    }
}

/// The paging fields of a request.
struct Given {
    size: Option<usize>,
    token: Option<String>,
}

impl Given {
    /// `None` where a field is there that cannot be read.
    fn read(request: &Forward) -> Option<Self> {
        let (size, token) = match &request.body {
            Some(body) => {
                let body = json::read_object(body).ok()?;
                let field =
                    |name: &str, camel: &str| body.get(name).or_else(|| body.get(camel)).cloned();
                let text = |value: Option<Value>| match value {
                    None | Some(Value::Null) => Some(None),
                    Some(Value::String(text) | Value::Number(text)) => Some(Some(text)),
                    Some(_) => None,
                };
                (text(field("max_results", "maxResults"))?, text(field("page_token", "pageToken"))?)
            }
            None => {
                let (_, query) = target(request)?;
                let first = |key: &str| query.first(key).map(str::to_owned);
                (first("max_results"), first("page_token"))
            }
        };
        let size = match size {
            None => None,
            Some(text) => Some(text.parse().ok().filter(|&size| size > 0)?),
        };
        Some(Self { size, token: token.filter(|token| !token.is_empty()) })
    }
}

fn target(request: &Forward) -> Option<(String, Query)> {
    let (path, query) = split_target(request.path.as_bytes());
    let path = std::str::from_utf8(path).ok()?.to_owned();
    Some((path, Query::read(query, &["order_by"]).ok()?))
}

fn set(body: &mut Object, name: &str, camel: &str, value: Value) {
    let spelt = if body.get(camel).is_some() { camel } else { name };
    match body.get_mut(spelt) {
        Some(held) => *held = value,
        None => body.0.push((spelt.to_owned(), value)),
    }
}

fn take_rows(page: &mut Object, field: &str) -> Result<Vec<Value>, ResponseError> {
    match take(page, field) {
        Some(Value::Array(rows)) => Ok(rows),
        None | Some(Value::Null) => Ok(Vec::new()),
        Some(_) => Err(ResponseError::Shape { at: field.to_owned() }),
    }
}

fn take_token(page: &mut Object) -> Result<Option<String>, ResponseError> {
    match take(page, TOKEN) {
        Some(Value::String(token)) => Ok(Some(token).filter(|token| !token.is_empty())),
        None | Some(Value::Null) => Ok(None),
        Some(_) => Err(ResponseError::Shape { at: TOKEN.to_owned() }),
    }
}

/// Takes a field's value and leaves `null` (an unset field, to MLflow) in its place.
fn take(page: &mut Object, field: &str) -> Option<Value> {
    Some(std::mem::replace(page.get_mut(field)?, Value::Null))
}

fn fill<T>(top: &mut Object, field: &str, value: Option<T>, wrap: fn(T) -> Value) {
    match (top.get_mut(field), value) {
        (Some(place), Some(value)) => *place = wrap(value),
        (None, Some(value)) => top.0.push((field.to_owned(), wrap(value))),
        (_, None) => {}
    }
}
