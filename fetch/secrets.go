package fetch

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
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

// Secrets lists secrets, never their values.
func (c *Client) Secrets(ctx context.Context, f SecretFilter) ([]api.Secret, error) {
	return do(ctx, c, call{method: http.MethodGet, path: "/egress/secrets", query: f.query()}, list[api.Secret]("secrets"))
}

// Secret gives one secret, never its value.
func (c *Client) Secret(ctx context.Context, id string) (api.Secret, error) {
	path, err := under("/egress/secrets/", id)
	if err != nil {
		return api.Secret{}, err
	}
	return do(ctx, c, call{method: http.MethodGet, path: path}, one("secret", secretID))
}

// NewSecret is a secret to store. Name and Value are required; the vault fills in the rest where empty.
type NewSecret struct {
	Name                string
	Value               api.Value
	Type, Scope         string
	WorkspaceID         string
	OwnerUserID         string
	ExternalUserID      string
	ExternalWorkspaceID string
	Resource            api.Resource // with ExposeAsEnv it is also bound there
	ExposeAsEnv         string
	RefreshToken        api.Value
	ExpiresAt           *time.Time
	Metadata            json.RawMessage // a JSON object
}

// secretBody is the body of a put or rotation. It holds values in the clear, and lives as long as
// one request.
type secretBody struct {
	Name                string          `json:"name,omitempty"`
	Value               string          `json:"value"`
	Type                string          `json:"type,omitempty"`
	Scope               string          `json:"scope,omitempty"`
	WorkspaceID         string          `json:"workspace_id,omitempty"`
	OwnerUserID         string          `json:"owner_user_id,omitempty"`
	ExternalUserID      string          `json:"external_user_id,omitempty"`
	ExternalWorkspaceID string          `json:"external_workspace_id,omitempty"`
	ResourceType        string          `json:"resource_type,omitempty"`
	ResourceID          string          `json:"resource_id,omitempty"`
	ExposeAsEnv         string          `json:"expose_as_env,omitempty"`
	RefreshToken        string          `json:"refresh_token,omitempty"`
	ExpiresAt           *time.Time      `json:"expires_at,omitempty"`
	Metadata            json.RawMessage `json:"metadata,omitempty"`
}

// PutSecret creates a secret or replaces the one with the same name, scope, attribution and resource.
// The binding is nil unless one was asked for. It isn't retried once the vault may have seen it.
func (c *Client) PutSecret(ctx context.Context, s NewSecret) (api.Secret, *api.Binding, error) {
	if err := checkValue(s.Value); err != nil {
		return api.Secret{}, nil, err
	}
	k := call{
		method: http.MethodPost, path: "/egress/secrets", unsafe: true, private: []api.Value{s.Value, s.RefreshToken},
		body: func() (content, error) {
			return asJSON(secretBody{s.Name, s.Value.Reveal(), s.Type, s.Scope, s.WorkspaceID, s.OwnerUserID, s.ExternalUserID,
				s.ExternalWorkspaceID, s.Resource.Type, s.Resource.ID, s.ExposeAsEnv, s.RefreshToken.Reveal(), s.ExpiresAt, s.Metadata})
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
	RefreshToken api.Value // empty: kept
	ExpiresAt    *time.Time
}

// RotateSecret gives a secret its next value; its version rises by one. It isn't retried once the
// vault may have seen it.
func (c *Client) RotateSecret(ctx context.Context, id string, r Rotation) (api.Secret, error) {
	path, err := under("/egress/secrets/", id)
	if err != nil {
		return api.Secret{}, err
	}
	if err := checkValue(r.Value); err != nil {
		return api.Secret{}, err
	}
	k := call{
		method: http.MethodPatch, path: path, unsafe: true, private: []api.Value{r.Value, r.RefreshToken},
		body: func() (content, error) {
			return asJSON(secretBody{Value: r.Value.Reveal(), RefreshToken: r.RefreshToken.Reveal(), ExpiresAt: r.ExpiresAt})
		},
	}
	return do(ctx, c, k, one("secret", secretID))
}

// DeleteSecret deletes a secret, and its bindings with it.
func (c *Client) DeleteSecret(ctx context.Context, id string) error {
	return c.remove(ctx, "/egress/secrets/", id)
}

// checkValue refuses what can't come back byte for byte, before it leaves the machine: JSON would
// replace broken UTF-8 in silence.
func checkValue(v api.Value) error {
	switch text := v.Reveal(); {
	case len(text) > api.MaxValueBytes:
		return api.NewError(api.ErrInvalid, "value is longer than "+strconv.Itoa(api.MaxValueBytes)+" bytes")
	case strings.IndexByte(text, 0) >= 0:
		return api.NewError(api.ErrInvalid, "value holds a NUL byte")
	case !utf8.ValidString(text):
		return api.NewError(api.ErrInvalid, "value isn't UTF-8 text")
	}
	return nil
}
