//! Who claims say somebody is, as the configuration of their source reads them.

use super::Unauthenticated;
use crate::config::{ClaimNames, Issuer, Required, Separator};
use crate::surface::json::{Object, Value};
use std::collections::BTreeMap;

/// MLflow's column `users.username` holds 255 characters.
const MAX_NAME: usize = 255;
const MAX_GROUPS: usize = 512;

/// How a configuration reads who somebody is, whoever has said it.
#[derive(Debug, Clone, Copy)]
pub struct Naming<'c> {
    pub username_claims: &'c [String],
    pub username_prefix: &'c str,
    pub groups_claim: &'c ClaimNames,
    pub groups_separator: Separator,
    pub groups_prefix: &'c str,
    pub required_claims: &'c BTreeMap<String, Required>,
}

/// Why claims name nobody.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClaimError {
    NoUsername,
    Username,
    Groups,
    GroupsOverage,
}

impl ClaimError {
    /// As it is said of a token.
    pub const fn of_token(self) -> Unauthenticated {
        let (reason, description) = match self {
            Self::NoUsername => ("jwt_no_username", "the token names no user"),
            Self::Username => ("jwt_username", "the token's user name is not accepted"),
            Self::Groups => ("jwt_groups", "the token's groups are not accepted"),
            Self::GroupsOverage => {
                ("jwt_groups_overage", "the token does not list the user's groups")
            }
        };
        Unauthenticated::bearer(reason, description)
    }

    /// As it is said of the headers of a proxy.
    pub const fn of_proxy(self) -> Unauthenticated {
        Unauthenticated::basic(match self {
            Self::NoUsername => "forwarded_no_username",
            Self::Username => "forwarded_username",
            Self::Groups => "forwarded_groups",
            Self::GroupsOverage => "forwarded_groups_overage",
        })
    }
}

pub fn has_audience(claims: &Object, issuer: &Issuer) -> bool {
    let accepts = |audience: &Value| {
        audience.as_str().is_some_and(|name| issuer.audiences.iter().any(|other| other == name))
    };
    // Only the first that is there: a token for somebody else does not become ours by a second.
    match issuer.audience_claims.iter().find_map(|name| find(claims, name)) {
        Some(Value::Array(audiences)) => audiences.iter().any(accepts),
        Some(audience) => accepts(audience),
        None => false,
    }
}

pub fn has_required(claims: &Object, naming: &Naming<'_>) -> bool {
    naming.required_claims.iter().all(|(name, required)| {
        find(claims, name).is_some_and(|value| match required {
            Required::Exactly(wanted) => equals(value, wanted),
            Required::AnyOf(wanted) => wanted.iter().any(|wanted| equals(value, wanted)),
        })
    })
}

pub fn username(claims: &Object, naming: &Naming<'_>) -> Result<String, ClaimError> {
    let present = naming.username_claims.iter().find_map(|name| find(claims, name));
    let Some(Value::String(name)) = present else {
        return Err(ClaimError::NoUsername);
    };
    let username = format!("{}{name}", naming.username_prefix);
    if name.is_empty()
        || username.chars().count() > MAX_NAME
        || name.trim() != name
        || username.chars().any(char::is_control)
    {
        return Err(ClaimError::Username);
    }
    Ok(username)
}

/// Sorted and without duplicates, so that the same groups give the same cache key.
pub fn groups(claims: &Object, naming: &Naming<'_>) -> Result<Vec<String>, ClaimError> {
    let mut groups = Vec::new();
    for claim in &naming.groups_claim.0 {
        // Without them a denial through a group would be lost.
        if has_overage(claims, claim) {
            return Err(ClaimError::GroupsOverage);
        }
        let Some(value) = find(claims, claim) else { continue };
        let Some(names) = names(value, naming.groups_separator) else {
            return Err(ClaimError::Groups);
        };
        if groups.len().saturating_add(names.len()) > MAX_GROUPS {
            return Err(ClaimError::Groups);
        }
        groups.extend(names.into_iter().map(|name| format!("{}{name}", naming.groups_prefix)));
    }
    // A group that can have no name here can have no grants and no denials either.
    groups.retain(|name| name.len() <= MAX_NAME && !name.chars().any(char::is_control));
    groups.sort_unstable();
    groups.dedup();
    Ok(groups)
}

/// The non-empty names of a list, or of one string.
fn names(value: &Value, separator: Separator) -> Option<Vec<&str>> {
    let names: Vec<&str> = match (value, separator) {
        (Value::Null, _) => Vec::new(),
        (Value::Array(items), _) => items.iter().map(Value::as_str).collect::<Option<_>>()?,
        (Value::String(list), Separator::Comma) => list.split(',').map(str::trim).collect(),
        (Value::String(list), Separator::Space) => list.split(' ').collect(),
        _ => return None,
    };
    Some(names.into_iter().filter(|name| !name.is_empty()).collect())
}

/// Entra ID leaves out a list that would be too long: `_claim_names` says of which claim, or
/// `hasgroups` in tokens of the implicit flow.
fn has_overage(claims: &Object, claim: &str) -> bool {
    let elsewhere = claims.get("_claim_names").and_then(Value::as_object);
    let hidden = claim == "groups"
        && matches!(claims.get("hasgroups"), Some(Value::Bool(true) | Value::String(_)));
    hidden || elsewhere.is_some_and(|names| names.get(claim).is_some())
}

/// A claim by its name, by a path of names with dots between, or by a JSON pointer.
fn find<'c>(claims: &'c Object, name: &str) -> Option<&'c Value> {
    match name.strip_prefix('/') {
        Some(pointer) => pointed(claims, pointer),
        None => dotted(claims, name),
    }
}

fn dotted<'c>(claims: &'c Object, name: &str) -> Option<&'c Value> {
    if let Some(value) = claims.get(name) {
        return Some(value);
    }
    let (first, rest) = name.split_once('.')?;
    dotted(claims.get(first)?.as_object()?, rest)
}

/// RFC 6901, objects only.
fn pointed<'c>(claims: &'c Object, pointer: &str) -> Option<&'c Value> {
    let name = |token: &str| token.replace("~1", "/").replace("~0", "~");
    match pointer.split_once('/') {
        None => claims.get(&name(pointer)),
        Some((first, rest)) => pointed(claims.get(&name(first))?.as_object()?, rest),
    }
}

fn equals(value: &Value, wanted: &serde_json::Value) -> bool {
    match (value, wanted) {
        (Value::String(value), serde_json::Value::String(wanted)) => value == wanted,
        (Value::Bool(value), serde_json::Value::Bool(wanted)) => value == wanted,
        (Value::Number(value), serde_json::Value::Number(wanted)) => *value == wanted.to_string(),
        (Value::Null, serde_json::Value::Null) => true,
        (Value::Array(values), serde_json::Value::Array(wanted)) => {
            values.len() == wanted.len()
                && values.iter().zip(wanted).all(|(value, wanted)| equals(value, wanted))
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests;
