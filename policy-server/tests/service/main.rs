//! The services over real gRPC, with a small tracking database.
//!
//! Each test runs on SQLite, and on Postgres where `MLGATE_TEST_POSTGRES` names a server on which
//! databases can be created.

mod absent_models;
mod administration;
mod agreement;
mod authentication;
mod crash;
mod crash_of_postgres;
mod deciding;
mod first_login;
mod intents;
mod issuers;
mod large_requests;
mod lists;
mod metrics;
mod names;
mod postgres;
mod previous;
mod resolution;
mod rest;
mod support;
mod tls;
mod token_scopes;
mod traces;
mod watching;
