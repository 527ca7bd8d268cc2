package secrets

import (
	"context"
	"time"

	"github.com/Miosa-osa/miosa-env/api"
)

// Policies returns the network policies of the tenant, oldest first: which hosts brokers send the requests of resources to. The one without
// a resource is the tenant's default, for resources without a policy of their own. If nobody has set it, it is
// api.DefaultPolicy.
func (c *Client) Policies(ctx context.Context) ([]api.Policy, error) {
	return c.vault.Policies(ctx)
}

// SetPolicy changes the fields of a policy that aren't nil: that of a resource, or with the zero Resource the tenant's default. If there is
// none, it creates one, with the mode and default effect that applied so far. Errors: api.ErrInvalid.
func (c *Client) SetPolicy(ctx context.Context, p api.PolicyRequest) (api.Policy, error) {
	return c.vault.SetPolicy(ctx, p)
}

// DeletePolicy deletes a policy, and the entries of the allowlist that are for it only. Errors: api.ErrNotFound.
func (c *Client) DeletePolicy(ctx context.Context, id string) error {
	return c.vault.DeletePolicy(ctx, id)
}

// Allowlist returns the tenant's allowlist, oldest entries first.
func (c *Client) Allowlist(ctx context.Context) ([]api.AllowlistEntry, error) {
	return c.vault.Allowlist(ctx)
}

// AddEntry allows or denies a host. If there is the same entry, it is returned. Errors: api.ErrInvalid.
func (c *Client) AddEntry(ctx context.Context, e api.NewAllowlistEntry) (api.AllowlistEntry, error) {
	return c.vault.AddEntry(ctx, e)
}

// DeleteEntry deletes an entry of the allowlist. Errors: api.ErrNotFound.
func (c *Client) DeleteEntry(ctx context.Context, id string) error {
	return c.vault.DeleteEntry(ctx, id)
}

// Suggestions returns the hosts of pending and denied requests that no entry of the allowlist names, those with the most requests first: of a
// resource, or with the zero Resource of all. since is when the first requests were sent; nil: 7 days ago.
func (c *Client) Suggestions(ctx context.Context, r Resource, since *time.Time) ([]api.Suggestion, error) {
	return c.vault.Suggestions(ctx, r, since)
}
