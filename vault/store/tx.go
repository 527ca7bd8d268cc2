package store

import (
	"cmp"
	"context"
	"crypto/rand"
	"database/sql"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"runtime"
	"time"

	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/vault/audit"
	"github.com/Miosa-osa/miosa-env/vault/database"
	"github.com/Miosa-osa/miosa-env/vault/hub"
	"github.com/Miosa-osa/miosa-env/vault/keyring"
	"github.com/Miosa-osa/miosa-env/vault/query"
)

// txn is one transaction on behalf of an actor.
type txn struct {
	database.Tx
	store    *Store
	actor    Actor
	now      time.Time                // in the resolution of the store, microseconds, UTC
	keysets  map[string]*keyring.Keys // by tenant
	revision int64                    // of the actor's tenant, once keys was called
	wakes    map[hub.Topic]struct{}
	events   []string       // ids of audited events with wakingActions
	keysEnd  bool           // one of them has one of keyActions
	log      *audit.Log     // nil until auditLog
	listed   []string       // keys that the transaction has added to the list of revoked keys
	unlist   []func() error // undo these additions

	encoded []byte // for encode

	macs map[string]keyMAC // of keys, by id, that were read together; others are read when they are checked

	touched     int  // bindings or keys that a change has read beside what it is about
	more        int  // keys and bindings that a change has written beside what it is about
	rescheduled bool // a schedule has changed
}

// begin checks that the actor's key is still valid, and runs do.
func (s *Store) begin(tx database.Tx, a Actor, do func(*txn) error) (*txn, error) {
	t := &txn{Tx: tx, store: s, actor: a, now: now()}
	if err := t.checkKey(a); err != nil {
		return t, err
	}
	if err := do(t); err != nil {
		return t, err
	}
	return t, t.finish()
}

// finish marks the tenants that the transaction has changed, and announces it to other processes.
func (t *txn) finish() error {
	changed := map[string][]api.Resource{}
	for w := range t.wakes {
		changed[w.Tenant] = append(changed[w.Tenant], w.Resource)
	}
	for tenant, resources := range changed {
		// By a random number, so that a database that has lost its newest changes doesn't reach the same revision with other content.
		random := make([]byte, 4)
		_, _ = rand.Read(random) // it never fails
		if err := t.Defer(`UPDATE tenants SET revision = revision + $1 WHERE id = $2`, 1+int64(binary.BigEndian.Uint32(random)), tenant); err != nil {
			return err
		}
		if err := t.announce(tenant, resources); err != nil {
			return err
		}
	}
	if _, ok := t.store.db.(database.Announcer); !ok {
		t.store.own.add(t.events)
	}
	return nil
}

// anyKey is the action of transactions for all keys.
const anyKey = ""

// read returns the results of do, which reads one snapshot of the database. An actor whose key isn't for action is refused.
func read[T any](ctx context.Context, s *Store, a Actor, action string, do func(*txn) (T, error)) (result T, err error) {
	return readMuch(ctx, s, a, action, 0, do)
}

// Turn waits until the actor's tenant may run an operation on a number of bytes, until the caller ends it. Errors: ctx's own.
func (s *Store) Turn(ctx context.Context, a Actor, bytes int) (end func(), err error) {
	return s.limits.Turn(ctx, a.limited(), bytes)
}

// WokenTurn is Turn for RevealChanged. Thousands may wait for it: they get their turns many at once.
func (s *Store) WokenTurn(a Actor) (end func()) {
	end, _ = s.limits.Woken(context.Background(), a.TenantID) // its error is the context's
	return end
}

// readMuch is read for a number of bytes.
func readMuch[T any](ctx context.Context, s *Store, a Actor, action string, bytes int, do func(*txn) (T, error)) (result T, err error) {
	if err := s.Permit(ctx, a, action, a.Resource); err != nil {
		return result, err
	}
	end, err := s.Turn(ctx, a, bytes)
	if err != nil {
		return result, err
	}
	defer end()
	return readNow(ctx, s, a, do)
}

// readNow is read without waiting for a turn.
func readNow[T any](ctx context.Context, s *Store, a Actor, do func(*txn) (T, error)) (result T, err error) {
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

// setRead is a read of one set.
type setRead struct {
	actor    Actor
	resource api.Resource
	do       func(*txn) error
	then     func() // called after a read without an error, before the next one; nil: none
	woken    bool   // many others may be about to read, after the same commit
	err      error
	done     bool // err is final
}

// maxTogether is how many sets one transaction reads, and how many reveals it audits.
const maxTogether = 128

// readSet is readNow for a resource's set. Reads that arrive together share a transaction: when a secret changes that thousands of
// resources have, all their agents reveal. After a read without an error it calls then, for all of them before the first one returns; nil: none.
// After a wait, woken is true.
func readSet[T any](ctx context.Context, s *Store, a Actor, r api.Resource, woken bool, do func(*txn) (T, error), then func()) (result T, err error) {
	job := &setRead{actor: a, resource: r, do: func(t *txn) (err error) {
		result, err = do(t)
		return err
	}, then: then, woken: woken}
	wait := s.setReads.Start(job)
	if woken {
		runtime.Gosched() // the others queue theirs, and share the transaction
	}
	wait()
	if job.done {
		return result, s.refusal(job.err, false)
	}
	if result, err = readNow(ctx, s, a, do); err == nil && then != nil {
		then()
	}
	return result, err
}

// readSmall is readSet after waiting for a turn.
func readSmall[T any](ctx context.Context, s *Store, a Actor, r api.Resource, do func(*txn) (T, error)) (result T, err error) {
	end, err := s.limits.Turn(ctx, a.limited(), 0)
	if err != nil {
		return result, err
	}
	defer end()
	return readSet(ctx, s, a, r, true, do, nil)
}

// readSets runs jobs in one transaction. A job that isn't done must run alone: something has failed.
func (s *Store) readSets(jobs []*setRead) {
	type sets struct { // those of agents and of brokers differ
		tenant string
		broker bool
	}
	alike := map[sets][]*setRead{}
	for _, j := range jobs {
		of := sets{j.actor.TenantID, j.actor.broker}
		alike[of] = append(alike[of], j)
	}
	for _, jobs := range alike {
		_ = s.db.Read(context.Background(), func(tx database.Tx) error {
			for _, j := range jobs {
				j.done = false // the transaction may run again
			}
			t := &txn{Tx: tx, store: s, actor: jobs[0].actor, now: now()}
			actors, resources := make([]Actor, len(jobs)), make([]api.Resource, len(jobs))
			for i, j := range jobs {
				actors[i], resources[i] = j.actor, j.resource
			}
			if err := cmp.Or(t.readKeyMACs(actors), t.cacheSets(resources)); err != nil {
				return err
			}
			for _, j := range jobs {
				t.actor = j.actor // all of these transactions only read
				if j.err = t.checkKey(j.actor); j.err == nil {
					j.err = j.do(t)
				}
				_, refused := errors.AsType[*api.Error](j.err)
				_, large := errors.AsType[*largeSet](j.err)
				if j.err != nil && !refused && !large {
					return j.err // PostgreSQL refuses further statements
				}
				j.done = true
			}
			return nil
		})
	}
	woken := false
	for _, j := range jobs {
		if j.done && j.err == nil && j.then != nil {
			j.then()
			woken = woken || j.woken
		}
	}
	if woken {
		go s.revealEvents.Run() // while the sets are sealed
	}
}

// write runs do in a transaction that no other write interleaves with. Everything that do changes and audits is
// committed, or nothing. The resources that do wakes are woken after the commit. do may run twice, the first run undone,
// so its effects outside of the transaction must not depend on how often it ran. action is as in read.
func (s *Store) write(ctx context.Context, a Actor, action string, do func(*txn) error) error {
	return s.change(ctx, a, action, 0, nil, do)
}

// change is write for a number of bytes. It returns invalid, the error of what was checked before, unless the actor is
// refused: what is invalid doesn't delay the writes of others.
func (s *Store) change(ctx context.Context, a Actor, action string, bytes int, invalid error, do func(*txn) error) error {
	if err := s.Permit(ctx, a, action, a.Resource); err != nil {
		return err
	}
	if invalid != nil {
		return invalid
	}
	if action != anyKey {
		if err := s.limits.Write(a.limited(), bytes); err != nil {
			return err
		}
	}
	if err := s.limits.Event(a.limited()); err != nil {
		return err
	}
	end, err := s.Turn(ctx, a, bytes)
	if err != nil {
		return err
	}
	defer end()
	return s.writeNow(ctx, a, do)
}

// writeNow is write without waiting for a turn.
func (s *Store) writeNow(ctx context.Context, a Actor, do func(*txn) error) error {
	var t *txn
	err := s.db.Write(ctx, func(tx database.Tx) (err error) {
		t, err = s.begin(tx, a, do)
		return err
	})
	if t != nil { // refused or not
		s.limits.Touched(a.limited(), t.touched, t.more)
	}
	if d, ok := errors.AsType[*denial](err); ok {
		return s.deny(ctx, a, d.action, d.resource, d.err.Message)
	}
	if err != nil && !errors.Is(err, database.ErrUncertain) {
		return s.refusal(err, true)
	}
	if err == nil {
		s.failing.Store(false)
		t.settle()
	} else {
		s.renewProcessID() // if it was committed, its announcement wakes the reveals
	}
	s.hub.Wake(maps.Keys(t.wakes))
	if t.rescheduled {
		nudge(s.rescheduled)
	}
	return s.refusal(err, true)
}

// checkKey returns an error if the actor's key was revoked or has expired since it was authenticated: a request that
// waited doesn't outlive its key. It sets what is different in the row now: the actor of a flow has
// no mac and no restrictions yet, and a replaced key expires earlier.
func (t *txn) checkKey(a Actor) error {
	if a.local {
		return nil
	}
	mac, err := t.keyMAC(a)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return errKey
	case err != nil:
		return err
	case a.mac != "" && string(mac) == a.mac: // the row is as it was when the key was authenticated
		return t.endedError(&Key{IssuedKey: api.IssuedKey{ID: a.KeyID, ExpiresAt: a.ExpiresAt}})
	}
	read, err := one(t, "key", unverifiedKey, selectKeys+` WHERE k.id = $1`, a.KeyID)
	if err != nil {
		return err
	}
	k := &read.row
	if k.TenantID != a.TenantID {
		return errKey
	}
	if err := t.endedError(k); err != nil { // if the row was altered too
		return err
	}
	t.actor.Restrictions, t.actor.ExpiresAt = k.Restrictions, k.ExpiresAt
	return t.verify(k)
}

// keys returns the keyset of the actor's tenant.
func (t *txn) keys() (*keyring.Keys, error) { return t.keysOf(t.actor.TenantID) }

// keysOf returns a tenant's keyset in the generation that the transaction sees.
func (t *txn) keysOf(tenant string) (*keyring.Keys, error) {
	if keys := t.keysets[tenant]; keys != nil {
		return keys, nil
	}
	w := keyring.Wrapped{Tenant: tenant}
	var revision int64
	err := t.QueryRow(`SELECT generation, root_key_id, keyset, revision FROM tenants WHERE id = $1`, tenant).
		Scan(&w.Generation, &w.RootKeyID, &w.Keyset, &revision)
	if err != nil {
		return nil, fmt.Errorf("read keyset of tenant %s: %w", tenant, err)
	}
	if tenant == t.actor.TenantID {
		t.revision = revision
	}
	keys, err := t.store.keys.Unwrap(w)
	if err == nil {
		t.useKeys(tenant, keys)
	}
	return keys, err
}

func (t *txn) useKeys(tenant string, keys *keyring.Keys) {
	if t.keysets == nil {
		t.keysets = map[string]*keyring.Keys{}
	}
	t.keysets[tenant] = keys
}

// wake wakes the reveals that wait for a resource after the commit.
func (t *txn) wake(r api.Resource) {
	if t.wakes == nil {
		t.wakes = map[hub.Topic]struct{}{}
	}
	t.wakes[hub.Topic{Tenant: t.actor.TenantID, Resource: r}] = struct{}{}
}

// keyMAC is the mac of a key's row, and its tenant.
type keyMAC struct {
	id, tenant string
	mac        []byte
}

// readKeyMACs reads the macs of actors' keys together.
func (t *txn) readKeyMACs(actors []Actor) error {
	ids := make([]string, 0, len(actors))
	t.macs = map[string]keyMAC{}
	for _, a := range actors {
		if _, ok := t.macs[a.KeyID]; !ok && !a.local {
			ids = append(ids, a.KeyID)
			t.macs[a.KeyID] = keyMAC{} // that there is none
		}
	}
	if len(ids) == 0 {
		return nil
	}
	var c query.Conditions
	c.In("id", query.Padded(ids))
	rows, err := collect(t, func(m *keyMAC) []any { return []any{&m.id, &m.tenant, &m.mac} }, `SELECT id, tenant_id, mac FROM api_keys`+c.String(), c.Args...)
	for _, m := range rows {
		t.macs[m.id] = m
	}
	return err
}

// keyMAC returns the mac of the row of an actor's key. Errors: sql.ErrNoRows.
func (t *txn) keyMAC(a Actor) (mac []byte, err error) {
	if m, ok := t.macs[a.KeyID]; ok {
		if m.tenant != a.TenantID {
			return nil, sql.ErrNoRows
		}
		return m.mac, nil
	}
	err = t.QueryRow(`SELECT mac FROM api_keys WHERE id = $1 AND tenant_id = $2`, a.KeyID, a.TenantID).Scan(&mac)
	return mac, err
}
