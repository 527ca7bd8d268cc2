-- OAuth: pending flows, and the secrets that the vault refreshes.

-- Only the browser and the client that started a flow have its state; this table has its hash. The PKCE verifier, which
-- the provider requires with the code, takes both the state and salt, so neither this table nor the browser has it.
CREATE TABLE oauth_flows (
    id           TEXT   PRIMARY KEY,
    tenant_id    TEXT   NOT NULL REFERENCES tenants (id),
    state_hash   TEXT   NOT NULL UNIQUE, -- SHA-256, hex; the state is 256 random bits
    salt         BLOB   NOT NULL,
    provider     TEXT   NOT NULL,
    redirect_uri TEXT   NOT NULL,
    asked        TEXT   NOT NULL, -- JSON: the secret and binding to create
    key_id       TEXT   NOT NULL REFERENCES api_keys (id), -- the key that started it
    status       TEXT   NOT NULL, -- pending, exchanging, completed, failed, denied
    error        TEXT   NOT NULL, -- an error code; of failed and denied
    secret_id    TEXT   NOT NULL, -- of completed
    created_at   BIGINT NOT NULL,
    expires_at   BIGINT NOT NULL,
    updated_at   BIGINT NOT NULL
);
CREATE INDEX oauth_flows_by_time ON oauth_flows (created_at);

CREATE TABLE oauth_grants (
    secret_id     TEXT   PRIMARY KEY REFERENCES secrets (id),
    tenant_id     TEXT   NOT NULL REFERENCES tenants (id),
    provider      TEXT   NOT NULL, -- empty: client credentials, described in the secret's metadata
    due_at        BIGINT,          -- when to refresh; NULL: never
    claimed_until BIGINT NOT NULL, -- a process refreshes it until then; 0: none
    claim         TEXT   NOT NULL, -- identifies that process
    failures      BIGINT NOT NULL, -- in a row
    unclear       BIGINT NOT NULL  -- requests with the current token whose result is unknown
);
CREATE INDEX oauth_grants_due ON oauth_grants (due_at);

-- Of OAuth: the provider, and its error code.
ALTER TABLE audit ADD COLUMN detail TEXT NOT NULL DEFAULT '';
