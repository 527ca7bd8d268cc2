package fetch

import (
	"context"
	"net/http"
	"time"

	"github.com/Miosa-osa/miosa-env/api"
)

// ResourceKeys lists the keys of a resource, or with the zero Resource the tenant's: revoked ones too,
// and none with the key itself.
func (c *Client) ResourceKeys(ctx context.Context, r api.Resource) ([]api.ResourceKey, error) {
	q := query("resource_type", r.Type, "resource_id", r.ID)
	return do(ctx, c, call{method: http.MethodGet, path: "/egress/resource-keys", query: q}, list[api.ResourceKey]("resource_keys"))
}

// CreateResourceKey mints a key for one resource. The key is in this answer and nowhere after it.
// expires nil: never. It isn't retried once the vault may have seen it.
func (c *Client) CreateResourceKey(ctx context.Context, r api.Resource, expires *time.Time) (api.ResourceKey, error) {
	type request struct {
		api.Resource
		ExpiresAt *time.Time `json:"expires_at,omitempty"`
	}
	k := call{
		method: http.MethodPost, path: "/egress/resource-keys", unsafe: true,
		body: func() (content, error) { return asJSON(request{r, expires}) },
	}
	return do(ctx, c, k, one("resource_key", keyID))
}

// RevokeResourceKey revokes a key; reveals that wait under it end at once.
func (c *Client) RevokeResourceKey(ctx context.Context, id string) error {
	return c.remove(ctx, "/egress/resource-keys/", id)
}
