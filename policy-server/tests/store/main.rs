//! The store's test-suite. Every test runs on SQLite, and on Postgres where
//! `MLGATE_TEST_POSTGRES` names a server on which databases can be created.

mod behaviour;
mod history;
mod scale;
mod schema;
mod support;
