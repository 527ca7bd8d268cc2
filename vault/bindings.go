package vault

import (
	"context"
	"crypto/rand"
	"errors"
	"strings"

	"github.com/Miosa-osa/miosa-env/api"
)

// BindingFilter narrows a list by exact matches; "" matches everything.
type BindingFilter struct{ ResourceID, ResourceType, SecretID string }

// CreateBinding binds a secret to a resource. The same binding again returns the one that stands,
// with created false.
// Errors: ErrInvalid, ErrNotFound (the secret), ErrConflict (the name is bound to another secret, or
// another delivery is asked for), ErrDenied for a resource key.
func (s *Store) CreateBinding(ctx context.Context, a Actor, n api.NewBinding) (b api.Binding, created bool, err error) {
	if err := s.tenantOnly(ctx, a, actBindingCreate); err != nil {
		return api.Binding{}, false, err
	}
	if n.SecretID == "" {
		return api.Binding{}, false, invalid("secret_id is required")
	}
	if n.ExposeAsEnv == "" {
		return api.Binding{}, false, invalid("expose_as_env is required")
	}
	if err := errors.Join(n.Validate(), checkEnvName(n.ExposeAsEnv), checkDelivery(&n.Delivery, true)); err != nil {
		return api.Binding{}, false, first(err)
	}
	err = s.write(ctx, a, func(t *txn) error {
		b, created, err = t.bind(n)
		return err
	})
	return b, created, err
}

var errNameTaken = api.NewError(api.ErrConflict,
	"expose_as_env is bound to another secret on this resource: delete that binding first")

// bind does what CreateBinding promises, in a transaction.
func (t *txn) bind(n api.NewBinding) (b api.Binding, created bool, err error) {
	secret, err := t.secret(n.SecretID)
	if err != nil {
		return api.Binding{}, false, err
	}
	q := where{}
	q.equal("b.tenant_id", t.actor.TenantID)
	q.equal("b.resource_type", n.Type)
	q.equal("b.resource_id", n.ID)
	q.equal("b.env_name", n.ExposeAsEnv)
	standing, err := t.listBindings(q)
	if err != nil {
		return api.Binding{}, false, err
	}
	if len(standing) > 0 {
		b = standing[0]
		switch {
		case b.SecretID != n.SecretID:
			return api.Binding{}, false, errNameTaken
		case n.Delivery != "" && n.Delivery != b.Delivery:
			return api.Binding{}, false, api.NewError(api.ErrConflict,
				"this binding stands with another delivery: delete it first")
		}
		return b, false, nil
	}
	if err := checkDelivery(&n.Delivery, false); err != nil {
		return api.Binding{}, false, err
	}
	b = api.Binding{
		ID: newID("bnd_"), SecretID: n.SecretID, Resource: n.Resource, ExposeAsEnv: n.ExposeAsEnv,
		PlaceholderToken: "miosa-tok-" + strings.ToLower(rand.Text()), Delivery: n.Delivery, CreatedAt: t.now,
		SecretName: secret.name, Version: secret.version, UpdatedAt: fromMicros(secret.updated),
	}
	err = t.Exec(`INSERT INTO bindings (id, tenant_id, secret_id, resource_type, resource_id, env_name,
		placeholder_token, delivery, created_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)`,
		b.ID, t.actor.TenantID, b.SecretID, b.Type, b.Resource.ID, b.ExposeAsEnv, b.PlaceholderToken, b.Delivery, t.now.UnixMicro())
	if err != nil {
		return api.Binding{}, false, err
	}
	t.wake(b.Resource)
	return b, true, t.auditBinding(actBindingCreate, b)
}

func (t *txn) auditBinding(action string, b api.Binding) error {
	return t.audit(api.Event{Action: action, BindingID: b.ID, SecretID: b.SecretID, Version: b.Version,
		ResourceType: b.Type, ResourceID: b.Resource.ID})
}

// listBindings lists bindings with what they tell of their secrets, by resource and variable name.
// Columns of q are b's (bindings) or s's (secrets).
func (t *txn) listBindings(q where) ([]api.Binding, error) {
	rows, err := t.Query(`SELECT b.id, b.secret_id, b.resource_type, b.resource_id, b.env_name, b.placeholder_token,
		b.delivery, b.created_at, s.name, s.version, s.updated_at FROM bindings b JOIN secrets s ON s.id = b.secret_id`+
		q.String()+` ORDER BY b.resource_type, b.resource_id, b.env_name`, q.args...)
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }()
	list := []api.Binding{}
	for rows.Next() {
		var b api.Binding
		var created, updated int64
		if err := rows.Scan(&b.ID, &b.SecretID, &b.Type, &b.Resource.ID, &b.ExposeAsEnv, &b.PlaceholderToken,
			&b.Delivery, &created, &b.SecretName, &b.Version, &updated); err != nil {
			return nil, err
		}
		b.CreatedAt, b.UpdatedAt = fromMicros(created), fromMicros(updated)
		list = append(list, b)
	}
	return list, rows.Err()
}

// Bindings lists bindings, by resource and variable name. A resource key sees its own resource's
// only, whatever the filter leaves open; asking for another is ErrDenied, and audited.
func (s *Store) Bindings(ctx context.Context, a Actor, f BindingFilter) (list []api.Binding, err error) {
	if own := a.Resource; own != nil {
		if f.ResourceType != "" && f.ResourceType != own.Type || f.ResourceID != "" && f.ResourceID != own.ID {
			return nil, s.deny(ctx, a, api.Event{Action: actBindingList, ResourceType: clip(f.ResourceType), ResourceID: clip(f.ResourceID)}, otherResource)
		}
		f.ResourceType, f.ResourceID = own.Type, own.ID
	}
	q := where{}
	q.equal("b.tenant_id", a.TenantID)
	q.equalIfSet("b.resource_type", f.ResourceType)
	q.equalIfSet("b.resource_id", f.ResourceID)
	q.equalIfSet("b.secret_id", f.SecretID)
	err = s.read(ctx, a, func(t *txn) error {
		list, err = t.listBindings(q)
		return err
	})
	return list, err
}

const otherResource = "this key belongs to another resource"

// clip keeps what an unwelcome caller typed from filling the audit.
func clip(s string) string {
	const longest = 128
	if len(s) > longest {
		return strings.ToValidUTF8(s[:longest], "") + "..."
	}
	return s
}

// DeleteBinding unbinds. Errors: ErrNotFound, ErrDenied for a resource key.
func (s *Store) DeleteBinding(ctx context.Context, a Actor, id string) error {
	if err := s.tenantOnly(ctx, a, actBindingDelete); err != nil {
		return err
	}
	return s.write(ctx, a, func(t *txn) error {
		q := where{}
		q.equal("b.id", id)
		q.equal("b.tenant_id", a.TenantID)
		list, err := t.listBindings(q)
		if err != nil {
			return err
		}
		if len(list) == 0 {
			return errNoBinding
		}
		if err := t.Exec(`DELETE FROM bindings WHERE id = $1`, id); err != nil {
			return err
		}
		t.wake(list[0].Resource)
		return t.auditBinding(actBindingDelete, list[0])
	})
}

var errNoBinding = api.NewError(api.ErrNotFound, "no such binding")
