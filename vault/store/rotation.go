package store

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/Miosa-osa/miosa-env/internal/delay"
	"github.com/Miosa-osa/miosa-env/vault/keyring"
)

// How much one transaction of a rotation encrypts again: others write in between.
const (
	batchRows  = 64
	batchBytes = 2 << 20
)

// RotateKeys gives a tenant (with "", every tenant) a new data key, encrypts every row with it in small
// transactions while this and other processes use the store, and then drops the old keys. If it is stopped at any point,
// nothing is lost, and another run completes it. It returns the number of rows that were encrypted again.
// Errors: ErrNotFound, ErrInternal (a row that doesn't open: the old keys stay); old ciphertext remains in the database's files.
func (s *Store) RotateKeys(ctx context.Context, tenant string) (rows int, err error) {
	ids, err := s.tenantIDs(ctx, tenant)
	if err != nil {
		return 0, err
	}
	for _, id := range ids {
		n, err := s.rotateTenant(ctx, id)
		rows += n
		if err != nil {
			return rows, err
		}
	}
	return rows, s.scrub(ctx)
}

// scrub erases old ciphertext and wrappings from the database's files.
func (s *Store) scrub(ctx context.Context) error {
	if err := s.db.Scrub(context.WithoutCancel(ctx)); err != nil {
		return fmt.Errorf("what the old key encrypted is still in the database's files: run the rotation again: %w", err)
	}
	return nil
}

// rotateTenant goes through three states, and may be stopped in each of them:
//
//  1. The keyset has a new key that encrypts. Every write reads the keyset's generation in its own
//     transaction, so from this commit on no process encrypts with an old key.
//  2. Batch by batch, rows are encrypted and authenticated with the new key.
//  3. The transaction that finds no row left drops the old keys.
func (s *Store) rotateTenant(ctx context.Context, tenant string) (rows int, err error) {
	a := operator
	a.TenantID = tenant
	err = s.write(ctx, a, anyKey, func(t *txn) error { return t.changeKeys(actKeysRotate, (*keyring.Keys).WithNewKey) })
	if err != nil {
		return 0, err
	}
	if err := s.step("key added"); err != nil {
		return 0, err
	}
	for done := false; !done; {
		began := time.Now()
		var moved, renewed int
		err := s.write(ctx, a, anyKey, func(t *txn) (err error) {
			if moved, err = t.reencrypt(); err == nil {
				renewed, err = t.renewMACs()
			}
			if done = err == nil && moved+renewed == 0; !done {
				return err
			}
			return t.changeKeys(actKeysRetire, (*keyring.Keys).CurrentOnly)
		})
		if err != nil {
			return rows, err
		}
		rows += moved
		if err := s.step("batch"); err != nil {
			return rows, err
		}
		// Leave the lock to others for as long as it was held: SQLite has no queue for it.
		if err := delay.Sleep(ctx, time.Since(began)); err != nil {
			return rows, err
		}
	}
	return rows, nil
}

// reencrypt encrypts one batch of rows with the current key, and returns their number.
func (t *txn) reencrypt() (moved int, err error) {
	keys, err := t.keys()
	if err != nil {
		return 0, err
	}
	batch, err := t.rowsUnderOldKeys(keys.Current())
	if err != nil {
		return 0, err
	}
	for _, r := range batch {
		if err := cmp.Or(t.verify(&r), t.reseal(r)); err != nil {
			return 0, err
		}
	}
	if len(batch) > 0 {
		return len(batch), nil
	}
	l, err := t.auditLog()
	if err != nil {
		return 0, err
	}
	return l.Reauthenticate(batchRows * 4)
}

// reseal encrypts and authenticates a row with the current key.
func (t *txn) reseal(r secretRow) error {
	keys, err := t.keys()
	if err != nil {
		return err
	}
	for _, field := range []struct {
		name   string
		sealed *[]byte
	}{{fieldValue, &r.value}, {fieldPreview, &r.sealedPreview}, {fieldRefresh, &r.refresh}} {
		if *field.sealed == nil {
			continue // no refresh token
		}
		plain, err := t.open(r, field.name, *field.sealed)
		if err != nil {
			return err
		}
		if *field.sealed, err = keys.Seal(plain, r.ID, r.Version, field.name); err != nil {
			return err
		}
	}
	r.keyID = keys.Current()
	if err := t.authenticate(&r); err != nil {
		return err
	}
	return t.updateSecret(r.ID, append(r.sealed(), r.encrypted()...))
}

func (t *txn) rowsUnderOldKeys(current int64) ([]secretRow, error) {
	var r secretRow
	columns := append(r.stored(), r.sealed()...)
	rows, err := t.Query(`SELECT `+columns.names("")+` FROM secrets WHERE tenant_id = $1 AND key_id <> $2 LIMIT $3`,
		t.actor.TenantID, current, batchRows)
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }()
	var batch []secretRow
	for size := 0; size < batchBytes && rows.Next(); {
		if err := rows.Scan(columns.fields()...); err != nil {
			return nil, err
		}
		size += len(r.value) + len(r.refresh)
		batch = append(batch, r)
	}
	return batch, rows.Err()
}

// RotateRoot adds a root key, wraps every tenant's keyset with it, erases the old wrappings from the database's files, and
// drops the old key. If it is stopped at any point, nothing is lost, and another run completes it. Other processes read the
// file again when they meet a key they don't have.
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
	if err := s.write(ctx, operator, anyKey, (*txn).setProbe); err != nil {
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
	if err != nil {
		return err
	}
	// The old key stays until nothing that it wrapped is left: a run that is killed before that point has visibly not ended.
	return s.scrub(ctx)
}

// setProbe stores a probe of the current root key.
func (t *txn) setProbe() error {
	keyID, probe, err := t.store.keys.NewProbe()
	if err != nil {
		return err
	}
	return t.Exec(`UPDATE root_key SET key_id = $1, probe = $2 WHERE id = 1`, keyID, probe)
}
