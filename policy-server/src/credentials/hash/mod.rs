//! Every format of password hash that an imported user may bring, and the one we write.
//!
//! Formats: werkzeug `scrypt` and `pbkdf2` (semantics §16), bcrypt, argon2 in PHC form, and
//! htpasswd's `$apr1$`, `{SHA}`, `{SSHA}`, `$5$` and `$6$`. Traditional DES crypt and plain text
//! are refused. Costs are capped when parsing, so that an imported row cannot be made into a
//! denial of service.

mod htpasswd;
mod werkzeug;

use std::fmt;
use std::str::FromStr;

use argon2::password_hash::{PasswordHasher, PasswordVerifier, SaltString, rand_core::OsRng};
use argon2::{Algorithm, Argon2, Params, Version};
use subtle::ConstantTimeEq;

/// Longest password that is hashed, in bytes; a longer one never verifies. Several formats cost
/// time in proportion to it.
pub const MAX_PASSWORD_BYTES: usize = 1024;

/// Longest stored hash, in bytes.
pub const MAX_HASH_BYTES: usize = 1024;

/// Most memory that one verification may take.
const MAX_MEMORY_BYTES: u64 = 128 * 1024 * 1024;

/// bcrypt's cost is a power of two: 15 is about three seconds.
const MAX_BCRYPT_COST: u32 = 15;

/// Passes over memory, for argon2.
const MAX_ARGON2_PASSES: u32 = 16;

/// What we write: argon2id with OWASP's parameters for interactive login (19 MiB, 2 passes).
const ARGON2_MEMORY_KIB: u32 = 19 * 1024;
const ARGON2_PASSES: u32 = 2;
const ARGON2_LANES: u32 = 1;

/// A stored hash, parsed and known to be affordable.
#[derive(Clone)]
pub struct PasswordHash {
    format: Format,
    text: String,
}

#[derive(Debug, Clone)]
enum Format {
    Werkzeug(werkzeug::Hash),
    Htpasswd(htpasswd::Hash),
    Bcrypt,
    Argon2 { current: bool },
}

/// Why a stored hash cannot be used. Never contains the hash.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HashError {
    #[error(
        "unknown password hash format; expected werkzeug scrypt or pbkdf2, bcrypt, argon2, apr1, \
         {{SHA}}, {{SSHA}}, sha256-crypt or sha512-crypt"
    )]
    Unknown,
    #[error("malformed {0} hash")]
    Malformed(&'static str),
    #[error("the {0} parameters cost more than allowed")]
    TooCostly(&'static str),
    #[error("the password is longer than {MAX_PASSWORD_BYTES} bytes")]
    PasswordTooLong,
    #[error("the password is empty")]
    PasswordEmpty,
    #[error("hashing failed")]
    Failed,
}

impl FromStr for PasswordHash {
    type Err = HashError;

    fn from_str(text: &str) -> Result<Self, HashError> {
        if text.len() > MAX_HASH_BYTES {
            return Err(HashError::Malformed("over-long"));
        }
        let format = if text.starts_with("scrypt:") || text.starts_with("pbkdf2:") {
            Format::Werkzeug(text.parse()?)
        } else if text.starts_with("$argon2") {
            parse_argon2(text)?
        } else if ["$2a$", "$2b$", "$2y$", "$2x$"].iter().any(|prefix| text.starts_with(prefix)) {
            parse_bcrypt(text)?
        } else {
            Format::Htpasswd(text.parse()?)
        };
        Ok(Self { format, text: text.to_owned() })
    }
}

impl PasswordHash {
    /// Whether the password belongs to the hash. Blocks for up to seconds; call off the async
    /// threads. An empty password never verifies, not even where the hash is of an empty one.
    pub fn verify(&self, password: &[u8]) -> bool {
        if password.is_empty() || password.len() > MAX_PASSWORD_BYTES {
            return false;
        }
        match &self.format {
            Format::Werkzeug(hash) => hash.verify(password),
            Format::Htpasswd(hash) => hash.verify(password),
            Format::Bcrypt => bcrypt::verify(password, &self.text).unwrap_or(false),
            Format::Argon2 { .. } => verify_argon2(&self.text, password),
        }
    }

    /// Whether the hash is of another format or weaker than what [`hash_new`] writes.
    pub fn needs_rehash(&self) -> bool {
        !matches!(self.format, Format::Argon2 { current: true })
    }

    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl fmt::Debug for PasswordHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PasswordHash(…)")
    }
}

/// Hashes a password with argon2id, as a PHC string. Blocks for tens of milliseconds.
///
/// The length policy (12 characters at least) is for the caller: imports must not be subject to it.
pub fn hash_new(password: &str) -> Result<String, HashError> {
    if password.is_empty() {
        return Err(HashError::PasswordEmpty);
    }
    if password.len() > MAX_PASSWORD_BYTES {
        return Err(HashError::PasswordTooLong);
    }
    let salt = SaltString::generate(&mut OsRng);
    let hash =
        current()?.hash_password(password.as_bytes(), &salt).map_err(|_| HashError::Failed)?;
    Ok(hash.to_string())
}

/// Takes about as long as verifying a password, so that an unknown user is not told apart from a
/// wrong password by time.
pub fn verify_nothing(password: &[u8]) {
    let mut out = [0_u8; 32];
    if let Ok(argon2) = current() {
        let length = password.len().min(MAX_PASSWORD_BYTES);
        let known = password.get(..length).unwrap_or_default();
        // The result is of no interest; the time is.
        let _ = argon2.hash_password_into(known, b"no such user here", &mut out);
    }
    std::hint::black_box(out);
}

fn current() -> Result<Argon2<'static>, HashError> {
    let params = Params::new(ARGON2_MEMORY_KIB, ARGON2_PASSES, ARGON2_LANES, None)
        .map_err(|_| HashError::Failed)?;
    Ok(Argon2::new(Algorithm::Argon2id, Version::V0x13, params))
}

fn parse_argon2(text: &str) -> Result<Format, HashError> {
    let malformed = || HashError::Malformed("argon2");
    let hash = argon2::PasswordHash::new(text).map_err(|_| malformed())?;
    let algorithm = Algorithm::try_from(hash.algorithm).map_err(|_| malformed())?;
    let params = Params::try_from(&hash).map_err(|_| malformed())?;
    if hash.salt.is_none() || hash.hash.is_none() {
        return Err(malformed());
    }
    let passes = params.t_cost();
    if u64::from(params.m_cost()) * 1024 > MAX_MEMORY_BYTES
        || passes > MAX_ARGON2_PASSES
        || params.p_cost() > 16
    {
        return Err(HashError::TooCostly("argon2"));
    }
    let current = algorithm == Algorithm::Argon2id
        && params.m_cost() >= ARGON2_MEMORY_KIB
        && passes >= ARGON2_PASSES;
    Ok(Format::Argon2 { current })
}

fn verify_argon2(text: &str, password: &[u8]) -> bool {
    argon2::PasswordHash::new(text)
        .is_ok_and(|hash| Argon2::default().verify_password(password, &hash).is_ok())
}

fn parse_bcrypt(text: &str) -> Result<Format, HashError> {
    let parts: bcrypt::HashParts = text.parse().map_err(|_| HashError::Malformed("bcrypt"))?;
    if parts.get_cost() > MAX_BCRYPT_COST {
        return Err(HashError::TooCostly("bcrypt"));
    }
    Ok(Format::Bcrypt)
}

/// Equality whose time does not depend on where the difference is.
fn equal(one: &[u8], other: &[u8]) -> bool {
    one.ct_eq(other).into()
}

#[cfg(test)]
mod tests;
