//! The requests that are measured: MLflow's on runs.

use serde::Serialize;

#[derive(Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Route {
    Get,
    LogMetric,
    Search,
}

impl Route {
    pub fn name(self) -> &'static str {
        match self {
            Self::Get => "GET runs/get",
            Self::LogMetric => "POST runs/log-metric",
            Self::Search => "POST runs/search",
        }
    }

    pub fn method(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::LogMetric | Self::Search => "POST",
        }
    }

    /// With `run` as the run's id.
    pub fn path(self, run: &str) -> String {
        match self {
            Self::Get => format!("/api/2.0/mlflow/runs/get?run_id={run}"),
            Self::LogMetric => "/api/2.0/mlflow/runs/log-metric".to_owned(),
            Self::Search => "/api/2.0/mlflow/runs/search".to_owned(),
        }
    }

    pub fn body(self, run: &str, experiment: &str) -> Option<String> {
        match self {
            Self::Get => None,
            Self::LogMetric => Some(format!(
                r#"{{"run_id": "{run}", "key": "loss", "value": 0.25, "timestamp": 1700000000000, "step": 1}}"#
            )),
            Self::Search => {
                Some(format!(r#"{{"experiment_ids":["{experiment}"],"max_results":20}}"#))
            }
        }
    }
}
