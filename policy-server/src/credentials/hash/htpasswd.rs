//! What Apache's `htpasswd` writes besides bcrypt: `$apr1$`, `{SHA}`, `{SSHA}`, `$5$`, `$6$`.

use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use md5::Md5;
use sha_crypt::{sha256_check, sha512_check};
use sha1::{Digest as _, Sha1};

use super::{HashError, equal};

const SHA1_BYTES: usize = 20;
const MAX_SALT_BYTES: usize = 64;
/// The specification allows 999,999,999: hours.
const MAX_ROUNDS: u32 = 1_000_000;

#[derive(Debug, Clone)]
pub enum Hash {
    Apr1 {
        salt: String,
        digest: String,
    },
    /// `{SHA}` and `{SSHA}`: the salt, perhaps empty, follows the password.
    Sha1 {
        salt: Vec<u8>,
        digest: [u8; SHA1_BYTES],
    },
    Sha256Crypt(String),
    Sha512Crypt(String),
}

impl FromStr for Hash {
    type Err = HashError;

    fn from_str(text: &str) -> Result<Self, HashError> {
        if let Some(rest) = text.strip_prefix("$apr1$") {
            return parse_apr1(rest);
        }
        if let Some(rest) = text.strip_prefix("{SHA}") {
            return parse_sha1(rest, false);
        }
        if let Some(rest) = text.strip_prefix("{SSHA}") {
            return parse_sha1(rest, true);
        }
        if let Some(rest) = text.strip_prefix("$5$") {
            check_crypt(rest, 43)?;
            return Ok(Self::Sha256Crypt(text.to_owned()));
        }
        if let Some(rest) = text.strip_prefix("$6$") {
            check_crypt(rest, 86)?;
            return Ok(Self::Sha512Crypt(text.to_owned()));
        }
        Err(HashError::Unknown)
    }
}

fn parse_apr1(rest: &str) -> Result<Hash, HashError> {
    let (salt, digest) = rest.split_once('$').ok_or(HashError::Malformed("apr1"))?;
    if salt.is_empty() || salt.len() > 8 || digest.len() != 22 {
        return Err(HashError::Malformed("apr1"));
    }
    Ok(Hash::Apr1 { salt: salt.to_owned(), digest: digest.to_owned() })
}

fn parse_sha1(encoded: &str, salted: bool) -> Result<Hash, HashError> {
    let name = if salted { "{SSHA}" } else { "{SHA}" };
    let bytes = STANDARD.decode(encoded).map_err(|_| HashError::Malformed(name))?;
    let (digest, salt) = bytes.split_first_chunk().ok_or(HashError::Malformed(name))?;
    if salt.is_empty() == salted || salt.len() > MAX_SALT_BYTES {
        return Err(HashError::Malformed(name));
    }
    Ok(Hash::Sha1 { salt: salt.to_vec(), digest: *digest })
}

/// `[rounds=N$]salt$digest`
fn check_crypt(rest: &str, digest_chars: usize) -> Result<(), HashError> {
    let malformed = HashError::Malformed("sha-crypt");
    let rest = match rest.strip_prefix("rounds=") {
        Some(rounds) => {
            let Some((rounds, rest)) = rounds.split_once('$') else { return Err(malformed) };
            let rounds: u32 = rounds.parse().map_err(|_| malformed.clone())?;
            if rounds > MAX_ROUNDS {
                return Err(HashError::TooCostly("sha-crypt"));
            }
            rest
        }
        None => rest,
    };
    match rest.split_once('$') {
        Some((salt, digest)) if (1..=16).contains(&salt.len()) && digest.len() == digest_chars => {
            Ok(())
        }
        _ => Err(malformed),
    }
}

impl Hash {
    pub fn verify(&self, password: &[u8]) -> bool {
        match self {
            Self::Apr1 { salt, digest } => {
                equal(apr1(password, salt.as_bytes()).as_bytes(), digest.as_bytes())
            }
            Self::Sha1 { salt, digest } => {
                let computed = Sha1::new().chain_update(password).chain_update(salt).finalize();
                equal(&computed, digest)
            }
            Self::Sha256Crypt(hash) => {
                std::str::from_utf8(password).is_ok_and(|text| sha256_check(text, hash).is_ok())
            }
            Self::Sha512Crypt(hash) => {
                std::str::from_utf8(password).is_ok_and(|text| sha512_check(text, hash).is_ok())
            }
        }
    }
}

/// Apache's variant of the MD5 crypt algorithm (apr_md5_encode): 1,000 rounds.
fn apr1(password: &[u8], salt: &[u8]) -> String {
    let inner =
        Md5::new().chain_update(password).chain_update(salt).chain_update(password).finalize();
    let mut outer = Md5::new().chain_update(password).chain_update(b"$apr1$").chain_update(salt);
    for chunk in password.chunks(inner.len()) {
        outer.update(&inner[..chunk.len()]);
    }
    let mut length = password.len();
    while length > 0 {
        outer.update(if length & 1 == 1 { &[0] } else { &password[..1] });
        length >>= 1;
    }
    let mut digest = outer.finalize();
    for round in 0..1000 {
        let odd = round % 2 == 1;
        let mut md5 = Md5::new();
        md5.update(if odd { password } else { &digest[..] });
        if round % 3 != 0 {
            md5.update(salt);
        }
        if round % 7 != 0 {
            md5.update(password);
        }
        md5.update(if odd { &digest[..] } else { password });
        digest = md5.finalize();
    }
    encode_crypt64(&digest)
}

/// The crypt alphabet, six bits at a time from the low end, over MD5's permuted bytes.
fn encode_crypt64(digest: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    const GROUPS: [[usize; 3]; 5] = [[0, 6, 12], [1, 7, 13], [2, 8, 14], [3, 9, 15], [4, 10, 5]];
    let mut encoded = String::with_capacity(22);
    let mut push = |mut bits: u32, characters: usize| {
        for _ in 0..characters {
            encoded.push(char::from(ALPHABET[(bits & 63) as usize]));
            bits >>= 6;
        }
    };
    for [high, middle, low] in GROUPS {
        let [high, middle, low] = [digest[high], digest[middle], digest[low]].map(u32::from);
        push(high << 16 | middle << 8 | low, 4);
    }
    push(u32::from(digest[11]), 2);
    encoded
}
