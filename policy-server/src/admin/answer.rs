//! What the API answers: MLflow's JSON for results and for errors.
//!
//! Source of statuses and fields: MLflow 3.17.2 `mlflow.exceptions`, `mlflow.error_classification`.

use serde_json::{Value, json};

use crate::store::StoreError;

/// An answer, as HTTP has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AdminResponse {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
    /// The policy's revision after a change; 0 when nothing changed.
    pub revision: u64,
}

impl AdminResponse {
    fn new(status: u16, content_type: &str, body: Vec<u8>) -> Self {
        let headers = [
            ("content-type", content_type),
            // Answers depend on who asks and on what was just changed.
            ("cache-control", "no-store"),
            ("x-content-type-options", "nosniff"),
        ];
        let headers = headers.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        Self { status, headers, body, revision: 0 }
    }

    pub(super) fn json(value: &Value) -> Self {
        Self::new(200, "application/json", value.to_string().into_bytes())
    }

    /// MLflow's answer to a successful call that has nothing to say.
    pub(super) fn done(revision: u64) -> Self {
        Self::json(&json!({})).at(revision)
    }

    pub(super) fn empty() -> Self {
        Self::new(204, "application/json", Vec::new())
    }

    /// Some of MLflow's own refusals are not JSON.
    pub(super) fn text(status: u16, message: &str) -> Self {
        Self::new(status, "text/html; charset=utf-8", message.as_bytes().to_vec())
    }

    pub(super) fn at(mut self, revision: u64) -> Self {
        self.revision = revision;
        self
    }
}

/// MLflow's error codes, as far as this API uses them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorCode {
    BadRequest,
    EndpointNotFound,
    FeatureDisabled,
    InternalError,
    InvalidParameterValue,
    PermissionDenied,
    ResourceAlreadyExists,
    ResourceDoesNotExist,
    TemporarilyUnavailable,
}

impl ErrorCode {
    /// Name, HTTP status, `error_class` and `sqlstate`.
    const fn parts(self) -> (&'static str, u16, &'static str, &'static str) {
        const USER: &str = "KAM00";
        const SERVER: &str = "XXM00";
        match self {
            Self::BadRequest => ("BAD_REQUEST", 400, "INVALID_PARAMETER_VALUE", USER),
            Self::EndpointNotFound => ("ENDPOINT_NOT_FOUND", 404, "RESOURCE_NOT_FOUND", USER),
            Self::FeatureDisabled => ("FEATURE_DISABLED", 500, "FEATURE_DISABLED", USER),
            Self::InternalError => ("INTERNAL_ERROR", 500, "CLIENT_INTERNAL_ERROR", SERVER),
            Self::InvalidParameterValue => {
                ("INVALID_PARAMETER_VALUE", 400, "INVALID_PARAMETER_VALUE", USER)
            }
            Self::PermissionDenied => ("PERMISSION_DENIED", 403, "PERMISSION_DENIED", USER),
            Self::ResourceAlreadyExists => {
                ("RESOURCE_ALREADY_EXISTS", 400, "RESOURCE_ALREADY_EXISTS", USER)
            }
            Self::ResourceDoesNotExist => {
                ("RESOURCE_DOES_NOT_EXIST", 404, "RESOURCE_NOT_FOUND", USER)
            }
            Self::TemporarilyUnavailable => {
                ("TEMPORARILY_UNAVAILABLE", 503, "CLIENT_INTERNAL_ERROR", SERVER)
            }
        }
    }
}

/// A refusal in MLflow's words. The message reaches the client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    Coded {
        code: ErrorCode,
        message: String,
    },
    /// A 400 that MLflow answers in plain text.
    Plain(&'static str),
    /// The path is one of ours, but not with this method.
    MethodNotAllowed {
        allow: &'static str,
    },
}

pub(super) type Answer = Result<AdminResponse, Refusal>;

impl Refusal {
    pub(super) fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self::Coded { code, message: message.into() }
    }

    pub(super) fn invalid(message: impl Into<String>) -> Self {
        Self::new(ErrorCode::InvalidParameterValue, message)
    }

    pub(super) fn missing(message: impl Into<String>) -> Self {
        Self::new(ErrorCode::ResourceDoesNotExist, message)
    }

    pub(super) fn exists(message: impl Into<String>) -> Self {
        Self::new(ErrorCode::ResourceAlreadyExists, message)
    }

    /// The same bytes whether something is absent or not the caller's.
    pub(super) fn denied() -> Self {
        Self::new(ErrorCode::PermissionDenied, "Permission denied")
    }

    pub(super) fn unknown_user(username: &str) -> Self {
        Self::missing(format!("User with username={username} not found"))
    }

    /// What the store says when the caller of the store has no better words: its own for what
    /// the client can mend, none for the rest, which may name hosts and files.
    pub(super) fn of_store(error: StoreError) -> Self {
        match error {
            StoreError::Invalid { field, why } => {
                Self::invalid(format!("Invalid value for parameter '{field}': {why}"))
            }
            StoreError::NotFound { .. } => Self::missing(capitalised(&error.to_string())),
            StoreError::AlreadyExists { .. } => Self::exists(capitalised(&error.to_string())),
            StoreError::Unavailable(_) => {
                tracing::error!(%error, "administration failed");
                Self::new(ErrorCode::TemporarilyUnavailable, "The policy store is unavailable.")
            }
            _ => {
                tracing::error!(%error, "administration failed");
                Self::new(ErrorCode::InternalError, "Internal error in the policy server.")
            }
        }
    }
}

fn capitalised(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map(|first| first.to_uppercase().chain(chars).collect()).unwrap_or_default()
}

impl From<StoreError> for Refusal {
    fn from(error: StoreError) -> Self {
        Self::of_store(error)
    }
}

impl From<Refusal> for AdminResponse {
    fn from(refusal: Refusal) -> Self {
        let (code, message, status, allow) = match refusal {
            Refusal::Plain(message) => return AdminResponse::text(400, message),
            Refusal::MethodNotAllowed { allow } => (
                ErrorCode::BadRequest,
                "The method is not allowed for the requested URL.".to_owned(),
                Some(405),
                Some(allow),
            ),
            Refusal::Coded { code, message } => (code, message, None, None),
        };
        let (name, of_code, class, sqlstate) = code.parts();
        let body = json!({
            "error_code": name,
            "message": message,
            "sqlstate": sqlstate,
            "error_class": class,
        });
        let status = status.unwrap_or(of_code);
        let mut response = AdminResponse { status, ..AdminResponse::json(&body) };
        let mut add = |name: &str, value: &str| {
            response.headers.push((name.to_owned(), value.to_owned()));
        };
        if let Some(allow) = allow {
            add("allow", allow);
        }
        if status == 503 {
            add("retry-after", "1");
        }
        response
    }
}
