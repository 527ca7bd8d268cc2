package fetch

import (
	"context"
	"net/http"
	"time"

	"github.com/Miosa-osa/miosa-env/api"
)

// Policies lists the network policies of the tenant, oldest first.
func (c *Client) Policies(ctx context.Context) ([]api.Policy, error) {
	all, err := do(ctx, c, call{method: http.MethodGet, path: "/egress/policies"}, list[api.Policy]("policies"))
	return all, c.policyless(err)
}

// SetPolicy changes the policy of a resource, or with the zero Resource the tenant's default. If there is none, it creates one.
func (c *Client) SetPolicy(ctx context.Context, p api.PolicyRequest) (api.Policy, error) {
	set, err := do(ctx, c, call{method: http.MethodPatch, path: "/egress/policies", json: p}, one[api.Policy]("policy"))
	return set, c.policyless(err)
}

// DeletePolicy deletes a policy, and the entries that are for it only.
func (c *Client) DeletePolicy(ctx context.Context, id string) error {
	return c.remove(ctx, "/egress/policies/", id)
}

// Allowlist lists the entries of the tenant's allowlist, oldest first.
func (c *Client) Allowlist(ctx context.Context) ([]api.AllowlistEntry, error) {
	all, err := do(ctx, c, call{method: http.MethodGet, path: "/egress/allowlist"}, list[api.AllowlistEntry]("rules"))
	return all, c.policyless(err)
}

// AddEntry adds an entry to the allowlist. If there is the same one, it returns that, so the call is retried.
func (c *Client) AddEntry(ctx context.Context, e api.NewAllowlistEntry) (api.AllowlistEntry, error) {
	added, err := do(ctx, c, call{method: http.MethodPost, path: "/egress/allowlist", json: e}, one[api.AllowlistEntry]("rule"))
	return added, c.policyless(err)
}

// DeleteEntry deletes an entry of the allowlist.
func (c *Client) DeleteEntry(ctx context.Context, id string) error {
	return c.remove(ctx, "/egress/allowlist/", id)
}

// Suggestions lists the hosts of pending and denied requests that no entry names. With the zero Resource, it is about all resources.
// since is when the first requests were sent; nil: 7 days ago.
func (c *Client) Suggestions(ctx context.Context, r api.Resource, since *time.Time) ([]api.Suggestion, error) {
	q := query("resource_type", r.Type, "resource_id", r.ID, "since", moment(since))
	all, err := do(ctx, c, call{method: http.MethodGet, path: "/egress/audit/suggestions", query: q}, list[api.Suggestion]("suggestions"))
	return all, c.policyless(err)
}

// policyless explains the error of a vault that doesn't have the calls for network policies.
func (c *Client) policyless(err error) error {
	if !unknownCall(err) {
		return err
	}
	return reworded(err, "the vault at "+c.host+" has no network policies", "upgrade the vault; if another one is meant, check MIOSA_BASE_URL")
}
