-- OAuth: the flows of a tenant are counted, and the oldest deleted.
CREATE INDEX oauth_flows_of_tenant ON oauth_flows (tenant_id, created_at);
