//! Signatures of JWTs, checked by jwt-simple.
//!
//! A crate of its own for its size: jwt-simple's reading of a token is generic over the kind of
//! key, and compiled with the filter, for speed, its copies were a twentieth of the module. They
//! serve only where the proxy's own cryptography cannot.

use jwt_simple::algorithms::{ECDSAP256PublicKeyLike, ECDSAP384PublicKeyLike};
use jwt_simple::prelude::{
    Duration, ES256PublicKey, ES384PublicKey, Ed25519PublicKey, EdDSAPublicKeyLike, NoCustomClaims,
    PS256PublicKey, PS384PublicKey, PS512PublicKey, RS256PublicKey, RS384PublicKey, RS512PublicKey,
    RSAPublicKeyLike, VerificationOptions,
};

/// Wider than any leeway that can be configured, in seconds: the claims that the gate goes by are
/// its own.
const TOLERANCE: u64 = 600;

/// What an RSA key is used for. The key itself does not say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rsa {
    Rs256,
    Rs384,
    Rs512,
    Ps256,
    Ps384,
    Ps512,
}

/// A public key and the one algorithm that it is used with.
#[derive(Debug, Clone, Copy)]
pub enum PublicKey<'k> {
    /// DER of SubjectPublicKeyInfo.
    Rsa(Rsa, &'k [u8]),
    Es256(&'k ES256PublicKey),
    Es384(&'k ES384PublicKey),
    EdDsa(&'k Ed25519PublicKey),
}

/// What a token is read within.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// Seconds since the epoch.
    pub now: u64,
    /// Of the token, and of its header, in bytes.
    pub max_length: usize,
}

impl PublicKey<'_> {
    /// Whether the token names this key's algorithm, is signed with it, and has not long ended.
    pub fn has_signed(&self, token: &str, bounds: Bounds) -> bool {
        let options = VerificationOptions {
            accept_future: true,
            artificial_time: Some(Duration::from_secs(bounds.now)),
            time_tolerance: Some(Duration::from_secs(TOLERANCE)),
            max_token_length: Some(bounds.max_length),
            max_header_length: Some(bounds.max_length),
            ..VerificationOptions::default()
        };
        macro_rules! by {
            ($key:expr) => {
                $key.verify_token::<NoCustomClaims>(token, Some(options)).is_ok()
            };
        }
        macro_rules! by_rsa {
            ($kind:ty, $der:expr) => {
                <$kind>::from_der($der).is_ok_and(|key| by!(key))
            };
        }
        match *self {
            Self::Rsa(Rsa::Rs256, der) => by_rsa!(RS256PublicKey, der),
            Self::Rsa(Rsa::Rs384, der) => by_rsa!(RS384PublicKey, der),
            Self::Rsa(Rsa::Rs512, der) => by_rsa!(RS512PublicKey, der),
            Self::Rsa(Rsa::Ps256, der) => by_rsa!(PS256PublicKey, der),
            Self::Rsa(Rsa::Ps384, der) => by_rsa!(PS384PublicKey, der),
            Self::Rsa(Rsa::Ps512, der) => by_rsa!(PS512PublicKey, der),
            Self::Es256(key) => by!(key),
            Self::Es384(key) => by!(key),
            Self::EdDsa(key) => by!(key),
        }
    }
}
