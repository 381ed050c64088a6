//! Importing MLflow's auth database. The tables are made as MLflow's migrations make them; the
//! end-to-end tests import databases that MLflow itself wrote.

mod eras;
mod oidc_auth;
mod source;

#[path = "../store/support.rs"]
#[allow(dead_code)]
mod support;
