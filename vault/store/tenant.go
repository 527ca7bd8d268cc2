package store

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"time"

	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/vault/audit"
	"github.com/Miosa-osa/miosa-env/vault/keyring"
)

var tenantName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._@-]{0,63}$`)

// CreateTenantKey creates an unrestricted key of the named tenant, and the tenant with its keyset if there is none of that
// name. Errors: ErrInvalid.
func (s *Store) CreateTenantKey(ctx context.Context, tenant string) (TenantKey, error) {
	k, err := s.IssueFirstKey(ctx, tenant, api.KeyRequest{})
	if err != nil {
		return TenantKey{}, err
	}
	key, err := api.ParseKey(k.Key)
	return TenantKey{k.ID, key}, err
}

// IssueFirstKey is IssueTenantKey by the operator for the named tenant, which it creates, with its keyset, if there is
// none of that name.
func (s *Store) IssueFirstKey(ctx context.Context, tenant string, n api.KeyRequest) (api.IssuedKey, error) {
	return s.issueKey(ctx, operator, api.TenantKeyPrefix, n, func(t *txn) error {
		if !tenantName.MatchString(tenant) {
			return invalid("tenant must be 1 to 64 letters, digits or any of . _ @ -, the first a letter or digit")
		}
		ids, err := t.tenantIDs(tenant)
		if errors.Is(err, api.ErrNotFound) {
			ids = []string{newID("ten_")}
			err = t.newTenant(ids[0], tenant)
		}
		if err != nil {
			return err
		}
		t.actor.TenantID = ids[0]
		return tenantKeyOnly(n)
	})
}

// LocalActor is the operator on the vault's machine, acting for the named tenant. Errors: ErrNotFound.
func (s *Store) LocalActor(ctx context.Context, tenant string) (Actor, error) {
	a := operator
	ids, err := s.tenantIDs(ctx, tenant)
	if err == nil {
		a.TenantID = ids[0]
	}
	return a, err
}

// tenantIDs returns the id of the named tenant, or with "" those of all tenants. Errors: ErrNotFound.
func (s *Store) tenantIDs(ctx context.Context, name string) (ids []string, err error) {
	return read(ctx, s, operator, anyKey, func(t *txn) ([]string, error) { return t.tenantIDs(name) })
}

func (t *txn) tenantIDs(name string) ([]string, error) {
	if name == "" { // each tenant's keyset is bound to its id
		return collect(t, itself, `SELECT id FROM tenants ORDER BY created_at, id`)
	}
	tenant, err := one(t, "tenant", (*tenantRow).fields, selectTenants+` WHERE name = $1`, name)
	return []string{tenant.id}, err
}

// tenantRow is a tenant without its keyset.
type tenantRow struct {
	id, name string
	created  time.Time
	rowMAC
}

func (r *tenantRow) columns() columns {
	return columns{{"id", &r.id}, {"name", &r.name}, {"created_at", &r.created}}
}

func (r *tenantRow) covered() (table, tenant, id string, c columns) {
	return "tenants", r.id, r.id, r.columns()
}

func (r *tenantRow) stored() columns { return append(r.columns(), r.rowMAC.column()) }

func (r *tenantRow) fields() []any { return r.stored().fields() }

var selectTenants = `SELECT ` + new(tenantRow).stored().names("") + ` FROM tenants`

// newTenant creates a tenant with a keyset of its own.
func (t *txn) newTenant(id, name string) error {
	keys, err := keyring.NewKeys(id)
	if err != nil {
		return err
	}
	w, err := t.wrap(keys)
	if err != nil {
		return err
	}
	t.useKeys(id, keys)
	r := tenantRow{id: id, name: name, created: t.now}
	if err := t.authenticate(&r); err != nil {
		return err
	}
	err = t.insert("tenants", append(r.stored(), column{"keyset", &w.Keyset}, column{"generation", &w.Generation}, column{"root_key_id", &w.RootKeyID}))
	if err != nil {
		return err
	}
	_, err = (&audit.Log{Tx: t, Tenant: id, Keys: keys, Log: t.store.log, Now: t.now}).Start()
	return err
}

// wrap wraps a keyset with the root key that the root_key row names, in a transaction that writes.
func (t *txn) wrap(keys *keyring.Keys) (keyring.Wrapped, error) {
	var current int64
	if err := t.QueryRow(`SELECT key_id FROM root_key WHERE id = 1`).Scan(&current); err != nil {
		return keyring.Wrapped{}, fmt.Errorf("read root key id: %w", err)
	}
	return t.store.keys.Wrap(keys, current)
}

// changeKeys replaces the tenant's keyset by the one that change returns, and audits that as action.
func (t *txn) changeKeys(action string, change func(*keyring.Keys) (*keyring.Keys, error)) error {
	keys, err := t.keys()
	if err != nil {
		return err
	}
	if keys, err = change(keys); err != nil {
		return err
	}
	w, err := t.wrap(keys)
	if err != nil {
		return err
	}
	t.useKeys(t.actor.TenantID, keys)
	err = t.update("tenants", t.actor.TenantID, columns{{"keyset", &w.Keyset}, {"generation", &w.Generation}, {"root_key_id", &w.RootKeyID}})
	if err != nil {
		return err
	}
	return t.audit(api.Event{Action: action})
}
