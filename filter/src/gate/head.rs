//! The head of a request: what is read from it, what is taken out of it, and what is put in.

use crate::headers::wsgi;
use crate::host::{Direction, Headers, Host, HostError};
use crate::operation::RawHead;

/// Names that only the gate, or a proxy that it trusts, may set: the client's are removed in
/// every spelling that a WSGI server would fold onto them.
const STRIPPED: &[&str] = &[
    "x-mlflow-assistant-delegation",
    "x-mlflow-authorization",
    "x-mlflow-gateway-caller",
    "x-mlflow-guardrail-bypass",
    "x-forwarded-user",
    "x-forwarded-email",
    "x-forwarded-groups",
    "x-forwarded-preferred-username",
    "x-forwarded-access-token",
    "x-remote-user",
    "remote-user",
];
const STRIPPED_PREFIXES: &[&str] =
    &["x-mlgate-", "x-auth-request-", "x-ms-client-principal", "x-ms-token-"];

/// The header that tells MLflow who is asking.
pub const USER_HEADER: &str = "x-mlgate-user";

const AUTHORIZATION: &[u8] = b"authorization";
const GATEWAY_AUTHORIZATION: &[u8] = b"x-mlflow-authorization";

/// A request head, kept until the request is forwarded. Holds the credential: no `Debug`.
pub struct Head {
    headers: Headers,
    pub end_of_stream: bool,
}

/// Which header the credential came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CredentialHeader {
    Authorization,
    /// Several, of the proxy in front.
    Forwarded,
    /// On MLflow's AI gateway routes `Authorization` may be the provider's, and is left alone.
    Gateway,
}

impl CredentialHeader {
    pub const fn name(self) -> &'static [u8] {
        match self {
            Self::Authorization | Self::Forwarded => b"authorization",
            Self::Gateway => b"x-mlflow-authorization",
        }
    }
}

impl Head {
    pub fn read<H: Host>(host: &H, end_of_stream: bool) -> Result<Self, HostError> {
        Ok(Self { headers: host.headers(Direction::Request)?, end_of_stream })
    }

    /// The first value of a header.
    pub fn value(&self, name: &[u8]) -> Option<&[u8]> {
        self.headers.get(name)
    }

    pub fn method(&self) -> &[u8] {
        self.value(b":method").unwrap_or_default()
    }

    /// `None` for CONNECT.
    pub fn path(&self) -> Option<&[u8]> {
        self.value(b":path")
    }

    pub fn headers(&self) -> &Headers {
        &self.headers
    }

    pub fn raw(&self) -> RawHead<'_> {
        RawHead {
            method: self.method(),
            path: self.path().unwrap_or_default(),
            headers: &self.headers,
            end_of_stream: self.end_of_stream,
        }
    }

    /// The credential, and the header it came from.
    pub fn credential(&self, route: &str) -> (Option<&[u8]>, CredentialHeader) {
        let gateway = self.value(GATEWAY_AUTHORIZATION).filter(|value| !value.is_empty());
        if route.starts_with("/gateway/") && gateway.is_some() {
            return (gateway, CredentialHeader::Gateway);
        }
        (self.value(AUTHORIZATION), CredentialHeader::Authorization)
    }

    /// Whether a token was sent, so that the refusal may speak of it.
    pub fn is_bearer(&self, from: CredentialHeader) -> bool {
        self.value(from.name())
            .and_then(|value| value.split_at_checked(6))
            .is_some_and(|(scheme, _)| scheme.eq_ignore_ascii_case(b"bearer"))
    }

    /// Takes out what the client may not say, and the credential with it.
    pub fn strip<H: Host>(&self, host: &H, from: CredentialHeader) -> Result<(), HostError> {
        for (name, _) in self.headers.iter() {
            let is_credential = folds_to(name, AUTHORIZATION) && from != CredentialHeader::Gateway;
            if is_credential || is_stripped(name) {
                host.remove_header(Direction::Request, name)?;
            }
        }
        Ok(())
    }

    /// The request's id, as far as it is fit for a log.
    pub fn request_id(&self) -> String {
        let id = self.value(b"x-request-id").unwrap_or_default();
        let fit = |byte: &&u8| byte.is_ascii_alphanumeric() || **byte == b'-';
        id.iter().filter(fit).take(64).map(|&byte| char::from(byte)).collect()
    }

    /// The W3C trace context, where it is well-formed; the proxy passes it on to MLflow by itself.
    pub fn traceparent(&self) -> String {
        trace_context(self.value(b"traceparent").unwrap_or_default())
    }
}

fn trace_context(value: &[u8]) -> String {
    let parts: Vec<usize> = value.split(|&byte| byte == b'-').map(<[u8]>::len).collect();
    let hex = |byte: &u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(byte) || *byte == b'-';
    if parts == [2, 32, 16, 2] && value.iter().all(hex) {
        String::from_utf8_lossy(value).into_owned()
    } else {
        String::new()
    }
}

/// Whether a WSGI server reads `name` as `other`, which is in lower case with hyphens.
fn folds_to(name: &[u8], other: &[u8]) -> bool {
    name.len() == other.len() && name.iter().map(|byte| wsgi(*byte)).eq(other.iter().copied())
}

fn is_stripped(name: &[u8]) -> bool {
    STRIPPED.iter().any(|other| folds_to(name, other.as_bytes()))
        || STRIPPED_PREFIXES.iter().any(|prefix| {
            name.get(..prefix.len()).is_some_and(|start| folds_to(start, prefix.as_bytes()))
        })
}

/// A user name as a header value: anything but plain ASCII is percent-encoded, `%` included.
pub fn user_value(username: &str) -> String {
    let mut value = String::with_capacity(username.len());
    for byte in username.bytes() {
        if byte.is_ascii_graphic() && byte != b'%' {
            value.push(char::from(byte));
        } else {
            value.push_str(&format!("%{byte:02X}"));
        }
    }
    value
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identity_headers_are_known_in_every_spelling() {
        for name in [
            "x-mlgate-user",
            "X_Mlgate_User",
            "x-mlgate-anything",
            "x_forwarded-user",
            "X-MLflow-Assistant-Delegation",
            "x-ms-client-principal-id",
            "remote_user",
        ] {
            assert!(is_stripped(name.as_bytes()), "{name}");
        }
        for name in ["x-mlflow-workspace", "x-request-id", "x-forwarded-for", "user-agent"] {
            assert!(!is_stripped(name.as_bytes()), "{name}");
        }
    }

    #[test]
    fn only_a_well_formed_trace_context_is_told_to_the_policy_server() {
        let sound = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        assert_eq!(trace_context(sound.as_bytes()), sound);
        for odd in ["", "00-0af7-b7ad-01", &sound.to_uppercase(), &format!("{sound}-x")] {
            assert_eq!(trace_context(odd.as_bytes()), "", "{odd}");
        }
    }

    #[test]
    fn a_user_name_cannot_break_out_of_its_header() {
        assert_eq!(user_value("alice@example.com"), "alice@example.com");
        assert_eq!(user_value("a\r\nx: y"), "a%0D%0Ax:%20y");
        assert_eq!(user_value("é%41"), "%C3%A9%2541");
    }
}
