package store

import (
	"context"
	"errors"

	"github.com/Miosa-osa/miosa-env/vault/keyring"
)

// RotateRoot adds a root key, wraps every tenant's keyset with it, and drops the old one. If it is stopped at any point,
// nothing is lost, and another run completes it. Other processes read the file again when they meet a key they don't
// have.
// Errors: ErrInvalid when the root key isn't in a file.
func (s *Store) RotateRoot(ctx context.Context) error {
	// First the file has the old and the new key, so that every process can unwrap what any process wraps.
	if err := s.keys.RotateRoot(func() error { return s.rewrap(ctx) }); err != nil {
		return err
	}
	return s.step("old root key dropped")
}

// rewrap wraps all keysets with the new root key.
func (s *Store) rewrap(ctx context.Context) error {
	if err := s.step("root key added"); err != nil {
		return err
	}
	err := s.write(ctx, operator, anyKey, func(t *txn) error {
		keyID, probe, err := s.keys.NewProbe()
		if err != nil {
			return err
		}
		return t.Exec(`UPDATE root_key SET key_id = $1, probe = $2 WHERE id = 1`, keyID, probe)
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
		a := operator
		a.TenantID = id
		err := s.write(ctx, a, anyKey, func(t *txn) error {
			return t.changeKeys(actRootRotate, func(k *keyring.Keys) (*keyring.Keys, error) { return k, nil })
		})
		if err != nil {
			return err
		}
		if err := s.step("tenant re-wrapped"); err != nil {
			return err
		}
	}
	left, err := read(ctx, s, operator, anyKey, func(t *txn) (left int, err error) {
		err = t.QueryRow(`SELECT COUNT(*) FROM tenants WHERE root_key_id <> (SELECT key_id FROM root_key WHERE id = 1)`).Scan(&left)
		return left, err
	})
	if err == nil && left > 0 {
		err = errors.New("a tenant's keyset is still under the old root key, which therefore stays: run the rotation again")
	}
	return err
}
