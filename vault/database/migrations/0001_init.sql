-- Times are microseconds since 1970, UTC. Ids are random text that the vault generates. Values are stored as Tink
-- ciphertext only.

CREATE TABLE root_key (
    id     INTEGER PRIMARY KEY CHECK (id = 1),
    key_id BIGINT NOT NULL, -- the key of the root keyset that wraps
    probe  BLOB   NOT NULL  -- a known text encrypted with it, to distinguish a wrong root key from a damaged row
);

CREATE TABLE tenants (
    id          TEXT   PRIMARY KEY,
    name        TEXT   NOT NULL UNIQUE,
    keyset      BLOB   NOT NULL, -- the tenant's keyset, wrapped with the root keyset
    generation  BIGINT NOT NULL, -- incremented when the keyset's content changes
    root_key_id BIGINT NOT NULL, -- the root key that wraps it
    created_at  BIGINT NOT NULL
);

CREATE TABLE api_keys (
    id            TEXT   PRIMARY KEY,
    tenant_id     TEXT   NOT NULL REFERENCES tenants (id),
    hash          TEXT   NOT NULL UNIQUE, -- SHA-256, hex; the keys are 256 random bits
    resource_type TEXT   NOT NULL,        -- both empty: a tenant key
    resource_id   TEXT   NOT NULL,
    created_at    BIGINT NOT NULL,
    expires_at    BIGINT,
    revoked_at    BIGINT
);
CREATE INDEX api_keys_of_tenant ON api_keys (tenant_id, created_at, id);

CREATE TABLE secrets (
    id                    TEXT   PRIMARY KEY,
    tenant_id             TEXT   NOT NULL REFERENCES tenants (id),
    upsert_key            TEXT   NOT NULL, -- hash of name, scope, owners and resource
    name                  TEXT   NOT NULL,
    type                  TEXT   NOT NULL,
    scope                 TEXT   NOT NULL,
    workspace_id          TEXT   NOT NULL, -- empty: absent; likewise the five below
    owner_user_id         TEXT   NOT NULL,
    external_user_id      TEXT   NOT NULL,
    external_workspace_id TEXT   NOT NULL,
    resource_type         TEXT   NOT NULL,
    resource_id           TEXT   NOT NULL,
    version               BIGINT NOT NULL,
    expires_at            BIGINT,
    created_at            BIGINT NOT NULL,
    updated_at            BIGINT NOT NULL,
    metadata              TEXT   NOT NULL,
    key_id                BIGINT NOT NULL, -- the key of the tenant's keyset that encrypts the three columns below
    preview               BLOB   NOT NULL,
    refresh_token         BLOB,
    value                 BLOB   NOT NULL, -- last, since SQLite reads a row up to the last column of a query
    UNIQUE (tenant_id, upsert_key)
);
CREATE INDEX secrets_of_tenant ON secrets (tenant_id, created_at, id);
CREATE INDEX secrets_of_key ON secrets (tenant_id, key_id);

CREATE TABLE bindings (
    id                TEXT   PRIMARY KEY,
    tenant_id         TEXT   NOT NULL REFERENCES tenants (id),
    secret_id         TEXT   NOT NULL REFERENCES secrets (id),
    resource_type     TEXT   NOT NULL,
    resource_id       TEXT   NOT NULL,
    env_name          TEXT   NOT NULL,
    placeholder_token TEXT   NOT NULL UNIQUE,
    delivery          TEXT   NOT NULL,
    created_at        BIGINT NOT NULL,
    UNIQUE (tenant_id, resource_type, resource_id, env_name)
);
CREATE INDEX bindings_of_secret ON bindings (secret_id);

CREATE TABLE audit (
    seq           INTEGER PRIMARY KEY AUTOINCREMENT,
    id            TEXT   NOT NULL UNIQUE,
    tenant_id     TEXT   NOT NULL REFERENCES tenants (id),
    at            BIGINT NOT NULL,
    action        TEXT   NOT NULL,
    outcome       TEXT   NOT NULL,
    key_id        TEXT   NOT NULL,
    secret_id     TEXT   NOT NULL,
    binding_id    TEXT   NOT NULL,
    target_key_id TEXT   NOT NULL,
    resource_type TEXT   NOT NULL,
    resource_id   TEXT   NOT NULL,
    version       BIGINT NOT NULL,
    bindings      TEXT   NOT NULL, -- JSON: the ids and versions of a reveal's set
    remote_addr   TEXT   NOT NULL,
    request_id    TEXT   NOT NULL
);
CREATE INDEX audit_of_tenant ON audit (tenant_id, seq);
CREATE INDEX audit_of_resource ON audit (tenant_id, resource_type, resource_id, seq);

-- One row, written to check whether the disk accepts writes again.
CREATE TABLE heartbeat (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    at BIGINT NOT NULL
);
INSERT INTO heartbeat (id, at) VALUES (1, 0);
