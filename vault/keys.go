package vault

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"errors"
	"regexp"
	"time"

	"github.com/Miosa-osa/miosa-env/api"
)

// LocalKeyID stands in the audit for the operator at the command line, who uses no key.
const LocalKeyID = "local"

// TenantKey is a tenant key that was just minted: the only place that holds the key.
type TenantKey struct {
	ID         string
	TenantID   string
	TenantName string
	Key        api.Key
	CreatedAt  time.Time
}

// KeyInfo is any key as the command line lists it, without the key.
type KeyInfo struct {
	ID         string
	TenantID   string
	TenantName string
	Resource   *api.Resource // nil for a tenant key
	CreatedAt  time.Time
	ExpiresAt  *time.Time
	RevokedAt  *time.Time
}

var errKey = api.NewError(api.ErrUnauthorized, "the key is unknown, revoked or expired")

// hashKey is how keys are stored. They are 256 random bits: there is nothing to guess, so a plain hash
// is as good as a slow one.
func hashKey(k api.Key) string {
	sum := sha256.Sum256([]byte(k.Reveal()))
	return hex.EncodeToString(sum[:])
}

func ended(expires, revoked sql.NullInt64, now time.Time) bool {
	return revoked.Valid || expires.Valid && expires.Int64 <= now.UnixMicro()
}

// Authenticate returns who a key stands for. Errors: ErrUnauthorized for a key that is unknown,
// revoked or expired, without saying which.
func (s *Store) Authenticate(ctx context.Context, k api.Key) (Actor, error) {
	hash := hashKey(k)
	if a, ok := s.known.get(hash); ok {
		return a, nil
	}
	era := s.known.era()
	var a Actor
	err := s.read(ctx, Actor{local: true}, func(t *txn) error {
		var r api.Resource
		var expires, revoked sql.NullInt64
		err := t.QueryRow(`SELECT id, tenant_id, resource_type, resource_id, expires_at, revoked_at
			FROM api_keys WHERE hash = $1`, hash).Scan(&a.KeyID, &a.TenantID, &r.Type, &r.ID, &expires, &revoked)
		if errors.Is(err, sql.ErrNoRows) || err == nil && ended(expires, revoked, t.now) {
			return errKey
		}
		if r.Type != "" {
			a.Resource = &r
		}
		a.ExpiresAt = fromNullMicros(expires)
		return err
	})
	if err != nil {
		return Actor{}, err
	}
	s.known.put(hash, a, era)
	return a, nil
}

// CreateResourceKey mints a key that may list and reveal one resource's bindings. expiresAt nil means
// never. The answer is the only one that holds the key.
// Errors: ErrInvalid, ErrDenied for a resource key.
func (s *Store) CreateResourceKey(ctx context.Context, a Actor, r api.Resource, expiresAt *time.Time) (api.ResourceKey, error) {
	if err := s.tenantOnly(ctx, a, actKeyCreate); err != nil {
		return api.ResourceKey{}, err
	}
	if err := r.Validate(); err != nil {
		return api.ResourceKey{}, err
	}
	if expiresAt != nil && !expiresAt.After(time.Now()) {
		return api.ResourceKey{}, invalid("expires_at has passed: give a time to come, or leave it out")
	}
	key := api.NewKey(api.ResourceKeyPrefix)
	var made api.ResourceKey
	err := s.write(ctx, a, func(t *txn) error {
		made = api.ResourceKey{ID: newID("key_"), Resource: r, Key: key.Reveal(), CreatedAt: t.now,
			ExpiresAt: fromNullMicros(micros(expiresAt))}
		return t.insertKey(made.ID, key, r, expiresAt)
	})
	if err != nil {
		return api.ResourceKey{}, err
	}
	return made, nil
}

func (t *txn) insertKey(id string, key api.Key, r api.Resource, expiresAt *time.Time) error {
	err := t.Exec(`INSERT INTO api_keys (id, tenant_id, hash, resource_type, resource_id, created_at, expires_at)
		VALUES ($1, $2, $3, $4, $5, $6, $7)`,
		id, t.actor.TenantID, hashKey(key), r.Type, r.ID, t.now.UnixMicro(), micros(expiresAt))
	if err != nil {
		return err
	}
	return t.audit(api.Event{Action: actKeyCreate, TargetKeyID: id, ResourceType: r.Type, ResourceID: r.ID})
}

// ResourceKeys lists the tenant's resource keys, oldest first, revoked ones too. filter matches by
// the fields it has. Errors: ErrDenied for a resource key.
func (s *Store) ResourceKeys(ctx context.Context, a Actor, filter api.Resource) ([]api.ResourceKey, error) {
	if err := s.tenantOnly(ctx, a, actKeyRead); err != nil {
		return nil, err
	}
	list := []api.ResourceKey{}
	q := where{conditions: []string{"k.resource_type <> ''"}}
	q.equal("k.tenant_id", a.TenantID)
	q.equalIfSet("k.resource_type", filter.Type)
	q.equalIfSet("k.resource_id", filter.ID)
	err := s.read(ctx, a, func(t *txn) error {
		list = list[:0]
		keys, err := t.listKeys(q)
		for _, k := range keys {
			list = append(list, api.ResourceKey{ID: k.ID, Resource: *k.Resource, ExpiresAt: k.ExpiresAt,
				CreatedAt: k.CreatedAt, RevokedAt: k.RevokedAt})
		}
		return err
	})
	return list, err
}

func (t *txn) listKeys(q where) ([]KeyInfo, error) {
	rows, err := t.Query(`SELECT k.id, k.tenant_id, t.name, k.resource_type, k.resource_id,
		k.created_at, k.expires_at, k.revoked_at FROM api_keys k JOIN tenants t ON t.id = k.tenant_id`+
		q.String()+` ORDER BY k.created_at, k.id`, q.args...)
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }()
	var list []KeyInfo
	for rows.Next() {
		var k KeyInfo
		var r api.Resource
		var created int64
		var expires, revoked sql.NullInt64
		if err := rows.Scan(&k.ID, &k.TenantID, &k.TenantName, &r.Type, &r.ID, &created, &expires, &revoked); err != nil {
			return nil, err
		}
		if r.Type != "" {
			k.Resource = &r
		}
		k.CreatedAt, k.ExpiresAt, k.RevokedAt = fromMicros(created), fromNullMicros(expires), fromNullMicros(revoked)
		list = append(list, k)
	}
	return list, rows.Err()
}

// RevokeResourceKey revokes a resource key and wakes every reveal that waits under it. A key revoked
// before stays as it was. Errors: ErrNotFound, also for a tenant key; ErrDenied for a resource key.
func (s *Store) RevokeResourceKey(ctx context.Context, a Actor, id string) error {
	if err := s.tenantOnly(ctx, a, actKeyRevoke); err != nil {
		return err
	}
	defer s.known.forget()
	return s.write(ctx, a, func(t *txn) error { return t.revoke(id, true) })
}

// revoke revokes a key of the actor's tenant.
func (t *txn) revoke(id string, resourceKeysOnly bool) error {
	var r api.Resource
	var revoked sql.NullInt64
	err := t.QueryRow(`SELECT resource_type, resource_id, revoked_at FROM api_keys WHERE id = $1 AND tenant_id = $2`,
		id, t.actor.TenantID).Scan(&r.Type, &r.ID, &revoked)
	if errors.Is(err, sql.ErrNoRows) || err == nil && resourceKeysOnly && r.Type == "" {
		return errNoKey
	}
	if err != nil || revoked.Valid {
		return err
	}
	if err := t.Exec(`UPDATE api_keys SET revoked_at = $1 WHERE id = $2`, t.now.UnixMicro(), id); err != nil {
		return err
	}
	t.wake(r)
	return t.audit(api.Event{Action: actKeyRevoke, TargetKeyID: id, ResourceType: r.Type, ResourceID: r.ID})
}

var errNoKey = api.NewError(api.ErrNotFound, "no such key")

// LocalActor is the operator at this machine, acting for the tenant of that name.
// Errors: ErrNotFound.
func (s *Store) LocalActor(ctx context.Context, tenant string) (Actor, error) {
	a := Actor{KeyID: LocalKeyID, local: true}
	err := s.read(ctx, a, func(t *txn) (err error) {
		a.TenantID, err = t.tenantNamed(tenant)
		return err
	})
	return a, err
}

var tenantName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._@-]{0,63}$`)

// MintTenantKey mints a tenant key, making the tenant (and its keyset) where there is none of that
// name. Errors: ErrInvalid.
func (s *Store) MintTenantKey(ctx context.Context, tenant string) (TenantKey, error) {
	if !tenantName.MatchString(tenant) {
		return TenantKey{}, invalid("tenant must be 1 to 64 letters, digits or any of . _ @ -, the first a letter or digit")
	}
	made := TenantKey{TenantName: tenant, Key: api.NewKey(api.TenantKeyPrefix)}
	err := s.write(ctx, Actor{KeyID: LocalKeyID, local: true}, func(t *txn) (err error) {
		made.ID, made.CreatedAt = newID("key_"), t.now
		made.TenantID, err = t.tenantNamed(tenant)
		if errors.Is(err, api.ErrNotFound) {
			made.TenantID, err = t.newTenant(tenant)
		}
		if err != nil {
			return err
		}
		t.actor.TenantID = made.TenantID
		return t.insertKey(made.ID, made.Key, api.Resource{}, nil)
	})
	if err != nil {
		return TenantKey{}, err
	}
	return made, nil
}

// Keys lists every key of a tenant, or of all tenants for "", oldest first.
func (s *Store) Keys(ctx context.Context, tenant string) (list []KeyInfo, err error) {
	q := where{}
	q.equalIfSet("t.name", tenant)
	err = s.read(ctx, Actor{local: true}, func(t *txn) error {
		list, err = t.listKeys(q)
		return err
	})
	return list, err
}

// RevokeKey revokes a key of either kind, of any tenant. Errors: ErrNotFound.
func (s *Store) RevokeKey(ctx context.Context, id string) error {
	defer s.known.forget()
	return s.write(ctx, Actor{KeyID: LocalKeyID, local: true}, func(t *txn) error {
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
