package store

import (
	"context"
	"database/sql"
	"errors"
	"strconv"
	"time"

	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/vault/database"
	"github.com/Miosa-osa/miosa-env/vault/keyring"
	"github.com/Miosa-osa/miosa-env/vault/oauth"
)

// Rotation is the next value of a secret.
type Rotation struct {
	Value        api.Value  // required; may be empty, but not the zero Value
	RefreshToken api.Value  // empty: keep
	ExpiresAt    *time.Time // nil: keep the current one if it is in the future, else none
	NeverExpires bool       // with ExpiresAt nil: none
}

// SecretFilter selects secrets by exact matches; "" matches everything.
type SecretFilter struct {
	ResourceID          string `query:"resource_id"`
	ResourceType        string `query:"resource_type"`
	Scope               string `query:"scope"`
	Type                string `query:"type"`
	WorkspaceID         string `query:"workspace_id"`
	OwnerUserID         string `query:"owner_user_id"`
	ExternalUserID      string `query:"external_user_id"`
	ExternalWorkspaceID string `query:"external_workspace_id"`

	Limit  int    `query:"limit"`  // 1 to 1000; 0: all, or 100 if Cursor is set
	Cursor string `query:"cursor"` // from the page before; "": from the start
}

// PutSecret creates a secret, or replaces the one of the same name, scope, owners and resource and increments
// its version. With ExposeAsEnv and a resource it also binds the secret, in the same transaction; otherwise the binding is
// nil. g says how the vault refreshes the value; nil: it doesn't.
// Errors: ErrInvalid, ErrConflict (the name is bound to another secret), ErrDenied for a resource key.
func (s *Store) PutSecret(ctx context.Context, a Actor, n api.NewSecret, g *Grant) (secret api.Secret, binding *api.Binding, created bool, err error) {
	if err := s.TenantOnly(ctx, a, actSecretCreate); err != nil {
		return api.Secret{}, nil, false, err
	}
	if err := Complete(&n); err != nil {
		return api.Secret{}, nil, false, err
	}
	err = s.write(ctx, a, func(t *txn) error {
		secret, binding, created, err = t.put(n, g)
		return err
	})
	if err != nil {
		return api.Secret{}, nil, false, err
	}
	return secret, binding, created, nil
}

// put is PutSecret in a transaction. n is complete.
func (t *txn) put(n api.NewSecret, g *Grant) (secret api.Secret, binding *api.Binding, created bool, err error) {
	r := row(n)
	r.tenant, r.UpdatedAt = t.actor.TenantID, t.now
	upsert := r.upsertKey()
	err = t.QueryRow(`SELECT id, version, created_at FROM secrets WHERE tenant_id = $1 AND upsert_key = $2`,
		r.tenant, upsert).Scan(&r.ID, &r.Version, instant{&r.CreatedAt})
	created = errors.Is(err, sql.ErrNoRows)
	switch {
	case created:
		r.ID, r.CreatedAt = newID("sec_"), r.UpdatedAt
	case err != nil:
		return secret, nil, false, err
	}
	r.Version++
	keys, err := t.keys(r.tenant)
	if err != nil {
		return secret, nil, false, err
	}
	if err := r.seal(keys, n.Value, n.RefreshToken); err != nil {
		return secret, nil, false, err
	}
	if created {
		err = t.insertSecret(r, upsert)
	} else {
		err = t.replace(r, actSecretReplace)
	}
	if err == nil && created {
		err = t.auditSecret(actSecretCreate, r)
	}
	if err == nil && (g != nil || !created) { // a new secret has no schedule to end
		err = t.setSchedule(r, g)
	}
	if err != nil {
		return secret, nil, false, err
	}
	if n.ExposeAsEnv != "" && n.Resource.ID != "" {
		b, _, err := t.bind(api.NewBinding{SecretID: r.ID, Resource: n.Resource, ExposeAsEnv: n.ExposeAsEnv, Delivery: n.Delivery})
		if err != nil {
			return secret, nil, false, err
		}
		binding = &b
	}
	secret, err = r.answer(keys)
	return secret, binding, created, err
}

// replace stores a new version of a secret, audits it, and wakes the reveals that wait for it.
func (t *txn) replace(r secretRow, action string) error {
	if err := t.updateSecret(r); err != nil {
		return err
	}
	if _, err := t.wakeBound(r.ID); err != nil {
		return err
	}
	return t.auditSecret(action, r)
}

// Secrets lists secrets, oldest first. next is the cursor of the next page, "" at the end.
// Errors: ErrInvalid, ErrDenied for a resource key.
func (s *Store) Secrets(ctx context.Context, a Actor, f SecretFilter) (list []api.Secret, next string, err error) {
	if err := s.TenantOnly(ctx, a, actSecretRead); err != nil {
		return nil, "", err
	}
	limit, err := pageSize(f.Limit)
	if err != nil {
		return nil, "", err
	}
	var c conditions
	c.equal("tenant_id", a.TenantID)
	c.equalIfSet("resource_id", f.ResourceID)
	c.equalIfSet("resource_type", f.ResourceType)
	c.equalIfSet("scope", f.Scope)
	c.equalIfSet("type", f.Type)
	c.equalIfSet("workspace_id", f.WorkspaceID)
	c.equalIfSet("owner_user_id", f.OwnerUserID)
	c.equalIfSet("external_user_id", f.ExternalUserID)
	c.equalIfSet("external_workspace_id", f.ExternalWorkspaceID)
	if f.Cursor != "" {
		if err := c.after(f.Cursor); err != nil {
			return nil, "", err
		}
	}
	query := `SELECT ` + secretColumns + ` FROM secrets` + c.String() + ` ORDER BY created_at, id`
	all := f.Limit == 0 && f.Cursor == ""
	if !all {
		query += ` LIMIT ` + strconv.Itoa(limit+1)
	}
	err = s.read(ctx, a, func(t *txn) error {
		next = ""
		keys, err := t.keys(a.TenantID)
		if err != nil {
			return err
		}
		rows, err := collect(t, (*secretRow).scan, query, c.args...)
		if err != nil {
			return err
		}
		if !all && len(rows) > limit {
			rows = rows[:limit]
			next = newCursor(rows[limit-1].CreatedAt, rows[limit-1].ID)
		}
		list = make([]api.Secret, len(rows))
		for i := range rows {
			if list[i], err = rows[i].answer(keys); err != nil {
				return err
			}
		}
		return nil
	})
	return list, next, err
}

// Secret returns one secret. Errors: ErrNotFound, ErrDenied for a resource key.
func (s *Store) Secret(ctx context.Context, a Actor, id string) (secret api.Secret, err error) {
	if err := s.TenantOnly(ctx, a, actSecretRead); err != nil {
		return api.Secret{}, err
	}
	err = s.read(ctx, a, func(t *txn) error {
		keys, err := t.keys(a.TenantID)
		if err != nil {
			return err
		}
		r, err := t.secret(id)
		if err != nil {
			return err
		}
		secret, err = r.answer(keys)
		return err
	})
	return secret, err
}

// RotateSecret replaces a value, increments the version and wakes the reveals that wait for it.
// Errors: ErrInvalid, ErrNotFound, ErrDenied for a resource key.
func (s *Store) RotateSecret(ctx context.Context, a Actor, id string, next Rotation) (secret api.Secret, err error) {
	if err := s.TenantOnly(ctx, a, actSecretRotate); err != nil {
		return api.Secret{}, err
	}
	if err := errors.Join(checkValue(next.Value), checkPlaintext("refresh_token", next.RefreshToken)); err != nil {
		return api.Secret{}, first(err)
	}
	err = s.write(ctx, a, func(t *txn) error {
		r, err := t.secret(id)
		if err != nil {
			return err
		}
		keys, err := t.keys(a.TenantID)
		if err != nil {
			return err
		}
		refresh := next.RefreshToken
		if refresh.Len() == 0 {
			// A field is sealed with its version, so the token that stays is sealed again.
			if refresh, err = t.refreshToken(keys, r); err != nil {
				return err
			}
		}
		switch {
		case next.ExpiresAt != nil:
			r.ExpiresAt = inMicros(next.ExpiresAt)
		case next.NeverExpires || r.ExpiresAt != nil && !r.ExpiresAt.After(t.now):
			r.ExpiresAt = nil
		}
		plan, err := t.schedule(id)
		if err != nil {
			return err
		}
		if plan != nil {
			r.Metadata = oauth.WithStatus(r.Metadata, api.OAuthConnected, "")
		}
		if err := t.rotate(keys, &r, next.Value, refresh); err != nil {
			return err
		}
		if plan != nil {
			if err := t.setSchedule(r, &plan.Grant); err != nil {
				return err
			}
		}
		secret, err = r.answer(keys)
		return err
	})
	return secret, err
}

// rotate stores the next version of r.
func (t *txn) rotate(keys *keyring.Keys, r *secretRow, value, refresh api.Value) error {
	r.Version, r.UpdatedAt = r.Version+1, t.now
	if err := r.seal(keys, value, refresh); err != nil {
		return err
	}
	return t.replace(*r, actSecretRotate)
}

// DeleteSecret deletes a secret and its bindings. It decrypts nothing, so a damaged row can be deleted too.
// Errors: ErrNotFound, ErrDenied for a resource key.
func (s *Store) DeleteSecret(ctx context.Context, a Actor, id string) error {
	if err := s.TenantOnly(ctx, a, actSecretDelete); err != nil {
		return err
	}
	return s.write(ctx, a, func(t *txn) error {
		r, err := t.secret(id)
		if err != nil {
			return err
		}
		bound, err := t.wakeBound(id)
		if err != nil {
			return err
		}
		e := secretEvent(actSecretDelete, r)
		for _, bindingID := range bound {
			e.Bindings = append(e.Bindings, api.EventRef{ID: bindingID, SecretID: id, Version: r.Version})
		}
		for _, from := range []string{"bindings WHERE secret_id", "oauth_grants WHERE secret_id", "secrets WHERE id"} {
			if err := t.Exec(`DELETE FROM `+from+` = $1`, id); err != nil {
				return err
			}
		}
		return t.audit(e)
	})
}

func secretEvent(action string, r secretRow) api.Event {
	return api.Event{Action: action, SecretID: r.ID, Version: r.Version, ResourceType: r.resource().Type, ResourceID: r.resource().ID}
}

func (t *txn) auditSecret(action string, r secretRow) error { return t.audit(secretEvent(action, r)) }

// wakeBound wakes the reveals of every resource that the secret is bound to after the commit, and returns the ids of
// its bindings.
func (t *txn) wakeBound(secretID string) (bindingIDs []string, err error) {
	return collect(t, func(id *string, from database.Row) error {
		var r api.Resource
		err := from.Scan(id, &r.Type, &r.ID)
		t.wake(r)
		return err
	}, `SELECT id, resource_type, resource_id FROM bindings WHERE secret_id = $1 ORDER BY created_at, id`, secretID)
}
