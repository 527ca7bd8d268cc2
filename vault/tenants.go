package vault

import (
	"database/sql"
	"errors"
	"fmt"

	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/vault/keyring"
)

var errNoTenant = api.NewError(api.ErrNotFound, "no such tenant")

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
