package store

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"time"

	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/vault/oauth"
	"github.com/Miosa-osa/miosa-env/vault/query"
)

// Rotation is the next value of a secret.
type Rotation struct {
	Value        api.Value  // required; may be empty, but not the zero Value
	RefreshToken api.Value  // empty: keep
	ExpiresAt    *time.Time // nil: keep the current one if it is in the future, else none
	NeverExpires bool       // with ExpiresAt nil: none

	Egress *api.EgressRule // nil: keep; zero: none
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

	Page
}

// PutSecret creates a secret, or replaces the one of the same name, scope, owners and resource and increments
// its version. One that is replaced keeps its egress rule, unless n has another. With ExposeAsEnv and a resource it also binds the
// secret, in the same transaction; otherwise the binding is nil. g says how the vault refreshes the value; nil: it doesn't.
// Errors: ErrInvalid, ErrConflict (the name is bound to another secret), ErrDenied for a resource key.
func (s *Store) PutSecret(ctx context.Context, a Actor, n api.NewSecret, g *Grant) (secret api.Secret, binding *api.Binding, created bool, err error) {
	bytes := n.Value.Len() + n.RefreshToken.Len() + len(n.Metadata)
	err = s.change(ctx, a, actSecretCreate, bytes, Complete(&n), func(t *txn) error {
		secret, binding, created, err = t.put(n, g)
		return err
	})
	return secret, binding, created, err
}

// put is PutSecret in a transaction, for a secret that is complete.
func (t *txn) put(n api.NewSecret, g *Grant) (secret api.Secret, binding *api.Binding, created bool, err error) {
	if err := t.mayUse(actSecretCreate, n.Scope, n.Resource); err != nil {
		return secret, nil, false, err
	}
	r := row(n)
	r.tenant, r.UpdatedAt = t.actor.TenantID, t.now
	upsert := r.upsertKey()
	old, err := one(t, "secret", (*secretRow).fields, selectSecrets+` WHERE tenant_id = $1 AND upsert_key = $2`, r.tenant, upsert)
	created = errors.Is(err, api.ErrNotFound)
	switch {
	case created:
		r.ID, r.CreatedAt = newID("sec_"), r.UpdatedAt
	case err != nil:
		return secret, nil, false, err
	case old.upsertKey() != upsert: // mac doesn't cover that column
		return secret, nil, false, &alteredError{"secrets", old.tenant, old.ID}
	default:
		r.ID, r.Version, r.CreatedAt, r.rule = old.ID, old.Version, old.CreatedAt, old.rule
	}
	r.Version++
	if created && n.Egress == nil && g != nil {
		r.rule = newRule(g.Rule)
	} else if created && n.Egress != nil && newRule(n.Egress) != "" {
		if err := t.mayRule(r); err != nil {
			return secret, nil, false, err
		}
		r.rule = newRule(n.Egress)
	}
	if err := t.seal(&r, n.Value, n.RefreshToken); err != nil {
		return secret, nil, false, err
	}
	if !created {
		err = t.replace(r, actSecretReplace)
	} else if err = t.insert("secrets", append(append(r.stored(), r.sealed()...), column{"upsert_key", &upsert})); err == nil {
		err = cmp.Or(t.use(usage{secrets: 1, bytes: int64(len(r.value) + len(r.refresh) + len(r.Metadata) + len(r.rule))}), t.audit(secretEvent(actSecretCreate, r)))
	}
	switch {
	case err == nil && !created:
		err = t.changeRule(&r, n.Egress)
	case err == nil && r.rule != "":
		err = t.auditRule(r)
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
	secret, err = t.changed(r, n.Metadata)
	return secret, binding, created, err
}

// replace stores a new version of a secret, audits it, and wakes the reveals that wait for it.
func (t *txn) replace(r secretRow, action string) error {
	if err := t.updateSecret(r.ID, slices.Concat(r.changing(), r.encrypted(), r.sealed())); err != nil {
		return err
	}
	if _, err := t.wakeBound(r.ID); err != nil {
		return err
	}
	return t.audit(secretEvent(action, r))
}

// Secrets lists a page of secrets, oldest first. next is the cursor of the next page, "" at the end. A page may have fewer
// secrets than its limit.
// Errors: ErrInvalid, ErrDenied for a resource key.
func (s *Store) Secrets(ctx context.Context, a Actor, f SecretFilter) (page []api.Secret, next string, err error) {
	page, err = readMuch(ctx, s, a, actSecretRead, query.PageBytes, func(t *txn) ([]api.Secret, error) {
		var c query.Conditions
		c.Add("tenant_id =", a.TenantID)
		c.Match("resource_id", f.ResourceID, "resource_type", f.ResourceType, "scope", f.Scope, "type", f.Type,
			"workspace_id", f.WorkspaceID, "owner_user_id", f.OwnerUserID, "external_user_id", f.ExternalUserID,
			"external_workspace_id", f.ExternalWorkspaceID)
		t.actor.limitSecrets(&c, "")
		if err := c.After("", f.Cursor); err != nil {
			return nil, err
		}
		var rows []secretRow
		rows, next, err = list(t, f.Page, (*secretRow).fields, func(r *secretRow) int { return len(r.Metadata) + len(r.rule) },
			func(r *secretRow) string { return query.NewCursor(r.CreatedAt, r.ID) }, selectSecrets+c.String()+` ORDER BY created_at, id`, c.Args...)
		if err != nil {
			return nil, err
		}
		page := make([]api.Secret, len(rows))
		for i := range rows {
			if page[i], err = t.answer(rows[i]); err != nil {
				return nil, err
			}
		}
		return page, nil
	})
	return page, next, err
}

// Secret returns one secret. Errors: ErrNotFound, ErrDenied for a resource key.
func (s *Store) Secret(ctx context.Context, a Actor, id string) (api.Secret, error) {
	return s.secretFor(ctx, a, actSecretRead, id)
}

// SecretToRotate is Secret for a key that may rotate secrets.
func (s *Store) SecretToRotate(ctx context.Context, a Actor, id string) (api.Secret, error) {
	return s.secretFor(ctx, a, actSecretRotate, id)
}

func (s *Store) secretFor(ctx context.Context, a Actor, action, id string) (api.Secret, error) {
	return read(ctx, s, a, action, func(t *txn) (api.Secret, error) {
		r, err := t.secret(id)
		if err != nil {
			return api.Secret{}, err
		}
		return t.answer(r)
	})
}

// RotateSecret replaces a value, increments the version and wakes the reveals that wait for it.
// Errors: ErrInvalid, ErrNotFound, ErrDenied for a resource key.
func (s *Store) RotateSecret(ctx context.Context, a Actor, id string, next Rotation) (secret api.Secret, err error) {
	invalid := cmp.Or(checkValue(next.Value), checkPlaintext("refresh_token", next.RefreshToken), checkRule(next.Egress))
	err = s.change(ctx, a, actSecretRotate, next.Value.Len()+next.RefreshToken.Len(), invalid, func(t *txn) error {
		secret, err = t.rotateSecret(id, next)
		return err
	})
	return secret, err
}

// rotateSecret is RotateSecret in a transaction.
func (t *txn) rotateSecret(id string, next Rotation) (secret api.Secret, err error) {
	r, err := t.secret(id)
	if err != nil {
		return secret, err
	}
	refresh := next.RefreshToken
	if refresh.Len() == 0 {
		// A field is sealed with its version, so the token that stays is sealed again.
		if refresh, err = t.refreshToken(r); err != nil {
			return secret, err
		}
		defer refresh.Wipe()
	}
	switch {
	case next.ExpiresAt != nil:
		r.ExpiresAt = inMicros(next.ExpiresAt)
	case next.NeverExpires || r.ExpiresAt != nil && !r.ExpiresAt.After(t.now):
		r.ExpiresAt = nil
	}
	plan, err := t.schedule(id)
	if err != nil {
		return secret, err
	}
	if plan != nil {
		r.Metadata = oauth.WithStatus(r.Metadata, api.OAuthConnected, "")
	}
	if err := t.rotate(&r, next.Value, refresh); err != nil {
		return secret, err
	}
	if plan != nil {
		if err := t.setSchedule(r, &plan.Grant); err != nil {
			return secret, err
		}
	}
	if err := t.changeRule(&r, next.Egress); err != nil {
		return secret, err
	}
	return t.changed(r, nil)
}

// rotate stores the next version of r.
func (t *txn) rotate(r *secretRow, value, refresh api.Value) error {
	r.Version, r.UpdatedAt = r.Version+1, t.now
	if err := t.seal(r, value, refresh); err != nil {
		return err
	}
	return t.replace(*r, actSecretRotate)
}

// DeleteSecret deletes a secret and its bindings. It decrypts and verifies nothing, so a damaged row can be deleted too.
// Errors: ErrNotFound, ErrDenied for a resource key.
func (s *Store) DeleteSecret(ctx context.Context, a Actor, id string) error {
	return s.write(ctx, a, actSecretDelete, func(t *txn) error {
		c := t.ofSecret(id)
		read, err := one(t, "secret", func(u *unverified[secretRow]) []any { return u.row.fields() }, selectSecrets+c.String(), c.Args...)
		if err != nil {
			return err
		}
		r := read.row
		bound, err := t.wakeBound(id)
		if err != nil {
			return err
		}
		e := secretEvent(actSecretDelete, r)
		for _, b := range bound {
			e.Bindings = append(e.Bindings, api.EventRef{ID: b.ID, SecretID: id, Version: r.Version})
		}
		size, err := t.sizeOf(id)
		if err != nil {
			return err
		}
		var rules int64
		if err := t.QueryRow(`SELECT COALESCE(SUM(OCTET_LENGTH(egress)), 0) FROM bindings WHERE secret_id = $1`, id).Scan(&rules); err != nil {
			return err
		}
		for _, from := range []string{"bindings WHERE secret_id", "oauth_grants WHERE secret_id", "secrets WHERE id"} {
			if err := t.Exec(`DELETE FROM `+from+` = $1`, id); err != nil {
				return err
			}
		}
		return cmp.Or(t.use(usage{-1, -int64(len(bound)), -size - rules}), t.audit(e))
	})
}

// giveUp frees what the secret that replaces old needs: the upsert key, and old's part of the tenant's usage.
func (t *txn) giveUp(old secretRow) error {
	size, err := t.sizeOf(old.ID)
	if err != nil {
		return err
	}
	if err := t.use(usage{secrets: -1, bytes: -size}); err != nil {
		return err
	}
	return t.Exec(`UPDATE secrets SET upsert_key = id WHERE id = $1`, old.ID) // no hash is an id
}

// replaceSecret moves the bindings of a secret to another one, and deletes it. giveUp was called before.
func (t *txn) replaceSecret(old secretRow, by api.Secret) error {
	bound, err := collect(t, (*bindingRow).fields, selectBindings+` WHERE b.secret_id = $1 ORDER BY b.created_at, b.id`, old.ID)
	if err != nil {
		return err
	}
	moved := api.Event{Action: actBindingMove, SecretID: by.ID, Version: by.Version, Detail: old.ID}
	for _, b := range bound {
		b.SecretID = by.ID
		if err := t.authenticate(&b); err != nil {
			return err
		}
		if err := t.update("bindings", b.ID, columns{{"secret_id", &b.SecretID}, b.rowMAC.column()}); err != nil {
			return err
		}
		t.wake(b.Resource)
		t.more++
		moved.Bindings = append(moved.Bindings, api.EventRef{ID: b.ID, SecretID: by.ID, Version: by.Version})
	}
	if len(bound) > 0 {
		err := cmp.Or(t.checkSets(`SELECT resource_type, resource_id FROM bindings WHERE secret_id = $1`, by.ID),
			t.audit(moved))
		if err != nil {
			return err
		}
	}
	for _, from := range []string{"oauth_grants WHERE secret_id", "secrets WHERE id"} {
		if err := t.Exec(`DELETE FROM `+from+` = $1`, old.ID); err != nil {
			return err
		}
	}
	return t.audit(secretEvent(actSecretDelete, old))
}

func secretEvent(action string, r secretRow) api.Event {
	return api.Event{Action: action, SecretID: r.ID, Version: r.Version, ResourceType: orEmpty(r.ResourceType), ResourceID: orEmpty(r.ResourceID),
		Traffic: api.Traffic{ExternalUserID: orEmpty(r.ExternalUserID), ExternalWorkspaceID: orEmpty(r.ExternalWorkspaceID)}}
}

// wakeBound wakes the reveals of every resource that the secret is bound to after the commit, and returns its bindings:
// their ids and resources, oldest first.
func (t *txn) wakeBound(secretID string) ([]api.Binding, error) {
	bound, err := collect(t, func(b *api.Binding) []any { return []any{&b.ID, &b.Type, &b.Resource.ID} },
		`SELECT id, resource_type, resource_id FROM bindings WHERE secret_id = $1 ORDER BY created_at, id`, secretID)
	for _, b := range bound {
		t.wake(b.Resource)
	}
	t.touched += len(bound)
	return bound, err
}
