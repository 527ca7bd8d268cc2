package store

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"errors"
	"time"

	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/vault/database"
)

// localKeyID is the key id in audit events of the command line on the vault's machine, which uses no key.
const localKeyID = "local"

// TenantKey is a new tenant key. The store keeps only its hash.
type TenantKey struct {
	ID  string
	Key api.Key
}

// Key describes a tenant key or a resource key.
type Key struct {
	ID         string
	TenantID   string
	TenantName string
	Resource   *api.Resource // nil for a tenant key
	CreatedAt  time.Time
	ExpiresAt  *time.Time // nil: never
	RevokedAt  *time.Time // nil: not revoked
}

// ended reports whether the key was revoked or has expired.
func (k *Key) ended(now time.Time) bool {
	return k.RevokedAt != nil || k.ExpiresAt != nil && !k.ExpiresAt.After(now)
}

// columns are those of api_keys. r holds the resource; it is zero for a tenant key.
func (k *Key) columns(r *api.Resource) columns {
	return columns{
		{"id", &k.ID}, {"tenant_id", &k.TenantID}, {"resource_type", &r.Type}, {"resource_id", &r.ID},
		{"created_at", instant{&k.CreatedAt}}, {"expires_at", optionalInstant{&k.ExpiresAt}}, {"revoked_at", optionalInstant{&k.RevokedAt}},
	}
}

var keyColumns = new(Key).columns(new(api.Resource)).prefixed("k")

// scan reads keyColumns, and more columns into more.
func (k *Key) scan(from database.Row, more ...any) error {
	var r api.Resource
	err := from.Scan(append(k.columns(&r).fields(), more...)...)
	if r.Type != "" {
		k.Resource = &r
	}
	return err
}

var errKey = api.NewError(api.ErrUnauthorized, "the key is unknown, revoked or expired")

// hashKey is the form in which keys are stored. Keys are 256 random bits, which nobody can guess, so a slow hash would
// protect them no better.
func hashKey(k api.Key) string {
	sum := sha256.Sum256([]byte(k.Reveal()))
	return hex.EncodeToString(sum[:])
}

// Authenticate returns the actor of a key. Errors: ErrUnauthorized for a key that is unknown, revoked or
// expired, without saying which.
func (s *Store) Authenticate(ctx context.Context, key api.Key) (Actor, error) {
	hash := hashKey(key)
	if a, ok := s.authenticated.get(hash); ok {
		return a, nil
	}
	clears := s.authenticated.clears()
	var k Key
	err := s.read(ctx, Actor{local: true}, func(t *txn) error {
		err := k.scan(t.QueryRow(`SELECT `+keyColumns+` FROM api_keys k WHERE hash = $1`, hash))
		if errors.Is(err, sql.ErrNoRows) || err == nil && k.ended(t.now) {
			return errKey
		}
		return err
	})
	if err != nil {
		return Actor{}, err
	}
	a := Actor{KeyID: k.ID, TenantID: k.TenantID, Resource: k.Resource, ExpiresAt: k.ExpiresAt}
	s.authenticated.put(hash, a, clears)
	return a, nil
}

// CreateResourceKey creates a key that may list and reveal one resource's bindings. expiresAt nil: never. The
// store keeps only a hash of the key. Errors: ErrInvalid, ErrDenied for a resource key.
func (s *Store) CreateResourceKey(ctx context.Context, a Actor, r api.Resource, expiresAt *time.Time) (api.ResourceKey, error) {
	if err := s.TenantOnly(ctx, a, actKeyCreate); err != nil {
		return api.ResourceKey{}, err
	}
	if err := r.Validate(); err != nil {
		return api.ResourceKey{}, err
	}
	if expiresAt != nil && !expiresAt.After(time.Now()) {
		return api.ResourceKey{}, invalid("expires_at is in the past: give a time in the future, or leave it out")
	}
	key := api.NewKey(api.ResourceKeyPrefix)
	k := Key{ExpiresAt: inMicros(expiresAt)}
	if err := s.write(ctx, a, func(t *txn) error { return t.insertKey(&k, key, r) }); err != nil {
		return api.ResourceKey{}, err
	}
	created := k.resourceKey(r)
	created.Key = key.Reveal()
	return created, nil
}

func (k *Key) resourceKey(r api.Resource) api.ResourceKey {
	return api.ResourceKey{ID: k.ID, Resource: r, ExpiresAt: k.ExpiresAt, CreatedAt: k.CreatedAt, RevokedAt: k.RevokedAt}
}

// insertKey stores a key of the actor's tenant, and sets k's other fields.
func (t *txn) insertKey(k *Key, key api.Key, r api.Resource) error {
	k.ID, k.TenantID, k.CreatedAt = newID("key_"), t.actor.TenantID, t.now
	hash := hashKey(key)
	if err := t.insert("api_keys", append(k.columns(&r), column{"hash", &hash})); err != nil {
		return err
	}
	return t.audit(api.Event{Action: actKeyCreate, TargetKeyID: k.ID, ResourceType: r.Type, ResourceID: r.ID})
}

// KeyFilter selects resource keys by exact matches; "" matches everything.
type KeyFilter struct {
	ResourceType string `query:"resource_type"`
	ResourceID   string `query:"resource_id"`
}

// ResourceKeys lists the tenant's resource keys, oldest first, including revoked ones.
// Errors: ErrDenied for a resource key.
func (s *Store) ResourceKeys(ctx context.Context, a Actor, f KeyFilter) ([]api.ResourceKey, error) {
	if err := s.TenantOnly(ctx, a, actKeyRead); err != nil {
		return nil, err
	}
	c := conditions{terms: []string{"k.resource_type <> ''"}}
	c.equal("k.tenant_id", a.TenantID)
	c.equalIfSet("k.resource_type", f.ResourceType)
	c.equalIfSet("k.resource_id", f.ResourceID)
	list := []api.ResourceKey{}
	keys, err := s.listKeys(ctx, a, c)
	for _, k := range keys {
		list = append(list, k.resourceKey(*k.Resource))
	}
	return list, err
}

func (s *Store) listKeys(ctx context.Context, a Actor, c conditions) (list []Key, err error) {
	err = s.read(ctx, a, func(t *txn) error {
		list, err = collect(t, func(k *Key, from database.Row) error { return k.scan(from, &k.TenantName) },
			`SELECT `+keyColumns+`, t.name FROM api_keys k JOIN tenants t ON t.id = k.tenant_id`+
				c.String()+` ORDER BY k.created_at, k.id`, c.args...)
		return err
	})
	return list, err
}

// Keys lists the keys of a tenant, or with "" of all tenants, oldest first.
func (s *Store) Keys(ctx context.Context, tenant string) ([]Key, error) {
	var c conditions
	c.equalIfSet("t.name", tenant)
	return s.listKeys(ctx, Actor{local: true}, c)
}

// RevokeResourceKey revokes a resource key, and wakes the reveals that wait with it. A key that is revoked already
// keeps its time of revocation. Errors: ErrNotFound, also for a tenant key; ErrDenied for a resource key.
func (s *Store) RevokeResourceKey(ctx context.Context, a Actor, id string) error {
	if err := s.TenantOnly(ctx, a, actKeyRevoke); err != nil {
		return err
	}
	defer s.authenticated.clear()
	return s.write(ctx, a, func(t *txn) error { return t.revoke(id, true) })
}

// revoke revokes a key of the actor's tenant.
func (t *txn) revoke(id string, resourceKeysOnly bool) error {
	var k Key
	err := k.scan(t.QueryRow(`SELECT `+keyColumns+` FROM api_keys k WHERE id = $1 AND tenant_id = $2`, id, t.actor.TenantID))
	if errors.Is(err, sql.ErrNoRows) || err == nil && resourceKeysOnly && k.Resource == nil {
		return errNoKey
	}
	if err != nil || k.RevokedAt != nil {
		return err
	}
	var r api.Resource
	if k.Resource != nil {
		r = *k.Resource
	}
	if err := t.Exec(`UPDATE api_keys SET revoked_at = $1 WHERE id = $2`, t.now.UnixMicro(), id); err != nil {
		return err
	}
	t.wake(r)
	return t.audit(api.Event{Action: actKeyRevoke, TargetKeyID: id, ResourceType: r.Type, ResourceID: r.ID})
}

var errNoKey = api.NewError(api.ErrNotFound, "no such key")

// RevokeKey revokes a tenant or resource key of any tenant. Errors: ErrNotFound.
func (s *Store) RevokeKey(ctx context.Context, id string) error {
	defer s.authenticated.clear()
	return s.write(ctx, Actor{KeyID: localKeyID, local: true}, func(t *txn) error {
		err := t.QueryRow(`SELECT tenant_id FROM api_keys WHERE id = $1`, id).Scan(&t.actor.TenantID)
		if errors.Is(err, sql.ErrNoRows) {
			return errNoKey
		}
		if err != nil {
			return err
		}
		return t.revoke(id, false)
	})
}
