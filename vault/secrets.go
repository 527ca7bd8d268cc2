package vault

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"strconv"
	"time"

	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/vault/keyring"
)

// PutSecret is what POST /egress/secrets takes. Empty strings stand for absent fields.
type PutSecret struct {
	Name                string // required
	Type                string // "": api_key
	Scope               string // "": user
	WorkspaceID         string
	OwnerUserID         string
	ExternalUserID      string
	ExternalWorkspaceID string
	ResourceType        string          // with ResourceID: part of the upsert key, and what ExposeAsEnv binds to
	ResourceID          string          //
	Value               *api.Value      // required; may be empty
	RefreshToken        *api.Value      // nil: none
	ExpiresAt           *time.Time      // nil: never
	Metadata            json.RawMessage // a JSON object; nil or null: {}
	ExposeAsEnv         string          // with a resource: also bind under this name
	Delivery            string          // of that binding; "": value

	grant *grant // nil: nothing the vault renews
}

// Rotation is what PATCH /egress/secrets/:id takes.
type Rotation struct {
	Value        *api.Value // required; may be empty
	RefreshToken *api.Value // nil: keep
	ExpiresAt    *time.Time // nil: keep one still to come, drop one that has passed
	NeverExpires bool       // expires_at was null: drop it. With ExpiresAt set too, that one wins
}

// SecretFilter narrows a list by exact matches; "" matches everything.
type SecretFilter struct {
	ResourceID, ResourceType                                      string
	Scope, Type                                                   string
	WorkspaceID, OwnerUserID, ExternalUserID, ExternalWorkspaceID string

	Limit  int    // 1 to 1000; 0: everything, or 100 when Cursor is set
	Cursor string // from the page before; "": from the start
}

var errNoSecret = api.NewError(api.ErrNotFound, "no such secret")

// PutSecret creates a secret, or replaces the one of the same name, scope, attribution and resource,
// raising its version by one. With ExposeAsEnv and a resource it binds too, in the same transaction;
// the binding is nil otherwise.
// Errors: ErrInvalid, ErrConflict (the name is bound to another secret), ErrDenied for a resource key.
func (s *Store) PutSecret(ctx context.Context, a Actor, p PutSecret) (secret api.Secret, binding *api.Binding, created bool, err error) {
	if err := s.tenantOnly(ctx, a, actSecretCreate); err != nil {
		return api.Secret{}, nil, false, err
	}
	if err := p.complete(); err != nil {
		return api.Secret{}, nil, false, err
	}
	err = s.write(ctx, a, func(t *txn) error {
		secret, binding, created, err = t.put(p)
		return err
	})
	if err != nil {
		return api.Secret{}, nil, false, err
	}
	return secret, binding, created, nil
}

// row is what p says of a row.
func (p PutSecret) row() secretRow {
	return secretRow{
		name: p.Name, typ: p.Type, scope: p.Scope, workspace: p.WorkspaceID, owner: p.OwnerUserID,
		externalUser: p.ExternalUserID, externalWorkspace: p.ExternalWorkspaceID,
		resource: api.Resource{Type: p.ResourceType, ID: p.ResourceID},
		expires:  micros(p.ExpiresAt), metadata: string(p.Metadata),
	}
}

// put does what PutSecret promises, in a transaction. p is complete.
func (t *txn) put(p PutSecret) (secret api.Secret, binding *api.Binding, created bool, err error) {
	row := p.row()
	row.tenant, row.updated = t.actor.TenantID, t.now.UnixMicro()
	upsert := row.upsertKey()
	err = t.QueryRow(`SELECT id, version, created_at FROM secrets WHERE tenant_id = $1 AND upsert_key = $2`,
		row.tenant, upsert).Scan(&row.id, &row.version, &row.created)
	created = errors.Is(err, sql.ErrNoRows)
	switch {
	case created:
		row.id, row.created = newID("sec_"), row.updated
	case err != nil:
		return secret, nil, false, err
	}
	row.version++
	keys, err := t.keys(row.tenant)
	if err != nil {
		return secret, nil, false, err
	}
	if err := row.seal(keys, *p.Value, p.RefreshToken); err != nil {
		return secret, nil, false, err
	}
	action := actSecretReplace
	if created {
		action = actSecretCreate
		err = t.insertSecret(row, upsert)
	} else {
		err = t.updateSecret(row)
	}
	if err != nil {
		return secret, nil, false, err
	}
	if err := t.auditSecret(action, row); err != nil {
		return secret, nil, false, err
	}
	if !created {
		if _, err := t.wakeBound(row.id); err != nil {
			return secret, nil, false, err
		}
	}
	if p.grant != nil || !created { // a new secret has no schedule to end
		if err := t.setGrant(row, p.grant); err != nil {
			return secret, nil, false, err
		}
	}
	if p.ExposeAsEnv != "" && p.ResourceID != "" {
		b, _, err := t.bind(api.NewBinding{SecretID: row.id, Resource: row.resource, ExposeAsEnv: p.ExposeAsEnv, Delivery: p.Delivery})
		if err != nil {
			return secret, nil, false, err
		}
		binding = &b
	}
	secret, err = row.answer(keys)
	return secret, binding, created, err
}

// Secrets lists secrets, oldest first. next is the cursor of the following page, "" at the end.
// Errors: ErrInvalid, ErrDenied for a resource key.
func (s *Store) Secrets(ctx context.Context, a Actor, f SecretFilter) (list []api.Secret, next string, err error) {
	if err := s.tenantOnly(ctx, a, actSecretRead); err != nil {
		return nil, "", err
	}
	everything := f.Limit == 0 && f.Cursor == ""
	limit, err := pageSize(f.Limit, defaultPage)
	if err != nil {
		return nil, "", err
	}
	q := where{}
	q.equal("tenant_id", a.TenantID)
	for _, column := range []struct{ name, value string }{
		{"resource_id", f.ResourceID}, {"resource_type", f.ResourceType}, {"scope", f.Scope}, {"type", f.Type},
		{"workspace_id", f.WorkspaceID}, {"owner_user_id", f.OwnerUserID},
		{"external_user_id", f.ExternalUserID}, {"external_workspace_id", f.ExternalWorkspaceID},
	} {
		q.equalIfSet(column.name, column.value)
	}
	if f.Cursor != "" {
		created, id, err := parseListCursor(f.Cursor)
		if err != nil {
			return nil, "", err
		}
		q.after("", created, id)
	}
	query := `SELECT ` + secretColumns + ` FROM secrets` + q.String() + ` ORDER BY created_at, id`
	if !everything {
		query += ` LIMIT ` + strconv.Itoa(limit+1)
	}
	err = s.read(ctx, a, func(t *txn) error {
		list, next = []api.Secret{}, ""
		keys, err := t.keys(a.TenantID)
		if err != nil {
			return err
		}
		rows, err := t.Query(query, q.args...)
		if err != nil {
			return err
		}
		defer func() { _ = rows.Close() }()
		var last secretRow
		for rows.Next() {
			row, err := scanSecret(rows)
			if err != nil {
				return err
			}
			if !everything && len(list) == limit {
				next = listCursor(last.created, last.id)
				break
			}
			secret, err := row.answer(keys)
			if err != nil {
				return err
			}
			list, last = append(list, secret), row
		}
		return rows.Err()
	})
	return list, next, err
}

// Secret returns one secret. Errors: ErrNotFound, ErrDenied for a resource key.
func (s *Store) Secret(ctx context.Context, a Actor, id string) (secret api.Secret, err error) {
	if err := s.tenantOnly(ctx, a, actSecretRead); err != nil {
		return api.Secret{}, err
	}
	err = s.read(ctx, a, func(t *txn) error {
		keys, err := t.keys(a.TenantID)
		if err != nil {
			return err
		}
		row, err := t.secret(id)
		if err != nil {
			return err
		}
		secret, err = row.answer(keys)
		return err
	})
	return secret, err
}

// RotateSecret replaces a value, raises the version by one and wakes the reveals it concerns.
// Errors: ErrInvalid, ErrNotFound, ErrDenied for a resource key.
func (s *Store) RotateSecret(ctx context.Context, a Actor, id string, r Rotation) (secret api.Secret, err error) {
	if err := s.tenantOnly(ctx, a, actSecretRotate); err != nil {
		return api.Secret{}, err
	}
	if err := errors.Join(checkValue("value", r.Value, true), checkValue("refresh_token", r.RefreshToken, false)); err != nil {
		return api.Secret{}, first(err)
	}
	err = s.write(ctx, a, func(t *txn) error {
		row, err := t.secret(id)
		if err != nil {
			return err
		}
		keys, err := t.keys(a.TenantID)
		if err != nil {
			return err
		}
		refresh := r.RefreshToken
		if refresh == nil {
			// The version is part of what a field is sealed under, so what stays is sealed again.
			if refresh, err = t.refreshToken(keys, row); err != nil {
				return err
			}
		}
		switch {
		case r.ExpiresAt != nil:
			row.expires = micros(r.ExpiresAt)
		case r.NeverExpires || row.expires.Int64 <= t.now.UnixMicro():
			row.expires = sql.NullInt64{}
		}
		g, err := t.grant(id)
		if err != nil {
			return err
		}
		if g != nil {
			row.metadata = withOAuth(row.metadata, api.OAuthConnected, "")
		}
		if err := t.rotate(keys, &row, *r.Value, refresh); err != nil {
			return err
		}
		if g != nil {
			if err := t.setGrant(row, g); err != nil {
				return err
			}
		}
		secret, err = row.answer(keys)
		return err
	})
	return secret, err
}

// rotate gives row its next version: it seals, stores, wakes and audits.
func (t *txn) rotate(keys *keyring.Keys, row *secretRow, value api.Value, refresh *api.Value) error {
	row.version, row.updated = row.version+1, t.now.UnixMicro()
	if err := row.seal(keys, value, refresh); err != nil {
		return err
	}
	if err := t.updateSecret(*row); err != nil {
		return err
	}
	if _, err := t.wakeBound(row.id); err != nil {
		return err
	}
	return t.auditSecret(actSecretRotate, *row)
}

// DeleteSecret deletes a secret and its bindings. It opens nothing, so a row that was damaged can be
// deleted too. Errors: ErrNotFound, ErrDenied for a resource key.
func (s *Store) DeleteSecret(ctx context.Context, a Actor, id string) error {
	if err := s.tenantOnly(ctx, a, actSecretDelete); err != nil {
		return err
	}
	return s.write(ctx, a, func(t *txn) error {
		row, err := t.secret(id)
		if err != nil {
			return err
		}
		bound, err := t.wakeBound(id)
		if err != nil {
			return err
		}
		event := api.Event{Action: actSecretDelete, SecretID: id, Version: row.version,
			ResourceType: row.resource.Type, ResourceID: row.resource.ID}
		for _, bindingID := range bound {
			event.Bindings = append(event.Bindings, api.EventRef{ID: bindingID, SecretID: id, Version: row.version})
		}
		if err := t.Exec(`DELETE FROM bindings WHERE secret_id = $1`, id); err != nil {
			return err
		}
		if err := t.Exec(`DELETE FROM oauth_grants WHERE secret_id = $1`, id); err != nil {
			return err
		}
		if err := t.Exec(`DELETE FROM secrets WHERE id = $1`, id); err != nil {
			return err
		}
		return t.audit(event)
	})
}

func (t *txn) auditSecret(action string, row secretRow) error {
	return t.audit(api.Event{Action: action, SecretID: row.id, Version: row.version,
		ResourceType: row.resource.Type, ResourceID: row.resource.ID})
}

// wakeBound wakes every resource the secret is bound to after the commit, and returns the bindings' ids.
func (t *txn) wakeBound(secretID string) (bindingIDs []string, err error) {
	rows, err := t.Query(`SELECT id, resource_type, resource_id FROM bindings WHERE secret_id = $1 ORDER BY created_at, id`, secretID)
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		var id string
		var r api.Resource
		if err := rows.Scan(&id, &r.Type, &r.ID); err != nil {
			return nil, err
		}
		bindingIDs = append(bindingIDs, id)
		t.wake(r)
	}
	return bindingIDs, rows.Err()
}
