package store

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/Miosa-osa/miosa-env/api"
)

// operator is the command line on the vault's machine, which uses no key.
var operator = Actor{KeyID: "local", local: true}

// TenantKey is a new tenant key. The store keeps only its hash.
type TenantKey struct {
	ID  string
	Key api.Key
}

// Key describes a tenant key, which has no resource, or a resource key. The key itself is known only when it is created.
type Key struct {
	api.ResourceKey
	TenantID   string
	TenantName string
}

// ended reports whether the key was revoked or has expired.
func (k *Key) ended(now time.Time) bool {
	return k.RevokedAt != nil || k.ExpiresAt != nil && !k.ExpiresAt.After(now)
}

func (k *Key) columns() columns {
	return columns{
		{"id", &k.ID}, {"tenant_id", &k.TenantID}, {"resource_type", &k.Resource.Type}, {"resource_id", &k.Resource.ID},
		{"created_at", &k.CreatedAt}, {"expires_at", &k.ExpiresAt}, {"revoked_at", &k.RevokedAt},
	}
}

func (k *Key) fields() []any { return append(k.columns().fields(), &k.TenantName) }

var selectKeys = `SELECT ` + new(Key).columns().names("k.") + `, t.name FROM api_keys k JOIN tenants t ON t.id = k.tenant_id`

// listKeys lists keys, oldest first. Columns in c are prefixed with k (keys) or t (tenants).
func (t *txn) listKeys(c conditions) ([]Key, error) {
	return collect(t, (*Key).fields, selectKeys+c.String()+` ORDER BY k.created_at, k.id`, c.args...)
}

// key returns the key with the value of a column. Errors: ErrNotFound.
func (t *txn) key(column, value string) (Key, error) {
	return one(t, "key", (*Key).fields, selectKeys+` WHERE `+column+` = $1`, value)
}

var errKey = api.NewError(api.ErrUnauthorized, "the key is unknown, revoked or expired")

// Authenticate returns the actor of a key. Errors: ErrUnauthorized for a key that is malformed, unknown, revoked or
// expired, without saying which.
func (s *Store) Authenticate(ctx context.Context, text string) (Actor, error) {
	key, err := api.ParseKey(text)
	if err != nil {
		return Actor{}, errKey
	}
	hash := hashOf(key.Reveal())
	cache := s.authenticated.Load()
	if cached, ok := cache.actors.Load(hash); ok {
		if a := cached.(Actor); a.ExpiresAt == nil || a.ExpiresAt.After(time.Now()) {
			return a, nil
		}
	}
	a, err := read(ctx, s, Actor{local: true}, anyKey, func(t *txn) (Actor, error) {
		k, err := t.key("k.hash", hash)
		if errors.Is(err, api.ErrNotFound) || err == nil && k.ended(t.now) {
			err = errKey
		}
		return Actor{KeyID: k.ID, TenantID: k.TenantID, Resource: k.Resource, ExpiresAt: k.ExpiresAt}, err
	})
	if err != nil {
		return Actor{}, err
	}
	if cache.size.Add(1) > maxAuthenticated {
		s.authenticated.CompareAndSwap(cache, new(authCache))
	}
	cache.actors.Store(hash, a)
	return a, nil
}

// authCache has the actors of valid keys by the keys' hashes, so that a request need not read them from the database.
// Nothing relies on it alone: every transaction checks its actor's key. After a revocation an empty one takes its place, so
// what was read before isn't found later.
type authCache struct {
	actors sync.Map
	size   atomic.Int64
}

// maxAuthenticated is the number of keys that are cached.
const maxAuthenticated = 4096

// CreateResourceKey creates a key that may list and reveal one resource's bindings. expiresAt nil: never. The
// store keeps only a hash of the key. Errors: ErrInvalid, ErrDenied for a resource key.
func (s *Store) CreateResourceKey(ctx context.Context, a Actor, r api.Resource, expiresAt *time.Time) (api.ResourceKey, error) {
	key := api.NewKey(api.ResourceKeyPrefix)
	k := Key{ResourceKey: api.ResourceKey{Resource: r, ExpiresAt: inMicros(expiresAt)}}
	err := s.write(ctx, a, actKeyCreate, func(t *txn) error {
		if err := r.Validate(); err != nil {
			return err
		}
		if expiresAt != nil && !expiresAt.After(t.now) {
			return invalid("expires_at is in the past: give a time in the future, or leave it out")
		}
		return t.insertKey(&k, key)
	})
	if err != nil {
		return api.ResourceKey{}, err
	}
	k.Key = key.Reveal()
	return k.ResourceKey, nil
}

// insertKey stores a key of the actor's tenant, and sets k's other fields.
func (t *txn) insertKey(k *Key, key api.Key) error {
	k.ID, k.TenantID, k.CreatedAt = newID("key_"), t.actor.TenantID, t.now
	hash := hashOf(key.Reveal()) // of 256 random bits, which nobody can guess, so a slow hash would protect them no better
	if err := t.insert("api_keys", append(k.columns(), column{"hash", &hash})); err != nil {
		return err
	}
	return t.auditKey(actKeyCreate, k)
}

func (t *txn) auditKey(action string, k *Key) error {
	return t.audit(api.Event{Action: action, TargetKeyID: k.ID, ResourceType: k.Resource.Type, ResourceID: k.Resource.ID})
}

// KeyFilter selects resource keys by exact matches; "" matches everything.
type KeyFilter struct {
	ResourceType string `query:"resource_type"`
	ResourceID   string `query:"resource_id"`
}

// ResourceKeys lists the tenant's resource keys, oldest first, including revoked ones.
// Errors: ErrDenied for a resource key.
func (s *Store) ResourceKeys(ctx context.Context, a Actor, f KeyFilter) ([]api.ResourceKey, error) {
	c := conditions{terms: []string{"k.resource_type <> ''"}}
	c.add("k.tenant_id =", a.TenantID)
	c.match("k.resource_type", f.ResourceType, "k.resource_id", f.ResourceID)
	keys, err := read(ctx, s, a, actKeyRead, func(t *txn) ([]Key, error) { return t.listKeys(c) })
	list := make([]api.ResourceKey, len(keys))
	for i := range keys {
		list[i] = keys[i].ResourceKey
	}
	return list, err
}

// Keys lists the keys of a tenant, or with "" of all tenants, oldest first.
func (s *Store) Keys(ctx context.Context, tenant string) ([]Key, error) {
	var c conditions
	c.match("t.name", tenant)
	return read(ctx, s, Actor{local: true}, anyKey, func(t *txn) ([]Key, error) { return t.listKeys(c) })
}

// RevokeKey revokes a tenant or resource key of any tenant. Errors: ErrNotFound.
func (s *Store) RevokeKey(ctx context.Context, id string) error {
	return s.RevokeResourceKey(ctx, operator, id)
}

// RevokeResourceKey revokes a resource key of the actor's tenant, and wakes the reveals that wait with it. A key that is
// revoked already keeps its time of revocation. The operator, who has no tenant, can revoke any key.
// Errors: ErrNotFound, also for a tenant key; ErrDenied for a resource key.
func (s *Store) RevokeResourceKey(ctx context.Context, a Actor, id string) error {
	defer s.authenticated.Store(new(authCache))
	return s.write(ctx, a, actKeyRevoke, func(t *txn) error {
		k, err := t.key("k.id", id)
		if err == nil && a.TenantID != "" && (k.TenantID != a.TenantID || k.Resource.Type == "") {
			err = notFound("key")
		}
		if err != nil || k.RevokedAt != nil {
			return err
		}
		t.actor.TenantID = k.TenantID
		if err := t.update("api_keys", id, columns{{"revoked_at", &t.now}}); err != nil {
			return err
		}
		t.wake(k.Resource)
		return t.auditKey(actKeyRevoke, &k)
	})
}
