//! `method$salt$hex`, as `werkzeug.security.generate_password_hash` writes it.

use std::str::FromStr;

use sha1::Sha1;
use sha2::{Sha224, Sha256, Sha384, Sha512};

use super::{HashError, MAX_MEMORY_BYTES, equal};

/// Werkzeug 3.1's default where the method names no iterations.
const DEFAULT_ITERATIONS: u32 = 1_000_000;
const MAX_ITERATIONS: u32 = 4_000_000;
/// scrypt's work is memory times parallelism: four times the most memory.
const MAX_PARALLELISM: u32 = 4;
const MAX_BLOCK: u32 = 32;
const MAX_SALT_BYTES: usize = 256;
const MAX_KEY_BYTES: usize = 128;

#[derive(Debug, Clone)]
pub struct Hash {
    method: Method,
    salt: Vec<u8>,
    key: Vec<u8>,
}

#[derive(Debug, Clone)]
enum Method {
    Scrypt(scrypt::Params),
    Pbkdf2 { digest: Digest, iterations: u32 },
}

#[derive(Debug, Clone, Copy)]
enum Digest {
    Sha1,
    Sha224,
    Sha256,
    Sha384,
    Sha512,
}

impl FromStr for Hash {
    type Err = HashError;

    fn from_str(text: &str) -> Result<Self, HashError> {
        let malformed = || HashError::Malformed("werkzeug");
        let mut parts = text.splitn(3, '$');
        let (Some(method), Some(salt), Some(key)) = (parts.next(), parts.next(), parts.next())
        else {
            return Err(malformed());
        };
        let key = hex::decode(key).map_err(|_| malformed())?;
        // Short keys would make guessing easy, and an empty one would match everything.
        if salt.is_empty()
            || salt.len() > MAX_SALT_BYTES
            || !(16..=MAX_KEY_BYTES).contains(&key.len())
        {
            return Err(malformed());
        }
        Ok(Self { method: method.parse()?, salt: salt.as_bytes().to_vec(), key })
    }
}

impl FromStr for Method {
    type Err = HashError;

    fn from_str(text: &str) -> Result<Self, HashError> {
        let mut parts = text.split(':');
        let name = parts.next().unwrap_or_default();
        let arguments: Vec<&str> = parts.collect();
        match (name, arguments.as_slice()) {
            ("scrypt", []) => scrypt_method(32_768, 8, 1),
            ("scrypt", [n, r, p]) => {
                let number = |text: &str| text.parse().map_err(|_| HashError::Malformed("scrypt"));
                scrypt_method(number(n)?, number(r)?, number(p)?)
            }
            ("pbkdf2", [digest]) => pbkdf2_method(digest, DEFAULT_ITERATIONS),
            ("pbkdf2", [digest, iterations]) => {
                let iterations = iterations.parse().map_err(|_| HashError::Malformed("pbkdf2"))?;
                pbkdf2_method(digest, iterations)
            }
            _ => Err(HashError::Malformed("werkzeug")),
        }
    }
}

fn scrypt_method(n: u32, r: u32, p: u32) -> Result<Method, HashError> {
    if !n.is_power_of_two() || n < 2 {
        return Err(HashError::Malformed("scrypt"));
    }
    let memory = 128 * u64::from(n) * u64::from(r);
    if memory > MAX_MEMORY_BYTES || r > MAX_BLOCK || p > MAX_PARALLELISM {
        return Err(HashError::TooCostly("scrypt"));
    }
    // The length parameter is only for PHC strings.
    let log_n = u8::try_from(n.ilog2()).map_err(|_| HashError::Malformed("scrypt"))?;
    scrypt::Params::new(log_n, r, p, 64)
        .map(Method::Scrypt)
        .map_err(|_| HashError::Malformed("scrypt"))
}

fn pbkdf2_method(digest: &str, iterations: u32) -> Result<Method, HashError> {
    let digest = match digest {
        "sha1" => Digest::Sha1,
        "sha224" => Digest::Sha224,
        "sha256" => Digest::Sha256,
        "sha384" => Digest::Sha384,
        "sha512" => Digest::Sha512,
        _ => return Err(HashError::Malformed("pbkdf2")),
    };
    match iterations {
        0 => Err(HashError::Malformed("pbkdf2")),
        1..=MAX_ITERATIONS => Ok(Method::Pbkdf2 { digest, iterations }),
        _ => Err(HashError::TooCostly("pbkdf2")),
    }
}

impl Hash {
    pub fn verify(&self, password: &[u8]) -> bool {
        let mut derived = vec![0_u8; self.key.len()];
        let (salt, out) = (self.salt.as_slice(), derived.as_mut_slice());
        match &self.method {
            Method::Scrypt(params) => {
                if scrypt::scrypt(password, salt, params, out).is_err() {
                    return false;
                }
            }
            Method::Pbkdf2 { digest, iterations } => {
                let iterations = *iterations;
                match digest {
                    Digest::Sha1 => pbkdf2::pbkdf2_hmac::<Sha1>(password, salt, iterations, out),
                    Digest::Sha224 => {
                        pbkdf2::pbkdf2_hmac::<Sha224>(password, salt, iterations, out)
                    }
                    Digest::Sha256 => {
                        pbkdf2::pbkdf2_hmac::<Sha256>(password, salt, iterations, out)
                    }
                    Digest::Sha384 => {
                        pbkdf2::pbkdf2_hmac::<Sha384>(password, salt, iterations, out)
                    }
                    Digest::Sha512 => {
                        pbkdf2::pbkdf2_hmac::<Sha512>(password, salt, iterations, out)
                    }
                }
            }
        }
        equal(&derived, &self.key)
    }
}
