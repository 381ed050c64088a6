-- The policy store. Keep sqlite/ and postgres/ alike: they differ only in how ids are generated.
--
-- Times are milliseconds since the epoch, flags are 0 or 1: types that sqlx's Any driver reads
-- the same from both databases. Ids are never reused: cached decisions name roles by id.

CREATE TABLE revision (
    id    BIGINT PRIMARY KEY CHECK (id = 1),
    value BIGINT NOT NULL
);
INSERT INTO revision (id, value) VALUES (1, 1);

CREATE TABLE changes (
    revision BIGINT PRIMARY KEY,
    -- 16 hexadecimal digits for each scope.
    scopes   TEXT   NOT NULL,
    everyone BIGINT NOT NULL,
    at       BIGINT NOT NULL
);
INSERT INTO changes (revision, scopes, everyone, at) VALUES (1, '', 1, 0);

CREATE TABLE audit (
    id       INTEGER PRIMARY KEY AUTOINCREMENT,
    revision BIGINT NOT NULL,
    at       BIGINT NOT NULL,
    actor    TEXT   NOT NULL,
    channel  TEXT   NOT NULL,
    action   TEXT   NOT NULL,
    target   TEXT   NOT NULL,
    -- JSON; null where there was nothing before, or is nothing after.
    before   TEXT,
    after    TEXT
);
CREATE INDEX audit_revision ON audit (revision);

CREATE TABLE settings (
    name  TEXT PRIMARY KEY,
    value TEXT NOT NULL
);

CREATE TABLE users (
    id              INTEGER PRIMARY KEY AUTOINCREMENT,
    username        TEXT   NOT NULL UNIQUE,
    -- Null for those who never log in with a password: service accounts, and users of an
    -- identity provider who own something.
    password_hash   TEXT,
    is_admin        BIGINT NOT NULL DEFAULT 0 CHECK (is_admin IN (0, 1)),
    disabled        BIGINT NOT NULL DEFAULT 0 CHECK (disabled IN (0, 1)),
    service_account BIGINT NOT NULL DEFAULT 0 CHECK (service_account IN (0, 1)),
    created_at      BIGINT NOT NULL,
    updated_at      BIGINT NOT NULL
);

CREATE TABLE roles (
    id          INTEGER PRIMARY KEY AUTOINCREMENT,
    name        TEXT   NOT NULL,
    workspace   TEXT   NOT NULL,
    description TEXT,
    -- Set for the hidden role that carries one user's own grants in one workspace. MLflow tells
    -- such a role by its name, __user_<id>__.
    user_id     BIGINT REFERENCES users (id) ON DELETE CASCADE,
    UNIQUE (workspace, name),
    UNIQUE (user_id, workspace)
);

CREATE TABLE role_permissions (
    id               INTEGER PRIMARY KEY AUTOINCREMENT,
    role_id          BIGINT NOT NULL REFERENCES roles (id) ON DELETE CASCADE,
    resource_type    TEXT   NOT NULL,
    resource_pattern TEXT   NOT NULL,
    pattern_kind     TEXT   NOT NULL CHECK (pattern_kind IN ('every', 'exact', 'glob')),
    permission       TEXT   NOT NULL,
    UNIQUE (role_id, resource_type, resource_pattern, pattern_kind)
);
CREATE INDEX role_permissions_resource ON role_permissions (resource_type, resource_pattern);

CREATE TABLE user_role_assignments (
    id      INTEGER PRIMARY KEY AUTOINCREMENT,
    user_id BIGINT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    role_id BIGINT NOT NULL REFERENCES roles (id) ON DELETE CASCADE,
    UNIQUE (user_id, role_id)
);
CREATE INDEX user_role_assignments_role ON user_role_assignments (role_id);

-- "groups" is a reserved word in newer SQL.
CREATE TABLE user_groups (
    id   INTEGER PRIMARY KEY AUTOINCREMENT,
    name TEXT NOT NULL UNIQUE
);

-- Membership kept here; a JWT's groups claim adds to it for one request.
CREATE TABLE group_members (
    group_id BIGINT NOT NULL REFERENCES user_groups (id) ON DELETE CASCADE,
    user_id  BIGINT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    PRIMARY KEY (group_id, user_id)
);
CREATE INDEX group_members_user ON group_members (user_id);

CREATE TABLE group_roles (
    group_id BIGINT NOT NULL REFERENCES user_groups (id) ON DELETE CASCADE,
    role_id  BIGINT NOT NULL REFERENCES roles (id) ON DELETE CASCADE,
    PRIMARY KEY (group_id, role_id)
);
CREATE INDEX group_roles_role ON group_roles (role_id);

CREATE TABLE tokens (
    id           INTEGER PRIMARY KEY AUTOINCREMENT,
    user_id      BIGINT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    name         TEXT   NOT NULL,
    -- SHA-256 of the token, hexadecimal. The token itself has 256 random bits, so a slow hash
    -- would add nothing.
    hash         TEXT   NOT NULL UNIQUE,
    -- The token's first characters, to tell tokens apart in lists.
    prefix       TEXT   NOT NULL,
    -- JSON array of strings.
    scopes       TEXT   NOT NULL,
    created_at   BIGINT NOT NULL,
    expires_at   BIGINT,
    revoked_at   BIGINT,
    last_used_at BIGINT
);
CREATE UNIQUE INDEX tokens_name ON tokens (user_id, name) WHERE revoked_at IS NULL;

-- Who created what MLflow has no grants for: jobs and review queues.
CREATE TABLE owners (
    kind       TEXT   NOT NULL,
    object_id  TEXT   NOT NULL,
    username   TEXT   NOT NULL,
    created_at BIGINT NOT NULL,
    PRIMARY KEY (kind, object_id)
);
CREATE INDEX owners_username ON owners (username);

-- Creations that were allowed but not yet recorded; what is left here was lost on the way.
CREATE TABLE creation_intents (
    id            TEXT   PRIMARY KEY,
    username      TEXT   NOT NULL,
    workspace     TEXT   NOT NULL,
    resource_type TEXT   NOT NULL,
    name          TEXT   NOT NULL,
    created_at    BIGINT NOT NULL
);
CREATE INDEX creation_intents_created ON creation_intents (created_at);
