-- Every row that grants authority has a mac: an AEAD ciphertext of nothing, whose associated data is the row, under the
-- tenant's keyset. So who can write to the database but has no root key can't add or change such a row. The store
-- computes the mac of rows from before this migration when it is opened next.

ALTER TABLE tenants ADD COLUMN mac BLOB NOT NULL DEFAULT '';
ALTER TABLE api_keys ADD COLUMN mac BLOB NOT NULL DEFAULT '';
ALTER TABLE secrets ADD COLUMN mac BLOB NOT NULL DEFAULT '';
ALTER TABLE bindings ADD COLUMN mac BLOB NOT NULL DEFAULT '';
ALTER TABLE oauth_flows ADD COLUMN mac BLOB NOT NULL DEFAULT '';
ALTER TABLE oauth_grants ADD COLUMN mac BLOB NOT NULL DEFAULT '';

-- Incremented when a set of the tenant changes, in the same transaction.
ALTER TABLE tenants ADD COLUMN revision BIGINT NOT NULL DEFAULT 0;
