-- The tables of an early mlflow-oidc-auth: dumped after its migrations up to 8c1cf75c5314 (service
-- accounts) had run, with types that SQLite and Postgres both read.

CREATE TABLE alembic_version (
    version_num VARCHAR(32) NOT NULL,
    CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num)
);
CREATE TABLE groups (
    id INTEGER NOT NULL,
    group_name VARCHAR(255) NOT NULL,
    PRIMARY KEY (id),
    UNIQUE (group_name)
);
CREATE TABLE users (
    id INTEGER NOT NULL,
    username VARCHAR(255),
    display_name VARCHAR(255),
    password_hash VARCHAR(255),
    is_admin BOOLEAN,
    is_service_account BOOLEAN,
    PRIMARY KEY (id),
    UNIQUE (username)
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
CREATE TABLE experiment_permissions (
    id INTEGER NOT NULL,
    experiment_id VARCHAR(255) NOT NULL,
    user_id INTEGER NOT NULL,
    permission VARCHAR(255),
    PRIMARY KEY (id),
    CONSTRAINT fk_user_id_experiment_permissions FOREIGN KEY(user_id) REFERENCES users (id),
    CONSTRAINT unique_experiment_user UNIQUE (experiment_id, user_id)
);
CREATE TABLE registered_model_group_permissions (
    id INTEGER NOT NULL,
    name VARCHAR(255) NOT NULL,
    group_id INTEGER NOT NULL,
    permission VARCHAR(255),
    prompt BOOLEAN,
    PRIMARY KEY (id),
    CONSTRAINT fk_group_id_registered_model_group_permissions FOREIGN KEY(group_id) REFERENCES groups (id),
    CONSTRAINT unique_name_group UNIQUE (name, group_id)
);
CREATE TABLE registered_model_permissions (
    id INTEGER NOT NULL,
    name VARCHAR(255) NOT NULL,
    user_id INTEGER NOT NULL,
    permission VARCHAR(255),
    PRIMARY KEY (id),
    CONSTRAINT fk_user_id_registered_model_permissions FOREIGN KEY(user_id) REFERENCES users (id),
    CONSTRAINT unique_name_user UNIQUE (name, user_id)
);
CREATE TABLE user_groups (
    id INTEGER NOT NULL,
    user_id INTEGER NOT NULL,
    group_id INTEGER NOT NULL,
    PRIMARY KEY (id),
    CONSTRAINT fk_user_id_user_groups FOREIGN KEY(user_id) REFERENCES users (id),
    CONSTRAINT fk_group_id_user_groups FOREIGN KEY(group_id) REFERENCES groups (id),
    CONSTRAINT unique_user_group UNIQUE (user_id, group_id)
);
INSERT INTO alembic_version VALUES ('8c1cf75c5314');
