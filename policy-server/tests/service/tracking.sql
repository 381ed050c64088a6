-- The columns that are read of the tracking database of MLflow 3.17.2 (tables of its own
-- migrations, cut down), with a little of everything in it.
CREATE TABLE experiments (experiment_id INTEGER, name VARCHAR(256), artifact_location VARCHAR(256), lifecycle_stage VARCHAR(32), creation_time BIGINT, workspace VARCHAR(63));
CREATE TABLE runs (run_uuid VARCHAR(32), artifact_uri VARCHAR(200), experiment_id INTEGER, lifecycle_stage VARCHAR(20));
CREATE TABLE trace_info (request_id VARCHAR(50), experiment_id INTEGER);
CREATE TABLE assessments (assessment_id VARCHAR(50), trace_id VARCHAR(50));
CREATE TABLE logged_models (model_id VARCHAR(36), experiment_id INTEGER, artifact_location VARCHAR(1000), lifecycle_stage VARCHAR(32));
CREATE TABLE entity_associations (association_id VARCHAR(36), source_type VARCHAR(36), source_id VARCHAR(36), destination_type VARCHAR(36), destination_id VARCHAR(36));
CREATE TABLE scorers (experiment_id INTEGER, scorer_name VARCHAR(256), scorer_id VARCHAR(36));
CREATE TABLE scorer_versions (scorer_id VARCHAR(36), scorer_version INTEGER, creation_time BIGINT);
CREATE TABLE issues (issue_id VARCHAR(36), experiment_id INTEGER);
CREATE TABLE label_schemas (schema_id VARCHAR(36), experiment_id INTEGER, name VARCHAR(250));
CREATE TABLE review_queues (queue_id VARCHAR(36), experiment_id INTEGER, name VARCHAR(250), name_key VARCHAR(250));
CREATE TABLE review_queue_users (queue_id VARCHAR(36), user_id VARCHAR(250));
CREATE TABLE jobs (id VARCHAR(36), params TEXT, workspace VARCHAR(63));
CREATE TABLE secrets (secret_id VARCHAR(36), secret_name VARCHAR(255), created_at BIGINT, workspace VARCHAR(63));
CREATE TABLE endpoints (endpoint_id VARCHAR(36), name VARCHAR(255), created_at BIGINT, workspace VARCHAR(63));
CREATE TABLE model_definitions (model_definition_id VARCHAR(36), name VARCHAR(255), created_at BIGINT, workspace VARCHAR(63));
CREATE TABLE guardrails (guardrail_id VARCHAR(36), scorer_id VARCHAR(36), workspace VARCHAR(63));
CREATE TABLE mcp_access_endpoints (id VARCHAR(36), workspace VARCHAR(63), server_name VARCHAR(256));
CREATE TABLE registered_models (name VARCHAR(256), creation_time BIGINT, workspace VARCHAR(63));
CREATE TABLE mcp_servers (name VARCHAR(256), created_at BIGINT, workspace VARCHAR(63));
CREATE TABLE skills (workspace VARCHAR(63), organization VARCHAR(64), name VARCHAR(128), created_at BIGINT);
CREATE TABLE registered_model_tags (key VARCHAR(250), value VARCHAR(5000), name VARCHAR(256), workspace VARCHAR(63));
CREATE TABLE workspaces (name VARCHAR(63));

INSERT INTO experiments (experiment_id, name, lifecycle_stage, workspace) VALUES
    (1, 'fraud', 'active', 'default'), (2, 'churn', 'active', 'default'),
    (3, 'theirs', 'active', 'team');
INSERT INTO runs (run_uuid, artifact_uri, experiment_id, lifecycle_stage) VALUES
    ('11111111111111111111111111111111', 's3://bucket/1/11111111111111111111111111111111/artifacts', 1, 'active'),
    ('22222222222222222222222222222222', 's3://bucket/2/22222222222222222222222222222222/artifacts', 2, 'active'),
    ('33333333333333333333333333333333', 's3://bucket/3/33333333333333333333333333333333/artifacts', 3, 'active');
INSERT INTO trace_info (request_id, experiment_id) VALUES ('tr-1', 1), ('tr-2', 2);
INSERT INTO assessments (assessment_id, trace_id) VALUES ('a-1', 'tr-1'), ('a-2', 'tr-2');
INSERT INTO logged_models (model_id, experiment_id, artifact_location, lifecycle_stage) VALUES
    ('m-1', 1, 's3://bucket/1/models/m-1/artifacts', 'active'),
    ('m-2', 2, 's3://bucket/2/models/m-2/artifacts', 'active'),
    ('m-gone', 1, 's3://bucket/1/models/m-gone/artifacts', 'deleted');
INSERT INTO entity_associations (association_id, source_type, source_id, destination_type, destination_id) VALUES
    ('x1', 'evaluation_dataset', 'd-1', 'experiment', '1'),
    ('x2', 'evaluation_dataset', 'd-both', 'experiment', '1'),
    ('x3', 'evaluation_dataset', 'd-both', 'experiment', '2'),
    ('x4', 'trace', 'd-none', 'run', '1');
INSERT INTO scorers (experiment_id, scorer_name, scorer_id) VALUES (1, 'quality/ü', 's-1'), (2, 'safety', 's-2');
INSERT INTO issues (issue_id, experiment_id) VALUES ('i-1', 1), ('i-2', 2);
INSERT INTO label_schemas (schema_id, experiment_id, name) VALUES ('l-1', 1, 'tone'), ('l-2', 2, 'tone');
INSERT INTO review_queues (queue_id, experiment_id, name, name_key) VALUES ('q-1', 1, 'Mine', 'mine');
INSERT INTO review_queue_users (queue_id, user_id) VALUES ('q-1', 'reader'), ('q-1', 'ana');
INSERT INTO jobs (id, params, workspace) VALUES
    ('j-1', '{"experiment_id": "1"}', 'default'), ('j-2', '{"experiment_id": 2}', 'default'),
    ('j-none', '{}', 'default');
INSERT INTO secrets (secret_id, secret_name, workspace) VALUES ('se-1', 'key', 'default');
INSERT INTO endpoints (endpoint_id, name, workspace) VALUES ('e-1', 'chat', 'default');
INSERT INTO model_definitions (model_definition_id, name, workspace) VALUES ('md-1', 'gpt', 'default');
INSERT INTO guardrails (guardrail_id, scorer_id, workspace) VALUES ('g-1', 's-1', 'default');
INSERT INTO mcp_access_endpoints (id, workspace, server_name) VALUES ('mcp-1', 'default', 'org/tool');
INSERT INTO registered_models (name, creation_time, workspace) VALUES
    ('greeting', 1700000000000, 'default'),
    ('classifier', 1700000000000, 'default');
INSERT INTO registered_model_tags (key, value, name, workspace) VALUES
    ('mlflow.prompt.is_prompt', 'True', 'greeting', 'default'),
    ('other', 'true', 'classifier', 'default');
INSERT INTO workspaces (name) VALUES ('default'), ('team');
