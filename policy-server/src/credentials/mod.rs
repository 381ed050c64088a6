//! Credentials: password hashes, our own tokens, what was verified, and throttling.
//!
//! Hashing is CPU and memory by design, so it never runs on an async thread and never unbounded.

pub mod hash;
pub mod throttle;
pub mod token;
pub mod verifier;

pub use hash::{HashError, PasswordHash, hash_new};
pub use throttle::{Charge, Network, Throttle, ThrottleConfig, Throttled};
pub use token::{Token, TokenHash};
pub use verifier::{Busy, Remembered, Unverified, Verifier, VerifierConfig};
