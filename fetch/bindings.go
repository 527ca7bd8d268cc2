package fetch

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"slices"

	"github.com/Miosa-osa/miosa-env/api"
)

// BindingFilter narrows a list of bindings to exact matches; empty fields match all.
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

func (c *Client) bindings(ctx context.Context, f BindingFilter, once bool) ([]api.Binding, error) {
	all, err := everything(func(cursor string) ([]api.Binding, string, error) {
		k := call{method: http.MethodGet, path: "/egress/bindings", query: paged(f.query(), 0, cursor), once: once}
		got, err := do(ctx, c, k, pageOf[api.Binding]("bindings"))
		return got.items, got.next, err
	})
	if p, ok := errors.AsType[*Problem](err); ok && unknownCall(p) {
		said := *p
		said.Message = "the vault at " + c.host + " doesn't list bindings"
		said.Hint = "check MIOSA_BASE_URL: its host, and its path, which ends in /api/v1"
		return nil, &said
	}
	return slices.DeleteFunc(all, func(b api.Binding) bool { return !f.matches(&b) }), err
}

// unknownCall reports whether the vault doesn't have the call that err is about.
func unknownCall(err error) bool {
	return errors.Is(err, api.ErrNotFound) || errors.Is(err, api.ErrMethod)
}

// matches reports whether b is one that was asked for: a vault that doesn't know a filter lists everyone's.
func (f BindingFilter) matches(b *api.Binding) bool {
	return matches(f.Resource.ID, b.Resource.ID) && matches(f.Resource.Type, b.Resource.Type) && matches(f.SecretID, b.SecretID)
}

// matches reports whether a field that is filtered by wanted may be got: either may be left out.
func matches(wanted, got string) bool { return wanted == "" || got == "" || wanted == got }

// CreateBinding binds. The same binding again gives the one that stands, so it is retried like a read.
// Errors: api.ErrConflict where another secret has the name.
func (c *Client) CreateBinding(ctx context.Context, b api.NewBinding) (api.Binding, error) {
	k := call{method: http.MethodPost, path: "/egress/bindings", body: func() (content, error) { return asJSON(b) }}
	return do(ctx, c, k, one("binding", bindingID))
}

// DeleteBinding unbinds.
func (c *Client) DeleteBinding(ctx context.Context, id string) error {
	return c.remove(ctx, "/egress/bindings/", id)
}

// remove deletes what is under path. Where an answer got lost and the retry finds nothing, it is done.
func (c *Client) remove(ctx context.Context, path, id string) error {
	target, err := under(path, id)
	if err != nil {
		return err
	}
	_, err = do(ctx, c, call{method: http.MethodDelete, path: target}, nothing)
	return err
}

// under gives the path of one object. An id that would climb to another path is refused.
func under(path, id string) (string, error) {
	if id == "" || id == "." || id == ".." {
		return "", api.NewError(api.ErrInvalid, "an id is required")
	}
	return path + url.PathEscape(id), nil
}

// query makes a query of pairs, leaving out those with an empty value.
func query(pairs ...string) url.Values {
	q := url.Values{}
	for i := 0; i < len(pairs); i += 2 {
		if pairs[i+1] != "" {
			q.Set(pairs[i], pairs[i+1])
		}
	}
	return q
}
