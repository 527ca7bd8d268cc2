-- The audit log of a tenant is a hash chain: every event has its number in the chain, and a hash of its content and of the
-- event before it. The store chains events from before this migration when it is opened next.

ALTER TABLE audit ADD COLUMN number BIGINT NOT NULL DEFAULT 0;  -- from 1; 0: not chained yet
ALTER TABLE audit ADD COLUMN hash BLOB NOT NULL DEFAULT '';     -- SHA-256
ALTER TABLE audit ADD COLUMN repeats BIGINT NOT NULL DEFAULT 0; -- 1: it has a row in audit_repeats
ALTER TABLE audit ADD COLUMN host TEXT NOT NULL DEFAULT '';     -- of outgoing requests
ALTER TABLE audit ADD COLUMN external_user_id TEXT NOT NULL DEFAULT '';
ALTER TABLE audit ADD COLUMN external_workspace_id TEXT NOT NULL DEFAULT '';

-- The state of each tenant's chain. Without the mac, who can write to the database could cut the end of the chain.
CREATE TABLE audit_chains (
    tenant_id     TEXT   PRIMARY KEY REFERENCES tenants (id),
    number        BIGINT NOT NULL, -- of the newest event; 0: there was none yet
    hash          BLOB   NOT NULL, -- of the newest event
    event_id      TEXT   NOT NULL, -- of the newest event
    pruned_number BIGINT NOT NULL, -- of the newest event that was removed by retention; 0: none was
    pruned_hash   BLOB   NOT NULL, -- of that event
    bytes         BIGINT NOT NULL, -- approximate size of the tenant's events
    mac_key_id    BIGINT NOT NULL, -- the key of the tenant's keyset that made the mac
    mac           BLOB   NOT NULL  -- authenticates the columns above
);

-- How often an event has happened again. The event is immutable, so this isn't in the chain.
CREATE TABLE audit_repeats (
    tenant_id  TEXT   NOT NULL REFERENCES tenants (id),
    number     BIGINT NOT NULL, -- of the event
    key_id     TEXT   NOT NULL, -- of the event
    subject    BLOB   NOT NULL, -- SHA-256 of what repetitions have in common
    started_at BIGINT NOT NULL, -- the time of the event
    last_at    BIGINT NOT NULL,
    count      BIGINT NOT NULL,
    mac_key_id BIGINT NOT NULL,
    mac        BLOB   NOT NULL, -- authenticates the columns above
    PRIMARY KEY (tenant_id, number)
);
CREATE INDEX audit_repeats_of_key ON audit_repeats (tenant_id, key_id, started_at);
CREATE INDEX audit_repeats_under_key ON audit_repeats (tenant_id, mac_key_id);

-- The secrets of each event: the one that it is about, and those that a reveal gave. It is an index, so it has no mac.
CREATE TABLE audit_secrets (
    tenant_id TEXT   NOT NULL,
    secret_id TEXT   NOT NULL,
    at        BIGINT NOT NULL,
    seq       BIGINT NOT NULL, -- of the row of audit
    PRIMARY KEY (tenant_id, secret_id, at, seq)
) WITHOUT ROWID;

-- Lists are in the order of at and seq, for each of their filters.
DROP INDEX audit_of_resource;
CREATE INDEX audit_by_time ON audit (tenant_id, at, seq);
CREATE INDEX audit_of_resource ON audit (tenant_id, resource_id, at, seq) WHERE resource_id <> '';
CREATE INDEX audit_of_action ON audit (tenant_id, action, at, seq);
CREATE INDEX audit_of_key ON audit (tenant_id, key_id, at, seq);
CREATE INDEX audit_of_host ON audit (tenant_id, host, at, seq) WHERE host <> '';
CREATE INDEX audit_of_user ON audit (tenant_id, external_user_id, at, seq) WHERE external_user_id <> '';
CREATE INDEX audit_of_workspace ON audit (tenant_id, external_workspace_id, at, seq) WHERE external_workspace_id <> '';
