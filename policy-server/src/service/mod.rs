//! The gRPC services.

mod administer;
mod authenticate;
mod authorize;
pub mod contract;
mod decide;
mod error;
mod history;
mod intents;
mod log;
mod reconcile;
mod record;
mod requirement;
mod rpc;
mod scope;
mod serve;
mod snapshot;
mod visible;
mod watch;

pub use serve::{ServeError, init_logging, serve, serve_on};
