package secrets

import (
	"context"
	"time"
)

// CreateKey creates a key for miosa-env, which can only list and reveal the bindings of one resource. expiresAt nil:
// never. Only this call returns the key itself.
func (c *Client) CreateKey(ctx context.Context, r Resource, expiresAt *time.Time) (ResourceKey, error) {
	return c.vault.CreateResourceKey(ctx, r, expiresAt)
}

// ListKeys returns the keys of a resource, or with the zero Resource all resource keys of the tenant, including revoked
// ones.
func (c *Client) ListKeys(ctx context.Context, r Resource) ([]ResourceKey, error) {
	return c.vault.ResourceKeys(ctx, r)
}

// RevokeKey revokes a key by its id. The vault refuses it from then on. Errors: api.ErrNotFound.
func (c *Client) RevokeKey(ctx context.Context, id string) error {
	return c.vault.RevokeResourceKey(ctx, id)
}

// Keys returns the tenant's keys of both kinds, oldest first, including revoked ones. A restricted key gets itself and
// those under it.
func (c *Client) Keys(ctx context.Context, r Resource) ([]IssuedKey, error) {
	return c.vault.Keys(ctx, r)
}

// OwnKey describes the client's key: its label, its tenant, and what it may do.
func (c *Client) OwnKey(ctx context.Context) (OwnKey, error) {
	return c.vault.OwnKey(ctx)
}

// IssueKey creates a resource key, or with the zero Resource a tenant key, which may be restricted. Only this call
// returns the key itself.
func (c *Client) IssueKey(ctx context.Context, n KeyRequest) (IssuedKey, error) {
	return c.vault.IssueKey(ctx, n)
}

// ReplaceKey creates the successor of a key: the same, except for the key itself, which ends after grace. It takes over
// the keys that the old one has created, so a planned rotation of a key stops no machine. expiresAt nil: as far away as the
// old key's was at first; the zero time: never. Errors: api.ErrConflict for a key that is revoked or was replaced already.
func (c *Client) ReplaceKey(ctx context.Context, id string, grace time.Duration, expiresAt *time.Time) (IssuedKey, error) {
	return c.vault.ReplaceKey(ctx, id, grace, expiresAt)
}

// RevokeKeyTree revokes a key of either kind. children is "revoke" to revoke the keys that it has created too, "keep" to
// keep them, or "" if there must be none. Errors: api.ErrNotFound; api.ErrConflict if there are.
func (c *Client) RevokeKeyTree(ctx context.Context, id, children string) (RevokedKeys, error) {
	return c.vault.RevokeKey(ctx, id, children)
}

// RevokeKeysBefore revokes the tenant's keys that were created before a time, except the client's own.
func (c *Client) RevokeKeysBefore(ctx context.Context, before time.Time) (RevokedKeys, error) {
	return c.vault.RevokeKeysBefore(ctx, before)
}
