-- How much each tenant stores, for its limits: counting rows for each change would take longer the more there are.
CREATE TABLE tenant_usage (
    tenant_id TEXT   PRIMARY KEY REFERENCES tenants (id),
    secrets   BIGINT NOT NULL,
    bindings  BIGINT NOT NULL,
    bytes     BIGINT NOT NULL -- of values, refresh tokens and metadata
);
INSERT INTO tenant_usage (tenant_id, secrets, bindings, bytes)
SELECT t.id,
    (SELECT COUNT(*) FROM secrets s WHERE s.tenant_id = t.id),
    (SELECT COUNT(*) FROM bindings b WHERE b.tenant_id = t.id),
    (SELECT COALESCE(SUM(OCTET_LENGTH(s.value) + COALESCE(OCTET_LENGTH(s.refresh_token), 0) + OCTET_LENGTH(s.metadata)), 0)
        FROM secrets s WHERE s.tenant_id = t.id)
FROM tenants t;

-- For counting keys that are neither revoked nor expired.
CREATE INDEX api_keys_unrevoked ON api_keys (tenant_id, expires_at) WHERE revoked_at IS NULL;
