//! The API over a real store. Each file is about one family of calls.

mod accounts;
mod delegation;
mod fixture;
mod groups;
mod older_clients;
mod recorded;
mod role_administration;
mod tokens;
mod workspace_permissions;
