package secrets

import (
	"context"

	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/fetch"
)

// NewBinding binds SecretID to Resource under the variable ExposeAsEnv. Delivery is api.DeliverValue,
// the default, or api.DeliverPlaceholder.
type NewBinding = api.NewBinding

// CreateBinding binds a secret to a resource. If the same binding exists, it is returned.
// Errors: api.ErrNotFound for an unknown secret; api.ErrConflict if the variable is bound to another secret on that
// resource, or with another delivery.
func (c *Client) CreateBinding(ctx context.Context, b NewBinding) (Binding, error) {
	return c.vault.CreateBinding(ctx, b)
}

// BindingFilter selects bindings by exact matches of Resource and SecretID; empty fields match everything.
type BindingFilter = fetch.BindingFilter

// ListBindings returns all bindings that match, sorted by resource and variable.
func (c *Client) ListBindings(ctx context.Context, f BindingFilter) ([]Binding, error) {
	return c.vault.Bindings(ctx, f)
}

// SetBindingEgress changes the rule of a binding, which narrows its secret's; the zero rule: none.
// Errors: api.ErrNotFound; api.ErrInvalid, naming the field.
func (c *Client) SetBindingEgress(ctx context.Context, id string, rule EgressRule) (Binding, error) {
	return c.vault.SetBindingEgress(ctx, id, rule)
}

// DeleteBinding removes the variable from the resource. The secret stays. Errors: api.ErrNotFound.
func (c *Client) DeleteBinding(ctx context.Context, id string) error {
	return c.vault.DeleteBinding(ctx, id)
}
