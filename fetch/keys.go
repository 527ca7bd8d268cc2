package fetch

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/Miosa-osa/miosa-env/api"
)

// ResourceKeys lists the keys of a resource, or with the zero Resource the tenant's: revoked ones too,
// and none with the key itself.
func (c *Client) ResourceKeys(ctx context.Context, r api.Resource) ([]api.ResourceKey, error) {
	q := query("resource_type", r.Type, "resource_id", r.ID)
	all, err := do(ctx, c, call{method: http.MethodGet, path: "/egress/resource-keys", query: q}, list[api.ResourceKey]("resource_keys"))
	return all, c.keyless(err)
}

// keyless says of a vault that doesn't know the calls about keys what that means.
func (c *Client) keyless(err error) error {
	p, ok := errors.AsType[*Problem](err)
	if !ok || !errors.Is(err, api.ErrNotFound) && !errors.Is(err, api.ErrMethod) {
		return err
	}
	said := *p
	said.Message = "the vault at " + c.host + " has no resource keys"
	said.Hint = "MIOSA's platform gives each sandbox and computer its key itself; if another vault is meant, check MIOSA_BASE_URL"
	return &said
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
	key, err := do(ctx, c, k, one("resource_key", keyID))
	return key, c.keyless(err)
}

// RevokeResourceKey revokes a key; reveals that wait under it end at once.
func (c *Client) RevokeResourceKey(ctx context.Context, id string) error {
	return c.remove(ctx, "/egress/resource-keys/", id)
}
