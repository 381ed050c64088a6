//! Credentials: password hashes, our own tokens, the cache of verified ones, and throttling.
//!
//! Hashing is CPU and memory by design, so it never runs on an async thread and never unbounded.

pub mod hash;

pub mod token;

pub use hash::{HashError, PasswordHash, hash_new};
pub use token::{Token, TokenHash};
