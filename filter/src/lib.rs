//! The gate's filter: reads an MLflow request in exactly one way, asks what it needs, and
//! forwards it only with a [`permit::Permit`].
//!
//! Everything but the proxy-wasm adapter is pure and compiles natively.

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

pub mod catalogue;
pub mod operation;
pub mod refusal;
pub mod requirement;
pub mod surface;

/// The contract's messages, compiled from `policy-server/proto`.
#[allow(clippy::all, missing_docs)]
pub mod contract {
    include!(concat!(env!("OUT_DIR"), "/mlgate.policy.v1.rs"));
}
