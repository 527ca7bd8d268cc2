package store

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"time"

	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/vault/audit"
	"github.com/Miosa-osa/miosa-env/vault/keyring"
	"github.com/Miosa-osa/miosa-env/vault/limit"
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

// IssueFirstKey is IssueKey by the operator for the named tenant, which it creates, with its keyset, if there is
// none of that name.
func (s *Store) IssueFirstKey(ctx context.Context, tenant string, n api.KeyRequest) (api.IssuedKey, error) {
	check := noResourceKey(n)
	if n.Broker {
		check = invalid("broker: the first key of a tenant is a tenant key")
	}
	if !tenantName.MatchString(tenant) {
		check = invalid("tenant must be 1 to 64 letters, digits or any of . _ @ -, the first a letter or digit")
	}
	return s.issueKey(ctx, operator, api.TenantKeyPrefix, n, check, func(t *txn) error {
		id, err := t.findOrCreateTenant(tenant)
		t.actor.TenantID = id
		return err
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

// findOrCreateTenant returns the id of the named tenant, which it creates if there is none.
func (t *txn) findOrCreateTenant(name string) (id string, err error) {
	ids, err := t.tenantIDs(name)
	switch {
	case err == nil:
		return ids[0], nil
	case !errors.Is(err, api.ErrNotFound):
		return "", err
	}
	id = newID("ten_")
	return id, t.newTenant(id, name)
}

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
	if err := t.Exec(`INSERT INTO tenant_usage (tenant_id, secrets, bindings, bytes) VALUES ($1, 0, 0, 0)`, id); err != nil {
		return err
	}
	_, err = t.startLog(id, keys)
	return err
}

// startLog creates the audit log's chain of a tenant, and returns the number of events that the tenant has already.
func (t *txn) startLog(tenant string, keys *keyring.Keys) (events int64, err error) {
	return (&audit.Log{Tx: t, Tenant: tenant, Keys: keys, Log: t.store.log, Now: t.now}).Start()
}

// usage is how much a tenant stores, as in the table tenant_usage, or a change of that.
type usage struct{ secrets, bindings, bytes int64 }

// use adds to the tenant's usage. Errors: ErrInvalid if that is more than the tenant may store.
func (t *txn) use(more usage) error {
	if more == (usage{}) {
		return nil
	}
	var now usage
	err := t.QueryRow(`UPDATE tenant_usage SET secrets = secrets + $1, bindings = bindings + $2, bytes = bytes + $3
		WHERE tenant_id = $4 RETURNING secrets, bindings, bytes`, more.secrets, more.bindings, more.bytes, t.actor.TenantID).
		Scan(&now.secrets, &now.bindings, &now.bytes)
	if err != nil {
		return fmt.Errorf("count what tenant %s stores: %w", t.actor.TenantID, err)
	}
	return t.allow(
		quota{limit.TenantSecrets, more.secrets, now.secrets}, quota{limit.TenantBindings, more.bindings, now.bindings},
		quota{limit.TenantBytes, more.bytes, now.bytes},
	)
}

// bytesStored returns how many bytes the actor's tenant stores.
func (t *txn) bytesStored() (bytes int64, err error) {
	err = t.QueryRow(`SELECT bytes FROM tenant_usage WHERE tenant_id = $1`, t.actor.TenantID).Scan(&bytes)
	return bytes, err
}

// quota is how much more there is of something, and how much then.
type quota struct {
	id        limit.ID
	more, now int64
}

// allow returns ErrInvalid if the actor's tenant has more of something than its limit and than before.
func (t *txn) allow(quotas ...quota) error {
	for _, q := range quotas {
		if q.more > 0 && t.actor.limited() != "" {
			if err := t.store.limits.Values.Check(q.id, q.now); err != nil {
				return err
			}
		}
	}
	return nil
}

// mayAdd returns ErrInvalid if a query, with the tenant's id as $1, has as many rows as a limit allows.
func (t *txn) mayAdd(id limit.ID, rows string, args ...any) error {
	if t.actor.limited() == "" {
		return nil
	}
	most := int64(t.store.limits.Values.Of(id))
	var have int64
	if err := t.QueryRow(`SELECT COUNT(*) FROM (`+rows+` LIMIT `+strconv.FormatInt(most, 10)+`) AS counted`,
		append([]any{t.actor.TenantID}, args...)...).Scan(&have); err != nil {
		return err
	}
	return t.allow(quota{id, 1, have + 1})
}

// TenantName returns the name of a tenant. Errors: ErrNotFound.
func (s *Store) TenantName(ctx context.Context, id string) (string, error) {
	return read(ctx, s, Actor{TenantID: id, local: true}, anyKey, func(t *txn) (string, error) {
		r, err := one(t, "tenant", (*tenantRow).fields, selectTenants+` WHERE id = $1`, id)
		return r.name, err
	})
}

// TenantNames returns the names of all tenants, oldest first.
func (s *Store) TenantNames(ctx context.Context) ([]string, error) {
	return read(ctx, s, operator, anyKey, func(t *txn) ([]string, error) {
		return collect(t, itself, `SELECT name FROM tenants ORDER BY created_at, id`)
	})
}

// OwnTenant is the name of the vault's own tenant, which has no keys and is created when it is first needed. No other tenant can
// have this name.
const OwnTenant = "(vault)"

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

// AuditLogs are the logs of all tenants, for the command line.
func (s *Store) AuditLogs() *audit.Logs {
	in := func(do func(*audit.Log) error) func(*txn) error {
		return func(t *txn) (err error) {
			if t.actor.TenantID == "" {
				if t.actor.TenantID, err = t.findOrCreateTenant(OwnTenant); err != nil {
					return err
				}
			}
			l, err := t.auditLog()
			if err == nil {
				err = do(l)
			}
			return err
		}
	}
	as := func(tenant string) Actor { return Actor{TenantID: tenant, local: true} }
	return &audit.Logs{
		Tenants: func(ctx context.Context) ([]string, error) { return s.tenantIDs(ctx, "") },
		Read: func(ctx context.Context, tenant string, do func(*audit.Log) error) error {
			_, err := read(ctx, s, as(tenant), anyKey, func(t *txn) (none struct{}, err error) { return none, in(do)(t) })
			return err
		},
		Write: func(ctx context.Context, tenant string, do func(*audit.Log) error) error {
			return s.write(ctx, as(tenant), anyKey, in(do))
		},
		Log: s.log, Step: s.step,
	}
}

// readChain is readLog for what concerns all events of the tenant. Errors: ErrDenied for a key that is restricted to some of them.
func readChain[T any](ctx context.Context, s *Store, a Actor, do func(*audit.Log) (T, error)) (result T, err error) {
	if len(a.Scopes) > 0 || len(a.Resources) > 0 {
		return result, s.deny(ctx, a, actAuditRead, api.Resource{}, "this key is restricted to some resources or scopes, and the chain is of all events")
	}
	return readLog(ctx, s, a, do)
}

// AuditHead returns the newest event's number and hash. Errors: as readChain, and ErrInternal if the head was changed outside of the vault.
func (s *Store) AuditHead(ctx context.Context, a Actor) (api.AuditHead, error) {
	return readChain(ctx, s, a, (*audit.Log).Head)
}

// VerifyAudit verifies at most limit further events with v. Errors: as readChain.
func (s *Store) VerifyAudit(ctx context.Context, a Actor, v *audit.Verifier, limit int) (api.AuditCheck, error) {
	var next audit.Verifier
	check, err := readChain(ctx, s, a, func(l *audit.Log) (api.AuditCheck, error) {
		next = *v // the transaction may run twice
		return next.Next(l, limit)
	})
	if err == nil {
		*v = next
	}
	return check, err
}

// AuditBytes is about how many bytes the audit logs of all tenants take.
func (s *Store) AuditBytes(ctx context.Context) (bytes int64, err error) {
	return read(ctx, s, Actor{local: true}, anyKey, func(t *txn) (bytes int64, err error) {
		err = t.QueryRow(`SELECT COALESCE(SUM(bytes), 0) FROM audit_chains`).Scan(&bytes)
		return bytes, err
	})
}

// chainAudit chains the events of all tenants of a database from before there were chains. It runs in the transaction of
// authenticateAll, so that a chain whose row is missing later is an altered one.
func (t *txn) chainAudit() error {
	ids, err := t.tenantIDs("")
	if err != nil {
		return err
	}
	for _, id := range ids {
		began := time.Now()
		keys, err := t.keysOf(id)
		if err != nil {
			return err
		}
		events, err := t.startLog(id, keys)
		if err != nil {
			return err
		}
		t.store.log.Info().Str("tenant_id", id).Int64("events", events).Stringer("took", time.Since(began).Round(time.Millisecond)).
			Msg("audit log chained")
		if err := t.store.step("audit log chained"); err != nil {
			return err
		}
	}
	return nil
}
