//! The gate's filter: reads an MLflow request in exactly one way, asks what it needs, and
//! forwards it only with a permit.
//!
//! Everything but `host::envoy` and `host::exports` is pure and compiles natively.

#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::indexing_slicing,
        clippy::string_slice,
        clippy::unreachable,
        clippy::arithmetic_side_effects
    )
)]

pub mod authn;
mod backoff;
pub mod bounded;
pub mod cache;
pub mod catalogue;
pub mod config;
mod flights;
pub mod gate;
mod guessing;
pub mod headers;
pub mod host;
mod lane;
pub mod metrics;
#[cfg(test)]
mod mock;
pub mod operation;
mod pace;
pub mod policy_client;
mod recognizer;
pub mod refusal;
pub mod reply;
pub mod requirement;
pub mod response;
pub mod surface;
pub mod vm;
pub mod watch;
pub mod wire;
pub mod worker;

/// The contract's messages, compiled from `policy-server/proto`.
#[allow(clippy::all, missing_docs)]
pub mod contract {
    include!(concat!(env!("OUT_DIR"), "/mlgate.policy.v1.rs"));
}
