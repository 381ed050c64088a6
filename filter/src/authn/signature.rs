//! Two ways to check a signature, with one contract: Envoy's own crypto where it offers it
//! (45 µs for RS256), pure Rust everywhere else (1.7 ms in wasm).

use super::key::{Key, Parsed, ecdsa_der};
use crate::config::Algorithm;
use crate::host::{Host, HostError};
use mlgate_jwt::{Bounds, PublicKey, Rsa};
use prost::Message;

/// A token split at its last dot.
#[derive(Debug, Clone, Copy)]
pub struct Signed<'a> {
    pub token: &'a str,
    /// `header.payload`.
    pub text: &'a str,
    pub signature: &'a [u8],
    /// Seconds since the epoch; the claims have been checked against it.
    pub now: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    Good,
    Bad,
    /// This verifier cannot tell: ask another.
    Unsupported,
}

/// Checks one signature with one key and one algorithm that the key is pinned to.
pub trait Verifier {
    fn verify(&self, signed: &Signed<'_>, algorithm: Algorithm, key: &Key) -> Verdict;
}

/// Envoy's foreign function `verify_signature`.
#[derive(Debug)]
pub struct HostVerifier<'h, H>(pub &'h H);

/// `envoy.source.extensions.common.wasm.VerifySignatureArguments`.
#[derive(Clone, PartialEq, Message)]
struct Arguments {
    #[prost(string, tag = "1")]
    hash_function: String,
    #[prost(bytes = "vec", tag = "2")]
    public_key: Vec<u8>,
    #[prost(bytes = "vec", tag = "3")]
    signature: Vec<u8>,
    #[prost(bytes = "vec", tag = "4")]
    clear_text: Vec<u8>,
}

/// `envoy.source.extensions.common.wasm.VerifySignatureResult`.
#[derive(Clone, PartialEq, Message)]
struct Outcome {
    #[prost(bool, tag = "1")]
    good: bool,
    #[prost(string, tag = "2")]
    error: String,
}

impl<H: Host> Verifier for HostVerifier<'_, H> {
    fn verify(&self, signed: &Signed<'_>, algorithm: Algorithm, key: &Key) -> Verdict {
        let (hash, signature) = match algorithm {
            Algorithm::RS256 => ("sha256", Some(signed.signature.to_vec())),
            Algorithm::RS384 => ("sha384", Some(signed.signature.to_vec())),
            Algorithm::RS512 => ("sha512", Some(signed.signature.to_vec())),
            Algorithm::ES256 => ("sha256", ecdsa_der(signed.signature, 32)),
            Algorithm::ES384 => ("sha384", ecdsa_der(signed.signature, 48)),
            Algorithm::PS256 | Algorithm::PS384 | Algorithm::PS512 | Algorithm::EdDSA => {
                return Verdict::Unsupported;
            }
        };
        let Some(signature) = signature else { return Verdict::Bad };
        let arguments = Arguments {
            hash_function: hash.to_owned(),
            public_key: key.spki.clone(),
            signature,
            clear_text: signed.text.as_bytes().to_vec(),
        };
        match self.0.foreign("verify_signature", &arguments.encode_to_vec()) {
            Ok(bytes) => match Outcome::decode(bytes.as_slice()) {
                Ok(outcome) if outcome.good => Verdict::Good,
                Ok(_) | Err(_) => Verdict::Bad,
            },
            Err(HostError::NotFound) => Verdict::Unsupported,
            Err(_) => Verdict::Bad,
        }
    }
}

/// jwt-simple. It reads the token again and checks its times too; the claims that the gate goes
/// by are the gate's own.
#[derive(Debug, Clone, Copy, Default)]
pub struct RustVerifier;

impl Verifier for RustVerifier {
    #[cold]
    fn verify(&self, signed: &Signed<'_>, algorithm: Algorithm, key: &Key) -> Verdict {
        let rsa = |algorithm| PublicKey::Rsa(algorithm, &key.spki);
        let key = match (algorithm, &key.parsed) {
            (Algorithm::RS256, Parsed::Rsa) => rsa(Rsa::Rs256),
            (Algorithm::RS384, Parsed::Rsa) => rsa(Rsa::Rs384),
            (Algorithm::RS512, Parsed::Rsa) => rsa(Rsa::Rs512),
            (Algorithm::PS256, Parsed::Rsa) => rsa(Rsa::Ps256),
            (Algorithm::PS384, Parsed::Rsa) => rsa(Rsa::Ps384),
            (Algorithm::PS512, Parsed::Rsa) => rsa(Rsa::Ps512),
            (Algorithm::ES256, Parsed::P256(key)) => PublicKey::Es256(key),
            (Algorithm::ES384, Parsed::P384(key)) => PublicKey::Es384(key),
            (Algorithm::EdDSA, Parsed::Ed25519(key)) => PublicKey::EdDsa(key),
            _ => return Verdict::Bad,
        };
        let bounds = Bounds { now: signed.now, max_length: super::MAX_CREDENTIAL };
        if key.has_signed(signed.token, bounds) { Verdict::Good } else { Verdict::Bad }
    }
}
