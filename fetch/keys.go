package fetch

import (
	"context"
	"net/http"
	"time"

	"github.com/Miosa-osa/miosa-env/api"
)

// ResourceKeys lists the keys of a resource, or of all the tenant's with the zero Resource. It includes revoked keys. No
// entry contains the key itself.
func (c *Client) ResourceKeys(ctx context.Context, r api.Resource) ([]api.IssuedKey, error) {
	q := query("resource_type", r.Type, "resource_id", r.ID)
	all, err := do(ctx, c, call{method: http.MethodGet, path: "/egress/resource-keys", query: q}, list[api.IssuedKey]("resource_keys"))
	return all, c.keyless(err)
}

// keyless explains the error of a vault that doesn't have the calls for keys.
func (c *Client) keyless(err error) error {
	if !unknownCall(err) {
		return err
	}
	return reworded(err, "the vault at "+c.host+" has no resource keys",
		"MIOSA's platform gives each sandbox and computer its key itself; if another vault is meant, check MIOSA_BASE_URL")
}

// CreateResourceKey creates a key for one resource, which expires at expires, or never if that is nil. Only this result
// contains the key. The call isn't retried after the vault may have received it.
func (c *Client) CreateResourceKey(ctx context.Context, r api.Resource, expires *time.Time) (api.IssuedKey, error) {
	type request struct {
		api.Resource
		ExpiresAt *time.Time `json:"expires_at,omitempty"`
	}
	k := call{method: http.MethodPost, path: "/egress/resource-keys", unsafe: true, json: request{r, expires}}
	key, err := do(ctx, c, k, one[api.IssuedKey]("resource_key"))
	return key, c.keyless(err)
}

// RevokeResourceKey revokes a key. Reveals that are waiting with it end at once.
func (c *Client) RevokeResourceKey(ctx context.Context, id string) error {
	return c.remove(ctx, "/egress/resource-keys/", id)
}
