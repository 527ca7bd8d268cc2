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
