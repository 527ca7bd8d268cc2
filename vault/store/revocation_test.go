package store

import (
	"errors"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/internal/test/poll"
	"github.com/Miosa-osa/miosa-env/internal/test/postgrestest"
)

// issueUnder creates a tenant key under a's, labeled name, and returns its actor.
func issueUnder(t testing.TB, s *Store, a Actor, name string) (child Actor, key api.Key) {
	t.Helper()
	k, err := s.IssueKey(t.Context(), a, api.KeyRequest{Label: name})
	if err != nil {
		t.Fatal(err)
	}
	if key, err = api.ParseKey(k.Key); err != nil {
		t.Fatal(err)
	}
	return actorOf(t, s, key), key
}

// family is a tenant with keys under keys: root has a and b, and a has a1 and the key of box1.
type family struct {
	root, a, b, a1, box Actor
}

func newFamily(t testing.TB, s *Store) (f family) {
	t.Helper()
	f.root = tenant(t, s, "acme")
	f.a, _ = issueUnder(t, s, f.root, "a")
	f.b, _ = issueUnder(t, s, f.root, "b")
	f.a1, _ = issueUnder(t, s, f.a, "a1")
	f.box = agent(t, s, f.a, box1)
	return f
}

// valid returns the names of the keys that the store accepts.
func (f family) valid(t testing.TB, s *Store) (names []string) {
	t.Helper()
	for name, a := range map[string]Actor{"root": f.root, "a": f.a, "b": f.b, "a1": f.a1, "box": f.box} {
		_, _, err := s.Bindings(t.Context(), a, BindingFilter{})
		if err == nil {
			names = append(names, name)
		} else {
			wantKind(t, err, api.ErrUnauthorized)
		}
	}
	slices.Sort(names)
	return names
}

func ids(keys []api.IssuedKey) []string {
	list := make([]string, len(keys))
	for i := range keys {
		list[i] = keys[i].ID
	}
	slices.Sort(list)
	return list
}

func TestRevokeTree(t *testing.T) {
	for _, tt := range []struct {
		name     string
		children string
		valid    []string
		conflict bool
	}{
		{"nothing said", "", []string{"a", "a1", "b", "box", "root"}, true},
		{"revoke", api.ChildrenRevoke, []string{"b", "root"}, false},
		{"keep", api.ChildrenKeep, []string{"a1", "b", "box", "root"}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := newStore(t)
			f := newFamily(t, s)
			got, err := s.Revoke(t.Context(), f.root, f.a.KeyID, tt.children)
			if tt.conflict {
				wantKind(t, err, api.ErrConflict)
				if !strings.Contains(err.Error(), f.a1.KeyID+" (a1)") || !strings.Contains(err.Error(), f.box.KeyID) {
					t.Errorf("the error doesn't name the children: %v", err)
				}
			} else if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(f.valid(t, s), tt.valid); diff != "" {
				t.Errorf("valid (-got +want)\n%s", diff)
			}
			want := map[string][2][]string{
				"":                 {{}, {}},
				api.ChildrenRevoke: {ids([]api.IssuedKey{{ID: f.a.KeyID}, {ID: f.a1.KeyID}, {ID: f.box.KeyID}}), {}},
				api.ChildrenKeep:   {{f.a.KeyID}, ids([]api.IssuedKey{{ID: f.a1.KeyID}, {ID: f.box.KeyID}})},
			}[tt.children]
			if diff := cmp.Diff([2][]string{ids(got.Revoked), ids(got.Kept)}, want); diff != "" {
				t.Errorf("revoked and kept (-got +want)\n%s", diff)
			}
			var events []string
			for _, e := range audited(t, s, f.root, actKeyRevoke) {
				events = append(events, e.TargetKeyID)
			}
			slices.Sort(events)
			if diff := cmp.Diff(len(events), len(want[0])); diff != "" || !slices.Equal(events, want[0]) {
				t.Errorf("events of %v, want %v", events, want[0])
			}
			// A key without valid children needs no parameter, as the SDKs' DELETE of a resource key.
			if err := s.RevokeResourceKey(t.Context(), f.root, f.box.KeyID); err != nil {
				t.Error(err)
			}
			if _, err := s.Revoke(t.Context(), f.root, f.a1.KeyID, ""); err != nil {
				t.Error(err)
			}
			if _, err := s.Revoke(t.Context(), f.root, f.a.KeyID, ""); err != nil {
				t.Errorf("without valid children: %v", err)
			}
			_, err = s.Revoke(t.Context(), f.root, f.a.KeyID, "some")
			wantKind(t, err, api.ErrInvalid)
		})
	}
}

// Keys that were kept can be revoked with their revoked parent later.
func TestRevokeKeptChildren(t *testing.T) {
	s := newStore(t)
	f := newFamily(t, s)
	for _, children := range []string{api.ChildrenKeep, api.ChildrenRevoke} {
		if _, err := s.Revoke(t.Context(), f.root, f.a.KeyID, children); err != nil {
			t.Fatal(err)
		}
	}
	if diff := cmp.Diff(f.valid(t, s), []string{"b", "root"}); diff != "" {
		t.Errorf("valid (-got +want)\n%s", diff)
	}
}

// A restricted key sees and revokes itself and the keys under it only.
func TestRestrictedKeySeesItsTree(t *testing.T) {
	s := newStore(t)
	f := newFamily(t, s)
	k, err := s.IssueKey(t.Context(), f.a, api.KeyRequest{Label: "r", Restrictions: api.Restrictions{Permissions: []string{api.PermissionKeysWrite}}})
	if err != nil {
		t.Fatal(err)
	}
	key, err := api.ParseKey(k.Key)
	if err != nil {
		t.Fatal(err)
	}
	restricted := actorOf(t, s, key)
	under, _ := issueUnder(t, s, restricted, "under")
	below := agent(t, s, under, box1)
	list, _, err := s.IssuedKeys(t.Context(), restricted, KeyFilter{})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(ids(list), ids([]api.IssuedKey{{ID: restricted.KeyID}, {ID: under.KeyID}, {ID: below.KeyID}})); diff != "" {
		t.Errorf("keys (-got +want)\n%s", diff)
	}
	if list, _, err := s.ResourceKeys(t.Context(), restricted, KeyFilter{}); err != nil || len(list) != 1 || list[0].ID != below.KeyID {
		t.Errorf("resource keys %v, %v", ids(list), err)
	}
	for _, a := range []Actor{f.root, f.a, f.b, f.a1, f.box} {
		_, err := s.Revoke(t.Context(), restricted, a.KeyID, api.ChildrenRevoke)
		wantKind(t, err, api.ErrNotFound)
		_, err = s.ReplaceKey(t.Context(), restricted, a.KeyID, Replacement{})
		wantKind(t, err, api.ErrNotFound)
	}
	wantKind(t, s.RevokeResourceKey(t.Context(), restricted, f.box.KeyID), api.ErrNotFound)
	if _, err := s.RevokeIssuedBefore(t.Context(), restricted, time.Now().Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(f.valid(t, s), []string{"a", "a1", "b", "box", "root"}); diff != "" {
		t.Errorf("valid (-got +want)\n%s", diff)
	}
	_, _, err = s.Bindings(t.Context(), below, BindingFilter{})
	wantKind(t, err, api.ErrUnauthorized)
}

func TestRevokeIssuedBefore(t *testing.T) {
	s := newStore(t)
	f := newFamily(t, s)
	other := tenant(t, s, "other")
	before := time.Now()
	later, _ := issueUnder(t, s, f.root, "later")
	got, err := s.RevokeIssuedBefore(t.Context(), later, before)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(ids(got.Revoked), ids([]api.IssuedKey{{ID: f.root.KeyID}, {ID: f.a.KeyID}, {ID: f.b.KeyID}, {ID: f.a1.KeyID}, {ID: f.box.KeyID}})); diff != "" {
		t.Errorf("revoked (-got +want)\n%s", diff)
	}
	if valid := f.valid(t, s); len(valid) != 0 {
		t.Errorf("valid: %v", valid)
	}
	for name, a := range map[string]Actor{"later": later, "other": other} {
		if _, _, err := s.IssuedKeys(t.Context(), a, KeyFilter{}); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	// The key of the request stays.
	if _, err := s.RevokeIssuedBefore(t.Context(), later, time.Now().Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	if _, _, err := s.IssuedKeys(t.Context(), later, KeyFilter{}); err != nil {
		t.Error(err)
	}
}

// A planned rotation of a key stops nobody: the successor has all of the old one, both work during the grace period, and the keys
// that the old one has created continue under the new one.
func TestReplaceKey(t *testing.T) {
	s := newStore(t)
	f := newFamily(t, s)
	old, err := s.IssueKey(t.Context(), f.a, api.KeyRequest{Label: "ci", ExpiresAt: in(30 * 24 * time.Hour),
		Restrictions: api.Restrictions{Permissions: []string{api.PermissionKeysWrite, api.PermissionSecretsRead}, Scopes: []string{"user"}, Resources: []string{"sandbox:sb_1"}}})
	if err != nil {
		t.Fatal(err)
	}
	oldKey, err := api.ParseKey(old.Key)
	if err != nil {
		t.Fatal(err)
	}
	machine := agent(t, s, actorOf(t, s, oldKey), box1)
	successor, err := s.ReplaceKey(t.Context(), f.root, old.ID, Replacement{Grace: 200 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	newKey, err := api.ParseKey(successor.Key)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]any{successor.Label, successor.ParentID, successor.Restrictions, successor.LastUsedAt == nil}, []any{old.Label, old.ParentID, old.Restrictions, true}); diff != "" {
		t.Errorf("successor (-got +want)\n%s", diff)
	}
	if later := successor.ExpiresAt.Sub(*old.ExpiresAt); later <= 0 || later > time.Hour {
		t.Errorf("the successor expires %s after the old key, want the time between their creations", later)
	}
	actorOf(t, s, newKey)
	list, _, err := s.IssuedKeys(t.Context(), f.root, KeyFilter{})
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range list {
		if k.ID == machine.KeyID && k.ParentID != successor.ID {
			t.Errorf("the parent of the machine's key is %s, want %s", k.ParentID, successor.ID)
		}
	}
	events := audited(t, s, f.root, actKeyReplace)
	if len(events) != 1 || events[0].TargetKeyID != old.ID || events[0].Detail != successor.ID || events[0].KeyID != f.root.KeyID {
		t.Errorf("events %+v", events)
	}
	poll.Until(t, 30*time.Second, "the old key has ended", func() bool {
		_, err := s.Authenticate(t.Context(), oldKey.Reveal())
		return errors.Is(err, errKey)
	})
	if _, err := s.state(t.Context(), machine, box1); err != nil {
		t.Errorf("the machine's key: %v", err)
	}
	if _, err := s.Revoke(t.Context(), f.root, successor.ID, api.ChildrenRevoke); err != nil {
		t.Fatal(err)
	}
	_, err = s.state(t.Context(), machine, box1)
	wantKind(t, err, api.ErrUnauthorized)

	// A key is replaced once, so that its successor never takes over the end of a grace period; one that has expired too.
	forever, err := s.IssueKey(t.Context(), f.root, api.KeyRequest{Label: "forever"})
	if err != nil {
		t.Fatal(err)
	}
	first, err := s.ReplaceKey(t.Context(), f.root, forever.ID, Replacement{Grace: time.Hour})
	if err != nil || first.ExpiresAt != nil {
		t.Fatalf("successor that expires at %v, %v", first.ExpiresAt, err)
	}
	for _, id := range []string{old.ID, forever.ID} {
		_, err = s.ReplaceKey(t.Context(), f.root, id, Replacement{Grace: time.Hour})
		wantKind(t, err, api.ErrConflict)
	}
	if want := "this key was replaced by " + first.ID + ": replace that one, or create a new key"; err == nil || err.Error() != want {
		t.Errorf("error %v, want %s", err, want)
	}
	if second, err := s.ReplaceKey(t.Context(), f.root, first.ID, Replacement{Grace: time.Hour}); err != nil || second.ExpiresAt != nil {
		t.Errorf("successor of the successor expires at %v, %v", second.ExpiresAt, err)
	}
	short, err := s.IssueKey(t.Context(), f.root, api.KeyRequest{ExpiresAt: in(time.Second)})
	if err != nil {
		t.Fatal(err)
	}
	poll.Until(t, 30*time.Second, "a key has expired", func() bool { return time.Now().After(*short.ExpiresAt) })
	if never, err := s.ReplaceKey(t.Context(), f.root, short.ID, Replacement{Never: true}); err != nil || never.ExpiresAt != nil {
		t.Errorf("the successor of a key that has expired expires at %v, %v", never.ExpiresAt, err)
	}

	// A resource key, at once, and what is refused.
	next, err := s.ReplaceKey(t.Context(), f.root, f.box.KeyID, Replacement{Never: true})
	if err != nil || next.Resource != box1 || next.ExpiresAt != nil || !strings.HasPrefix(next.Key, api.ResourceKeyPrefix) {
		t.Errorf("successor %+v, %v", next.Resource, err)
	}
	_, err = s.state(t.Context(), f.box, box1)
	wantKind(t, err, api.ErrUnauthorized)
	for _, tt := range []struct {
		id   string
		r    Replacement
		kind *api.Kind
	}{
		{f.box.KeyID, Replacement{}, api.ErrConflict},
		{"key_none", Replacement{}, api.ErrNotFound},
		{f.b.KeyID, Replacement{Grace: -1}, api.ErrInvalid},
		{f.b.KeyID, Replacement{Grace: api.MaxGrace + 1}, api.ErrInvalid},
		{f.b.KeyID, Replacement{ExpiresAt: in(-time.Second)}, api.ErrInvalid},
	} {
		_, err := s.ReplaceKey(t.Context(), f.root, tt.id, tt.r)
		wantKind(t, err, tt.kind)
	}
}

// A reveal that waits when its key is replaced ends when the key does, in this process and in another.
func TestReplacedKeyEndsAWait(t *testing.T) {
	dir := t.TempDir()
	s, another := storeAt(t, dir), storeAt(t, dir)
	owner := tenant(t, s, "acme")
	box := agent(t, s, owner, box1)
	now, err := s.state(t.Context(), box, box1)
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 2)
	for _, s := range []*Store{s, another} {
		go func() { ended <- s.Await(t.Context(), box, box1, now.etag, time.Minute) }()
		poll.Until(t, 30*time.Second, "it waits", func() bool {
			return s.hub.Topics() == 1
		})
	}
	if _, err := s.ReplaceKey(t.Context(), owner, box.KeyID, Replacement{Grace: 500 * time.Millisecond}); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		select {
		case err := <-ended:
			wantKind(t, err, api.ErrUnauthorized)
		case <-time.After(20 * time.Second):
			t.Fatal("it still waits")
		}
	}
}

// Lists name an altered key, and have the others.
func TestListAmongAlteredKeys(t *testing.T) {
	s := newStore(t)
	f := newFamily(t, s)
	tamper(t, s, `UPDATE api_keys SET label = 'altered', resource_type = 'sandbox', resource_id = 'sb_9' WHERE id = $1`, f.b.KeyID)
	all, err := s.Keys(t.Context(), "acme")
	if err != nil {
		t.Fatal(err)
	}
	page, _, err := s.IssuedKeys(t.Context(), f.root, KeyFilter{})
	if err != nil {
		t.Fatal(err)
	}
	for name, list := range map[string][]api.IssuedKey{"of the operator": issued(all), "of the tenant": page} {
		if len(list) != 5 {
			t.Errorf("%s: %d keys, want 5", name, len(list))
		}
		for _, k := range list {
			want := api.IssuedKey{ID: f.b.KeyID, CreatedAt: k.CreatedAt, Altered: true}
			if diff := cmp.Diff(k, want); k.ID == f.b.KeyID && diff != "" {
				t.Errorf("%s: the altered key (-got +want)\n%s", name, diff)
			}
			if k.ID != f.b.KeyID && k.Altered {
				t.Errorf("%s: %s is altered", name, k.ID)
			}
		}
	}
	if n := len(audited(t, s, f.root, actRowRefused)); n != 1 {
		t.Errorf("%d events", n)
	}
	if _, err := s.Revoke(t.Context(), f.root, f.b.KeyID, ""); err != nil {
		t.Error(err)
	}
}

// An altered row doesn't keep anybody from revoking keys.
func TestRevokeAmongAlteredKeys(t *testing.T) {
	s := newStore(t)
	f := newFamily(t, s)
	tamper(t, s, `UPDATE api_keys SET label = 'altered' WHERE id IN ($1, $2)`, f.a1.KeyID, f.b.KeyID)
	under, err := s.KeysUnder(t.Context(), operator, f.a.KeyID)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(ids(under), ids([]api.IssuedKey{{ID: f.a1.KeyID}, {ID: f.box.KeyID}})); diff != "" {
		t.Errorf("under a (-got +want)\n%s", diff)
	}
	if _, err := s.Revoke(t.Context(), operator, f.a.KeyID, api.ChildrenRevoke); err != nil {
		t.Fatal(err)
	}
	_, err = s.state(t.Context(), f.box, box1)
	wantKind(t, err, api.ErrUnauthorized)
	_, err = s.KeysUnder(t.Context(), operator, "key_none")
	wantKind(t, err, api.ErrNotFound)
}

// An old row of a revoked key in the database revives nothing: not in the process that has revoked it, not in one that
// was running, and not in one that starts.
func TestAttack_RevivedKey(t *testing.T) {
	dir := t.TempDir()
	s, running := storeAt(t, dir), storeAt(t, dir)
	owner := tenant(t, s, "acme")
	bound(t, s, owner, "TOKEN", "v")
	child, key := issueUnder(t, s, owner, "leaked")
	box := agent(t, s, child, box1)
	replaced, replacedKey := issueUnder(t, s, owner, "replaced")
	// The rows, with their authentication, as they were.
	tamper(t, s, `CREATE TABLE backup AS SELECT * FROM api_keys`)
	if _, err := s.Revoke(t.Context(), owner, child.KeyID, api.ChildrenRevoke); err != nil {
		t.Fatal(err)
	}
	if _, err := s.ReplaceKey(t.Context(), owner, replaced.KeyID, Replacement{Grace: time.Millisecond}); err != nil {
		t.Fatal(err)
	}
	tamper(t, s, `DELETE FROM api_keys WHERE id IN (SELECT id FROM backup)`)
	tamper(t, s, `INSERT INTO api_keys SELECT * FROM backup`)
	refused := func(t *testing.T, s *Store) {
		t.Helper()
		for _, k := range []api.Key{key, replacedKey} {
			poll.Until(t, 30*time.Second, "the key is refused", func() bool {
				_, err := s.Authenticate(t.Context(), k.Reveal())
				return errors.Is(err, errKey)
			})
		}
		for _, a := range []Actor{child, replaced} { // authenticated before
			_, _, err := s.IssuedKeys(t.Context(), a, KeyFilter{})
			wantKind(t, err, api.ErrUnauthorized)
		}
		_, err := s.opened(t.Context(), box, box1)
		wantKind(t, err, api.ErrUnauthorized)
	}
	refused(t, s)
	refused(t, running)
	started := storeAt(t, dir)
	refused(t, started)
	// The one that started has revoked them again, in the database and the audit.
	var again []string
	for _, e := range audited(t, started, owner, actKeyRevoke) {
		if e.Detail == "listed" && e.KeyID == operator.KeyID {
			again = append(again, e.TargetKeyID)
		}
	}
	slices.Sort(again)
	if diff := cmp.Diff(again, slices.Sorted(slices.Values([]string{child.KeyID, box.KeyID, replaced.KeyID}))); diff != "" {
		t.Errorf("revoked again (-got +want)\n%s", diff)
	}
	if n := len(audited(t, storeAt(t, dir), owner, actKeyRevoke)); n != 2+3 {
		t.Errorf("%d events after another start, want 5", n)
	}
}

// The database of an older backup, with the list of today.
func TestAttack_RestoredBackup(t *testing.T) {
	postgrestest.SQLiteOnly(t)
	dir := t.TempDir()
	s := storeAt(t, dir)
	owner := tenant(t, s, "acme")
	_, key := issueUnder(t, s, owner, "leaked")
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	backup, err := os.ReadFile(filepath.Join(dir, "vault.db"))
	if err != nil {
		t.Fatal(err)
	}
	s = storeAt(t, dir)
	if err := s.RevokeKey(t.Context(), actorOf(t, s, key).KeyID); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "vault.db"), backup, 0o600); err != nil {
		t.Fatal(err)
	}
	s = storeAt(t, dir)
	_, err = s.Authenticate(t.Context(), key.Reveal())
	wantKind(t, err, api.ErrUnauthorized)
	keys, err := s.Keys(t.Context(), "acme")
	if err != nil || len(keys) != 2 || keys[1].RevokedAt == nil || keys[0].RevokedAt != nil {
		t.Errorf("keys %+v, %v", keys, err)
	}
	// A list that is lost is written again from the database, and the list of an earlier version is.
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(dir, "revocations")); err != nil {
		t.Fatal(err)
	}
	s = storeAt(t, dir)
	if refused := slices.Collect(maps.Keys(s.revocations.Refused(time.Now()))); !slices.Equal(refused, []string{keys[1].ID}) {
		t.Errorf("the new list has %v", refused)
	}
}

// A revocation that can't be listed isn't made. While one isn't committed, its keys aren't accepted, but clients aren't told that they are
// revoked, since other vaults may accept them. A replacement that can't be committed changes nothing.
func TestFault_RevocationNotWritten(t *testing.T) {
	postgrestest.SQLiteOnly(t)
	s := newStore(t)
	f := newFamily(t, s)
	folder := s.revocations.Path()
	if err := os.Mkdir(folder, 0o700); err != nil { // in place of the file
		t.Fatal(err)
	}
	_, err := s.Revoke(t.Context(), f.root, f.a.KeyID, api.ChildrenRevoke)
	wantKind(t, err, api.ErrUnavailable)
	if diff := cmp.Diff(f.valid(t, s), []string{"a", "a1", "b", "box", "root"}); diff != "" {
		t.Errorf("valid (-got +want)\n%s", diff)
	}
	if n := len(audited(t, s, f.root, actKeyRevoke)); n != 0 {
		t.Errorf("%d events", n)
	}
	if err := os.Remove(folder); err != nil {
		t.Fatal(err)
	}
	// A deferred constraint fails the commit.
	tamper(t, s, `CREATE TABLE checked (id TEXT REFERENCES tenants (id) DEFERRABLE INITIALLY DEFERRED)`)
	tamper(t, s, `CREATE TRIGGER blocked AFTER UPDATE ON api_keys BEGIN INSERT INTO checked VALUES ('nobody'); END`)
	for _, grace := range []time.Duration{0, time.Nanosecond} { // the old key doesn't end without a successor
		if _, err := s.ReplaceKey(t.Context(), f.root, f.b.KeyID, Replacement{Grace: grace}); err == nil {
			t.Fatal("committed")
		}
	}
	if _, err := s.Revoke(t.Context(), f.root, f.a.KeyID, api.ChildrenRevoke); err == nil {
		t.Fatal("committed")
	}
	tamper(t, s, `DROP TRIGGER blocked`)
	revoked := func(kind *api.Kind) {
		t.Helper()
		for _, a := range []Actor{f.a, f.a1, f.box} {
			_, _, err := s.Bindings(t.Context(), a, BindingFilter{})
			wantKind(t, err, kind)
		}
	}
	revoked(api.ErrUnavailable)
	if _, err := s.Revoke(t.Context(), f.root, f.a.KeyID, api.ChildrenRevoke); err != nil {
		t.Fatal(err)
	}
	revoked(api.ErrUnauthorized)
	if diff := cmp.Diff(f.valid(t, s), []string{"b", "root"}); diff != "" {
		t.Errorf("valid (-got +want)\n%s", diff)
	}
}

// The last use of a key is in the list after a while, and after the store was closed.
func TestLastUse(t *testing.T) {
	dir := t.TempDir()
	s := storeAt(t, dir)
	owner := tenant(t, s, "acme")
	unused, err := s.CreateResourceKey(t.Context(), owner, box1, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = storeAt(t, dir)
	keys, _, err := s.IssuedKeys(t.Context(), owner, KeyFilter{})
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range keys {
		if (k.LastUsedAt == nil) != (k.ID == unused.ID) {
			t.Errorf("%s was last used %v", k.ID, k.LastUsedAt)
		}
	}
	// Of two processes, the later use counts, whichever writes last.
	var later, last time.Time
	look(t, s, stored{&later}, `SELECT last_used_at FROM api_keys WHERE id = $1`, owner.KeyID)
	another := storeAt(t, dir)
	another.uses.Add(owner.KeyID, later.Add(-time.Hour))
	if err := another.Close(); err != nil {
		t.Fatal(err)
	}
	if look(t, s, stored{&last}, `SELECT last_used_at FROM api_keys WHERE id = $1`, owner.KeyID); !last.Equal(later) {
		t.Errorf("last used %v, want %v", last, later)
	}
}
