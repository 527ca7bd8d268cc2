package fetch

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"slices"

	"github.com/Miosa-osa/miosa-env/api"
)

// BindingFilter selects bindings by exact matches. Empty fields match all.
type BindingFilter struct {
	Resource api.Resource
	SecretID string
}

func (f BindingFilter) query() url.Values {
	return query("resource_type", f.Resource.Type, "resource_id", f.Resource.ID, "secret_id", f.SecretID)
}

// Bindings lists bindings, in the vault's order.
func (c *Client) Bindings(ctx context.Context, f BindingFilter) ([]api.Binding, error) {
	return c.bindings(ctx, f, false)
}

// bindings lists bindings; with once it sends each request only once.
func (c *Client) bindings(ctx context.Context, f BindingFilter, once bool) ([]api.Binding, error) {
	all, err := everything(func(cursor string) ([]api.Binding, string, error) {
		k := call{method: http.MethodGet, path: "/egress/bindings", query: paged(f.query(), 0, cursor), once: once}
		return getPage[api.Binding](ctx, c, k, "bindings")
	})
	if unknownCall(err) {
		err = reworded(err, "the vault at "+c.host+" doesn't list bindings", "check MIOSA_BASE_URL: its host, and its path, which ends in /api/v1")
	}
	return slices.DeleteFunc(all, func(b api.Binding) bool { return !f.matches(&b) }), err
}

// unknownCall reports whether err says that the vault doesn't have the call.
func unknownCall(err error) bool {
	return errors.Is(err, api.ErrNotFound) || errors.Is(err, api.ErrMethod)
}

// matches reports whether the filter selects b. A vault that doesn't support a filter lists all bindings.
func (f BindingFilter) matches(b *api.Binding) bool {
	return matches(f.Resource.ID, b.Resource.ID) && matches(f.Resource.Type, b.Resource.Type) && matches(f.SecretID, b.SecretID)
}

// matches reports whether a field's value matches a filter's. Either may be missing.
func matches(wanted, got string) bool { return wanted == "" || got == "" || wanted == got }

// CreateBinding binds a secret. If the binding exists, it returns that, so the call is retried.
// Errors: api.ErrConflict if the name is bound to another secret.
func (c *Client) CreateBinding(ctx context.Context, b api.NewBinding) (api.Binding, error) {
	k := call{method: http.MethodPost, path: "/egress/bindings", json: b}
	return do(ctx, c, k, one[api.Binding]("binding"))
}

// SetBindingEgress changes the rule of a binding, which narrows its secret's; the zero rule: none.
func (c *Client) SetBindingEgress(ctx context.Context, id string, rule api.EgressRule) (api.Binding, error) {
	k := call{method: http.MethodPatch, path: object("/egress/bindings/", id), json: egressBody{rule}}
	return do(ctx, c, k, one[api.Binding]("binding"))
}

// egressBody is the body of a call that changes a rule.
type egressBody struct {
	Egress api.EgressRule `json:"egress"`
}

// DeleteBinding deletes a binding.
func (c *Client) DeleteBinding(ctx context.Context, id string) error {
	return c.remove(ctx, "/egress/bindings/", id)
}

// remove deletes an object. If a retry doesn't find it, an earlier attempt has deleted it.
func (c *Client) remove(ctx context.Context, path, id string) error {
	_, err := do(ctx, c, call{method: http.MethodDelete, path: object(path, id)}, nothing)
	return err
}

// object returns the path of one object. It returns "", which do rejects, if the id is missing or would name another path.
func object(path, id string) string {
	if id == "" || id == "." || id == ".." {
		return ""
	}
	return path + url.PathEscape(id)
}

// query returns a query of the pairs whose value isn't empty.
func query(pairs ...string) url.Values {
	q := url.Values{}
	for i := 0; i < len(pairs); i += 2 {
		if pairs[i+1] != "" {
			q.Set(pairs[i], pairs[i+1])
		}
	}
	return q
}
