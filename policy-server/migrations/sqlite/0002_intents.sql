-- What requests were allowed to do to objects that grants are about, until it is known what came
-- of it. Rows that stay belong to answers of MLflow's that were lost; the server finds out what
-- happened. The table before held creations only, and nothing read it.
DROP TABLE creation_intents;

CREATE TABLE intents (
    -- One request may have several steps.
    id            TEXT   NOT NULL,
    step          BIGINT NOT NULL,
    username      TEXT   NOT NULL,
    -- JSON array of strings: the groups that came with the credential.
    claimed       TEXT   NOT NULL,
    workspace     TEXT   NOT NULL,
    operation     TEXT   NOT NULL CHECK (operation IN ('create', 'delete', 'rename')),
    resource_type TEXT   NOT NULL,
    -- Of a creation the name to come; else what grants call the object now.
    name          TEXT   NOT NULL,
    -- Of a renaming only; else empty.
    new_name      TEXT   NOT NULL,
    -- What had the name when the request was allowed.
    prior         TEXT   NOT NULL CHECK (prior IN ('absent', 'existing', 'unknown')),
    prior_id      TEXT,
    prior_born    BIGINT,
    created_at    BIGINT NOT NULL,
    PRIMARY KEY (id, step)
);
CREATE INDEX intents_created ON intents (created_at);
CREATE INDEX intents_name ON intents (name);
