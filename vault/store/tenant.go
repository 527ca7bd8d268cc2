package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"regexp"

	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/vault/keyring"
)

var errNoTenant = api.NewError(api.ErrNotFound, "no such tenant")

var tenantName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._@-]{0,63}$`)

// CreateTenantKey creates a key of the named tenant, and the tenant with its keyset if there is none of that name.
// Errors: ErrInvalid.
func (s *Store) CreateTenantKey(ctx context.Context, tenant string) (TenantKey, error) {
	if !tenantName.MatchString(tenant) {
		return TenantKey{}, invalid("tenant must be 1 to 64 letters, digits or any of . _ @ -, the first a letter or digit")
	}
	key := api.NewKey(api.TenantKeyPrefix)
	var k Key
	err := s.write(ctx, Actor{KeyID: localKeyID, local: true}, func(t *txn) (err error) {
		t.actor.TenantID, err = t.tenantNamed(tenant)
		if errors.Is(err, api.ErrNotFound) {
			t.actor.TenantID, err = t.newTenant(tenant)
		}
		if err != nil {
			return err
		}
		return t.insertKey(&k, key, api.Resource{})
	})
	if err != nil {
		return TenantKey{}, err
	}
	return TenantKey{k.ID, key}, nil
}

// LocalActor is the operator on the vault's machine, acting for the named tenant. Errors: ErrNotFound.
func (s *Store) LocalActor(ctx context.Context, tenant string) (Actor, error) {
	a := Actor{KeyID: localKeyID, local: true}
	err := s.read(ctx, a, func(t *txn) (err error) {
		a.TenantID, err = t.tenantNamed(tenant)
		return err
	})
	return a, err
}

// tenantIDs returns the id of the named tenant, or with "" those of all tenants. Errors: ErrNotFound.
func (s *Store) tenantIDs(ctx context.Context, name string) (ids []string, err error) {
	var c conditions
	c.equalIfSet("name", name)
	err = s.read(ctx, Actor{local: true}, func(t *txn) error {
		ids, err = collect(t, scanText, `SELECT id FROM tenants`+c.String()+` ORDER BY created_at, id`, c.args...)
		return err
	})
	if err == nil && name != "" && len(ids) == 0 {
		return nil, errNoTenant
	}
	return ids, err
}

// newTenant creates a tenant with a keyset of its own.
func (t *txn) newTenant(name string) (id string, err error) {
	id = newID("ten_")
	keys, err := keyring.NewKeys(id)
	if err != nil {
		return "", err
	}
	w, err := t.wrap(keys)
	if err != nil {
		return "", err
	}
	err = t.Exec(`INSERT INTO tenants (id, name, keyset, generation, root_key_id, created_at) VALUES ($1, $2, $3, $4, $5, $6)`,
		id, name, w.Keyset, w.Generation, w.RootKeyID, t.now.UnixMicro())
	return id, err
}

// tenantNamed returns the id of a tenant. Errors: ErrNotFound.
func (t *txn) tenantNamed(name string) (id string, err error) {
	err = t.QueryRow(`SELECT id FROM tenants WHERE name = $1`, name).Scan(&id)
	if errors.Is(err, sql.ErrNoRows) {
		return "", errNoTenant
	}
	return id, err
}

// keys returns the tenant's keyset in the generation that the transaction sees.
func (t *txn) keys(tenant string) (*keyring.Keys, error) {
	w := keyring.Wrapped{Tenant: tenant}
	err := t.QueryRow(`SELECT generation, root_key_id, keyset FROM tenants WHERE id = $1`, tenant).
		Scan(&w.Generation, &w.RootKeyID, &w.Keyset)
	if err != nil {
		return nil, fmt.Errorf("read keyset of tenant %s: %w", tenant, err)
	}
	return t.store.keys.Unwrap(w)
}

// wrap wraps a keyset with the root key that the root_key row names, in a transaction that writes.
func (t *txn) wrap(keys *keyring.Keys) (keyring.Wrapped, error) {
	var current int64
	if err := t.QueryRow(`SELECT key_id FROM root_key WHERE id = 1`).Scan(&current); err != nil {
		return keyring.Wrapped{}, fmt.Errorf("read root key id: %w", err)
	}
	return t.store.keys.Wrap(keys, current)
}

// saveKeys replaces a tenant's stored keyset.
func (t *txn) saveKeys(tenant string, keys *keyring.Keys) error {
	w, err := t.wrap(keys)
	if err != nil {
		return err
	}
	return t.Exec(`UPDATE tenants SET keyset = $1, generation = $2, root_key_id = $3 WHERE id = $4`,
		w.Keyset, w.Generation, w.RootKeyID, tenant)
}
