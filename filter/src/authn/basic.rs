//! RFC 7617 Basic credentials.
//!
//! Everything accepted here is read in the same way by werkzeug (MLflow's Flask side) and
//! Starlette; what they read leniently (no colon, stray bytes, empty names) is refused.

use super::Credential;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// MLflow's column `users.username` holds 255 characters.
const MAX_USERNAME: usize = 255;
/// Far above any password; bounds what the policy server hashes.
const MAX_PASSWORD: usize = 4096;

/// Reads what follows the scheme.
pub fn read(encoded: &[u8]) -> Option<Credential> {
    let decoded = String::from_utf8(STANDARD.decode(encoded).ok()?).ok()?;
    let (username, password) = decoded.split_once(':')?;
    let sound = |text: &str, max: usize| {
        !text.is_empty() && text.len() <= max && !text.chars().any(char::is_control)
    };
    // The stored hash of an empty password must never be matched (CVE-2025-1474).
    if !sound(username, MAX_USERNAME) || !sound(password, MAX_PASSWORD) {
        return None;
    }
    // A name with white space at its ends prints like another one.
    if username.trim() != username {
        return None;
    }
    Some(Credential::Basic { username: username.to_owned(), password: password.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(encoded: &str) -> Option<(String, String)> {
        match read(encoded.as_bytes())? {
            Credential::Basic { username, password } => Some((username, password)),
            _ => None,
        }
    }

    /// What `werkzeug.datastructures.Authorization.from_header` 3.1 says of the same header:
    /// `None` where it finds no credential.
    const WERKZEUG: &[(&str, Option<(&str, &str)>)] = &[
        ("YWxpY2U6cHc=", Some(("alice", "pw"))),
        ("YWxpY2U6cDp3", Some(("alice", "p:w"))),
        ("YWxpY2U=", Some(("alice", ""))),
        ("OnB3", Some(("", "pw"))),
        ("YWxpY2U6", Some(("alice", ""))),
        ("w6k6w7w=", Some(("é", "ü"))),
        ("6Tr8", None),
        ("YWxpY2U6cHc", None),
        ("YWI_Oj4-Pg==", None),
        ("YWxpY2U6cHc= x", None),
        ("YWxpY2U6cHc=,Bearer z", None),
        ("", Some(("", ""))),
        ("YQBiOmM=", Some(("a\0b", "c"))),
        ("IGFsaWNlOnB3IA==", Some((" alice", "pw "))),
        ("YWxpY2U6cHd=", Some(("alice", "pw"))),
        ("YWxp Y2U6cHc=", None),
        ("YWxpY2U6cHcK", Some(("alice", "pw\n"))),
    ];

    #[test]
    fn what_is_accepted_is_read_as_werkzeug_reads_it() {
        let mut accepted = 0;
        for (header, werkzeug) in WERKZEUG {
            if let Some((username, password)) = parsed(header) {
                assert_eq!(Some((username.as_str(), password.as_str())), *werkzeug, "{header}");
                accepted += 1;
            }
        }
        assert_eq!(accepted, 3, "the three plain forms must be accepted");
    }

    #[test]
    fn empty_names_and_empty_passwords_are_refused() {
        for header in ["YWxpY2U6", "OnB3", "Og==", "", "YWxpY2U="] {
            assert_eq!(parsed(header), None, "{header}");
        }
    }

    #[test]
    fn control_characters_and_padded_names_are_refused() {
        for plain in ["a\0b:c", "a:b\n", "a\r\nx: y:b", " alice:pw", "alice :pw", "a\u{85}:b"] {
            assert_eq!(parsed(&STANDARD.encode(plain)), None, "{plain:?}");
        }
        assert_eq!(
            parsed(&STANDARD.encode("a:pass word ")),
            Some(("a".into(), "pass word ".into()))
        );
    }
}
