//! Public keys from JWKS and PEM, each pinned to the algorithms it may be used with.

use crate::config::{Algorithm, ConfigError, Issuer, PemKey, invalid};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use jwt_simple::prelude::{ES256PublicKey, ES384PublicKey, Ed25519PublicKey, RS256PublicKey};
use serde_json::Value;

/// The largest key set that is read, in keys: ten thousand keys are an attack.
pub const MAX_KEYS: usize = 64;

/// RSA moduli that are accepted, in bytes: 2048 to 8192 bits.
const RSA_BYTES: std::ops::RangeInclusive<usize> = 256..=1024;

/// DER of SubjectPublicKeyInfo up to the point of a P-256 key (RFC 5480).
const P256_SPKI: &[u8] = &[
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a,
    0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
];
/// The same for P-384.
const P384_SPKI: &[u8] = &[
    0x30, 0x76, 0x30, 0x10, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x05, 0x2b,
    0x81, 0x04, 0x00, 0x22, 0x03, 0x62, 0x00,
];
/// `SEQUENCE { OID rsaEncryption, NULL }`.
const RSA_ALGORITHM: &[u8] =
    &[0x30, 0x0d, 0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01, 0x05, 0x00];

/// A public key that signatures are checked with.
#[derive(Debug, Clone)]
pub struct Key {
    pub kid: Option<String>,
    /// What this key may be used with; never empty.
    pub algorithms: Vec<Algorithm>,
    /// SubjectPublicKeyInfo.
    pub spki: Vec<u8>,
    pub parsed: Parsed,
}

/// The key as the pure-Rust verifier wants it. One RSA key serves six algorithms.
#[derive(Debug, Clone)]
pub enum Parsed {
    Rsa,
    P256(ES256PublicKey),
    P384(ES384PublicKey),
    Ed25519(Ed25519PublicKey),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Family {
    Rsa,
    P256,
    P384,
    Ed25519,
}

const fn family(algorithm: Algorithm) -> Family {
    match algorithm {
        Algorithm::RS256
        | Algorithm::RS384
        | Algorithm::RS512
        | Algorithm::PS256
        | Algorithm::PS384
        | Algorithm::PS512 => Family::Rsa,
        Algorithm::ES256 => Family::P256,
        Algorithm::ES384 => Family::P384,
        Algorithm::EdDSA => Family::Ed25519,
    }
}

/// The keys of an issuer's own configuration.
pub fn configured(at: &str, issuer: &Issuer) -> Result<Vec<Key>, ConfigError> {
    let mut keys = match &issuer.jwks {
        None => Vec::new(),
        Some(jwks) => {
            let keys = from_jwks(jwks, &issuer.algorithms)
                .map_err(|why| invalid(format!("{at}.jwks"), why))?;
            if keys.is_empty() {
                return Err(invalid(format!("{at}.jwks"), "has no key for the algorithms"));
            }
            keys
        }
    };
    for (index, pem) in issuer.pem.iter().enumerate() {
        let key = from_pem(pem)
            .ok_or_else(|| invalid(format!("{at}.pem[{index}].key"), "is not such a public key"))?;
        keys.push(key);
    }
    Ok(keys)
}

/// Whether a JWK is a public key that a signature of ours could be checked with.
pub fn is_usable(jwk: &Value) -> bool {
    from_jwk(jwk, &Algorithm::ALL).is_some()
}

/// The usable keys of a JWKS document. A key of another type, use or curve is skipped: one odd
/// key must not drop the set.
pub fn from_jwks(jwks: &Value, allowed: &[Algorithm]) -> Result<Vec<Key>, &'static str> {
    let keys = jwks.get("keys").and_then(Value::as_array).ok_or("has no array of keys")?;
    if keys.len() > MAX_KEYS {
        return Err("has too many keys");
    }
    Ok(keys.iter().filter_map(|key| from_jwk(key, allowed)).collect())
}

fn from_jwk(jwk: &Value, allowed: &[Algorithm]) -> Option<Key> {
    let text = |field: &str| jwk.get(field).and_then(Value::as_str);
    let bytes = |field: &str| URL_SAFE_NO_PAD.decode(text(field)?).ok();
    if !matches!(jwk.get("use").map(Value::as_str), None | Some(Some("sig"))) {
        return None;
    }
    if let Some(operations) = jwk.get("key_ops") {
        let verifies = |operation: &Value| operation.as_str() == Some("verify");
        if !operations.as_array()?.iter().any(verifies) {
            return None;
        }
    }
    let (spki, parsed, family) = match (text("kty")?, text("crv")) {
        ("RSA", _) => {
            let (spki, parsed) = rsa(&bytes("n")?, &bytes("e")?)?;
            (spki, parsed, Family::Rsa)
        }
        ("EC", Some("P-256")) => {
            let point = point(&bytes("x")?, &bytes("y")?, 32)?;
            let key = ES256PublicKey::from_bytes(&point).ok()?;
            ([P256_SPKI, &point].concat(), Parsed::P256(key), Family::P256)
        }
        ("EC", Some("P-384")) => {
            let point = point(&bytes("x")?, &bytes("y")?, 48)?;
            let key = ES384PublicKey::from_bytes(&point).ok()?;
            ([P384_SPKI, &point].concat(), Parsed::P384(key), Family::P384)
        }
        ("OKP", Some("Ed25519")) => {
            let key = Ed25519PublicKey::from_bytes(&bytes("x")?).ok()?;
            (key.to_der(), Parsed::Ed25519(key), Family::Ed25519)
        }
        _ => return None,
    };
    // A key that names its algorithm is for that one only.
    let pinned = match jwk.get("alg") {
        None => None,
        Some(alg) => Some(Algorithm::from_header(alg.as_str()?)?),
    };
    let fits = |algorithm: &Algorithm| {
        self::family(*algorithm) == family && pinned.is_none_or(|pinned| pinned == *algorithm)
    };
    let algorithms: Vec<Algorithm> = allowed.iter().copied().filter(fits).collect();
    let kid = text("kid").map(str::to_owned);
    (!algorithms.is_empty()).then_some(Key { kid, algorithms, spki, parsed })
}

fn from_pem(pem: &PemKey) -> Option<Key> {
    let body = pem.key.trim().strip_prefix("-----BEGIN PUBLIC KEY-----")?;
    let body = body.strip_suffix("-----END PUBLIC KEY-----")?;
    let body: String = body.chars().filter(|c| !c.is_ascii_whitespace()).collect();
    let spki = STANDARD.decode(body).ok()?;
    let parsed = match family(pem.algorithm) {
        Family::Rsa => {
            let components = RS256PublicKey::from_der(&spki).ok()?.to_components();
            let (canonical, parsed) = rsa(&components.n, &components.e)?;
            // PKCS#1 bytes inside of the armour would be another key for another reader.
            if canonical != spki {
                return None;
            }
            parsed
        }
        Family::P256 => Parsed::P256(ES256PublicKey::from_der(&spki).ok()?),
        Family::P384 => Parsed::P384(ES384PublicKey::from_der(&spki).ok()?),
        Family::Ed25519 => Parsed::Ed25519(Ed25519PublicKey::from_der(&spki).ok()?),
    };
    Some(Key { kid: pem.kid.clone(), algorithms: vec![pem.algorithm], spki, parsed })
}

fn point(x: &[u8], y: &[u8], size: usize) -> Option<Vec<u8>> {
    (x.len() == size && y.len() == size).then(|| [&[0x04], x, y].concat())
}

fn rsa(modulus: &[u8], exponent: &[u8]) -> Option<(Vec<u8>, Parsed)> {
    let modulus = trim_zeros(modulus);
    let exponent = trim_zeros(exponent);
    if !RSA_BYTES.contains(&modulus.len()) || exponent.is_empty() || exponent.len() > 8 {
        return None;
    }
    // Refuses even and tiny exponents, and moduli that are no product.
    RS256PublicKey::from_components(modulus, exponent).ok()?;
    let key = der(0x30, &[der_integer(modulus), der_integer(exponent)].concat());
    let bits = der(0x03, &[[0].as_slice(), &key].concat());
    Some((der(0x30, &[RSA_ALGORITHM, &bits].concat()), Parsed::Rsa))
}

fn trim_zeros(mut bytes: &[u8]) -> &[u8] {
    while let [0, rest @ ..] = bytes {
        bytes = rest;
    }
    bytes
}

/// One DER element; contents below 64 KiB.
fn der(tag: u8, contents: &[u8]) -> Vec<u8> {
    let length = u16::try_from(contents.len()).unwrap_or(u16::MAX);
    let [high, low] = length.to_be_bytes();
    let header: &[u8] = match (high, low) {
        (0, 0..=0x7f) => &[tag, low],
        (0, _) => &[tag, 0x81, low],
        _ => &[tag, 0x82, high, low],
    };
    [header, contents].concat()
}

fn der_integer(magnitude: &[u8]) -> Vec<u8> {
    let magnitude = trim_zeros(magnitude);
    match magnitude.first() {
        None => der(0x02, &[0]),
        Some(first) if *first >= 0x80 => der(0x02, &[&[0], magnitude].concat()),
        Some(_) => der(0x02, magnitude),
    }
}

/// A raw ECDSA signature (r and s side by side, as JWS has it) in DER (as X.509 has it).
pub fn ecdsa_der(raw: &[u8], size: usize) -> Option<Vec<u8>> {
    let (r, s) = raw.split_at_checked(size)?;
    if s.len() != size {
        return None;
    }
    Some(der(0x30, &[der_integer(r), der_integer(s)].concat()))
}
