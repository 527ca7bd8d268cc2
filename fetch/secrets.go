package fetch

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/Miosa-osa/miosa-env/api"
)

// SecretFilter narrows a list of secrets to exact matches; empty fields match all.
type SecretFilter struct {
	Resource            api.Resource
	Scope, Type         string
	WorkspaceID         string
	OwnerUserID         string
	ExternalUserID      string
	ExternalWorkspaceID string
}

func (f SecretFilter) query() url.Values {
	return query("resource_type", f.Resource.Type, "resource_id", f.Resource.ID, "scope", f.Scope, "type", f.Type,
		"workspace_id", f.WorkspaceID, "owner_user_id", f.OwnerUserID,
		"external_user_id", f.ExternalUserID, "external_workspace_id", f.ExternalWorkspaceID)
}

// matches reports whether s is one that was asked for, as BindingFilter's does.
func (f SecretFilter) matches(s *api.Secret) bool {
	for _, field := range []struct {
		wanted string
		got    *string
	}{
		{f.Resource.Type, s.ResourceType}, {f.Resource.ID, s.ResourceID}, {f.Scope, &s.Scope}, {f.Type, &s.Type},
		{f.WorkspaceID, s.WorkspaceID}, {f.OwnerUserID, s.OwnerUserID},
		{f.ExternalUserID, s.ExternalUserID}, {f.ExternalWorkspaceID, s.ExternalWorkspaceID},
	} {
		if field.got != nil && !matches(field.wanted, *field.got) {
			return false
		}
	}
	return true
}

// maxPage is the most that a vault gives in one answer of a list.
const maxPage = 1000

// Secrets lists all secrets that match, never their values. It asks for all at once, which every vault
// knows, and in parts where that is more than an answer may hold.
func (c *Client) Secrets(ctx context.Context, f SecretFilter) ([]api.Secret, error) {
	limit := 0
	return everything(func(cursor string) ([]api.Secret, string, error) {
		for {
			part, next, err := c.SecretPage(ctx, f, limit, cursor)
			if p, ok := errors.AsType[*Problem](err); !ok || p.Reason != TooLarge || limit == 1 {
				return part, next, err
			}
			limit = cmp.Or(limit/10, maxPage) // 1000, 100, 10, 1
		}
	})
}

// SecretPage lists at most limit secrets that match, from a cursor on; "" is the start. next is the
// cursor of the answer that follows, "" at the end. Zero is no limit.
func (c *Client) SecretPage(ctx context.Context, f SecretFilter, limit int, cursor string) (secrets []api.Secret, next string, err error) {
	k := call{method: http.MethodGet, path: "/egress/secrets", query: paged(f.query(), limit, cursor)}
	got, err := do(ctx, c, k, pageOf[api.Secret]("secrets"))
	return slices.DeleteFunc(got.items, func(s api.Secret) bool { return !f.matches(&s) }), got.next, err
}

// Secret gives one secret, never its value.
func (c *Client) Secret(ctx context.Context, id string) (api.Secret, error) {
	path, err := under("/egress/secrets/", id)
	if err != nil {
		return api.Secret{}, err
	}
	return do(ctx, c, call{method: http.MethodGet, path: path}, one("secret", secretID))
}

// secretBody is the body of a put. It holds values in the clear, and lives as long as one request.
type secretBody struct {
	*api.NewSecret
	Value        string `json:"value"`
	ResourceType string `json:"resource_type,omitempty"`
	ResourceID   string `json:"resource_id,omitempty"`
	RefreshToken string `json:"refresh_token,omitempty"`
}

// PutSecret creates a secret or replaces the one with the same name, scope, attribution and resource.
// The binding is nil unless one was asked for. It isn't retried once the vault may have seen it.
func (c *Client) PutSecret(ctx context.Context, s api.NewSecret) (api.Secret, *api.Binding, error) {
	if err := checkValues(s.Value, s.RefreshToken); err != nil {
		return api.Secret{}, nil, err
	}
	k := call{
		method: http.MethodPost, path: "/egress/secrets", unsafe: true, private: []api.Value{s.Value, s.RefreshToken},
		body: func() (content, error) {
			return asJSON(secretBody{&s, s.Value.Reveal(), s.Resource.Type, s.Resource.ID, s.RefreshToken.Reveal()})
		},
	}
	type answer struct {
		secret  api.Secret
		binding *api.Binding
	}
	got, err := do(ctx, c, k, func(body []byte) (answer, error) {
		secret, err := one("secret", secretID)(body)
		if err != nil {
			return answer{}, err
		}
		var beside struct {
			Binding *api.Binding `json:"binding"`
		}
		if err := json.Unmarshal(body, &beside); err != nil || beside.Binding != nil && beside.Binding.ID == "" {
			return answer{}, notContract(body)
		}
		return answer{secret, beside.Binding}, nil
	})
	return got.secret, got.binding, err
}

// Rotation is a secret's next value.
type Rotation struct {
	Value        api.Value
	RefreshToken api.Value  // empty: kept
	ExpiresAt    *time.Time // nil: kept if it is still to come, dropped if it has passed
	NeverExpires bool       // drops what was kept; not together with ExpiresAt
}

// rotationBody is the body of a rotation, which lives as long as a secretBody.
type rotationBody struct {
	Value        string          `json:"value"`
	RefreshToken string          `json:"refresh_token,omitempty"`
	ExpiresAt    json.RawMessage `json:"expires_at,omitempty"`
}

func (r Rotation) body() (content, error) {
	b := rotationBody{Value: r.Value.Reveal(), RefreshToken: r.RefreshToken.Reveal()}
	switch {
	case r.NeverExpires:
		b.ExpiresAt = json.RawMessage("null")
	case r.ExpiresAt != nil:
		at, err := r.ExpiresAt.MarshalJSON()
		if err != nil {
			return content{}, api.NewError(api.ErrInvalid, "expires_at has no form in RFC 3339")
		}
		b.ExpiresAt = at
	}
	return asJSON(b)
}

// RotateSecret gives a secret its next value; its version rises by one. It isn't retried once the
// vault may have seen it.
func (c *Client) RotateSecret(ctx context.Context, id string, r Rotation) (api.Secret, error) {
	path, err := under("/egress/secrets/", id)
	if err != nil {
		return api.Secret{}, err
	}
	if err := checkValues(r.Value, r.RefreshToken); err != nil {
		return api.Secret{}, err
	}
	if r.NeverExpires && r.ExpiresAt != nil {
		return api.Secret{}, api.NewError(api.ErrInvalid, "a secret that never expires has no expires_at")
	}
	k := call{
		method: http.MethodPatch, path: path, unsafe: true, private: []api.Value{r.Value, r.RefreshToken},
		body: r.body,
	}
	return do(ctx, c, k, one("secret", secretID))
}

// DeleteSecret deletes a secret, and its bindings with it.
func (c *Client) DeleteSecret(ctx context.Context, id string) error {
	return c.remove(ctx, "/egress/secrets/", id)
}

// checkValues refuses what can't come back byte for byte, before it leaves the machine: JSON would
// replace broken UTF-8 in silence.
func checkValues(value, refreshToken api.Value) error {
	for _, v := range []struct {
		name string
		api.Value
	}{{"value", value}, {"refresh_token", refreshToken}} {
		switch text := v.Reveal(); {
		case len(text) > api.MaxValueBytes:
			return api.NewError(api.ErrInvalid, v.name+" is longer than "+strconv.Itoa(api.MaxValueBytes)+" bytes")
		case strings.IndexByte(text, 0) >= 0:
			return api.NewError(api.ErrInvalid, v.name+" holds a NUL byte")
		case !utf8.ValidString(text):
			return api.NewError(api.ErrInvalid, v.name+" isn't UTF-8 text")
		}
	}
	return nil
}
