//! The policy server: who may do what to which MLflow object.
//!
//! It knows principals, grants and where ids live, and nothing of HTTP paths.

pub mod admin;
pub mod cli;
pub mod config;
pub mod credentials;
pub mod domain;
pub mod import;
pub mod metrics;
pub mod oidc;
pub mod policy;
pub mod resolver;
pub mod service;
pub mod store;
mod traces;

/// The contract's messages and service, compiled from `proto/`.
#[allow(clippy::all, missing_docs)]
pub mod contract {
    tonic::include_proto!("mlgate.policy.v1");
    /// For gRPC reflection.
    pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/policy.descriptors"));
}
