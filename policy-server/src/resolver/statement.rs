//! One statement for each kind of reference (semantics §15).
//!
//! Each yields rows of experiment id, workspace and own id, all TEXT and nullable.

use super::schema::Schema;
use crate::contract::ReferenceKind;
use crate::domain::ResourceType;

/// A statement and how its rows are read.
pub struct Statement {
    pub sql: String,
    /// What is bound besides the id (`$1`).
    pub second: Second,
    /// What the own id in the third column is an id of.
    pub named: Option<Named>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Second {
    Nothing,
    /// `$2` is the parent experiment's id.
    Parent,
    /// `$2` is the request's workspace.
    Workspace,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Named {
    Id(ResourceType),
    /// The third column is a scorer's name.
    Scorer,
}

/// Whether the reference is unique only within a workspace.
pub const fn within_workspace(kind: ReferenceKind) -> bool {
    use ReferenceKind as K;
    matches!(
        kind,
        K::ExperimentName
            | K::GatewayEndpointName
            | K::GatewayModelDefinitionName
            | K::GatewaySecretName
    )
}

/// `None` when this MLflow has no such objects, or grants cannot be about them.
pub fn statement(kind: ReferenceKind, schema: &Schema) -> Option<Statement> {
    use ReferenceKind as K;
    let built = Builder { schema };
    match kind {
        K::TraceId => built.in_experiment("trace_info", "t.request_id = $1"),
        // get_logged_model does not return deleted ones.
        K::LoggedModelId => built
            .in_experiment("logged_models", "t.model_id = $1 AND t.lifecycle_stage <> 'deleted'"),
        K::LabelSchemaId => built.in_experiment("label_schemas", "t.schema_id = $1"),
        K::ReviewQueueId => built.in_experiment("review_queues", "t.queue_id = $1"),
        K::IssueId => built.in_experiment("issues", "t.issue_id = $1"),
        K::LabelSchemaName => built
            .in_experiment("label_schemas", "t.name = $1 AND t.experiment_id = CAST($2 AS BIGINT)")
            .map(|statement| Statement { second: Second::Parent, ..statement }),
        K::ReviewQueueName => built
            .in_experiment(
                "review_queues",
                "t.name_key = $1 AND t.experiment_id = CAST($2 AS BIGINT)",
            )
            .map(|statement| Statement { second: Second::Parent, ..statement }),
        K::ScorerId => built.scorers("scorers t", "t", &["scorers"], "t.scorer_id = $1"),
        K::OnlineScoringConfig => built.in_experiment("scorers", "t.scorer_id = $1"),
        K::GuardrailId => built.scorers(
            "guardrails g JOIN scorers t ON t.scorer_id = g.scorer_id",
            "t",
            &["guardrails", "scorers"],
            "g.guardrail_id = $1",
        ),
        K::AssessmentId => built.assessments(),
        K::EvaluationDatasetId => built.datasets(),
        K::ExperimentName => Some(built.experiment_names()),
        K::GatewayEndpointName => {
            built.gateway("endpoints", "endpoint_id", "name", ResourceType::GatewayEndpoint)
        }
        K::GatewayModelDefinitionName => built.gateway(
            "model_definitions",
            "model_definition_id",
            "name",
            ResourceType::GatewayModelDefinition,
        ),
        K::GatewaySecretName => {
            built.gateway("secrets", "secret_id", "secret_name", ResourceType::GatewaySecret)
        }
        K::McpEndpointId => built.mcp_endpoints(),
        // Looked up by the batch; read from the job's parameters, and from the URI itself.
        K::RunId | K::JobId | K::PromptOptimizationJobId | K::ArtifactUri | K::Unspecified => None,
    }
}

/// The experiments of as many runs as there are `slots`, each row with its run's id; `None` where
/// there are no runs.
pub fn runs(schema: &Schema, slots: usize) -> Option<String> {
    let workspace = Builder { schema }.experiment_workspace();
    let places: Vec<String> = (1..=slots).map(|slot| format!("${slot}")).collect();
    schema.has_table("runs").then(|| {
        format!(
            "SELECT CAST(t.experiment_id AS TEXT), {workspace}, t.run_uuid \
             FROM runs t LEFT JOIN experiments e ON e.experiment_id = t.experiment_id \
             WHERE t.run_uuid IN ({})",
            places.join(", ")
        )
    })
}

/// The workspace column, or what stands for it where this MLflow has none.
pub fn workspace_column(schema: &Schema, table: &str, alias: &str) -> String {
    if schema.has_column(table, "workspace") {
        format!("{alias}.workspace")
    } else {
        "CAST('default' AS TEXT)".to_owned()
    }
}

struct Builder<'a> {
    schema: &'a Schema,
}

impl Builder<'_> {
    fn experiment_workspace(&self) -> String {
        // Without this, an experiment that is gone would have a workspace in old schemas.
        format!(
            "CASE WHEN e.experiment_id IS NULL THEN NULL ELSE {} END",
            workspace_column(self.schema, "experiments", "e")
        )
    }

    fn in_experiment(&self, table: &str, condition: &str) -> Option<Statement> {
        let workspace = self.experiment_workspace();
        self.schema.has_table(table).then(|| Statement {
            sql: format!(
                "SELECT CAST(t.experiment_id AS TEXT), {workspace}, CAST(NULL AS TEXT) \
                 FROM {table} t LEFT JOIN experiments e ON e.experiment_id = t.experiment_id \
                 WHERE {condition}"
            ),
            second: Second::Nothing,
            named: None,
        })
    }

    fn scorers(
        &self,
        from: &str,
        alias: &str,
        tables: &[&str],
        condition: &str,
    ) -> Option<Statement> {
        let workspace = self.experiment_workspace();
        tables.iter().all(|table| self.schema.has_table(table)).then(|| Statement {
            sql: format!(
                "SELECT CAST({alias}.experiment_id AS TEXT), {workspace}, {alias}.scorer_name \
                 FROM {from} LEFT JOIN experiments e ON e.experiment_id = {alias}.experiment_id \
                 WHERE {condition}"
            ),
            second: Second::Nothing,
            named: Some(Named::Scorer),
        })
    }

    fn assessments(&self) -> Option<Statement> {
        let workspace = self.experiment_workspace();
        let tables = ["assessments", "trace_info"];
        tables.iter().all(|table| self.schema.has_table(table)).then(|| Statement {
            sql: format!(
                "SELECT CAST(t.experiment_id AS TEXT), {workspace}, CAST(NULL AS TEXT) \
                 FROM assessments a JOIN trace_info t ON t.request_id = a.trace_id \
                 LEFT JOIN experiments e ON e.experiment_id = t.experiment_id \
                 WHERE a.assessment_id = $1"
            ),
            second: Second::Nothing,
            named: None,
        })
    }

    /// Many rows: a dataset can be linked to many experiments.
    fn datasets(&self) -> Option<Statement> {
        let workspace = self.experiment_workspace();
        self.schema.has_table("entity_associations").then(|| Statement {
            sql: format!(
                "SELECT CAST(a.destination_id AS TEXT), {workspace}, CAST(NULL AS TEXT) \
                 FROM entity_associations a \
                 LEFT JOIN experiments e ON e.experiment_id = CAST(a.destination_id AS BIGINT) \
                 WHERE a.source_type = 'evaluation_dataset' AND a.source_id = $1 \
                 AND a.destination_type = 'experiment'"
            ),
            second: Second::Nothing,
            named: None,
        })
    }

    fn experiment_names(&self) -> Statement {
        let workspace = workspace_column(self.schema, "experiments", "e");
        Statement {
            sql: format!(
                "SELECT CAST(e.experiment_id AS TEXT), {workspace}, CAST(NULL AS TEXT) \
                 FROM experiments e WHERE e.name = $1 AND {workspace} = $2"
            ),
            second: Second::Workspace,
            named: None,
        }
    }

    fn gateway(&self, table: &str, id: &str, name: &str, of: ResourceType) -> Option<Statement> {
        let workspace = workspace_column(self.schema, table, "t");
        self.schema.has_table(table).then(|| Statement {
            sql: format!(
                "SELECT CAST(NULL AS TEXT), {workspace}, t.{id} FROM {table} t \
                 WHERE t.{name} = $1 AND {workspace} = $2"
            ),
            second: Second::Workspace,
            named: Some(Named::Id(of)),
        })
    }

    fn mcp_endpoints(&self) -> Option<Statement> {
        let workspace = workspace_column(self.schema, "mcp_access_endpoints", "t");
        self.schema.has_table("mcp_access_endpoints").then(|| Statement {
            sql: format!(
                "SELECT CAST(NULL AS TEXT), {workspace}, t.server_name \
                 FROM mcp_access_endpoints t WHERE t.id = $1"
            ),
            second: Second::Nothing,
            named: Some(Named::Id(ResourceType::McpServer)),
        })
    }
}
