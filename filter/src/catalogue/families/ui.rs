//! The UI's pages and files, and what tells that the server is there.

use super::super::Route;
use super::super::route::{ADMIN, ANYONE, Mount::*, get, post};

pub const ROUTES: &[Route] = &[
    get(Root, "/", ANYONE).note("the UI's shell"),
    get(Root, "/static-files/{*path}", ANYONE).open(),
    get(Root, "/build/{*filename}", ADMIN)
        .note("MLflow has no validator for it; the UI uses /static-files"),
    get(Root, "/health", ANYONE).open(),
    get(Root, "/version", ANYONE).open(),
    get(Both, "/3.0/mlflow/server-info", ANYONE).open(),
    get(Root, "/metrics", ADMIN).note("only with --expose-prometheus; names no experiment"),
    get(Ajax, "/3.0/mlflow/ui-telemetry", ANYONE),
    post(Ajax, "/3.0/mlflow/ui-telemetry", ANYONE).streamed(),
];
