package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"maps"
	"time"

	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/vault/audit"
	"github.com/Miosa-osa/miosa-env/vault/database"
	"github.com/Miosa-osa/miosa-env/vault/keyring"
)

// txn is one transaction on behalf of an actor.
type txn struct {
	database.Tx
	store  *Store
	actor  Actor
	now    time.Time // in the resolution of the store, microseconds, UTC
	keyset *keyring.Keys
	wakes  map[topic]struct{}
	log    *audit.Log // nil until auditLog

	rescheduled bool // a schedule has changed
}

// begin checks that the actor's key is still valid, and runs do.
func (s *Store) begin(tx database.Tx, a Actor, do func(*txn) error) (*txn, error) {
	t := &txn{Tx: tx, store: s, actor: a, now: now()}
	if err := t.checkKey(a); err != nil {
		return t, err
	}
	return t, do(t)
}

// anyKey is the action of transactions for all keys.
const anyKey = ""

// read returns the results of do, which reads one snapshot of the database. An actor whose key isn't for action is refused.
func read[T any](ctx context.Context, s *Store, a Actor, action string, do func(*txn) (T, error)) (result T, err error) {
	if err := s.Permit(ctx, a, action, a.Resource); err != nil {
		return result, err
	}
	const tries = 3
	for try := 1; ; try++ {
		err := s.db.Read(ctx, func(tx database.Tx) error {
			_, err := s.begin(tx, a, func(t *txn) (err error) {
				result, err = do(t)
				return err
			})
			return err
		})
		if !errors.Is(err, keyring.ErrUnknownRoot) || try == tries {
			return result, s.refusal(err, false)
		}
	}
}

// write runs do in a transaction that no other write interleaves with. Everything that do changes and audits is
// committed, or nothing. The resources that do wakes are woken after the commit. do may run twice, the first run undone,
// so its effects outside of the transaction must not depend on how often it ran. action is as in read.
func (s *Store) write(ctx context.Context, a Actor, action string, do func(*txn) error) error {
	if err := s.Permit(ctx, a, action, a.Resource); err != nil {
		return err
	}
	var t *txn
	err := s.db.Write(ctx, func(tx database.Tx) (err error) {
		t, err = s.begin(tx, a, do)
		return err
	})
	if d, ok := errors.AsType[*denial](err); ok {
		return s.deny(ctx, a, d.action, d.resource, d.err.Message)
	}
	if err != nil {
		return s.refusal(err, true)
	}
	s.failing.Store(false)
	s.hub.wake(maps.Keys(t.wakes))
	if t.rescheduled {
		nudge(s.rescheduled)
	}
	return nil
}

var errRootRotated = api.NewError(api.ErrUnavailable, "the root key was rotated: this vault must be given the new one")

// refusal returns the error of a transaction as clients may see it: an *api.Error or a context's error as it is, others
// wrapped under an *api.Error without internal details.
func (s *Store) refusal(err error, writing bool) error {
	var ours *api.Error
	switch {
	case err == nil, errors.As(err, &ours), errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return err
	case errors.Is(err, keyring.ErrUnknownRoot):
		return errRootRotated
	case s.db.Transient(err), errors.Is(err, errUnaudited):
		if writing {
			s.failing.Store(true)
		}
		s.log.Error().Err(err).Bool("writing", writing).Msg("store unavailable")
		message := "the store can't take this now"
		switch {
		case s.db.DiskFull(err):
			message = "the vault's disk is full, so nothing can be stored or revealed until there is room"
		case errors.Is(err, errUnaudited):
			message = "this can't be audited now, so it is refused"
		}
		return fmt.Errorf("%w: %w", api.NewError(api.ErrUnavailable, message), err)
	}
	return fmt.Errorf("%w: %w", api.NewError(api.ErrInternal, "the store failed"), err)
}

// checkKey returns an error if the actor's key was revoked or has expired since it was authenticated: a request that
// waited doesn't outlive its key. It sets the actor's restrictions, which the actor of a flow doesn't have yet.
func (t *txn) checkKey(a Actor) error {
	if a.local {
		return nil
	}
	k := Key{IssuedKey: api.IssuedKey{ID: a.KeyID}}
	err := t.QueryRow(`SELECT permissions, scopes, resources, expires_at, revoked_at FROM api_keys WHERE id = $1 AND tenant_id = $2`,
		a.KeyID, a.TenantID).Scan(stored{&k.Permissions}, stored{&k.Scopes}, stored{&k.Restrictions.Resources}, stored{&k.ExpiresAt}, stored{&k.RevokedAt})
	if errors.Is(err, sql.ErrNoRows) || err == nil && t.ended(&k) {
		return errKey
	}
	t.actor.Restrictions = k.Restrictions
	return err
}

// keys returns the tenant's keyset in the generation that the transaction sees.
func (t *txn) keys() (*keyring.Keys, error) {
	if t.keyset != nil {
		return t.keyset, nil
	}
	w := keyring.Wrapped{Tenant: t.actor.TenantID}
	err := t.QueryRow(`SELECT generation, root_key_id, keyset FROM tenants WHERE id = $1`, w.Tenant).
		Scan(&w.Generation, &w.RootKeyID, &w.Keyset)
	if err != nil {
		return nil, fmt.Errorf("read keyset of tenant %s: %w", w.Tenant, err)
	}
	t.keyset, err = t.store.keys.Unwrap(w)
	return t.keyset, err
}

// wake wakes the reveals that wait for a resource after the commit.
func (t *txn) wake(r api.Resource) {
	if t.wakes == nil {
		t.wakes = map[topic]struct{}{}
	}
	t.wakes[topic{t.actor.TenantID, r}] = struct{}{}
}
