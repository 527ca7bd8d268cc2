-- The bindings of a secret are listed by resource and variable name, in the order of this index. secret_id is first since the
-- deletion of a secret looks for its bindings.
DROP INDEX bindings_of_secret;
CREATE INDEX bindings_of_secret ON bindings (secret_id, tenant_id, resource_type, resource_id, env_name);
