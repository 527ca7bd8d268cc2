package secrets

import (
	"context"
	"time"
)

// CreateKey mints a key that lists and reads what is bound to one resource, and nothing else: give it
// to miosa-env there. expiresAt nil is never. The answer's Key is shown this once.
func (c *Client) CreateKey(ctx context.Context, r Resource, expiresAt *time.Time) (ResourceKey, error) {
	return c.vault.CreateResourceKey(ctx, r, expiresAt)
}

// ListKeys gives the keys of a resource, or with the zero Resource all the tenant's: revoked ones too,
// and none with the key itself.
func (c *Client) ListKeys(ctx context.Context, r Resource) ([]ResourceKey, error) {
	return c.vault.ResourceKeys(ctx, r)
}

// RevokeKey revokes a key by its id: who uses it is refused at once. Errors: api.ErrNotFound.
func (c *Client) RevokeKey(ctx context.Context, id string) error {
	return c.vault.RevokeResourceKey(ctx, id)
}
