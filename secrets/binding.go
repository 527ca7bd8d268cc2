package secrets

import (
	"context"

	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/fetch"
)

// NewBinding says: SecretID, on Resource, under the variable ExposeAsEnv. Delivery is api.DeliverValue,
// the default, or api.DeliverPlaceholder.
type NewBinding = api.NewBinding

// CreateBinding binds a secret to a resource. The same again gives the binding that stands.
// Errors: api.ErrNotFound where there is no such secret; api.ErrConflict where the variable stands for
// another secret there, or with another delivery.
func (c *Client) CreateBinding(ctx context.Context, b NewBinding) (Binding, error) {
	return c.vault.CreateBinding(ctx, b)
}

// BindingFilter narrows a list of bindings to exact matches of Resource and SecretID; empty ones match
// all.
type BindingFilter = fetch.BindingFilter

// ListBindings gives all bindings that match, sorted by resource and variable.
func (c *Client) ListBindings(ctx context.Context, f BindingFilter) ([]Binding, error) {
	return c.vault.Bindings(ctx, f)
}

// DeleteBinding unbinds: the variable is gone from the resource, the secret stays. Errors:
// api.ErrNotFound.
func (c *Client) DeleteBinding(ctx context.Context, id string) error {
	return c.vault.DeleteBinding(ctx, id)
}
