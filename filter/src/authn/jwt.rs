//! A JWT's two readings that matter: which key it claims to be signed with, and who it says
//! somebody is. Nothing here trusts the token; the signature is checked in between.

use super::Unauthenticated;
use crate::config::{Algorithm, Issuer};
use crate::contract as pb;
use crate::surface::json::{Object, Value, read_object};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// Header parameters that name a key, or that change what is signed: never obeyed.
const FORBIDDEN: &[&str] = &["jku", "x5u", "jwk", "x5c", "crit", "b64", "zip", "enc", "cty"];

/// `typ` values of tokens that are meant for an API.
const TYPES: &[&str] = &["jwt", "at+jwt", "application/at+jwt"];

const MAX_KID: usize = 256;
/// MLflow's column `users.username` holds 255 characters.
const MAX_NAME: usize = 255;
const MAX_GROUPS: usize = 512;

/// Times outside of this are nonsense: 2001-09-09 to 2100-01-01.
const TIMES: std::ops::RangeInclusive<u64> = 1_000_000_000..=4_102_444_800;

/// A token that is well formed, and of which nothing is known yet.
#[derive(Debug)]
pub struct Unverified<'a> {
    /// `header.payload`: what is signed.
    pub text: &'a str,
    pub signature: Vec<u8>,
    pub algorithm: Algorithm,
    pub kid: Option<String>,
    claims: Object,
}

fn refuse<T>(reason: &'static str, description: &'static str) -> Result<T, Unauthenticated> {
    Err(Unauthenticated::bearer(reason, description))
}

impl<'a> Unverified<'a> {
    pub fn parse(token: &'a str) -> Result<Self, Unauthenticated> {
        const MALFORMED: Unauthenticated =
            Unauthenticated::bearer("jwt_malformed", "the token is malformed");
        let (text, signature) = token.rsplit_once('.').ok_or(MALFORMED)?;
        let (header, payload) = text.split_once('.').ok_or(MALFORMED)?;
        if payload.contains('.') {
            return Err(MALFORMED);
        }
        let decode = |part: &str| URL_SAFE_NO_PAD.decode(part).map_err(|_| MALFORMED);
        // Unique keys at every depth: another reader would take the other one.
        let header = read_object(&decode(header)?).map_err(|_| MALFORMED)?;
        let claims = read_object(&decode(payload)?).map_err(|_| MALFORMED)?;
        let signature = decode(signature)?;
        if header.0.iter().any(|(name, _)| FORBIDDEN.contains(&name.as_str())) {
            return refuse("jwt_header", "the token's header is not accepted");
        }
        if let Some(kind) = header.get("typ") {
            let known = kind
                .as_str()
                .is_some_and(|kind| TYPES.iter().any(|known| known.eq_ignore_ascii_case(kind)));
            if !known {
                return refuse("jwt_type", "the token's type is not accepted");
            }
        }
        let algorithm = header.get("alg").and_then(Value::as_str);
        let Some(algorithm) = algorithm.and_then(Algorithm::from_header) else {
            return refuse("jwt_algorithm", "the token's algorithm is not accepted");
        };
        let kid = match header.get("kid") {
            None => None,
            Some(Value::String(kid)) if kid.len() <= MAX_KID => Some(kid.clone()),
            Some(_) => return refuse("jwt_kid", "the token's key is not known"),
        };
        Ok(Self { text, signature, algorithm, kid, claims })
    }

    /// The issuer that the token names.
    pub fn issuer(&self) -> Option<&str> {
        self.claims.get("iss")?.as_str()
    }

    /// Checks the claims. What they say may be believed only after the signature is checked.
    pub fn identity(
        &self,
        issuer: &Issuer,
        leeway: u64,
        now: u64,
    ) -> Result<pb::VerifiedIdentity, Unauthenticated> {
        let claims = &self.claims;
        let Some(expiry) = time(claims, "exp")? else {
            return refuse("jwt_no_expiry", "the token does not expire");
        };
        let accepted_until = expiry.saturating_add(leeway);
        if now >= accepted_until {
            return refuse("jwt_expired", "the token has expired");
        }
        for (claim, reason) in [("nbf", "jwt_not_yet_valid"), ("iat", "jwt_from_the_future")] {
            if time(claims, claim)?.is_some_and(|time| time > now.saturating_add(leeway)) {
                return refuse(reason, "the token is not valid yet");
            }
        }
        if !has_audience(claims, &issuer.audiences) {
            return refuse("jwt_audience", "the token is for another audience");
        }
        let required = &issuer.required_claims;
        let holds = |(name, wanted): (&String, &serde_json::Value)| {
            find(claims, name).is_some_and(|value| equals(value, wanted))
        };
        if !required.iter().all(holds) {
            return refuse("jwt_required_claim", "the token lacks a required claim");
        }
        Ok(pb::VerifiedIdentity {
            issuer: issuer.name.clone(),
            username: username(claims, issuer)?,
            groups: groups(claims, issuer)?,
            expires_at: i64::try_from(accepted_until).unwrap_or(0),
        })
    }
}

/// A NumericDate: a JSON number, whole or with a fraction, within reason.
fn time(claims: &Object, name: &str) -> Result<Option<u64>, Unauthenticated> {
    let Some(value) = claims.get(name) else { return Ok(None) };
    let Value::Number(text) = value else {
        return refuse("jwt_time", "a time in the token is not a number");
    };
    let whole = text.split_once('.').map_or(text.as_str(), |(whole, _)| whole);
    match whole.parse::<u64>() {
        Ok(time) if TIMES.contains(&time) => Ok(Some(time)),
        _ => refuse("jwt_time", "a time in the token is out of range"),
    }
}

fn has_audience(claims: &Object, accepted: &[String]) -> bool {
    let accepts = |audience: &Value| {
        audience.as_str().is_some_and(|name| accepted.iter().any(|other| other == name))
    };
    match claims.get("aud") {
        Some(Value::Array(audiences)) => audiences.iter().any(accepts),
        Some(audience) => accepts(audience),
        None => false,
    }
}

fn username(claims: &Object, issuer: &Issuer) -> Result<String, Unauthenticated> {
    let present = issuer.username_claims.iter().find_map(|name| find(claims, name));
    let Some(Value::String(name)) = present else {
        return refuse("jwt_no_username", "the token names no user");
    };
    let username = format!("{}{name}", issuer.username_prefix);
    if name.is_empty()
        || username.chars().count() > MAX_NAME
        || name.trim() != name
        || username.chars().any(char::is_control)
    {
        return refuse("jwt_username", "the token's user name is not accepted");
    }
    Ok(username)
}

/// Sorted and without duplicates, so that the same groups give the same cache key.
fn groups(claims: &Object, issuer: &Issuer) -> Result<Vec<String>, Unauthenticated> {
    let Some(value) = issuer.groups_claim.as_deref().and_then(|name| find(claims, name)) else {
        return Ok(Vec::new());
    };
    let names: Option<Vec<&str>> = match value {
        Value::Array(items) => items.iter().map(Value::as_str).collect(),
        Value::String(list) => Some(list.split(',').map(str::trim).collect()),
        Value::Null => Some(Vec::new()),
        _ => None,
    };
    let Some(names) = names.filter(|names| names.len() <= MAX_GROUPS) else {
        return refuse("jwt_groups", "the token's groups are not accepted");
    };
    let sound = |name: &&str| {
        !name.is_empty() && name.len() <= MAX_NAME && !name.chars().any(char::is_control)
    };
    let mut groups: Vec<String> = names.into_iter().filter(sound).map(str::to_owned).collect();
    groups.sort_unstable();
    groups.dedup();
    Ok(groups)
}

/// A claim by its name, else by a path of names with dots between (`realm_access.roles`).
fn find<'c>(claims: &'c Object, name: &str) -> Option<&'c Value> {
    if let Some(value) = claims.get(name) {
        return Some(value);
    }
    let (first, rest) = name.split_once('.')?;
    find(claims.get(first)?.as_object()?, rest)
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
