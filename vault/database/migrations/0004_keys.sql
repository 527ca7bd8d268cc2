-- Keys form a tree, have labels, and may be restricted.

ALTER TABLE api_keys ADD COLUMN label TEXT NOT NULL DEFAULT '';

-- The key that created this one; empty: the operator, or a key from before this column.
ALTER TABLE api_keys ADD COLUMN parent_id TEXT NOT NULL DEFAULT '';
CREATE INDEX api_keys_of_parent ON api_keys (parent_id);

-- JSON lists; empty: no restriction.
ALTER TABLE api_keys ADD COLUMN permissions TEXT NOT NULL DEFAULT '';
ALTER TABLE api_keys ADD COLUMN scopes TEXT NOT NULL DEFAULT '';
ALTER TABLE api_keys ADD COLUMN resources TEXT NOT NULL DEFAULT ''; -- such as sandbox:sb_1

-- Written about once a minute. It grants nothing.
ALTER TABLE api_keys ADD COLUMN last_used_at BIGINT;
