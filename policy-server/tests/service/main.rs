//! The services over real gRPC, on a SQLite store and a small tracking database.

mod administration;
mod authentication;
mod lists;
mod resolution;
mod rest;
mod support;
mod watching;
