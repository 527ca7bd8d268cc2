-- Where a broker may send a secret's value: an api.EgressRule in JSON; empty: nowhere. That of a binding narrows its secret's. Of an
-- old row the column is empty, and then the mac doesn't cover it.
ALTER TABLE secrets ADD COLUMN egress TEXT NOT NULL DEFAULT '';
ALTER TABLE bindings ADD COLUMN egress TEXT NOT NULL DEFAULT '';

-- 1: a broker key, of the resources in its column. 0: a tenant key or a resource key; then the mac doesn't cover the column.
ALTER TABLE api_keys ADD COLUMN broker BIGINT NOT NULL DEFAULT 0;
