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

// SecretFilter selects secrets by exact matches. Empty fields match all.
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

// Matches reports whether the filter selects s. A field of s that is empty or nil matches everything.
func (f SecretFilter) Matches(s *api.Secret) bool {
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

// maxPage is the largest number of items that a vault returns in one response.
const maxPage = 1000

// Secrets lists all secrets that match, without their values. It requests all at once, which every vault supports, and in
// parts if the response would be too large.
func (c *Client) Secrets(ctx context.Context, f SecretFilter) ([]api.Secret, error) {
	limit := 0
	return everything(func(cursor string) ([]api.Secret, string, error) {
		for {
			part, next, err := c.secretPage(ctx, f, limit, cursor)
			if p, ok := errors.AsType[*Problem](err); !ok || p.Reason != reasonTooLarge || limit == 1 {
				return part, next, err
			}
			limit = cmp.Or(limit/10, maxPage) // 1000, 100, 10, 1
		}
	})
}

// secretPage lists at most limit secrets that match, or all if limit is 0, starting at a cursor; "" is the start. next is
// the next cursor, "" at the end.
func (c *Client) secretPage(ctx context.Context, f SecretFilter, limit int, cursor string) (secrets []api.Secret, next string, err error) {
	k := call{method: http.MethodGet, path: "/egress/secrets", query: paged(f.query(), limit, cursor)}
	secrets, next, err = getPage[api.Secret](ctx, c, k, "secrets")
	return slices.DeleteFunc(secrets, func(s api.Secret) bool { return !f.Matches(&s) }), next, err
}

// Secret returns one secret, without its value.
func (c *Client) Secret(ctx context.Context, id string) (api.Secret, error) {
	return do(ctx, c, call{method: http.MethodGet, path: object("/egress/secrets/", id)}, one[api.Secret]("secret"))
}

// secretBody is the body of PutSecret's request. It contains plaintext values.
type secretBody struct {
	*api.NewSecret
	Value        string `json:"value"`
	ResourceType string `json:"resource_type,omitempty"`
	ResourceID   string `json:"resource_id,omitempty"`
	RefreshToken string `json:"refresh_token,omitempty"`
}

// PutSecret creates a secret, or replaces the one with the same name, scope, attribution and resource. The binding is nil
// unless one was requested. The call isn't retried after the vault may have received it.
func (c *Client) PutSecret(ctx context.Context, s api.NewSecret) (api.Secret, *api.Binding, error) {
	if err := checkValues(s.Value, s.RefreshToken); err != nil {
		return api.Secret{}, nil, err
	}
	k := call{
		method: http.MethodPost, path: "/egress/secrets", unsafe: true, private: []api.Value{s.Value, s.RefreshToken},
		json: secretBody{&s, s.Value.Reveal(), s.Resource.Type, s.Resource.ID, s.RefreshToken.Reveal()},
	}
	var beside struct {
		Binding *api.Binding `json:"binding"`
	}
	secret, err := do(ctx, c, k, func(body []byte) (api.Secret, error) {
		secret, err := one[api.Secret]("secret")(body)
		if err == nil && (json.Unmarshal(body, &beside) != nil || beside.Binding != nil && beside.Binding.ID == "") {
			beside.Binding, err = nil, notContract(body)
		}
		return secret, err
	})
	return secret, beside.Binding, err
}

// Rotation is the new value of a secret.
type Rotation struct {
	Value        api.Value
	RefreshToken api.Value  // empty: keep the old one
	ExpiresAt    *time.Time // nil: keep the old one unless it has passed
	NeverExpires bool       // remove the expiry; not together with ExpiresAt

	Egress *api.EgressRule // nil: keep the old rule; zero: remove it
}

// rotationBody is the body of RotateSecret's request. It contains plaintext values.
type rotationBody struct {
	Value        string          `json:"value"`
	RefreshToken string          `json:"refresh_token,omitempty"`
	ExpiresAt    **time.Time     `json:"expires_at,omitempty"`
	Egress       *api.EgressRule `json:"egress,omitempty"`
}

// RotateSecret stores a new value of a secret and increments its version. The call isn't retried after the vault may have
// received it.
func (c *Client) RotateSecret(ctx context.Context, id string, r Rotation) (api.Secret, error) {
	if err := checkValues(r.Value, r.RefreshToken); err != nil {
		return api.Secret{}, err
	}
	if r.NeverExpires && r.ExpiresAt != nil {
		return api.Secret{}, api.NewError(api.ErrInvalid, "a secret that never expires has no expires_at")
	}
	k := call{
		method: http.MethodPatch, path: object("/egress/secrets/", id), unsafe: true, private: []api.Value{r.Value, r.RefreshToken},
		json: rotationBody{r.Value.Reveal(), r.RefreshToken.Reveal(), orNull(r.ExpiresAt, r.NeverExpires), r.Egress},
	}
	return do(ctx, c, k, one[api.Secret]("secret"))
}

// SetEgress changes where a broker may send the value of a secret, without a rotation; the zero rule: nowhere.
func (c *Client) SetEgress(ctx context.Context, id string, rule api.EgressRule) (api.Secret, error) {
	k := call{method: http.MethodPatch, path: object("/egress/secrets/", id), json: egressBody{rule}}
	return do(ctx, c, k, one[api.Secret]("secret"))
}

// DeleteSecret deletes a secret and its bindings.
func (c *Client) DeleteSecret(ctx context.Context, id string) error {
	return c.remove(ctx, "/egress/secrets/", id)
}

// checkValues returns an error for values that JSON or an environment variable would change, such as invalid UTF-8.
func checkValues(value, refreshToken api.Value) error {
	return cmp.Or(checkValue("value", value), checkValue("refresh_token", refreshToken))
}

func checkValue(name string, v api.Value) error {
	switch text := v.Reveal(); {
	case len(text) > api.MaxValueBytes:
		return api.NewError(api.ErrInvalid, name+" is longer than "+strconv.Itoa(api.MaxValueBytes)+" bytes")
	case strings.IndexByte(text, 0) >= 0:
		return api.NewError(api.ErrInvalid, name+" holds a NUL byte")
	case !utf8.ValidString(text):
		return api.NewError(api.ErrInvalid, name+" isn't UTF-8 text")
	}
	return nil
}
