-- Outgoing requests: the policies and the allowlist that brokers apply, and the requests that they report as audit events.

CREATE TABLE network_policies (
    id             TEXT   PRIMARY KEY,
    tenant_id      TEXT   NOT NULL REFERENCES tenants (id),
    resource_type  TEXT   NOT NULL, -- empty, with resource_id: the tenant's default
    resource_id    TEXT   NOT NULL,
    name           TEXT   NOT NULL,
    description    TEXT   NOT NULL,
    mode           TEXT   NOT NULL, -- audit_only or enforce
    default_effect TEXT   NOT NULL, -- allow or deny
    created_at     BIGINT NOT NULL,
    updated_at     BIGINT NOT NULL,
    mac            BLOB   NOT NULL,
    UNIQUE (tenant_id, resource_type, resource_id)
);
CREATE INDEX network_policies_of_tenant ON network_policies (tenant_id, created_at, id);

CREATE TABLE allowlist (
    id            TEXT   PRIMARY KEY,
    tenant_id     TEXT   NOT NULL REFERENCES tenants (id),
    resource_type TEXT   NOT NULL, -- empty, with resource_id: all resources
    resource_id   TEXT   NOT NULL,
    policy_id     TEXT   NOT NULL, -- empty: whatever the policy
    host          TEXT   NOT NULL,
    effect        TEXT   NOT NULL, -- allow or deny
    methods       TEXT   NOT NULL, -- JSON list; empty: all
    path_glob     TEXT   NOT NULL, -- empty: all
    note          TEXT   NOT NULL,
    created_at    BIGINT NOT NULL,
    mac           BLOB   NOT NULL
);
CREATE INDEX allowlist_of_tenant ON allowlist (tenant_id, created_at, id);
CREATE INDEX allowlist_of_resource ON allowlist (tenant_id, resource_type, resource_id);

ALTER TABLE audit ADD COLUMN method TEXT NOT NULL DEFAULT '';
ALTER TABLE audit ADD COLUMN path TEXT NOT NULL DEFAULT '';
ALTER TABLE audit ADD COLUMN status_code BIGINT NOT NULL DEFAULT 0;
ALTER TABLE audit ADD COLUMN effect TEXT NOT NULL DEFAULT '';
ALTER TABLE audit ADD COLUMN policy_id TEXT NOT NULL DEFAULT '';
ALTER TABLE audit ADD COLUMN rule_id TEXT NOT NULL DEFAULT '';
ALTER TABLE audit ADD COLUMN occurred_at BIGINT; -- by the broker's clock

-- Retention keeps a part of its size for events that aren't outgoing requests. These are removed from the middle of the log, then.
ALTER TABLE audit_chains ADD COLUMN traffic_bytes BIGINT NOT NULL DEFAULT 0;   -- of bytes, those of outgoing requests
ALTER TABLE audit_chains ADD COLUMN traffic_removed BIGINT NOT NULL DEFAULT 0; -- events in gaps

CREATE TABLE audit_gaps (
    tenant_id    TEXT   NOT NULL REFERENCES tenants (id),
    first_number BIGINT NOT NULL, -- of the events that were removed
    last_number  BIGINT NOT NULL,
    hash         BLOB   NOT NULL, -- of the last one
    mac_key_id   BIGINT NOT NULL,
    mac          BLOB   NOT NULL, -- authenticates the columns above
    PRIMARY KEY (tenant_id, first_number)
);
CREATE INDEX audit_gaps_under_key ON audit_gaps (tenant_id, mac_key_id);
