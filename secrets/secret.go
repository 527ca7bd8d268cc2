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

// Set is a secret to store. Name and Value are required; the vault has defaults for other empty fields.
type Set struct {
	Name  string
	Value Value  // UTF-8 text without NUL, at most 1 MiB; may be empty
	Type  string // "": api_key; also oauth_machine, env_var, bearer, basic, generic, or any word
	Scope string // "": user; also workspace, tenant, external_user, external_workspace

	WorkspaceID, OwnerUserID, ExternalUserID, ExternalWorkspaceID string // the secret's owners

	Resource    Resource // the sandbox or computer it belongs to; the zero Resource: none
	ExposeAsEnv string   // with Resource: also bind it there, under this variable
	Delivery    string   // of that binding: api.DeliverValue, the default, or api.DeliverPlaceholder

	RefreshToken Value          // stored with the value, and never delivered
	ExpiresAt    *time.Time     // from then on the value isn't delivered; nil: never
	Metadata     map[string]any // not secret: calls return it
	Egress       *EgressRule    // where a broker may send the value; nil: as before, or that of Metadata; zero: nowhere
}

// Set stores a secret, or a new value of the secret with the same name, scope, owners and resource. The binding is nil
// without ExposeAsEnv.
// Errors: api.ErrInvalid; api.ErrConflict if the variable is bound to another secret on that resource: nothing was
// stored; ErrNotBound, wrapped, with the secret that was stored.
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
		RefreshToken: s.RefreshToken, ExpiresAt: s.ExpiresAt, Metadata: metadata, Egress: s.Egress,
	})
	if err != nil || binding != nil || s.ExposeAsEnv == "" {
		return secret, binding, err
	}
	if binding, err = c.bound(ctx, secret.ID, &s); err != nil {
		err = fmt.Errorf("%w as %s: %w", ErrNotBound, s.ExposeAsEnv, err)
	}
	return secret, binding, err
}

// ErrNotBound is the error of Set if it stored the secret but couldn't bind it.
var ErrNotBound = errors.New("the secret is stored, and not bound")

// bound returns the binding that Set requested, from a vault that doesn't return it or doesn't create it.
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

// Filter selects secrets by exact matches of Resource, Scope, Type, WorkspaceID, OwnerUserID, ExternalUserID and
// ExternalWorkspaceID; empty fields match everything. Resource is what a secret was stored for. For what is bound to a
// resource use ListBindings.
type Filter = fetch.SecretFilter

// List returns all secrets that match, oldest first.
func (c *Client) List(ctx context.Context, f Filter) ([]Secret, error) {
	return c.vault.Secrets(ctx, f)
}

// Get returns one secret. Errors: api.ErrNotFound.
func (c *Client) Get(ctx context.Context, id string) (Secret, error) { return c.vault.Secret(ctx, id) }

// Rotation is a secret's next Value. An empty RefreshToken keeps the current one. With ExpiresAt nil the current date
// stays if it is in the future; NeverExpires removes it.
type Rotation = fetch.Rotation

// Rotate stores a secret's next value and increments its Version. Every resource that it is bound to gets the value.
// Errors: api.ErrNotFound, api.ErrInvalid.
func (c *Client) Rotate(ctx context.Context, id string, r Rotation) (Secret, error) {
	return c.vault.RotateSecret(ctx, id, r)
}

// SetEgress changes where a broker may send the value of a secret, without a rotation; the zero rule: nowhere.
// Errors: api.ErrNotFound, api.ErrInvalid.
func (c *Client) SetEgress(ctx context.Context, id string, rule EgressRule) (Secret, error) {
	return c.vault.SetEgress(ctx, id, rule)
}

// Delete deletes a secret and its bindings. Errors: api.ErrNotFound.
func (c *Client) Delete(ctx context.Context, id string) error { return c.vault.DeleteSecret(ctx, id) }
