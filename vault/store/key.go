package store

import (
	"cmp"
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/vault/audit"
	"github.com/Miosa-osa/miosa-env/vault/limit"
	"github.com/Miosa-osa/miosa-env/vault/query"
)

// operator is the command line on the vault's machine, which uses no key.
var operator = Actor{KeyID: "local", local: true}

// Operator is the operator on the vault's machine, for methods that need no tenant.
func Operator() Actor { return operator }

// TenantKey is a new tenant key. The store keeps only its hash.
type TenantKey struct {
	ID  string
	Key api.Key
}

// Key is an issued key with its tenant. The key itself is known only when it is created.
type Key struct {
	api.IssuedKey
	TenantID   string
	TenantName string

	hash string
	rowMAC
}

// resources are the resources whose sets the key reveals.
func (k *Key) resources() (list []api.Resource) {
	if !k.Broker {
		return []api.Resource{k.Resource}
	}
	for _, text := range k.Resources {
		if r, err := api.ParseResource(text); err == nil {
			list = append(list, r)
		}
	}
	return list
}

// columns are the columns that every mac of a key covers, also in rows from before there were broker keys.
func (k *Key) columns() columns {
	return columns{
		{"id", &k.ID}, {"tenant_id", &k.TenantID}, {"resource_type", &k.Resource.Type}, {"resource_id", &k.Resource.ID},
		{"label", &k.Label}, {"parent_id", &k.ParentID},
		{"permissions", &k.Permissions}, {"scopes", &k.Scopes}, {"resources", &k.Resources},
		{"created_at", &k.CreatedAt}, {"expires_at", &k.ExpiresAt}, {"revoked_at", &k.RevokedAt}, {"hash", &k.hash},
	}
}

func (k *Key) covered() (table, tenant, id string, c columns) {
	c = k.columns()
	if k.Broker {
		c = append(c, column{"broker", &k.Broker})
	}
	return "api_keys", k.TenantID, k.ID, c
}

func (k *Key) stored() columns {
	return append(k.columns(), column{"broker", &k.Broker}, k.rowMAC.column())
}

func (k *Key) fields() []any {
	return append(k.stored().fields(), stored{&k.LastUsedAt}, &k.TenantName)
}

var selectKeys = `SELECT ` + new(Key).stored().names("k.") + `, k.last_used_at, t.name FROM api_keys k JOIN tenants t ON t.id = k.tenant_id`

// listKeys lists keys, oldest first. Columns in c are prefixed with k (keys) or t (tenants).
func (t *txn) listKeys(c query.Conditions) ([]Key, error) {
	return collect(t, (*Key).fields, selectKeys+c.String()+keysInOrder, c.Args...)
}

var errKey = api.NewError(api.ErrUnauthorized, "the key is unknown, revoked or expired")

// Authenticate returns the actor of a key. Errors: ErrUnauthorized for a key that is malformed, unknown, revoked or
// expired, without saying which.
func (s *Store) Authenticate(ctx context.Context, text string) (Actor, error) {
	key, err := api.ParseKey(text)
	if err != nil {
		return Actor{}, refusedKey{audit.Refusal{Reason: audit.Unknown}}
	}
	hash := hashOf(key.Reveal())
	cache := s.authenticated.Load()
	if cached, ok := cache.actors.Load(hash); ok {
		if a := cached.(Actor); a.ExpiresAt == nil || a.ExpiresAt.After(time.Now()) {
			s.uses.Add(a.KeyID, time.Now())
			return a, nil
		}
	}
	a, err := read(ctx, s, Actor{local: true}, anyKey, func(t *txn) (Actor, error) {
		k, err := one(t, "key", (*Key).fields, selectKeys+` WHERE k.hash = $1`, hash)
		if err == nil {
			err = t.endedError(&k)
		}
		switch {
		case errors.Is(err, api.ErrNotFound):
			err = refusedKey{audit.Refusal{Reason: audit.Unknown}}
		case errors.Is(err, errKey):
			reason := audit.Revoked
			if k.RevokedAt == nil && k.ExpiresAt != nil && !k.ExpiresAt.After(t.now) {
				reason = audit.Expired
			}
			err = refusedKey{audit.Refusal{Tenant: k.TenantID, KeyID: k.ID, Reason: reason}}
		}
		return Actor{KeyID: k.ID, TenantID: k.TenantID, Resource: k.Resource, Restrictions: k.Restrictions, ExpiresAt: k.ExpiresAt,
			mac: string(k.code), broker: k.Broker}, err
	})
	if _, altered := errors.AsType[*alteredError](err); altered {
		err = errKey
	}
	if err != nil {
		return Actor{}, err
	}
	if cache.size.Add(1) > maxAuthenticated {
		s.authenticated.CompareAndSwap(cache, new(authCache))
	}
	cache.actors.Store(hash, a)
	s.uses.Add(a.KeyID, time.Now())
	return a, nil
}

// authCache has the actors of valid keys by the keys' hashes, so that a request need not read them from the database.
// Nothing relies on it alone: every transaction checks its actor's key, and so does CheckKey. After a revocation an empty one takes
// its place, so what was read before isn't found later.
type authCache struct {
	actors sync.Map
	size   atomic.Int64
}

// maxAuthenticated is the number of keys that are cached.
const maxAuthenticated = 1 << 14

// errUnsettled is the error of a key that is listed as revoked, while it isn't known whether that was committed. The client keeps its values.
var errUnsettled = api.NewError(api.ErrUnavailable, "the key is being revoked, and the database has not confirmed it yet")

// CheckKey checks that the actor's key is valid now, for what is done or answered without another transaction: a revocation by another
// process may have been committed since Authenticate. Errors: ErrUnauthorized.
func (s *Store) CheckKey(ctx context.Context, a Actor) error {
	_, err := read(ctx, s, a, anyKey, func(*txn) (struct{}, error) { return struct{}{}, nil })
	return err
}

// endedError is the error of a key that was revoked or has expired; nil: it is valid.
func (t *txn) endedError(k *Key) error {
	if k.Ended(t.now) {
		return errKey
	}
	if !t.store.revocations.Refuses(k.ID, t.now) {
		return nil
	}
	if _, unsettled := t.store.unsettled.Load(k.ID); unsettled {
		return errUnsettled
	}
	return errKey
}

// CreateResourceKey creates an unrestricted key for one resource. expiresAt nil: never. Errors: as IssueResourceKey.
func (s *Store) CreateResourceKey(ctx context.Context, a Actor, r api.Resource, expiresAt *time.Time) (api.IssuedKey, error) {
	return s.IssueResourceKey(ctx, a, api.KeyRequest{Resource: r, ExpiresAt: expiresAt})
}

// IssueResourceKey creates a key that may list and reveal one resource's bindings, under the actor's key. The store keeps
// only a hash of it. Errors: ErrInvalid, ErrDenied for a resource key and for what exceeds the actor's restrictions.
func (s *Store) IssueResourceKey(ctx context.Context, a Actor, n api.KeyRequest) (api.IssuedKey, error) {
	check := n.Resource.Validate()
	if len(n.Permissions) > 0 || len(n.Resources) > 0 || n.Broker {
		check = invalid("permissions, resources and broker are for other keys: a resource key lists and reveals the bindings of its one resource")
	}
	return s.issueKey(ctx, a, api.ResourceKeyPrefix, n, check, nil)
}

// IssueKey creates a tenant key or a broker key under the actor's key. Errors: as IssueResourceKey.
func (s *Store) IssueKey(ctx context.Context, a Actor, n api.KeyRequest) (api.IssuedKey, error) {
	return s.issueKey(ctx, a, prefixOf(n), n, noResourceKey(n), nil)
}

// prefixOf is the prefix of a key to issue.
func prefixOf(n api.KeyRequest) string {
	switch {
	case n.Broker:
		return api.BrokerKeyPrefix
	case n.Resource == (api.Resource{}):
		return api.TenantKeyPrefix
	}
	return api.ResourceKeyPrefix
}

func noResourceKey(n api.KeyRequest) error {
	switch {
	case n.Resource != (api.Resource{}):
		return invalid("resource_type and resource_id are for resource keys: POST /egress/resource-keys creates them")
	case n.Broker && len(n.Permissions) > 0:
		return invalid("permissions are for tenant keys: a broker key reveals what its resources get placeholders for")
	}
	return nil
}

// issueKey creates a key, unless check is an error. In the same transaction it calls first, unless that is nil.
func (s *Store) issueKey(ctx context.Context, a Actor, prefix string, n api.KeyRequest, check error, first func(*txn) error) (api.IssuedKey, error) {
	key := api.NewKey(prefix)
	var k Key
	invalid := cmp.Or(check, n.Restrictions.Validate(), checkText("label", n.Label, maxName))
	err := s.change(ctx, a, actKeyCreate, 0, invalid, func(t *txn) (err error) {
		if first != nil {
			err = first(t)
		}
		if err != nil {
			return err
		}
		k, err = t.issue(n, key)
		return err
	})
	if err != nil {
		return api.IssuedKey{}, err
	}
	k.Key = key.Reveal()
	return k.IssuedKey, nil
}

// issue creates a key under the actor's.
func (t *txn) issue(n api.KeyRequest, key api.Key) (k Key, err error) {
	if err := cmp.Or(n.Restrictions.Validate(), checkText("label", n.Label, maxName)); err != nil {
		return k, err
	}
	if n.ExpiresAt != nil && !n.ExpiresAt.After(t.now) {
		return k, errPastExpiry
	}
	if n.Resource != (api.Resource{}) {
		if err := t.mayUseResource(actKeyCreate, n.Resource); err != nil {
			return k, err
		}
	}
	k.Resource, k.Label, k.ExpiresAt = n.Resource, n.Label, inMicros(n.ExpiresAt)
	if !t.actor.local {
		k.ParentID = t.actor.KeyID
	}
	if k.Restrictions, err = t.restricted(n); err != nil {
		return k, err
	}
	if k.Broker = n.Broker; n.Broker && len(k.Resources) == 0 {
		return k, invalid("resources is required for a broker key: the sandboxes and computers whose requests it handles, such as sandbox:sb_1")
	}
	return k, t.insertKey(&k, key)
}

var errPastExpiry = invalid("expires_at is in the past: give a time in the future, or leave it out")

// insertKey stores a key of the actor's tenant, and sets k's id and times.
func (t *txn) insertKey(k *Key, key api.Key) error {
	const unrevoked = `SELECT 1 FROM api_keys WHERE tenant_id = $1 AND revoked_at IS NULL AND expires_at`
	if err := t.mayAdd(limit.TenantKeys, unrevoked+` IS NULL UNION ALL `+unrevoked+` > $2`, t.now.UnixMicro()); err != nil {
		return err
	}
	k.ID, k.TenantID, k.CreatedAt = newID("key_"), t.actor.TenantID, t.now
	k.hash = hashOf(key.Reveal()) // of 256 random bits, which nobody can guess, so a slow hash would protect them no better
	if err := t.authenticate(k); err != nil {
		return err
	}
	if err := t.insert("api_keys", k.stored()); err != nil {
		return err
	}
	return t.auditKey(actKeyCreate, k)
}

func (t *txn) auditKey(action string, k *Key) error {
	return t.audit(api.Event{Action: action, TargetKeyID: k.ID, ResourceType: k.Resource.Type, ResourceID: k.Resource.ID})
}

// KeyFilter selects keys by exact matches; "" matches everything.
type KeyFilter struct {
	ResourceType string `query:"resource_type"`
	ResourceID   string `query:"resource_id"`

	Page
}

// ResourceKeys lists a page of the tenant's resource keys, oldest first, including revoked ones. next is as of Secrets. A restricted
// key gets those that are under it. Errors: ErrDenied for a resource key.
func (s *Store) ResourceKeys(ctx context.Context, a Actor, f KeyFilter) (page []api.IssuedKey, next string, err error) {
	return s.issuedKeys(ctx, a, f, query.Conditions{Terms: []string{"k.resource_type <> ''"}})
}

// IssuedKeys is ResourceKeys for keys of all kinds. A resource selects its resource keys and the broker keys that it is one of the
// resources of.
func (s *Store) IssuedKeys(ctx context.Context, a Actor, f KeyFilter) (page []api.IssuedKey, next string, err error) {
	return s.issuedKeys(ctx, a, f, query.Conditions{})
}

func (s *Store) issuedKeys(ctx context.Context, a Actor, f KeyFilter, c query.Conditions) (page []api.IssuedKey, next string, err error) {
	c.Add("k.tenant_id =", a.TenantID)
	f.selectKeys(&c)
	a.limitKeys(&c)
	invalid := c.After("k.", f.Cursor)
	keys, err := readMuch(ctx, s, a, actKeyRead, query.PageBytes, func(t *txn) (keys []Key, err error) {
		if invalid != nil {
			return nil, invalid
		}
		size := func(u *unverified[Key]) int {
			return 64 * (len(u.row.Permissions) + len(u.row.Scopes) + len(u.row.Resources))
		}
		read, cursor, err := list(t, f.Page, unverifiedKey, size, func(u *unverified[Key]) string { return query.NewCursor(u.row.CreatedAt, u.row.ID) },
			selectKeys+c.String()+keysInOrder, c.Args...)
		if err != nil {
			return nil, err
		}
		next = cursor
		return t.verifyKeys(read)
	})
	s.reportAlteredKeys(keys)
	return issued(keys), next, err
}

// unverifiedKey returns the fields of a key that is read without checking its mac.
func unverifiedKey(u *unverified[Key]) []any { return u.row.fields() }

const keysInOrder = ` ORDER BY k.created_at, k.id`

// verifyKeys returns keys for a list. Of altered ones it has only what identifies them.
func (t *txn) verifyKeys(read []unverified[Key]) ([]Key, error) {
	keys := make([]Key, len(read))
	for i := range read {
		keys[i] = read[i].row
		altered, err := t.altered(&keys[i])
		if err != nil {
			return nil, err
		}
		if altered {
			k := &keys[i]
			*k = Key{IssuedKey: api.IssuedKey{ID: k.ID, CreatedAt: k.CreatedAt, Altered: true}, TenantID: k.TenantID, TenantName: k.TenantName}
		}
	}
	return keys, nil
}

// reportAlteredKeys counts and audits the altered keys of a list.
func (s *Store) reportAlteredKeys(keys []Key) {
	for i := range keys {
		if k := &keys[i]; k.Altered {
			s.reportAltered(&alteredError{"api_keys", k.TenantID, k.ID})
		}
	}
}

// OwnKey describes the actor's key.
func (s *Store) OwnKey(ctx context.Context, a Actor) (api.OwnKey, error) {
	return read(ctx, s, a, anyKey, func(t *txn) (own api.OwnKey, err error) {
		k, err := one(t, "key", (*Key).fields, selectKeys+` WHERE k.id = $1`, a.KeyID)
		own.IssuedKey = k.IssuedKey
		if a.isTenant() {
			own.Tenant = k.TenantName
		}
		return own, err
	})
}

// issued returns keys without their tenants; never nil.
func issued(keys []Key) []api.IssuedKey {
	list := make([]api.IssuedKey, len(keys))
	for i := range keys {
		list[i] = keys[i].IssuedKey
	}
	return list
}

// Keys lists the keys of a tenant, or with "" of all tenants, oldest first.
func (s *Store) Keys(ctx context.Context, tenant string) ([]Key, error) {
	var c query.Conditions
	c.Match("t.name", tenant)
	keys, err := read(ctx, s, Actor{local: true}, anyKey, func(t *txn) ([]Key, error) {
		read, err := collect(t, unverifiedKey, selectKeys+c.String()+keysInOrder, c.Args...)
		if err != nil {
			return nil, err
		}
		return t.verifyKeys(read)
	})
	s.reportAlteredKeys(keys)
	return keys, err
}
