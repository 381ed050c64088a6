//! A JWT's two readings that matter: which key it claims to be signed with, and who it says
//! somebody is. Nothing here trusts the token; the signature is checked in between.

use super::Unauthenticated;
use super::claims::{self, ClaimError};
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
        if !claims::has_audience(claims, issuer) {
            return refuse("jwt_audience", "the token is for another audience");
        }
        let naming = issuer.naming();
        if !claims::has_required(claims, &naming) {
            return refuse("jwt_required_claim", "the token lacks a required claim");
        }
        Ok(pb::VerifiedIdentity {
            issuer: issuer.name.clone(),
            username: claims::username(claims, &naming).map_err(ClaimError::of_token)?,
            groups: claims::groups(claims, &naming).map_err(ClaimError::of_token)?,
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
