package store

import (
	"context"
	"errors"
	"strconv"
	"time"

	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/internal/delay"
	"github.com/Miosa-osa/miosa-env/vault/audit"
	"github.com/Miosa-osa/miosa-env/vault/database"
	"github.com/Miosa-osa/miosa-env/vault/query"
	"github.com/Miosa-osa/miosa-env/vault/revocation"
)

// ended is the key in the list of revoked keys.
func (k *Key) ended(at time.Time) revocation.Ended {
	return revocation.Ended{ID: k.ID, Tenant: k.TenantID, At: at}
}

// revokeListed opens the list of revoked keys, and makes the database and the list agree: keys that only the list has, as
// after the restore of a backup, are revoked again, and those that only the database has are listed.
func (s *Store) revokeListed(ctx context.Context, path string) (err error) {
	if s.revocations, err = revocation.Open(path); err != nil {
		return err
	}
	var again []Key
	var unlisted []revocation.Ended
	compare := func(t *txn) (err error) {
		again, unlisted, err = t.compareRevoked()
		return err
	}
	// Usually they agree, so that a command doesn't keep others from writing.
	err = s.db.Read(ctx, func(tx database.Tx) error { _, err := s.begin(tx, operator, compare); return err })
	if err != nil || len(again) == 0 && len(unlisted) == 0 {
		return err
	}
	var t *txn
	err = s.db.Write(ctx, func(tx database.Tx) (err error) {
		t, err = s.begin(tx, operator, func(t *txn) error {
			if err := compare(t); err != nil {
				return err
			}
			if err := t.revokeKeys(again, "listed"); err != nil {
				return err
			}
			return t.list(unlisted)
		})
		return err
	})
	if err != nil {
		return err
	}
	t.settle()
	for _, k := range again {
		s.log.Warn().Str("key_id", k.ID).Str("file", path).Msg("key revoked again: the database has lost its revocation")
	}
	return nil
}

// compareRevoked returns the valid keys that the list of revoked keys refuses, and when those that it doesn't have were
// revoked.
func (t *txn) compareRevoked() (again []Key, unlisted []revocation.Ended, err error) {
	refused := t.store.revocations.Refused(t.now)
	read := func(where string, listed bool, args ...any) ([]Key, error) {
		ids, err := collect(t, itself, `SELECT id FROM api_keys WHERE `+where, args...)
		var keys []Key
		for _, id := range ids {
			if _, ok := refused[id]; err == nil && ok == listed {
				var u unverified[Key]
				u, err = one(t, "key", unverifiedKey, selectKeys+` WHERE k.id = $1`, id)
				keys = append(keys, u.row)
			}
		}
		return keys, err
	}
	if again, err = read(`revoked_at IS NULL AND (expires_at IS NULL OR expires_at > $1)`, true, t.now.UnixMicro()); err != nil {
		return nil, nil, err
	}
	revoked, err := read(`revoked_at IS NOT NULL`, false)
	for _, k := range revoked {
		if t.verify(&k) == nil {
			unlisted = append(unlisted, k.ended(*k.RevokedAt))
		}
	}
	return again, unlisted, err
}

// deleteEndedInterval is how often ended keys are deleted.
const deleteEndedInterval = time.Hour

// deleteEnded deletes the ended keys that keep doesn't keep, and removes them from the list of revoked keys, until the
// store closes.
func (s *Store) deleteEnded(keep revocation.Retention) {
	for s.open.Err() == nil {
		if err := s.deleteEndedOnce(s.open, keep); err != nil && s.open.Err() == nil {
			s.log.Warn().Err(err).Msg("ended keys not deleted")
		}
		_ = delay.Sleep(s.open, deleteEndedInterval) // its error is the context's
	}
}

func (s *Store) deleteEndedOnce(ctx context.Context, keep revocation.Retention) error {
	tenants, err := s.tenantIDs(ctx, "")
	if err != nil {
		return err
	}
	var problems []error
	for _, tenant := range tenants {
		deleted, err := s.deleteEndedOf(ctx, tenant, keep)
		if deleted > 0 {
			s.log.Info().Str("tenant_id", tenant).Int("keys", deleted).Msg("ended keys deleted")
		}
		problems = append(problems, err)
	}
	_, err = s.revocations.Compact(keep, now()) // after the rows, which a start would list again
	return errors.Join(append(problems, err)...)
}

// endedAt is the time at which a key has ended, in an index with its tenant and its id.
const endedAt = `COALESCE(k.revoked_at, k.expires_at)`

// endedKey is a place in that index.
type endedKey struct {
	at int64
	id string
}

func (e *endedKey) fields() []any { return []any{&e.at, &e.id} }

// deleteEndedOf deletes the ended keys of a tenant that keep doesn't keep, the oldest first, in small transactions, and returns
// their number.
func (s *Store) deleteEndedOf(ctx context.Context, tenant string, keep revocation.Retention) (deleted int, err error) {
	last, err := read(ctx, s, operator, anyKey, func(t *txn) (endedKey, error) { return t.lastSurplus(tenant, keep) })
	for first := (endedKey{}); err == nil && last != (endedKey{}); {
		began := time.Now()
		var n int
		var next endedKey
		err = s.write(ctx, Actor{KeyID: audit.KeyID, TenantID: tenant, local: true}, anyKey, func(t *txn) (err error) {
			n, next, err = t.deleteKeys(first, last)
			return err
		})
		if err != nil {
			break
		}
		if deleted += n; next == (endedKey{}) {
			break
		}
		first = next
		err = delay.Sleep(ctx, time.Since(began)) // others write meanwhile
	}
	return deleted, err
}

// lastSurplus returns the newest ended key of a tenant that keep doesn't keep; zero: there is none.
func (t *txn) lastSurplus(tenant string, keep revocation.Retention) (last endedKey, err error) {
	newest := func(end time.Time, skip int) error {
		found, err := collect(t, (*endedKey).fields, `SELECT `+endedAt+`, k.id FROM api_keys k WHERE k.tenant_id = $1 AND `+endedAt+` <= $2
			ORDER BY `+endedAt+` DESC, k.id DESC LIMIT 1 OFFSET $3`, tenant, end.UnixMicro(), skip)
		for _, k := range found {
			if k.at > last.at || k.at == last.at && k.id > last.id {
				last = k
			}
		}
		return err
	}
	if keep.Age > 0 {
		err = newest(t.now.Add(-keep.Age-time.Microsecond), 0)
	}
	if keep.Count > 0 && err == nil {
		err = newest(t.now, keep.Count)
	}
	return last, err
}

// A transaction deletes at most endedBatch keys, and gives at most childBatch keys another parent.
const (
	endedBatch = 200
	childBatch = 500
)

// altered reports whether a row isn't one that the vault has written.
func (t *txn) altered(r authenticRow) (bool, error) {
	err := t.verify(r)
	if _, altered := errors.AsType[*alteredError](err); altered {
		return true, nil
	}
	return false, err
}

// deleteKeys deletes a batch of the actor's tenant's ended keys, from one to another, and returns their number and where to
// continue; zero: at no other. The keys that they have created come under the keys that have created them, so the tree stays
// whole. Altered keys stay: what their rows say of the tree isn't to be relied on.
func (t *txn) deleteKeys(first, last endedKey) (n int, next endedKey, err error) {
	const after, until = endedAt + ` >= $2 AND (` + endedAt + ` > $2 OR k.id >= $3)`, endedAt + ` <= $4 AND (` + endedAt + ` < $4 OR k.id <= $5)`
	keys, err := collect(t, unverifiedKey, selectKeys+` WHERE k.tenant_id = $1 AND `+after+` AND `+until+`
		ORDER BY `+endedAt+`, k.id LIMIT `+strconv.Itoa(endedBatch+1), t.actor.TenantID, first.at, first.id, last.at, last.id)
	if err != nil {
		return 0, next, err
	}
	moves := childBatch
	for i := range keys {
		k := &keys[i].row
		at := k.RevokedAt
		if at == nil {
			at = k.ExpiresAt
		}
		next = endedKey{at.UnixMicro(), k.ID}
		if i == endedBatch || moves == 0 {
			break
		}
		next = endedKey{}
		altered, err := t.altered(k)
		if altered {
			continue
		}
		var moved int
		var all bool
		if err == nil {
			moved, all, err = t.moveChildren(k, moves)
		}
		if err != nil {
			return 0, next, err
		}
		if moves -= moved; !all {
			if moved > 0 {
				next = endedKey{at.UnixMicro(), k.ID}
				break
			}
			continue // altered ones only
		}
		if err := t.Exec(`DELETE FROM oauth_flows WHERE key_id = $1`, k.ID); err != nil { // they have ended with it
			return 0, next, err
		}
		if err := t.Exec(`DELETE FROM api_keys WHERE id = $1`, k.ID); err != nil {
			return 0, next, err
		}
		n++
	}
	if n > 0 {
		err = t.audit(api.Event{Action: actKeysDelete, Detail: strconv.Itoa(n) + " ended"})
	}
	return n, next, err
}

// moveChildren makes the parent of a key that of at most limit of the keys that it has created, and reports whether these were all.
// Altered ones are refused whatever their parent is, so they stay.
func (t *txn) moveChildren(k *Key, limit int) (moved int, all bool, err error) {
	var c query.Conditions
	c.Add("k.parent_id =", k.ID)
	children, err := collect(t, unverifiedKey, selectKeys+c.String()+` ORDER BY k.id LIMIT `+strconv.Itoa(limit+1), c.Args...)
	if err != nil {
		return 0, false, err
	}
	for i := range children[:min(len(children), limit)] {
		child := &children[i].row
		altered, err := t.altered(child)
		if err == nil && !altered {
			child.ParentID = k.ParentID
			moved++
			err = t.updateKey(child, column{"parent_id", &child.ParentID})
		}
		if err != nil {
			return 0, false, err
		}
	}
	return moved, len(children) <= limit, nil
}
