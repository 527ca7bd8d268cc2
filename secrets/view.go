package secrets

import (
	"cmp"
	"context"
	"iter"
	"time"
)

// View is a client for one sandbox or computer: calls use it as their resource if the caller gives none. Other calls are
// the client's own. If its id is invalid, these calls return api.ErrInvalid.
type View struct {
	*Client
	resource Resource
}

// ForSandbox returns the view of a sandbox.
func (c *Client) ForSandbox(id string) *View { return &View{c, Sandbox(id)} }

// ForComputer returns the view of a computer.
func (c *Client) ForComputer(id string) *View { return &View{c, Computer(id)} }

// Resource is the view's resource.
func (v *View) Resource() Resource { return v.resource }

// fill sets the empty fields of r.
func (v *View) fill(r *Resource) error {
	r.Type, r.ID = cmp.Or(r.Type, v.resource.Type), cmp.Or(r.ID, v.resource.ID)
	return r.Validate()
}

// Set is Client.Set for the view's resource.
func (v *View) Set(ctx context.Context, s Set) (Secret, *Binding, error) {
	if err := v.fill(&s.Resource); err != nil {
		return Secret{}, nil, err
	}
	return v.Client.Set(ctx, s)
}

// List is Client.List of the view's resource.
func (v *View) List(ctx context.Context, f Filter) ([]Secret, error) {
	if err := v.fill(&f.Resource); err != nil {
		return nil, err
	}
	return v.Client.List(ctx, f)
}

// CreateBinding is Client.CreateBinding to the view's resource.
func (v *View) CreateBinding(ctx context.Context, b NewBinding) (Binding, error) {
	if err := v.fill(&b.Resource); err != nil {
		return Binding{}, err
	}
	return v.Client.CreateBinding(ctx, b)
}

// ListBindings is Client.ListBindings of the view's resource.
func (v *View) ListBindings(ctx context.Context, f BindingFilter) ([]Binding, error) {
	if err := v.fill(&f.Resource); err != nil {
		return nil, err
	}
	return v.Client.ListBindings(ctx, f)
}

// Connect is Client.Connect for the view's resource.
func (v *View) Connect(ctx context.Context, provider string, o Connect) (*Flow, error) {
	if err := v.fill(&o.Resource); err != nil {
		return nil, err
	}
	return v.Client.Connect(ctx, provider, o)
}

// CreateKey is Client.CreateKey for the view's resource.
func (v *View) CreateKey(ctx context.Context, expiresAt *time.Time) (ResourceKey, error) {
	return v.Client.CreateKey(ctx, v.resource, expiresAt)
}

// ListKeys is Client.ListKeys of the view's resource.
func (v *View) ListKeys(ctx context.Context) ([]ResourceKey, error) {
	if err := v.resource.Validate(); err != nil {
		return nil, err
	}
	return v.Client.ListKeys(ctx, v.resource)
}

// Audit is Client.Audit of the view's resource.
func (v *View) Audit(ctx context.Context, f AuditFilter) (events []Event, next string, err error) {
	if err := v.fill(&f.Resource); err != nil {
		return nil, "", err
	}
	return v.Client.Audit(ctx, f)
}

// AuditAll is Client.AuditAll of the view's resource.
func (v *View) AuditAll(ctx context.Context, f AuditFilter) iter.Seq2[Event, error] {
	if err := v.fill(&f.Resource); err != nil {
		return func(yield func(Event, error) bool) { yield(Event{}, err) }
	}
	return v.Client.AuditAll(ctx, f)
}
