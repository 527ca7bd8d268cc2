package fetch

import (
	"context"
	"encoding/json"
	"errors"
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

// Keys is ResourceKeys for the tenant's keys of both kinds. A vault that lists only resource keys returns those.
func (c *Client) Keys(ctx context.Context, r api.Resource) ([]api.IssuedKey, error) {
	q := query("resource_type", r.Type, "resource_id", r.ID)
	all, err := do(ctx, c, call{method: http.MethodGet, path: "/egress/keys", query: q}, list[api.IssuedKey]("keys"))
	if unknownCall(err) {
		return c.ResourceKeys(ctx, r)
	}
	return all, err
}

// OwnKey describes the client's key.
func (c *Client) OwnKey(ctx context.Context) (api.OwnKey, error) {
	own, err := do(ctx, c, call{method: http.MethodGet, path: "/egress/keys/self"}, one[api.OwnKey]("key"))
	if unknownCall(err) {
		err = reworded(err, "the vault at "+c.host+" doesn't describe the key of a request", "upgrade the vault")
	}
	return own, err
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
	return c.issueKey(ctx, "/egress/resource-keys", api.KeyRequest{Resource: r, ExpiresAt: expires})
}

// IssueKey creates a resource key, or with the zero Resource a tenant key. Otherwise it is like CreateResourceKey.
func (c *Client) IssueKey(ctx context.Context, n api.KeyRequest) (api.IssuedKey, error) {
	if n.Resource == (api.Resource{}) {
		key, err := c.issueKey(ctx, "/egress/keys", n)
		if err == nil && n.Broker && !key.Broker { // the vault has made a tenant key
			_, err = c.RevokeKey(ctx, key.ID, api.ChildrenRevoke)
			return api.IssuedKey{}, errors.Join(&Problem{Message: "the vault at " + c.host + " has no broker keys", Fix: "upgrade the vault"}, err)
		}
		return key, err
	}
	return c.issueKey(ctx, "/egress/resource-keys", n)
}

func (c *Client) issueKey(ctx context.Context, path string, n api.KeyRequest) (api.IssuedKey, error) {
	key, err := do(ctx, c, call{method: http.MethodPost, path: path, unsafe: true, json: n}, one[api.IssuedKey]("resource_key"))
	return key, c.keyless(err)
}

// ReplaceKey creates the successor of a key, which takes over the keys that the old one has created. The old one ends
// after grace. expires nil: as long after now as the old one's was after its creation; the zero time: never. It isn't
// retried either. Errors: api.ErrConflict for a key that is revoked or has a successor.
func (c *Client) ReplaceKey(ctx context.Context, id string, grace time.Duration, expires *time.Time) (api.IssuedKey, error) {
	type request struct {
		GraceSeconds int64       `json:"grace_seconds"`
		ExpiresAt    **time.Time `json:"expires_at,omitempty"`
	}
	at := orNull(expires, expires != nil && expires.IsZero())
	k := call{method: http.MethodPost, path: object("/egress/keys/", id), unsafe: true, json: request{int64((grace + time.Second - 1) / time.Second), at}}
	if k.path != "" {
		k.path += "/replace"
	}
	return do(ctx, c, k, one[api.IssuedKey]("key"))
}

// orNull returns an optional time for a body with omitempty, or null.
func orNull(t *time.Time, null bool) **time.Time {
	switch {
	case null:
		return new(*time.Time)
	case t != nil:
		return &t
	}
	return nil
}

// RevokeKey revokes a key of either kind. children is api.ChildrenRevoke or api.ChildrenKeep, or "" for a key that has
// created no keys that are valid. Errors: api.ErrConflict if it has.
func (c *Client) RevokeKey(ctx context.Context, id, children string) (api.RevokedKeys, error) {
	return do(ctx, c, call{method: http.MethodDelete, path: object("/egress/keys/", id), query: query("children", children)}, revokedKeys)
}

// RevokeKeysBefore revokes the keys that were created before a time, except the client's own.
func (c *Client) RevokeKeysBefore(ctx context.Context, before time.Time) (api.RevokedKeys, error) {
	q := query("issued_before", before.UTC().Format(time.RFC3339Nano))
	return do(ctx, c, call{method: http.MethodDelete, path: "/egress/keys", query: q}, revokedKeys)
}

func revokedKeys(body []byte) (revoked api.RevokedKeys, err error) {
	if json.Unmarshal(body, &revoked) != nil || !revoked.OK {
		return api.RevokedKeys{}, notContract(body)
	}
	return revoked, nil
}

// RevokeResourceKey revokes a key. Reveals that are waiting with it end at once.
func (c *Client) RevokeResourceKey(ctx context.Context, id string) error {
	return c.remove(ctx, "/egress/resource-keys/", id)
}
