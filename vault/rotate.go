package vault

import (
	"context"
	"time"

	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/internal/delay"
	"github.com/Miosa-osa/miosa-env/vault/keyring"
)

// How much one transaction of a rotation re-encrypts: others write in between.
const (
	batchRows  = 64
	batchBytes = 2 << 20
)

// RotateKeys gives a tenant (or, for "", every tenant) a new data key, re-encrypts every row under it
// in small transactions while the store stays in use, by this process or others, and then drops
// the old keys. Stopped at any point, nothing is lost, and running it again completes it.
// Returns the number of rows re-encrypted. Errors: ErrNotFound, ErrInternal (a row that doesn't open:
// the old keys stay).
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
	s.db.Scrub(context.WithoutCancel(ctx))
	return rows, nil
}

func (s *Store) tenantIDs(ctx context.Context, name string) (ids []string, err error) {
	q := where{}
	q.equalIfSet("name", name)
	err = s.read(ctx, Actor{local: true}, func(t *txn) error {
		ids = nil
		rows, err := t.Query(`SELECT id FROM tenants`+q.String()+` ORDER BY created_at, id`, q.args...)
		if err != nil {
			return err
		}
		defer func() { _ = rows.Close() }()
		for rows.Next() {
			var id string
			if err := rows.Scan(&id); err != nil {
				return err
			}
			ids = append(ids, id)
		}
		return rows.Err()
	})
	if err == nil && name != "" && len(ids) == 0 {
		return nil, errNoTenant
	}
	return ids, err
}

// rotateTenant goes through three states, each safe to stop in:
//
//  1. the keyset gains a key that seals from now on. Whoever seals reads the keyset's generation in its
//     own write transaction, so from this commit on nobody seals with an old key, in any process;
//  2. batch by batch, rows under old keys move to the new one;
//  3. the transaction that finds none left drops the old keys.
func (s *Store) rotateTenant(ctx context.Context, tenant string) (rows int, err error) {
	a := Actor{KeyID: LocalKeyID, TenantID: tenant, local: true}
	err = s.write(ctx, a, func(t *txn) error {
		return t.changeKeys(tenant, actKeysRotate, (*keyring.Keys).WithNewKey)
	})
	if err != nil {
		return 0, err
	}
	if err := s.step("key added"); err != nil {
		return 0, err
	}
	for done := false; !done; {
		began := time.Now()
		var moved int
		err := s.write(ctx, a, func(t *txn) (err error) {
			moved, err = t.reencrypt(tenant)
			if done = err == nil && moved == 0; !done {
				return err
			}
			return t.changeKeys(tenant, actKeysRetire, (*keyring.Keys).CurrentOnly)
		})
		if err != nil {
			return rows, err
		}
		rows += moved
		if err := s.step("batch"); err != nil {
			return rows, err
		}
		// Leave the lock to others for as long as it was held: SQLite doesn't queue those who wait for it.
		if err := delay.Sleep(ctx, time.Since(began)); err != nil {
			return rows, err
		}
	}
	return rows, nil
}

// changeKeys replaces a tenant's keyset by the one that change returns.
func (t *txn) changeKeys(tenant, action string, change func(*keyring.Keys) (*keyring.Keys, error)) error {
	keys, err := t.keys(tenant)
	if err != nil {
		return err
	}
	if keys, err = change(keys); err != nil {
		return err
	}
	if err := t.saveKeys(tenant, keys); err != nil {
		return err
	}
	return t.audit(api.Event{Action: action})
}

// reencrypt moves one batch of rows to the key that seals now, and returns how many.
func (t *txn) reencrypt(tenant string) (moved int, err error) {
	keys, err := t.keys(tenant)
	if err != nil {
		return 0, err
	}
	batch, err := t.rowsUnderOldKeys(tenant, keys.Current())
	if err != nil {
		return 0, err
	}
	for _, r := range batch {
		if err := t.reseal(keys, r); err != nil {
			return 0, err
		}
	}
	return len(batch), nil
}

// reseal moves what is sealed of a row to the key that seals now.
func (t *txn) reseal(keys *keyring.Keys, r secretRow) error {
	for _, field := range []struct {
		name   string
		sealed *[]byte
	}{{fieldValue, &r.value}, {fieldPreview, &r.preview}, {fieldRefresh, &r.refresh}} {
		if *field.sealed == nil {
			continue // no refresh token
		}
		plain, err := keys.Open(*field.sealed, r.id, r.version, field.name)
		if err != nil {
			return err
		}
		if *field.sealed, err = keys.Seal(plain, r.id, r.version, field.name); err != nil {
			return err
		}
	}
	return t.Exec(`UPDATE secrets SET key_id = $1, value = $2, preview = $3, refresh_token = $4 WHERE id = $5`,
		keys.Current(), r.value, r.preview, r.refresh, r.id)
}

func (t *txn) rowsUnderOldKeys(tenant string, primary int64) ([]secretRow, error) {
	rows, err := t.Query(`SELECT id, version, value, preview, refresh_token FROM secrets
		WHERE tenant_id = $1 AND key_id <> $2 LIMIT $3`, tenant, primary, batchRows)
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }()
	var batch []secretRow
	for size := 0; size < batchBytes && rows.Next(); {
		var r secretRow
		if err := rows.Scan(&r.id, &r.version, &r.value, &r.preview, &r.refresh); err != nil {
			return nil, err
		}
		size += len(r.value) + len(r.refresh)
		batch = append(batch, r)
	}
	return batch, rows.Err()
}
