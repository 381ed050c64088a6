//! The evaluator: settings, a principal's grants and resolved requirements in, a decision out.
//!
//! Pure: no I/O, no clock, no randomness. Ground truth: semantics §3, that is MLflow 3.17.2
//! `mlflow.server.auth.requirements`.

mod check;
mod describe;
mod evaluate;
mod grants;
mod reach;

#[cfg(test)]
mod properties;
#[cfg(test)]
mod table;

pub use check::{Check, Fact, RungCheck, Standing};
pub use evaluate::{Decision, Principal, Reason, Settings, evaluate};
pub use grants::{Deciding, Grants, RowKey, WorkspaceGrants};
pub use reach::{EVERYTHING, Reach, TokenScope};
