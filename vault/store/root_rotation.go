package store

import (
	"context"
	"errors"

	"github.com/Miosa-osa/miosa-env/api"
)

// RotateRoot adds a root key, wraps every tenant's keyset with it, and drops the old one. If it is stopped at any point,
// nothing is lost, and another run completes it. Other processes read the file again when they meet a key they don't
// have.
// Errors: ErrInvalid when the root key isn't in a file.
func (s *Store) RotateRoot(ctx context.Context) error {
	unlock, err := s.keys.LockRoot()
	if err != nil {
		return err
	}
	defer unlock()
	// First the file has the old and the new key, so that every process can unwrap what any process wraps.
	if err := s.keys.AddRootKey(); err != nil {
		return err
	}
	if err := s.step("root key added"); err != nil {
		return err
	}
	local := Actor{KeyID: localKeyID, local: true}
	err = s.write(ctx, local, func(t *txn) error {
		keyID, probe, err := s.keys.NewProbe()
		if err != nil {
			return err
		}
		err = t.Exec(`UPDATE root_key SET key_id = $1, probe = $2 WHERE id = 1`, keyID, probe)
		return err
	})
	if err != nil {
		return err
	}
	if err := s.step("fence moved"); err != nil {
		return err
	}
	// From here on a root keyset without the new key wraps nothing. What was wrapped before is wrapped again.
	ids, err := s.tenantIDs(ctx, "")
	if err != nil {
		return err
	}
	for _, id := range ids {
		if err := s.write(ctx, Actor{KeyID: localKeyID, TenantID: id, local: true}, func(t *txn) error { return t.rewrap(id) }); err != nil {
			return err
		}
		if err := s.step("tenant re-wrapped"); err != nil {
			return err
		}
	}
	err = s.read(ctx, local, func(t *txn) error {
		var left int
		err := t.QueryRow(`SELECT COUNT(*) FROM tenants WHERE root_key_id <> (SELECT key_id FROM root_key WHERE id = 1)`).Scan(&left)
		if err == nil && left > 0 {
			err = errors.New("a tenant's keyset is still under the old root key, which therefore stays: run the rotation again")
		}
		return err
	})
	if err != nil {
		return err
	}
	if err := s.keys.DropOldRootKeys(); err != nil {
		return err
	}
	return s.step("old root key dropped")
}

// rewrap wraps a tenant's keyset with the current root key. Its content and generation stay.
func (t *txn) rewrap(tenant string) error {
	keys, err := t.keys(tenant)
	if err != nil {
		return err
	}
	if err := t.saveKeys(tenant, keys); err != nil {
		return err
	}
	return t.audit(api.Event{Action: actRootRotate})
}
