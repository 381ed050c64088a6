//! Calls of MLflow's administration API, which the policy server answers.

use crate::catalogue::Route;
use crate::operation::BodyNeed;
use crate::refusal::Refusal;

use super::super::inputs::refuse_double_spellings;
use super::super::json;
use super::super::method::Method;

/// A call of MLflow's administration API.
#[derive(Debug, Clone)]
pub struct Administration {
    pub method: Method,
    /// Canonical, without prefixes and query, e.g. `/api/3.0/mlflow/roles/list`.
    pub path: String,
    pub query: Vec<(String, String)>,
    /// The essence, lower case; empty where there is no body.
    pub content_type: String,
    pub workspace: Option<String>,
    pub(super) route: &'static Route,
    pub(super) body_need: BodyNeed,
}

impl Administration {
    pub fn route(&self) -> &'static str {
        self.route.path
    }

    pub fn body_need(&self) -> BodyNeed {
        self.body_need
    }

    /// The body in canonical form, to be sent to the policy server.
    pub fn read(&self, body: Option<&[u8]>) -> Result<Vec<u8>, Refusal> {
        match (self.body_need, body) {
            (BodyNeed::Whole { limit }, Some(bytes)) if bytes.len() > limit => {
                Err(Refusal::TooLarge { limit })
            }
            (BodyNeed::Whole { .. }, Some(bytes)) if !bytes.is_empty() => {
                let object = json::read_object(bytes)?;
                refuse_double_spellings(&object)?;
                Ok(object.to_bytes())
            }
            (_, Some(bytes)) if !bytes.is_empty() => {
                Err(Refusal::ambiguous("body", "must be absent"))
            }
            _ => Ok(Vec::new()),
        }
    }
}
