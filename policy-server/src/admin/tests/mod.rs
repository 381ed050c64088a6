//! The API over a real store. Each file is about one family of calls.

mod accounts;
mod delegation;
mod fixture;
mod older_clients;
mod recorded;
mod role_administration;
mod workspace_permissions;
