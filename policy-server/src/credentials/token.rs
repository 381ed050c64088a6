//! Tokens of our own: personal access tokens and those of service accounts.
//!
//! `mlg_` and 48 characters of base64url: 256 random bits and a 32-bit checksum, so that what was
//! mistyped or made up is refused without a look-up, and so that secret scanners can recognise
//! one. Stored is only the SHA-256: the token has full entropy, so a slow hash would add nothing.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

/// What every token starts with.
pub const PREFIX: &str = "mlg_";

const SECRET_BYTES: usize = 32;
const CHECKSUM_BYTES: usize = 4;

/// SHA-256 of a token's text: what is stored and looked up.
pub type TokenHash = [u8; 32];

/// A well-formed token; whether it is known, nobody has said.
#[derive(Debug, Clone)]
pub struct Token(SecretString);

impl Token {
    /// A new token from the operating system's randomness.
    pub fn generate() -> Self {
        let secret = Zeroizing::new(rand::random::<[u8; SECRET_BYTES]>());
        let mut bytes = Zeroizing::new([0_u8; SECRET_BYTES + CHECKSUM_BYTES]);
        bytes[..SECRET_BYTES].copy_from_slice(&*secret);
        bytes[SECRET_BYTES..].copy_from_slice(&checksum(&*secret));
        Self(format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(*bytes)).into())
    }

    /// `None` when the text is not one of ours.
    pub fn parse(text: &str) -> Option<Self> {
        let encoded = text.strip_prefix(PREFIX)?;
        if encoded.len() != (SECRET_BYTES + CHECKSUM_BYTES) * 4 / 3 {
            return None;
        }
        let bytes = Zeroizing::new(URL_SAFE_NO_PAD.decode(encoded).ok()?);
        let (secret, check) = bytes.split_at_checked(SECRET_BYTES)?;
        (check == checksum(secret)).then(|| Self(text.into()))
    }

    /// Whether the text claims to be one of ours, well-formed or not.
    pub fn claims(text: &str) -> bool {
        text.starts_with(PREFIX)
    }

    /// The text, to be shown once.
    pub fn expose(&self) -> &str {
        self.0.expose_secret()
    }

    pub fn hash(&self) -> TokenHash {
        Sha256::digest(self.expose()).into()
    }
}

fn checksum(secret: &[u8]) -> [u8; CHECKSUM_BYTES] {
    let digest =
        Sha256::new().chain_update(b"mlgate token checksum").chain_update(secret).finalize();
    [digest[0], digest[1], digest[2], digest[3]]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_generated_token_is_recognised_and_hashes_alike() {
        let token = Token::generate();
        assert_eq!(token.expose().len(), 52);
        let parsed = Token::parse(token.expose()).unwrap();
        assert_eq!(parsed.hash(), token.hash());
        assert_ne!(Token::generate().hash(), token.hash());
    }

    #[test]
    fn a_changed_or_foreign_token_is_refused_without_a_look_up() {
        let token = Token::generate();
        let text = token.expose();
        let flipped = if text.ends_with('A') { "B" } else { "A" };
        let changed = format!("{}{flipped}", &text[..text.len() - 1]);
        for text in [changed.as_str(), &text[4..], &text[..51], "mlg_", "", "mlg_é", "ghp_abc"] {
            assert!(Token::parse(text).is_none(), "{text}");
        }
    }

    #[test]
    fn debug_output_does_not_show_the_token() {
        let token = Token::generate();
        assert!(!format!("{token:?}").contains(&token.expose()[4..]));
    }
}
