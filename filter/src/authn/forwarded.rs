//! An identity that a proxy in front says in headers: EasyAuth's, oauth2-proxy's.
//!
//! Such a header is worth what its sender is worth. From anywhere but the trusted hop it is
//! nothing, and is removed before MLflow sees it. From the hop it must be there once, in one
//! spelling, and whole: what two readers could read in two ways names nobody.

use super::apart::Prefixes;
use super::claims::{self, Naming};
use super::hop::{Hop, hop};
use super::{MAX_CREDENTIAL, Unauthenticated};
use crate::config::{ForwardedIdentity, IdentityHeaders, PLAIN_CLAIMS};
use crate::contract as pb;
use crate::headers::{Headers, wsgi};
use crate::host::Host;
use crate::surface::json::{Object, Value, read_object};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// Of EasyAuth's principal, encoded: 200 groups take 20 KiB.
const MAX_PRINCIPAL: usize = 48 * 1024;
const MAX_CLAIMS: usize = 1024;
/// Of a header that is one name.
const MAX_VALUE: usize = 1024;

/// An identity in a header has no end of its own: every request says it anew. What is decided on
/// it counts for one to two of these, in s. A moment for each request would be a cache key for
/// each request.
const WINDOW_SECONDS: u64 = 300;

/// What the headers say.
#[derive(Debug, PartialEq)]
pub enum Forwarded {
    Nothing,
    /// Something, but not from the trusted hop.
    Ignored,
    Identity(pb::VerifiedIdentity),
}

pub fn read<H: Host>(
    config: &ForwardedIdentity,
    prefixes: &Prefixes,
    host: &H,
    headers: &Headers,
) -> Result<Forwarded, Unauthenticated> {
    if !headers.iter().any(|(name, value)| !value.is_empty() && belongs(config.headers, name)) {
        return Ok(Forwarded::Nothing);
    }
    if hop(&config.trusted, host, headers) == Hop::Untrusted {
        return Ok(Forwarded::Ignored);
    }
    said(config, prefixes, headers, host.now_ms() / 1000).map(Forwarded::Identity)
}

/// Who the headers say it is, at a time in s since the epoch; whoever has sent them.
pub fn said(
    config: &ForwardedIdentity,
    prefixes: &Prefixes,
    headers: &Headers,
    now: u64,
) -> Result<pb::VerifiedIdentity, Unauthenticated> {
    refuse_twins(headers, config.headers)?;
    let claims = match config.headers {
        IdentityHeaders::EasyAuth => easy_auth(config, headers)?,
        IdentityHeaders::AuthRequest | IdentityHeaders::Forwarded => plain(config, headers)?,
    };
    let naming = config.naming();
    if !claims::has_required(&claims, &naming) {
        return refuse("forwarded_required_claim");
    }
    let window = (now / WINDOW_SECONDS).saturating_add(2).saturating_mul(WINDOW_SECONDS);
    let mut identity = identity(&claims, &naming).map_err(claims::ClaimError::of_proxy)?;
    identity.issuer.clone_from(&config.name);
    identity.expires_at = i64::try_from(window).unwrap_or(0);
    prefixes.keep_apart(&naming, &mut identity).map_err(claims::ClaimError::of_proxy)?;
    Ok(identity)
}

fn identity(
    claims: &Object,
    naming: &Naming<'_>,
) -> Result<pb::VerifiedIdentity, claims::ClaimError> {
    Ok(pb::VerifiedIdentity {
        username: claims::username(claims, naming)?,
        groups: claims::groups(claims, naming)?,
        ..pb::VerifiedIdentity::default()
    })
}

const fn refuse<T>(reason: &'static str) -> Result<T, Unauthenticated> {
    Err(Unauthenticated::basic(reason))
}

/// Whether a header, as a WSGI server would read its name, is one of those that say who it is.
fn belongs(headers: IdentityHeaders, name: &[u8]) -> bool {
    let name: Vec<u8> = name.iter().map(|byte| wsgi(*byte)).collect();
    let Some(rest) = name.strip_prefix(prefix(headers).as_bytes()) else { return false };
    match headers {
        IdentityHeaders::EasyAuth => true,
        IdentityHeaders::AuthRequest | IdentityHeaders::Forwarded => {
            PLAIN_CLAIMS.iter().any(|claim| claim.bytes().map(wsgi).eq(rest.iter().copied()))
        }
    }
}

const fn prefix(headers: IdentityHeaders) -> &'static str {
    match headers {
        IdentityHeaders::EasyAuth => PRINCIPAL,
        IdentityHeaders::AuthRequest => "x-auth-request-",
        IdentityHeaders::Forwarded => "x-forwarded-",
    }
}

/// The one value of a header; `None` where there is none, or an empty one.
fn single<'h>(headers: &'h Headers, name: &str) -> Result<Option<&'h str>, Unauthenticated> {
    let mut found = headers.iter().filter(|(other, _)| other.eq_ignore_ascii_case(name.as_bytes()));
    match (found.next(), found.next()) {
        (None, _) => Ok(None),
        (Some((_, value)), None) => match std::str::from_utf8(value) {
            Ok(value) => Ok(Some(value).filter(|value| !value.is_empty())),
            Err(_) => refuse("forwarded_malformed"),
        },
        _ => refuse("forwarded_ambiguous"),
    }
}

/// Refuses a spelling that only some readers take for the header that is meant.
fn refuse_twins(headers: &Headers, which: IdentityHeaders) -> Result<(), Unauthenticated> {
    let twin = |name: &[u8]| name.contains(&b'_') && belongs(which, name);
    if headers.iter().any(|(name, _)| twin(name)) {
        return refuse("forwarded_ambiguous");
    }
    Ok(())
}

// === oauth2-proxy ===

fn plain(config: &ForwardedIdentity, headers: &Headers) -> Result<Object, Unauthenticated> {
    let prefix = prefix(config.headers);
    let mut claims = Object::default();
    for claim in PLAIN_CLAIMS {
        let header = format!("{prefix}{}", claim.replace('_', "-"));
        let Some(value) = single(headers, &header)? else { continue };
        // A comma is what is left of two headers that somebody has joined.
        let list = claim == "groups";
        let limit = if list { MAX_CREDENTIAL } else { MAX_VALUE };
        if value.len() > limit || (!list && value.contains(',')) {
            return refuse("forwarded_malformed");
        }
        claims.0.push((claim.to_owned(), Value::String(value.to_owned())));
    }
    Ok(claims)
}

// === EasyAuth ===

const PRINCIPAL: &str = "x-ms-client-principal";
const PROVIDER: &str = "x-ms-client-principal-idp";

/// The claims of `X-MS-CLIENT-PRINCIPAL`. `-NAME` and `-ID` say what is in it already.
fn easy_auth(config: &ForwardedIdentity, headers: &Headers) -> Result<Object, Unauthenticated> {
    for other in ["x-ms-client-principal-name", "x-ms-client-principal-id"] {
        single(headers, other)?;
    }
    let encoded = single(headers, PRINCIPAL)?;
    let Some(encoded) = encoded else { return refuse("forwarded_incomplete") };
    if encoded.len() > MAX_PRINCIPAL {
        return refuse("forwarded_malformed");
    }
    let decoded = STANDARD.decode(encoded).ok().and_then(|json| read_object(&json).ok());
    let Some(principal) = decoded else { return refuse("forwarded_malformed") };
    let provider = principal.get("auth_typ").and_then(Value::as_str).unwrap_or_default();
    let said = single(headers, PROVIDER)?.unwrap_or(provider);
    if said != provider || !config.identity_providers.iter().any(|known| known == provider) {
        return refuse("forwarded_provider");
    }
    let listed = match principal.get("claims") {
        Some(Value::Array(listed)) if listed.len() <= MAX_CLAIMS => listed,
        _ => return refuse("forwarded_malformed"),
    };
    let mut claims = Object::default();
    for claim in listed {
        let part = |name| claim.as_object().and_then(|claim| claim.get(name)?.as_str());
        let (Some(kind), Some(value)) = (part("typ"), part("val")) else {
            return refuse("forwarded_malformed");
        };
        add(&mut claims, config, kind, value)?;
    }
    Ok(claims)
}

/// A claim that comes again becomes a list. Groups are a list from the first, and a comma in one
/// of them belongs to its name.
fn add(
    claims: &mut Object,
    config: &ForwardedIdentity,
    kind: &str,
    value: &str,
) -> Result<(), Unauthenticated> {
    let text = Value::String(value.to_owned());
    let is_list = config.groups_claim.0.iter().any(|name| name == kind);
    match claims.get_mut(kind) {
        Some(Value::Array(values)) => values.push(text),
        Some(first) => {
            let both = vec![first.clone(), text];
            *first = Value::Array(both);
        }
        None => {
            let first = match kind {
                // Entra's word that there are more groups than fit.
                "_claim_names" => match read_object(value.as_bytes()) {
                    Ok(names) => Value::Object(names),
                    Err(_) => return refuse("forwarded_malformed"),
                },
                _ if is_list => Value::Array(vec![text]),
                _ => text,
            };
            claims.0.push((kind.to_owned(), first));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
