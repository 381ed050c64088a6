//! From headers to a subject: which credential was presented, and, for a JWT, whose it is.

pub mod apart;
pub mod basic;
pub mod claims;
pub mod forwarded;
mod hop;
pub mod issuers;
pub mod jwt;
pub mod key;
mod signature;

use crate::contract as pb;
use crate::contract::subject::Kind;

/// The longest credential that is looked at, in bytes; longer ones are refused. Entra ID tokens
/// with 200 groups stay below 10 KiB.
pub const MAX_CREDENTIAL: usize = 16 * 1024;

/// What stands in `Authorization`. Holds secrets: no `Debug`.
#[derive(Clone, PartialEq, Eq)]
pub enum Credential {
    Absent,
    Basic {
        username: String,
        password: String,
    },
    /// A bearer token that is not a JWT.
    Opaque(String),
    /// Three segments of base64url, the first of which is a JSON object.
    Jwt(String),
}

/// Why a request is not authenticated. The text reaches the client and names no secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unauthenticated {
    /// A stable code, for logs and metrics.
    pub reason: &'static str,
    /// Set where a bearer token was sent: RFC 6750's `error_description`.
    pub bearer_error: Option<&'static str>,
}

/// Why a token proves nobody's identity.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unproven {
    Refused(Unauthenticated),
    /// All is well but for the key, which the policy server may know.
    UnknownKey(UnknownKey),
    /// Not looked at: more tokens came than are checked in a second.
    Flood {
        retry_after_ms: u32,
    },
}

impl From<Unauthenticated> for Unproven {
    fn from(why: Unauthenticated) -> Self {
        Self::Refused(why)
    }
}

/// A key that a token names and that is not here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnknownKey {
    /// The configured name of the issuer.
    pub issuer: String,
    pub kid: Option<String>,
}

impl Unauthenticated {
    pub const fn basic(reason: &'static str) -> Self {
        Self { reason, bearer_error: None }
    }

    pub const fn bearer(reason: &'static str, description: &'static str) -> Self {
        Self { reason, bearer_error: Some(description) }
    }
}

/// Reads the value of an `Authorization` header.
pub fn read(value: Option<&[u8]>) -> Result<Credential, Unauthenticated> {
    let Some(value) = value else { return Ok(Credential::Absent) };
    if value.len() > MAX_CREDENTIAL {
        return Err(Unauthenticated::basic("credential_too_long"));
    }
    let (scheme, rest) = match value.iter().position(|&byte| byte == b' ') {
        Some(at) => value.split_at_checked(at).unwrap_or((value, &[])),
        None => (value, [].as_slice()),
    };
    let rest = rest.trim_ascii();
    if scheme.eq_ignore_ascii_case(b"basic") {
        return basic::read(rest).ok_or(Unauthenticated::basic("malformed_basic"));
    }
    if scheme.eq_ignore_ascii_case(b"bearer") {
        return bearer(rest).ok_or(Unauthenticated::bearer("malformed_bearer", "malformed token"));
    }
    Err(Unauthenticated::basic("unknown_scheme"))
}

/// What follows `Bearer `, unread: the bytes that [`read`] would take for the token.
pub fn after_bearer(value: &[u8]) -> Option<&[u8]> {
    let (scheme, token) = value.split_at_checked(7)?;
    scheme.eq_ignore_ascii_case(b"bearer ").then_some(token.trim_ascii())
}

/// RFC 6750 `b64token`.
fn bearer(token: &[u8]) -> Option<Credential> {
    let allowed = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._~+/=".contains(byte);
    if token.is_empty() || !token.iter().all(allowed) {
        return None;
    }
    let token = String::from_utf8(token.to_vec()).ok()?;
    Some(if looks_like_jwt(&token) { Credential::Jwt(token) } else { Credential::Opaque(token) })
}

/// `{"` in base64url starts with `eyJ`; white space before it is legal JSON and refused later,
/// but is still taken for a JWT here, so that no JWT ever reaches the policy server as a token.
fn looks_like_jwt(token: &str) -> bool {
    use base64::Engine;
    let mut segments = token.split('.');
    let (Some(header), Some(_)) = (segments.next(), segments.next()) else { return false };
    base64::engine::general_purpose::URL_SAFE_NO_PAD
        .decode(header.trim_end_matches('='))
        .is_ok_and(|json| json.trim_ascii_start().starts_with(b"{"))
}

/// The contract's form of a credential that the policy server checks itself.
pub fn subject(kind: Kind) -> pb::Subject {
    pb::Subject { kind: Some(kind) }
}

/// Whom a credential claims that the policy server checks itself: neither none nor a JWT.
pub fn claimed(credential: Credential) -> Option<pb::Subject> {
    match credential {
        Credential::Basic { username, password } => {
            Some(subject(Kind::Basic(pb::BasicCredential { username, password })))
        }
        Credential::Opaque(token) => Some(subject(Kind::Bearer(pb::BearerToken { token }))),
        Credential::Absent | Credential::Jwt(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reason(value: &[u8]) -> &'static str {
        match read(Some(value)) {
            Err(error) => error.reason,
            Ok(_) => "accepted",
        }
    }

    #[test]
    fn schemes_are_case_insensitive_and_others_are_refused() {
        assert!(matches!(read(Some(b"bAsIc YWxpY2U6cHc=")), Ok(Credential::Basic { .. })));
        assert!(matches!(read(Some(b"BEARER abc")), Ok(Credential::Opaque(t)) if t == "abc"));
        for value in
            [b"Digest x".as_slice(), b"", b"Basic\tYWxpY2U6cHc=", b"Negotiate", b"\xff\xff"]
        {
            assert_eq!(reason(value), "unknown_scheme", "{value:?}");
        }
    }

    #[test]
    fn a_jwt_is_told_from_an_opaque_token_and_never_passed_as_one() {
        for token in ["eyJhbGciOiJub25lIn0.e30.", "eyJhbGciOiJub25lIn0.e30", "ewp9.e30.x"] {
            let value = format!("Bearer {token}");
            assert!(matches!(read(Some(value.as_bytes())), Ok(Credential::Jwt(_))), "{token}");
        }
        for token in ["mlg_abc", "a.b.c", "eyJhbGciOiJub25lIn0"] {
            let value = format!("Bearer {token}");
            assert!(matches!(read(Some(value.as_bytes())), Ok(Credential::Opaque(_))), "{token}");
        }
    }

    #[test]
    fn two_credentials_in_one_header_are_refused() {
        assert_eq!(reason(b"Basic YWxpY2U6cHc=,Bearer abc"), "malformed_basic");
        assert_eq!(reason(b"Bearer abc,Basic YWxpY2U6cHc="), "malformed_bearer");
        assert_eq!(reason(b"Bearer abc def"), "malformed_bearer");
        assert_eq!(reason(b"Bearer "), "malformed_bearer");
    }

    #[test]
    fn a_token_of_sixty_kib_is_refused_unread() {
        let value = [b"Bearer ".as_slice(), &[b'a'; 60 * 1024]].concat();
        assert_eq!(reason(&value), "credential_too_long");
    }
}
