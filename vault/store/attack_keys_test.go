package store

import (
	"errors"
	"testing"
	"time"

	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/internal/test/postgrestest"
	"github.com/Miosa-osa/miosa-env/vault/limit"
)

// A restricted key and write access to the database together don't replace a key beyond its restrictions: the rows
// between the two keys, which say that one is under the other, aren't read when it is replaced.
func TestAttack_ReplaceOutsideOfTree(t *testing.T) {
	s := newStore(t)
	f := newFamily(t, s)
	k, err := s.IssueKey(t.Context(), f.root, api.KeyRequest{Restrictions: api.Restrictions{Permissions: []string{api.PermissionKeysWrite}}})
	if err != nil {
		t.Fatal(err)
	}
	key, _ := api.ParseKey(k.Key)
	restricted := actorOf(t, s, key)
	tamper(t, s, `UPDATE api_keys SET parent_id = $1 WHERE id = $2`, restricted.KeyID, f.a.KeyID)
	for _, id := range []string{f.a1.KeyID, f.box.KeyID, f.a.KeyID} {
		got, err := s.ReplaceKey(t.Context(), restricted, id, Replacement{})
		if err == nil && got.Restrictions.None() && got.Resource == (api.Resource{}) {
			t.Errorf("an unrestricted key by a key with %v", k.Permissions)
		}
	}
}

// Who has a leaked key can't give it a successor that stays when the key is revoked with what it has created.
func TestAttack_SuccessorOfLeakedKey(t *testing.T) {
	for _, tt := range []struct {
		name   string
		victim func(family) Actor
	}{
		{"its own", func(f family) Actor { return f.a }},
		{"of the key that has created it", func(f family) Actor { return f.root }},
		{"of another key", func(f family) Actor { return f.b }},
		{"of a key under it", func(f family) Actor { return f.a1 }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := newStore(t)
			f := newFamily(t, s)
			successor, err := s.ReplaceKey(t.Context(), f.a, tt.victim(f).KeyID, Replacement{Grace: time.Hour})
			if err != nil {
				t.Fatal(err)
			}
			key, _ := api.ParseKey(successor.Key)
			if _, err := s.Revoke(t.Context(), operator, f.a.KeyID, api.ChildrenRevoke); err != nil {
				t.Fatal(err)
			}
			_, err = s.Authenticate(t.Context(), key.Reveal())
			wantKind(t, err, api.ErrUnauthorized)
		})
	}
}

// A flow doesn't outlive its key, also if the key's row has no mac.
func TestAttack_FlowOfKeyWithoutMAC(t *testing.T) {
	s := newStore(t)
	a := tenant(t, s, "acme")
	f, state, err := NewFlow(a, "google", "http://127.0.0.1/callback", Wanted{}, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.AddFlow(t.Context(), a, f, state); err != nil {
		t.Fatal(err)
	}
	tamper(t, s, `UPDATE api_keys SET mac = '', revoked_at = 1 WHERE id = $1`, a.KeyID)
	wantKind(t, s.TakeFlow(t.Context(), Actor{}, f), api.ErrUnauthorized)
	tamper(t, s, `UPDATE api_keys SET revoked_at = NULL WHERE id = $1`, a.KeyID)
	wantKind(t, s.TakeFlow(t.Context(), Actor{}, f), api.ErrInternal)
}

// A change of many keys counts as many changes, and so does a refusal that has read many.
func TestAttack_ChangeOfManyKeys(t *testing.T) {
	for _, tt := range []struct {
		name   string
		keys   int
		change func(*Store, Actor, string) error
	}{
		{"replaced", 50, func(s *Store, a Actor, id string) error {
			_, err := s.ReplaceKey(t.Context(), a, id, Replacement{Grace: time.Hour})
			return err
		}},
		{"revoked", 50, func(s *Store, a Actor, id string) error {
			_, err := s.Revoke(t.Context(), a, id, api.ChildrenRevoke)
			return err
		}},
		{"revoked by age", 50, func(s *Store, a Actor, _ string) error {
			_, err := s.RevokeIssuedBefore(t.Context(), a, time.Now().Add(time.Hour))
			return err
		}},
		{"refused", 1000, func(s *Store, a Actor, id string) error {
			if _, err := s.Revoke(t.Context(), a, id, ""); !errors.Is(err, api.ErrConflict) {
				return err
			}
			return nil
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			s, err := Open(t.Context(), Config{DataDir: dir, Database: postgrestest.Database(t, dir), RootKey: rootAt(t, dir),
				Limits: limit.Values{limit.TenantWrites: 1, limit.TenantEvents: 1e6}})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = s.Close() })
			a := tenant(t, s, "acme")
			parent, err := s.IssueKey(t.Context(), a, api.KeyRequest{})
			if err != nil {
				t.Fatal(err)
			}
			local, err := s.LocalActor(t.Context(), "acme")
			if err != nil {
				t.Fatal(err)
			}
			err = s.write(t.Context(), local, anyKey, func(t *txn) error {
				for range tt.keys {
					if _, err := t.issue(api.KeyRequest{Label: "child"}, api.NewKey(api.TenantKeyPrefix)); err != nil {
						return err
					}
				}
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
			if err := s.Alter(t.Context(), `UPDATE api_keys SET parent_id = $1 WHERE label = 'child'`, parent.ID); err != nil {
				t.Fatal(err)
			}
			if err := tt.change(s, a, parent.ID); err != nil {
				t.Fatal(err)
			}
			_, err = s.IssueKey(t.Context(), a, api.KeyRequest{})
			wantKind(t, err, api.ErrRateLimited)
		})
	}
}
