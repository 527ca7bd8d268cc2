-- Keys that have ended are deleted after a while, the oldest first, with the flows that they have started.
CREATE INDEX api_keys_by_end ON api_keys (tenant_id, (COALESCE(revoked_at, expires_at)), id);
CREATE INDEX oauth_flows_of_key ON oauth_flows (key_id);
