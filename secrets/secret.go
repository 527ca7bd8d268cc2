package secrets

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/fetch"
)

// Set is a secret to store. Name and Value are required; the vault fills in the rest where empty.
type Set struct {
	Name  string
	Value Value  // UTF-8 text without NUL, at most 1 MiB; may be empty
	Type  string // api_key where empty; also oauth_machine, env_var, bearer, basic, generic, or any word
	Scope string // user where empty; also workspace, tenant, external_user, external_workspace

	WorkspaceID, OwnerUserID, ExternalUserID, ExternalWorkspaceID string // whom it is attributed to

	Resource    Resource // the sandbox or computer it is for; the zero Resource: none
	ExposeAsEnv string   // with Resource: also bind it there, under this variable
	Delivery    string   // of that binding: api.DeliverValue, the default, or api.DeliverPlaceholder

	RefreshToken Value          // stored beside the value, and never delivered
	ExpiresAt    *time.Time     // from then on it isn't delivered; nil: never
	Metadata     map[string]any // answered by every call, so no place for secrets
}

// Set stores a secret, or gives its next value to the one with the same name, scope, attribution and
// resource. The binding is nil unless ExposeAsEnv asked for one.
// Errors: api.ErrInvalid; api.ErrConflict where another secret has the variable on that resource, and
// then nothing was stored; ErrNotBound, wrapped, with the secret that was stored.
func (c *Client) Set(ctx context.Context, s Set) (Secret, *Binding, error) {
	var metadata json.RawMessage
	if s.Metadata != nil {
		var err error
		if metadata, err = json.Marshal(s.Metadata); err != nil {
			return Secret{}, nil, api.NewError(api.ErrInvalid, "metadata can't be encoded as JSON")
		}
	}
	secret, binding, err := c.vault.PutSecret(ctx, api.NewSecret{
		Name: s.Name, Value: s.Value, Type: s.Type, Scope: s.Scope,
		WorkspaceID: s.WorkspaceID, OwnerUserID: s.OwnerUserID, ExternalUserID: s.ExternalUserID, ExternalWorkspaceID: s.ExternalWorkspaceID,
		Resource: s.Resource, ExposeAsEnv: s.ExposeAsEnv, Delivery: s.Delivery,
		RefreshToken: s.RefreshToken, ExpiresAt: s.ExpiresAt, Metadata: metadata,
	})
	if err != nil || binding != nil || s.ExposeAsEnv == "" {
		return secret, binding, err
	}
	if binding, err = c.bound(ctx, secret.ID, &s); err != nil {
		err = fmt.Errorf("%w as %s: %w", ErrNotBound, s.ExposeAsEnv, err)
	}
	return secret, binding, err
}

// ErrNotBound says that a secret was stored, and not bound.
var ErrNotBound = errors.New("the secret is stored, and not bound")

// bound gives the binding that Set asked for, of a vault that doesn't answer it or doesn't make it.
func (c *Client) bound(ctx context.Context, id string, s *Set) (*Binding, error) {
	list, err := c.vault.Bindings(ctx, fetch.BindingFilter{Resource: s.Resource, SecretID: id})
	if err != nil {
		return nil, err
	}
	for i := range list {
		if b := &list[i]; b.ExposeAsEnv == s.ExposeAsEnv && b.Resource.ID == s.Resource.ID && b.SecretID == id {
			return &list[i], nil
		}
	}
	b, err := c.vault.CreateBinding(ctx, api.NewBinding{SecretID: id, Resource: s.Resource, ExposeAsEnv: s.ExposeAsEnv, Delivery: s.Delivery})
	if err != nil {
		return nil, err
	}
	return &b, nil
}

// Filter narrows a list of secrets to exact matches in its fields Resource, Scope, Type, WorkspaceID,
// OwnerUserID, ExternalUserID and ExternalWorkspaceID; empty ones match all. Resource is the one that a
// secret was stored for; what is bound to a resource, ListBindings tells.
type Filter = fetch.SecretFilter

// List gives all secrets that match, however many, the oldest first.
func (c *Client) List(ctx context.Context, f Filter) ([]Secret, error) {
	return c.vault.Secrets(ctx, f)
}

// Get gives one secret. Errors: api.ErrNotFound.
func (c *Client) Get(ctx context.Context, id string) (Secret, error) { return c.vault.Secret(ctx, id) }

// Rotation is a secret's next Value. RefreshToken is kept where it is empty. ExpiresAt nil keeps the
// date if it is still to come and drops it if it has passed; NeverExpires drops it.
type Rotation = fetch.Rotation

// Rotate gives a secret its next value; its Version rises by one, and every resource that it is bound
// to gets the value. Errors: api.ErrNotFound, api.ErrInvalid.
func (c *Client) Rotate(ctx context.Context, id string, r Rotation) (Secret, error) {
	return c.vault.RotateSecret(ctx, id, r)
}

// Delete deletes a secret, and its bindings with it. Errors: api.ErrNotFound.
func (c *Client) Delete(ctx context.Context, id string) error { return c.vault.DeleteSecret(ctx, id) }
