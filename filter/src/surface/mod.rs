//! The HTTP surface of MLflow, read in exactly one way.
//!
//! [`read_head`] takes a request's head and says what it is; [`Routed::read`] adds the body, where
//! [`Routed::body_need`] asks for one, and gives the [`Operation`] to decide on. What MLflow could
//! read differently is a [`Refusal`] before anybody is asked anything.

pub mod artifact;
pub mod coding;
pub mod cross_site;
pub mod graphql;
pub mod headers;
pub mod id;
pub mod inputs;
pub mod json;
pub mod method;
pub mod narrow;
pub mod order;
pub mod otlp;
pub mod path;
pub mod query;
mod read;
pub mod scope;
pub mod uri;

pub use self::read::{Administration, Ids, Passage, Reading, Routed, read_head};

/// Where MLflow is and what the gate does with it, as the plugin configuration says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SurfaceSettings {
    /// What stands before MLflow's own paths on the wire, e.g. `/team-a`; kept when forwarding.
    /// Requests outside of it are none of the gate's business. Empty: everything is inside.
    pub path_prefix: String,
    /// MLflow's `--static-prefix`, after `path_prefix`. Empty: none.
    pub static_prefix: String,
    /// Lower-case host names without port; requests for others pass untouched. Empty: all.
    /// Envoy must route other names elsewhere, or they reach MLflow unguarded.
    pub hosts: Vec<String>,
    /// Largest body that is read, in bytes; 413 above.
    pub body_limit: usize,
    /// Templates of routes that need no credential. Only routes without requirements may be
    /// listed, see [`crate::catalogue::may_be_public`].
    pub public_routes: Vec<String>,
}

impl Default for SurfaceSettings {
    fn default() -> Self {
        Self {
            path_prefix: String::new(),
            static_prefix: String::new(),
            hosts: Vec::new(),
            body_limit: 8 * 1024 * 1024,
            public_routes: ["/health", "/version", "/3.0/mlflow/server-info"]
                .map(str::to_owned)
                .to_vec(),
        }
    }
}
