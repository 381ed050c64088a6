//! The skill registry of 3.18. Its grants are of a type that the policy does not have, so only
//! super admins use it.

use super::super::Route;
use super::super::route::{ADMIN, Mount::*, delete, get, patch, post};

const WHY: &str = "3.18; the policy has no grants on skills";

pub const ROUTES: &[Route] = &[
    get(Both, "/3.0/mlflow/skills", ADMIN).note(WHY),
    post(Both, "/3.0/mlflow/skills", ADMIN).note(WHY).streamed(),
    get(Both, "/3.0/mlflow/skills/{*rest}", ADMIN).note(WHY),
    post(Both, "/3.0/mlflow/skills/{*rest}", ADMIN).note(WHY).streamed(),
    patch(Both, "/3.0/mlflow/skills/{*rest}", ADMIN).note(WHY).streamed(),
    delete(Both, "/3.0/mlflow/skills/{*rest}", ADMIN).note(WHY),
];
