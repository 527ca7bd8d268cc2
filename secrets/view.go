package secrets

import (
	"cmp"
	"context"
	"iter"
	"time"
)

// View is a client that looks at one sandbox or computer: where a call takes a resource and the caller
// leaves it out, it is this one. Other calls are the client's own.
type View struct {
	*Client
	resource Resource
}

// ForSandbox gives the view of a sandbox.
func (c *Client) ForSandbox(id string) *View { return &View{c, Sandbox(id)} }

// ForComputer gives the view of a computer.
func (c *Client) ForComputer(id string) *View { return &View{c, Computer(id)} }

// Resource is what the view looks at.
func (v *View) Resource() Resource { return v.resource }

// or gives the caller's resource, with what was left out of it from the view's.
func (v *View) or(r Resource) Resource {
	return Resource{Type: cmp.Or(r.Type, v.resource.Type), ID: cmp.Or(r.ID, v.resource.ID)}
}

// Set is Client.Set for the view's resource.
func (v *View) Set(ctx context.Context, s Set) (Secret, *Binding, error) {
	s.Resource = v.or(s.Resource)
	return v.Client.Set(ctx, s)
}

// List is Client.List of the view's resource.
func (v *View) List(ctx context.Context, f Filter) ([]Secret, error) {
	f.Resource = v.or(f.Resource)
	return v.Client.List(ctx, f)
}

// CreateBinding is Client.CreateBinding to the view's resource.
func (v *View) CreateBinding(ctx context.Context, b NewBinding) (Binding, error) {
	b.Resource = v.or(b.Resource)
	return v.Client.CreateBinding(ctx, b)
}

// ListBindings is Client.ListBindings of the view's resource.
func (v *View) ListBindings(ctx context.Context, f BindingFilter) ([]Binding, error) {
	f.Resource = v.or(f.Resource)
	return v.Client.ListBindings(ctx, f)
}

// Connect is Client.Connect for the view's resource.
func (v *View) Connect(ctx context.Context, provider string, o Connect) (*Flow, error) {
	o.Resource = v.or(o.Resource)
	return v.Client.Connect(ctx, provider, o)
}

// CreateKey is Client.CreateKey for the view's resource.
func (v *View) CreateKey(ctx context.Context, expiresAt *time.Time) (ResourceKey, error) {
	return v.Client.CreateKey(ctx, v.resource, expiresAt)
}

// ListKeys is Client.ListKeys of the view's resource.
func (v *View) ListKeys(ctx context.Context) ([]ResourceKey, error) {
	return v.Client.ListKeys(ctx, v.resource)
}

// Audit is Client.Audit of the view's resource.
func (v *View) Audit(ctx context.Context, f AuditFilter) (events []Event, next string, err error) {
	f.Resource = v.or(f.Resource)
	return v.Client.Audit(ctx, f)
}

// AuditAll is Client.AuditAll of the view's resource.
func (v *View) AuditAll(ctx context.Context, f AuditFilter) iter.Seq2[Event, error] {
	f.Resource = v.or(f.Resource)
	return v.Client.AuditAll(ctx, f)
}
