package store

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/vault/database"
	"github.com/Miosa-osa/miosa-env/vault/query"
	"github.com/Miosa-osa/miosa-env/vault/revocation"
)

// RevokeKey revokes a key of any tenant, and keeps the keys that it has created. Errors: ErrNotFound.
func (s *Store) RevokeKey(ctx context.Context, id string) error {
	_, err := s.Revoke(ctx, operator, id, api.ChildrenKeep)
	return err
}

// RevokeResourceKey revokes a resource key of the actor's tenant. Errors: as Revoke; ErrNotFound also for a tenant key.
func (s *Store) RevokeResourceKey(ctx context.Context, a Actor, id string) error {
	_, err := s.revoke(ctx, a, func(t *txn) ([]Key, []Key, error) {
		k, err := t.oneToRevoke(id)
		if err == nil && k.Resource == (api.Resource{}) { // a tenant key, or a broker key
			err = notFound("key")
		}
		return []Key{k}, nil, err
	})
	return err
}

// Revoke revokes a key of the actor's tenant, and wakes the reveals that wait with it. A key that is revoked already keeps
// its time of revocation. children says what happens to the valid keys that it has created, and that those have created:
// api.ChildrenRevoke or api.ChildrenKeep. With "" there must be none. The operator, who has no tenant, can revoke any
// key; a restricted key itself and those under it.
// Errors: ErrNotFound; ErrConflict, naming the keys that it has created; ErrInvalid; ErrDenied for a resource key.
func (s *Store) Revoke(ctx context.Context, a Actor, id, children string) (api.RevokedKeys, error) {
	return s.revoke(ctx, a, func(t *txn) (revoked, kept []Key, err error) {
		if !slices.Contains([]string{"", api.ChildrenRevoke, api.ChildrenKeep}, children) {
			return nil, nil, invalid("children must be revoke or keep")
		}
		k, err := t.oneToRevoke(id)
		if err != nil {
			return nil, nil, err
		}
		under, err := t.keysUnder(k.ID)
		if err != nil {
			return nil, nil, err
		}
		switch {
		case children == api.ChildrenRevoke:
			return append([]Key{k}, under...), nil, nil
		case children == "" && len(under) > 0:
			return nil, nil, api.NewError(api.ErrConflict, "this key has created keys that are valid: "+named(under)+
				": add children=revoke to revoke them too, or children=keep")
		}
		return []Key{k}, under, nil
	})
}

// RevokeIssuedBefore revokes the keys of the actor's tenant that were created before a time, except the actor's own. A
// restricted key revokes those under it. Errors: ErrDenied for a resource key.
func (s *Store) RevokeIssuedBefore(ctx context.Context, a Actor, before time.Time) (api.RevokedKeys, error) {
	return s.revoke(ctx, a, func(t *txn) (revoked, kept []Key, err error) {
		var c query.Conditions
		c.Add("k.tenant_id =", a.TenantID)
		c.Add("k.created_at <", before.UnixMicro())
		c.Add("k.id <>", a.KeyID)
		t.actor.limitKeys(&c)
		revoked, err = t.toRevoke(c)
		return revoked, nil, err
	})
}

// revoke revokes the keys that choose returns, all in one transaction with their events. Those that have ended already are
// skipped. Before the commit they are in the list of revoked keys.
func (s *Store) revoke(ctx context.Context, a Actor, choose func(*txn) (revoke, keep []Key, err error)) (result api.RevokedKeys, err error) {
	defer s.authenticated.Store(new(authCache))
	err = s.write(ctx, a, actKeyRevoke, func(t *txn) error {
		keys, kept, err := choose(t)
		if err != nil {
			return err
		}
		keys = slices.DeleteFunc(keys, func(k Key) bool { return k.RevokedAt != nil })
		if err := t.revokeKeys(keys, ""); err != nil {
			return err
		}
		result = api.RevokedKeys{OK: true, Revoked: issued(keys), Kept: issued(kept)}
		return nil
	})
	return result, err
}

// revokeKeys revokes keys that aren't revoked, and lists them. detail is for the events.
func (t *txn) revokeKeys(keys []Key, detail string) error {
	var ended []revocation.Ended
	t.more += max(len(keys)-1, 0)
	for i := range keys {
		k := &keys[i]
		t.actor.TenantID = k.TenantID
		k.RevokedAt = &t.now
		if t.authenticate(k) != nil {
			k.code = []byte{} // the keyset doesn't open: the key is refused with any mac
		}
		if err := t.update("api_keys", k.ID, columns{{"revoked_at", &k.RevokedAt}, k.rowMAC.column()}); err != nil {
			return err
		}
		for _, r := range k.resources() {
			t.wake(r)
		}
		if err := t.audit(api.Event{Action: actKeyRevoke, TargetKeyID: k.ID, ResourceType: k.Resource.Type, ResourceID: k.Resource.ID, Detail: detail}); err != nil {
			return err
		}
		ended = append(ended, k.ended(t.now))
	}
	return t.list(ended)
}

// list adds keys to the list of revoked keys before the commit, so that no key is revoked that a restored database would
// accept again. Until the commit they are unsettled.
func (t *txn) list(keys []revocation.Ended) error {
	var added []string
	for _, k := range keys {
		if _, before := t.store.unsettled.LoadOrStore(k.ID, struct{}{}); !before {
			added = append(added, k.ID)
		}
		t.listed = append(t.listed, k.ID)
	}
	undo, err := t.store.revocations.Add(keys)
	if err != nil {
		for _, id := range added {
			t.store.unsettled.Delete(id)
		}
		t.store.log.Error().Err(err).Msg("list of revoked keys not written")
		return api.NewError(api.ErrUnavailable, "the list of revoked keys can't be written now, so nothing was changed")
	}
	t.unlist = append(t.unlist, undo)
	return nil
}

// undoLists removes the keys that a failed transaction has added to the list of revoked keys, so that they aren't refused.
func (t *txn) undoLists() {
	for _, undo := range slices.Backward(t.unlist) {
		if err := undo(); err != nil {
			t.store.log.Error().Err(err).Msg("keys stay in the list of revoked keys, although the change that ended them has failed")
		}
	}
	t.unlist = nil
	t.settle()
}

// settle is called when it is known whether the transaction was committed.
func (t *txn) settle() {
	for _, id := range t.listed {
		t.store.unsettled.Delete(id)
	}
	t.listed = nil
}

// keyOfActor selects a key if the actor may see it; the operator may see all.
func (t *txn) keyOfActor(id string) (c query.Conditions) {
	c.Add("k.id =", id)
	c.Match("k.tenant_id", t.actor.TenantID)
	t.actor.limitKeys(&c)
	return c
}

// toRevoke is listKeys without verification, since an altered key can be revoked too.
func (t *txn) toRevoke(c query.Conditions) ([]Key, error) {
	read, err := collect(t, unverifiedKey, selectKeys+c.String()+keysInOrder, c.Args...)
	keys := make([]Key, len(read))
	for i := range read {
		keys[i] = read[i].row
	}
	return keys, err
}

// oneToRevoke is toRevoke for a key that the actor may see. Errors: ErrNotFound.
func (t *txn) oneToRevoke(id string) (k Key, err error) {
	keys, err := t.toRevoke(t.keyOfActor(id))
	if err == nil && len(keys) == 0 {
		return k, notFound("key")
	}
	if err != nil {
		return k, err
	}
	return keys[0], nil
}

// keysUnder lists the keys that a key has created, that those have created, and so on, and that are valid or unsettled.
func (t *txn) keysUnder(id string) ([]Key, error) {
	var c query.Conditions
	under(&c, id)
	c.Add("k.id <>", id)
	keys, err := t.toRevoke(c)
	t.touched += len(keys)
	return slices.DeleteFunc(keys, func(k Key) bool { return errors.Is(t.endedError(&k), errKey) }), err
}

// KeysUnder lists the valid keys that a key has created, that those have created, and so on. Altered keys are listed too.
// Errors: ErrNotFound; ErrDenied for a resource key.
func (s *Store) KeysUnder(ctx context.Context, a Actor, id string) ([]api.IssuedKey, error) {
	keys, err := read(ctx, s, a, actKeyRead, func(t *txn) ([]Key, error) {
		if _, err := t.oneToRevoke(id); err != nil {
			return nil, err
		}
		return t.keysUnder(id)
	})
	return issued(keys), err
}

// named lists keys for an error message.
func named(keys []Key) string {
	const most = 10
	var names []string
	for _, k := range keys[:min(len(keys), most)] {
		name := k.ID
		if k.Label != "" {
			name += " (" + k.Label + ")"
		}
		names = append(names, name)
	}
	text := strings.Join(names, ", ")
	if len(keys) > most {
		text += ", and others"
	}
	return text
}

// Replacement describes the successor of a key.
type Replacement struct {
	Grace     time.Duration // until the old key ends, at most api.MaxGrace; 0: it is revoked at once
	ExpiresAt *time.Time    // of the successor; nil: after as long a time as the old key was made for
	Never     bool          // with ExpiresAt nil: the successor doesn't expire
}

// ReplaceKey creates a successor of a key, with its label, resource and restrictions, which takes over the keys that the
// old key has created. It has the old key's parent if the actor's key is above the old one, and else is under the actor's key:
// revoking a leaked key with what it has created includes it. The old key ends after the grace period.
// Errors: ErrNotFound; ErrConflict for a key that is revoked or has a successor; ErrInvalid; ErrDenied for a resource key.
func (s *Store) ReplaceKey(ctx context.Context, a Actor, id string, r Replacement) (api.IssuedKey, error) {
	defer s.authenticated.Store(new(authCache))
	var k Key
	var key api.Key
	tried := new(txn)
	err := s.write(ctx, a, actKeyReplace, func(t *txn) error {
		tried.undoLists() // a first run
		tried = t
		if r.Grace < 0 || r.Grace > api.MaxGrace {
			return invalid("grace_seconds must be 0 to 31536000 (a year)")
		}
		if r.ExpiresAt != nil && !r.ExpiresAt.After(t.now) {
			return errPastExpiry
		}
		c := t.keyOfActor(id)
		old, err := one(t, "key", (*Key).fields, selectKeys+c.String(), c.Args...)
		if err != nil {
			return err
		}
		if old.RevokedAt != nil {
			return api.NewError(api.ErrConflict, "this key is revoked: create a new one instead")
		}
		t.actor.TenantID = old.TenantID
		if err := t.notReplaced(old); err != nil {
			return err
		}
		k = old
		k.LastUsedAt, k.ExpiresAt = nil, inMicros(r.ExpiresAt)
		if r.ExpiresAt == nil && !r.Never && old.ExpiresAt != nil {
			k.ExpiresAt = new(t.now.Add(old.ExpiresAt.Sub(old.CreatedAt)))
		}
		// The rows that say that the old key is under the actor's aren't verified, so that isn't enough.
		same := api.KeyRequest{Resource: old.Resource, Broker: old.Broker, Restrictions: old.Restrictions}
		if k.Restrictions, err = t.restricted(same); err != nil {
			return err
		}
		if k.Resource != (api.Resource{}) {
			if err := t.mayUseResource(actKeyReplace, k.Resource); err != nil {
				return err
			}
		}
		stay, err := t.above(a.KeyID)
		if err != nil {
			return err
		}
		if above, err := t.above(old.ParentID); err != nil {
			return err
		} else if !a.local && !slices.Contains(above, a.KeyID) {
			k.ParentID = a.KeyID
		}
		key = api.NewKey(prefixOf(same))
		if err := t.insertKey(&k, key); err != nil {
			return err
		}
		if err := t.audit(api.Event{Action: actKeyReplace, TargetKeyID: old.ID, ResourceType: old.Resource.Type, ResourceID: old.Resource.ID, Detail: k.ID}); err != nil {
			return err
		}
		if err := t.adopt(old.ID, k.ID, append(stay, k.ID)); err != nil { // a key doesn't come under itself
			return err
		}
		return t.endLater(old, t.now.Add(r.Grace))
	})
	if err != nil {
		if !errors.Is(err, database.ErrUncertain) {
			tried.undoLists() // or the old key would end without a successor
		}
		return api.IssuedKey{}, err
	}
	k.Key = key.Reveal()
	return k.IssuedKey, nil
}

// notReplaced returns ErrConflict, naming the successor, for a key that has one. The expiry of such a key is the end of its grace
// period, so how long a further successor should last isn't known.
func (t *txn) notReplaced(k Key) error {
	const successor = `SELECT detail FROM audit WHERE tenant_id = $1 AND action = $2 AND target_key_id = $3 AND outcome = $4 ORDER BY at DESC, seq DESC LIMIT 1`
	ids, err := collect(t, itself, successor, k.TenantID, actKeyReplace, k.ID, api.OutcomeOK)
	if err != nil || len(ids) == 0 {
		return err
	}
	return api.NewError(api.ErrConflict, "this key was replaced by "+ids[0]+": replace that one, or create a new key")
}

// above returns the ids of a key and of those that it is under, directly or through other keys.
func (t *txn) above(id string) ([]string, error) {
	ids, err := collect(t, itself, `WITH RECURSIVE above (id) AS (SELECT CAST($1 AS TEXT)
		UNION SELECT k.parent_id FROM api_keys k JOIN above ON k.id = above.id) SELECT id FROM above`, id)
	t.touched += len(ids)
	return ids, err
}

// adopt makes the key to the parent of the keys that from has created, except those in stay.
func (t *txn) adopt(from, to string, stay []string) error {
	var c query.Conditions
	c.Add("k.parent_id =", from)
	children, err := t.listKeys(c)
	for i := range children {
		if err == nil && !slices.Contains(stay, children[i].ID) {
			t.more++
			children[i].ParentID = to
			err = t.updateKey(&children[i], column{"parent_id", &to})
		}
	}
	return err
}

// updateKey writes a changed column of a key, and the mac.
func (t *txn) updateKey(k *Key, changed column) error {
	if err := t.authenticate(k); err != nil {
		return err
	}
	return t.update("api_keys", k.ID, columns{changed, k.rowMAC.column()})
}

// endLater makes a key expire at end, unless it expires earlier. It revokes the key if end has come.
func (t *txn) endLater(k Key, end time.Time) error {
	if !end.After(t.now) {
		return t.revokeKeys([]Key{k}, "")
	}
	if k.ExpiresAt != nil && k.ExpiresAt.Before(end) {
		return nil
	}
	k.ExpiresAt = &end
	if err := t.updateKey(&k, column{"expires_at", &k.ExpiresAt}); err != nil {
		return err
	}
	for _, r := range k.resources() {
		t.wake(r) // a reveal that waits with it learns when it ends
	}
	return t.list([]revocation.Ended{k.ended(end)})
}
