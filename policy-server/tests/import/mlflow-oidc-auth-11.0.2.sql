-- The tables as mlflow-oidc-auth 11.0.2 makes them: dumped after all of its migrations had run, with
-- types that SQLite and Postgres both read. Indices are left out.

CREATE TABLE alembic_version (
    version_num VARCHAR(32) NOT NULL,
    CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num)
);
CREATE TABLE auth_state (
    id INTEGER NOT NULL,
    state VARCHAR(255) NOT NULL,
    nonce VARCHAR(255),
    code_verifier VARCHAR(255),
    provider_id VARCHAR(255),
    relay_state TEXT,
    created_at TIMESTAMP DEFAULT CURRENT_TIMESTAMP NOT NULL,
    expires_at TIMESTAMP NOT NULL,
    binding_hash VARCHAR(64),
    PRIMARY KEY (id)
);
CREATE TABLE groups (
    id INTEGER NOT NULL,
    group_name VARCHAR(255) NOT NULL,
    external_id VARCHAR(255),
    created_at TIMESTAMP,
    updated_at TIMESTAMP,
    managed_by VARCHAR(255) DEFAULT 'manual' NOT NULL,
    PRIMARY KEY (id),
    UNIQUE (group_name)
);
CREATE TABLE saml_assertions (
    id INTEGER NOT NULL,
    assertion_id VARCHAR(255) NOT NULL,
    provider_id VARCHAR(255) NOT NULL,
    not_on_or_after TIMESTAMP NOT NULL,
    created_at TIMESTAMP DEFAULT CURRENT_TIMESTAMP NOT NULL,
    PRIMARY KEY (id)
);
CREATE TABLE scim_activity (
    id INTEGER NOT NULL,
    at TIMESTAMP NOT NULL,
    token_id INTEGER,
    token_name VARCHAR(255),
    method VARCHAR(16) NOT NULL,
    path VARCHAR(255) NOT NULL,
    resource_id VARCHAR(255),
    status INTEGER NOT NULL,
    outcome VARCHAR(16) NOT NULL,
    error VARCHAR(500),
    duration_ms INTEGER,
    PRIMARY KEY (id)
);
CREATE TABLE scim_tokens (
    id INTEGER NOT NULL,
    name VARCHAR(255) NOT NULL,
    token_hash VARCHAR(255) NOT NULL,
    token_prefix VARCHAR(32) NOT NULL,
    created_at TIMESTAMP DEFAULT CURRENT_TIMESTAMP NOT NULL,
    created_by VARCHAR(255),
    last_used_at TIMESTAMP,
    expires_at TIMESTAMP,
    revoked_at TIMESTAMP,
    PRIMARY KEY (id),
    CONSTRAINT uq_scim_tokens_name UNIQUE (name)
);
CREATE TABLE users (
    id INTEGER NOT NULL,
    username VARCHAR(255),
    display_name VARCHAR(255),
    is_admin BOOLEAN,
    is_service_account BOOLEAN,
    active BOOLEAN DEFAULT TRUE NOT NULL,
    managed_by VARCHAR(255) DEFAULT 'manual' NOT NULL,
    external_id VARCHAR(255),
    created_at TIMESTAMP,
    updated_at TIMESTAMP,
    service_account_source VARCHAR(255),
    PRIMARY KEY (id),
    UNIQUE (username)
);
CREATE TABLE workspace_group_rules (
    id INTEGER NOT NULL,
    name VARCHAR(255) NOT NULL,
    pattern VARCHAR(256) NOT NULL,
    permission VARCHAR(255) NOT NULL,
    mode VARCHAR(16) NOT NULL,
    enabled BOOLEAN NOT NULL,
    created_by VARCHAR(255),
    created_at TIMESTAMP NOT NULL,
    updated_at TIMESTAMP NOT NULL,
    PRIMARY KEY (id),
    CONSTRAINT uq_workspace_group_rules_name UNIQUE (name)
);
CREATE TABLE auth_sessions (
    id INTEGER NOT NULL,
    session_id VARCHAR(255) NOT NULL,
    user_id INTEGER NOT NULL,
    provider_id VARCHAR(255),
    created_at TIMESTAMP DEFAULT CURRENT_TIMESTAMP NOT NULL,
    last_seen_at TIMESTAMP,
    expires_at TIMESTAMP NOT NULL,
    revoked_at TIMESTAMP,
    encrypted_tokens TEXT,
    PRIMARY KEY (id),
    CONSTRAINT fk_auth_sessions_user_id FOREIGN KEY(user_id) REFERENCES users (id)
);
CREATE TABLE experiment_group_permissions (
    id INTEGER NOT NULL,
    experiment_id VARCHAR(255) NOT NULL,
    group_id INTEGER NOT NULL,
    permission VARCHAR(255),
    PRIMARY KEY (id),
    CONSTRAINT fk_group_id_experiment_group_permissions FOREIGN KEY(group_id) REFERENCES groups (id),
    CONSTRAINT unique_experiment_group UNIQUE (experiment_id, group_id)
);
CREATE TABLE experiment_group_regex_permissions (
    id INTEGER NOT NULL,
    regex VARCHAR(255) NOT NULL,
    priority INTEGER NOT NULL,
    group_id INTEGER NOT NULL,
    permission VARCHAR(255),
    workspace VARCHAR(63) DEFAULT '*' NOT NULL,
    PRIMARY KEY (id),
    CONSTRAINT fk_group_id_experiment_group_regex_permissions FOREIGN KEY(group_id) REFERENCES groups (id),
    CONSTRAINT uq_experiment_group_regex_ws UNIQUE (regex, group_id, workspace)
);
CREATE TABLE experiment_permissions (
    id INTEGER NOT NULL,
    experiment_id VARCHAR(255) NOT NULL,
    user_id INTEGER NOT NULL,
    permission VARCHAR(255),
    PRIMARY KEY (id),
    CONSTRAINT fk_user_id_experiment_permissions FOREIGN KEY(user_id) REFERENCES users (id),
    CONSTRAINT unique_experiment_user UNIQUE (experiment_id, user_id)
);
CREATE TABLE experiment_regex_permissions (
    id INTEGER NOT NULL,
    regex VARCHAR(255) NOT NULL,
    priority INTEGER NOT NULL,
    user_id INTEGER NOT NULL,
    permission VARCHAR(255),
    workspace VARCHAR(63) DEFAULT '*' NOT NULL,
    PRIMARY KEY (id),
    CONSTRAINT fk_user_id_experiment_regex_permissions FOREIGN KEY(user_id) REFERENCES users (id),
    CONSTRAINT uq_experiment_user_regex_ws UNIQUE (regex, user_id, workspace)
);
CREATE TABLE gateway_endpoint_group_permissions (
    id INTEGER NOT NULL,
    endpoint_id VARCHAR(255) NOT NULL,
    group_id INTEGER NOT NULL,
    permission VARCHAR(255),
    workspace VARCHAR(63),
    PRIMARY KEY (id),
    CONSTRAINT fk_gateway_endpoint_group_perm_group_id FOREIGN KEY(group_id) REFERENCES groups (id),
    CONSTRAINT uq_gw_endpoint_group_perm_workspace_group UNIQUE (workspace, endpoint_id, group_id)
);
CREATE TABLE gateway_endpoint_group_regex_permissions (
    id INTEGER NOT NULL,
    regex VARCHAR(255) NOT NULL,
    priority INTEGER NOT NULL,
    group_id INTEGER NOT NULL,
    permission VARCHAR(255),
    workspace VARCHAR(63) DEFAULT '*' NOT NULL,
    PRIMARY KEY (id),
    CONSTRAINT fk_gateway_endpoint_group_regex_perm_group_id FOREIGN KEY(group_id) REFERENCES groups (id),
    CONSTRAINT uq_endpoint_group_regex_ws UNIQUE (regex, group_id, workspace)
);
CREATE TABLE gateway_endpoint_permissions (
    id INTEGER NOT NULL,
    endpoint_id VARCHAR(255) NOT NULL,
    user_id INTEGER NOT NULL,
    permission VARCHAR(255),
    workspace VARCHAR(63),
    PRIMARY KEY (id),
    CONSTRAINT fk_gateway_endpoint_perm_user_id FOREIGN KEY(user_id) REFERENCES users (id),
    CONSTRAINT uq_gw_endpoint_perm_workspace_user UNIQUE (workspace, endpoint_id, user_id)
);
CREATE TABLE gateway_endpoint_regex_permissions (
    id INTEGER NOT NULL,
    regex VARCHAR(255) NOT NULL,
    priority INTEGER NOT NULL,
    user_id INTEGER NOT NULL,
    permission VARCHAR(255),
    workspace VARCHAR(63) DEFAULT '*' NOT NULL,
    PRIMARY KEY (id),
    CONSTRAINT fk_gateway_endpoint_regex_perm_user_id FOREIGN KEY(user_id) REFERENCES users (id),
    CONSTRAINT uq_endpoint_user_regex_ws UNIQUE (regex, user_id, workspace)
);
CREATE TABLE gateway_model_definition_group_permissions (
    id INTEGER NOT NULL,
    model_definition_id VARCHAR(255) NOT NULL,
    group_id INTEGER NOT NULL,
    permission VARCHAR(255),
    workspace VARCHAR(63),
    PRIMARY KEY (id),
    CONSTRAINT fk_gateway_model_def_group_perm_group_id FOREIGN KEY(group_id) REFERENCES groups (id),
    CONSTRAINT uq_gw_model_def_group_perm_workspace_group UNIQUE (workspace, model_definition_id, group_id)
);
CREATE TABLE gateway_model_definition_group_regex_permissions (
    id INTEGER NOT NULL,
    regex VARCHAR(255) NOT NULL,
    priority INTEGER NOT NULL,
    group_id INTEGER NOT NULL,
    permission VARCHAR(255),
    workspace VARCHAR(63) DEFAULT '*' NOT NULL,
    PRIMARY KEY (id),
    CONSTRAINT fk_gateway_model_def_group_regex_perm_group_id FOREIGN KEY(group_id) REFERENCES groups (id),
    CONSTRAINT uq_model_def_group_regex_ws UNIQUE (regex, group_id, workspace)
);
CREATE TABLE gateway_model_definition_permissions (
    id INTEGER NOT NULL,
    model_definition_id VARCHAR(255) NOT NULL,
    user_id INTEGER NOT NULL,
    permission VARCHAR(255),
    workspace VARCHAR(63),
    PRIMARY KEY (id),
    CONSTRAINT fk_gateway_model_def_perm_user_id FOREIGN KEY(user_id) REFERENCES users (id),
    CONSTRAINT uq_gw_model_def_perm_workspace_user UNIQUE (workspace, model_definition_id, user_id)
);
CREATE TABLE gateway_model_definition_regex_permissions (
    id INTEGER NOT NULL,
    regex VARCHAR(255) NOT NULL,
    priority INTEGER NOT NULL,
    user_id INTEGER NOT NULL,
    permission VARCHAR(255),
    workspace VARCHAR(63) DEFAULT '*' NOT NULL,
    PRIMARY KEY (id),
    CONSTRAINT fk_gateway_model_def_regex_perm_user_id FOREIGN KEY(user_id) REFERENCES users (id),
    CONSTRAINT uq_model_def_user_regex_ws UNIQUE (regex, user_id, workspace)
);
CREATE TABLE gateway_secret_group_permissions (
    id INTEGER NOT NULL,
    secret_id VARCHAR(255) NOT NULL,
    group_id INTEGER NOT NULL,
    permission VARCHAR(255),
    workspace VARCHAR(63),
    PRIMARY KEY (id),
    CONSTRAINT fk_gateway_secret_group_perm_group_id FOREIGN KEY(group_id) REFERENCES groups (id),
    CONSTRAINT uq_gw_secret_group_perm_workspace_group UNIQUE (workspace, secret_id, group_id)
);
CREATE TABLE gateway_secret_group_regex_permissions (
    id INTEGER NOT NULL,
    regex VARCHAR(255) NOT NULL,
    priority INTEGER NOT NULL,
    group_id INTEGER NOT NULL,
    permission VARCHAR(255),
    workspace VARCHAR(63) DEFAULT '*' NOT NULL,
    PRIMARY KEY (id),
    CONSTRAINT fk_gateway_secret_group_regex_perm_group_id FOREIGN KEY(group_id) REFERENCES groups (id),
    CONSTRAINT uq_secret_group_regex_ws UNIQUE (regex, group_id, workspace)
);
CREATE TABLE gateway_secret_permissions (
    id INTEGER NOT NULL,
    secret_id VARCHAR(255) NOT NULL,
    user_id INTEGER NOT NULL,
    permission VARCHAR(255),
    workspace VARCHAR(63),
    PRIMARY KEY (id),
    CONSTRAINT fk_gateway_secret_perm_user_id FOREIGN KEY(user_id) REFERENCES users (id),
    CONSTRAINT uq_gw_secret_perm_workspace_user UNIQUE (workspace, secret_id, user_id)
);
CREATE TABLE gateway_secret_regex_permissions (
    id INTEGER NOT NULL,
    regex VARCHAR(255) NOT NULL,
    priority INTEGER NOT NULL,
    user_id INTEGER NOT NULL,
    permission VARCHAR(255),
    workspace VARCHAR(63) DEFAULT '*' NOT NULL,
    PRIMARY KEY (id),
    CONSTRAINT fk_gateway_secret_regex_perm_user_id FOREIGN KEY(user_id) REFERENCES users (id),
    CONSTRAINT uq_secret_user_regex_ws UNIQUE (regex, user_id, workspace)
);
CREATE TABLE mcp_server_group_permissions (
    id INTEGER NOT NULL,
    name VARCHAR(256) NOT NULL,
    group_id INTEGER NOT NULL,
    permission VARCHAR(255),
    workspace VARCHAR(63),
    PRIMARY KEY (id),
    CONSTRAINT fk_mcp_server_group_perm_group_id FOREIGN KEY(group_id) REFERENCES groups (id),
    CONSTRAINT uq_mcp_server_group_perm_workspace_name_group UNIQUE (workspace, name, group_id)
);
CREATE TABLE mcp_server_permissions (
    id INTEGER NOT NULL,
    name VARCHAR(256) NOT NULL,
    user_id INTEGER NOT NULL,
    permission VARCHAR(255),
    workspace VARCHAR(63),
    PRIMARY KEY (id),
    CONSTRAINT fk_mcp_server_perm_user_id FOREIGN KEY(user_id) REFERENCES users (id),
    CONSTRAINT uq_mcp_server_perm_workspace_name_user UNIQUE (workspace, name, user_id)
);
CREATE TABLE registered_model_group_permissions (
    id INTEGER NOT NULL,
    name VARCHAR(255) NOT NULL,
    group_id INTEGER NOT NULL,
    permission VARCHAR(255),
    prompt BOOLEAN,
    workspace VARCHAR(63),
    PRIMARY KEY (id),
    CONSTRAINT fk_group_id_registered_model_group_permissions FOREIGN KEY(group_id) REFERENCES groups (id),
    CONSTRAINT uq_rm_group_perm_workspace_name_group UNIQUE (workspace, name, group_id)
);
CREATE TABLE registered_model_group_regex_permissions (
    id INTEGER NOT NULL,
    regex VARCHAR(255) NOT NULL,
    priority INTEGER NOT NULL,
    group_id INTEGER NOT NULL,
    permission VARCHAR(255),
    prompt BOOLEAN,
    workspace VARCHAR(63) DEFAULT '*' NOT NULL,
    PRIMARY KEY (id),
    CONSTRAINT fk_group_id_registered_model_group_regex_permissions FOREIGN KEY(group_id) REFERENCES groups (id),
    CONSTRAINT uq_name_group_regex_ws UNIQUE (regex, group_id, prompt, workspace)
);
CREATE TABLE registered_model_permissions (
    id INTEGER NOT NULL,
    name VARCHAR(255) NOT NULL,
    user_id INTEGER NOT NULL,
    permission VARCHAR(255),
    workspace VARCHAR(63),
    PRIMARY KEY (id),
    CONSTRAINT fk_user_id_registered_model_permissions FOREIGN KEY(user_id) REFERENCES users (id),
    CONSTRAINT uq_rm_perm_workspace_name_user UNIQUE (workspace, name, user_id)
);
CREATE TABLE registered_model_regex_permissions (
    id INTEGER NOT NULL,
    regex VARCHAR(255) NOT NULL,
    priority INTEGER NOT NULL,
    user_id INTEGER NOT NULL,
    permission VARCHAR(255),
    prompt BOOLEAN,
    workspace VARCHAR(63) DEFAULT '*' NOT NULL,
    PRIMARY KEY (id),
    CONSTRAINT fk_user_id_registered_model_regex_permissions FOREIGN KEY(user_id) REFERENCES users (id),
    CONSTRAINT uq_name_user_regex_ws UNIQUE (regex, user_id, prompt, workspace)
);
CREATE TABLE scorer_group_permissions (
    id INTEGER NOT NULL,
    experiment_id VARCHAR(255) NOT NULL,
    scorer_name VARCHAR(256) NOT NULL,
    group_id INTEGER NOT NULL,
    permission VARCHAR(255),
    PRIMARY KEY (id),
    CONSTRAINT fk_scorer_group_perm_group_id FOREIGN KEY(group_id) REFERENCES groups (id),
    CONSTRAINT unique_scorer_group UNIQUE (experiment_id, scorer_name, group_id)
);
CREATE TABLE scorer_group_regex_permissions (
    id INTEGER NOT NULL,
    regex VARCHAR(255) NOT NULL,
    priority INTEGER NOT NULL,
    group_id INTEGER NOT NULL,
    permission VARCHAR(255),
    workspace VARCHAR(63) DEFAULT '*' NOT NULL,
    PRIMARY KEY (id),
    CONSTRAINT fk_scorer_group_regex_perm_group_id FOREIGN KEY(group_id) REFERENCES groups (id),
    CONSTRAINT uq_scorer_group_regex_ws UNIQUE (regex, group_id, workspace)
);
CREATE TABLE scorer_permissions (
    id INTEGER NOT NULL,
    experiment_id VARCHAR(255) NOT NULL,
    scorer_name VARCHAR(256) NOT NULL,
    user_id INTEGER NOT NULL,
    permission VARCHAR(255),
    PRIMARY KEY (id),
    CONSTRAINT fk_scorer_perm_user_id FOREIGN KEY(user_id) REFERENCES users (id),
    CONSTRAINT unique_scorer_user UNIQUE (experiment_id, scorer_name, user_id)
);
CREATE TABLE scorer_regex_permissions (
    id INTEGER NOT NULL,
    regex VARCHAR(255) NOT NULL,
    priority INTEGER NOT NULL,
    user_id INTEGER NOT NULL,
    permission VARCHAR(255),
    workspace VARCHAR(63) DEFAULT '*' NOT NULL,
    PRIMARY KEY (id),
    CONSTRAINT fk_scorer_regex_perm_user_id FOREIGN KEY(user_id) REFERENCES users (id),
    CONSTRAINT uq_scorer_user_regex_ws UNIQUE (regex, user_id, workspace)
);
CREATE TABLE user_groups (
    id INTEGER NOT NULL,
    user_id INTEGER NOT NULL,
    group_id INTEGER NOT NULL,
    managed_by VARCHAR(255) DEFAULT 'manual' NOT NULL,
    PRIMARY KEY (id),
    CONSTRAINT fk_user_id_user_groups FOREIGN KEY(user_id) REFERENCES users (id),
    CONSTRAINT fk_group_id_user_groups FOREIGN KEY(group_id) REFERENCES groups (id),
    CONSTRAINT unique_user_group UNIQUE (user_id, group_id)
);
CREATE TABLE user_identities (
    id INTEGER NOT NULL,
    provider_id VARCHAR(255) NOT NULL,
    subject VARCHAR(255) NOT NULL,
    user_id INTEGER NOT NULL,
    created_at TIMESTAMP DEFAULT CURRENT_TIMESTAMP NOT NULL,
    last_login_at TIMESTAMP,
    PRIMARY KEY (id),
    CONSTRAINT fk_user_identities_user_id FOREIGN KEY(user_id) REFERENCES users (id),
    CONSTRAINT uq_user_identities_provider_subject UNIQUE (provider_id, subject)
);
CREATE TABLE user_tokens (
    id INTEGER NOT NULL,
    user_id INTEGER NOT NULL,
    name VARCHAR(255) NOT NULL,
    token_prefix VARCHAR(32),
    token_hash VARCHAR(255) NOT NULL,
    created_at TIMESTAMP NOT NULL,
    created_by VARCHAR(255),
    expires_at TIMESTAMP NOT NULL,
    last_used_at TIMESTAMP,
    PRIMARY KEY (id),
    CONSTRAINT fk_user_tokens_user_id FOREIGN KEY(user_id) REFERENCES users (id) ON DELETE CASCADE,
    CONSTRAINT uq_user_tokens_user_id_name UNIQUE (user_id, name)
);
CREATE TABLE workspace_group_permissions (
    workspace VARCHAR(255) NOT NULL,
    group_id INTEGER NOT NULL,
    permission VARCHAR(255) NOT NULL,
    rule_id INTEGER,
    CONSTRAINT pk_workspace_group_permissions PRIMARY KEY (workspace, group_id),
    CONSTRAINT fk_workspace_group_perm_group_id FOREIGN KEY(group_id) REFERENCES groups (id),
    CONSTRAINT fk_workspace_group_permissions_rule_id FOREIGN KEY(rule_id) REFERENCES workspace_group_rules (id)
);
CREATE TABLE workspace_group_regex_permissions (
    id INTEGER NOT NULL,
    regex VARCHAR(255) NOT NULL,
    priority INTEGER NOT NULL,
    group_id INTEGER NOT NULL,
    permission VARCHAR(255) NOT NULL,
    PRIMARY KEY (id),
    CONSTRAINT fk_workspace_group_regex_perm_group_id FOREIGN KEY(group_id) REFERENCES groups (id),
    CONSTRAINT uq_workspace_regex_group UNIQUE (regex, group_id)
);
CREATE TABLE workspace_permissions (
    workspace VARCHAR(255) NOT NULL,
    user_id INTEGER NOT NULL,
    permission VARCHAR(255) NOT NULL,
    CONSTRAINT pk_workspace_permissions PRIMARY KEY (workspace, user_id),
    CONSTRAINT fk_workspace_perm_user_id FOREIGN KEY(user_id) REFERENCES users (id)
);
CREATE TABLE workspace_regex_permissions (
    id INTEGER NOT NULL,
    regex VARCHAR(255) NOT NULL,
    priority INTEGER NOT NULL,
    user_id INTEGER NOT NULL,
    permission VARCHAR(255) NOT NULL,
    PRIMARY KEY (id),
    CONSTRAINT fk_workspace_regex_perm_user_id FOREIGN KEY(user_id) REFERENCES users (id),
    CONSTRAINT uq_workspace_regex_user UNIQUE (regex, user_id)
);
INSERT INTO alembic_version VALUES ('e1f2a3b4c5d6');
