package store

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/internal/test/postgrestest"
	"github.com/Miosa-osa/miosa-env/vault/audit"
	"github.com/Miosa-osa/miosa-env/vault/limit"
	"github.com/Miosa-osa/miosa-env/vault/revocation"
)

// rows is the number of rows of a table that match where.
func rows(t testing.TB, s *Store, table, where string, args ...any) (n int) {
	t.Helper()
	look(t, s, &n, `SELECT COUNT(*) FROM `+table+` WHERE `+where, args...)
	return n
}

// lines are the ids in the list of revoked keys.
func lines(t testing.TB, s *Store) (ids []string) {
	t.Helper()
	text, err := os.ReadFile(s.revocations.Path())
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		id, _, _ := strings.Cut(line, " ")
		ids = append(ids, id)
	}
	slices.Sort(ids)
	return ids
}

func deleteEnded(t testing.TB, s *Store, keep revocation.Retention) {
	t.Helper()
	if err := s.deleteEndedOnce(t.Context(), keep); err != nil {
		t.Fatal(err)
	}
}

// endAgo makes keys end some time ago, in the database and in the list.
func endAgo(t testing.TB, s *Store, ago time.Duration, keys ...Actor) {
	t.Helper()
	for _, k := range keys {
		if err := s.RevokeKey(t.Context(), k.KeyID); err != nil {
			t.Fatal(err)
		}
		at := now().Add(-ago)
		if err := s.Alter(t.Context(), `UPDATE api_keys SET revoked_at = $1 WHERE id = $2`, at.UnixMicro(), k.KeyID); err != nil {
			t.Fatal(err)
		}
		if _, err := s.revocations.Add([]revocation.Ended{{ID: k.KeyID, Tenant: k.TenantID, At: at}}); err != nil {
			t.Fatal(err)
		}
	}
}

func TestEndedKeysAreDeleted(t *testing.T) {
	const day = 24 * time.Hour
	s := newStore(t)
	f := newFamily(t, s)
	expired := agent(t, s, f.b, box1)
	f2, state, err := NewFlow(f.a, "google", "http://127.0.0.1/callback", Wanted{}, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.AddFlow(t.Context(), f.a, f2, state); err != nil {
		t.Fatal(err)
	}
	endAgo(t, s, 31*day, f.a)
	endAgo(t, s, 29*day, f.b)
	if err := s.Alter(t.Context(), `UPDATE api_keys SET expires_at = $1 WHERE id = $2`, now().Add(-31*day).UnixMicro(), expired.KeyID); err != nil {
		t.Fatal(err)
	}
	deleteEnded(t, s, revocation.Retention{Age: 30 * day})

	keys, _, err := s.IssuedKeys(t.Context(), f.root, KeyFilter{})
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for _, k := range keys {
		got[k.ID] = k.ParentID
	}
	root := f.root.KeyID
	want := map[string]string{root: "", f.b.KeyID: root, f.a1.KeyID: root, f.box.KeyID: root} // under the parent of their parent
	if diff := cmp.Diff(got, want); diff != "" {
		t.Errorf("keys and their parents (-got +want)\n%s", diff)
	}
	if n := rows(t, s, "oauth_flows", "1 = 1"); n != 0 {
		t.Errorf("%d flows of the deleted key", n)
	}
	if diff := cmp.Diff(lines(t, s), []string{f.b.KeyID}); diff != "" {
		t.Errorf("listed (-got +want)\n%s", diff)
	}
	events := audited(t, s, f.root, actKeysDelete)
	if len(events) != 1 || events[0].Detail != "2 ended" || events[0].KeyID != audit.KeyID {
		t.Errorf("events %+v", events)
	}
	if check := verified(t, s, f.root, &audit.Verifier{}); check.Problem != nil {
		t.Errorf("the log: %+v", check.Problem)
	}
	// A deleted key is refused, and what it had created is still revoked with the key above it.
	_, _, err = s.Bindings(t.Context(), f.a, BindingFilter{})
	wantKind(t, err, api.ErrUnauthorized)
	if diff := cmp.Diff(f.valid(t, s), []string{"a1", "box", "root"}); diff != "" {
		t.Errorf("valid (-got +want)\n%s", diff)
	}
	if _, err := s.Revoke(t.Context(), operator, root, api.ChildrenRevoke); err != nil {
		t.Fatal(err)
	}
	if valid := f.valid(t, s); len(valid) != 0 {
		t.Errorf("valid: %v", valid)
	}
	deleteEnded(t, s, revocation.Retention{Age: 30 * day}) // none
	if n := len(audited(t, s, tenant(t, s, "acme"), actKeysDelete)); n != 1 {
		t.Errorf("%d events", n)
	}
}

// More keys end together, and one has created more, than one transaction takes.
func TestManyEndedKeys(t *testing.T) {
	s := newStore(t)
	f := newFamily(t, s)
	const n = 2*childBatch + 10
	local, err := s.LocalActor(t.Context(), "acme")
	if err != nil {
		t.Fatal(err)
	}
	err = s.write(t.Context(), local, anyKey, func(t *txn) error {
		for range n {
			if _, err := t.issue(api.KeyRequest{Label: "child"}, api.NewKey(api.TenantKeyPrefix)); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Alter(t.Context(), `UPDATE api_keys SET parent_id = $1 WHERE label = 'child'`, f.a.KeyID); err != nil {
		t.Fatal(err)
	}
	endAgo(t, s, time.Hour, f.a)
	tamper(t, s, `UPDATE api_keys SET created_at = created_at + 1 WHERE id = $1`, f.a1.KeyID)
	deleteEnded(t, s, revocation.Retention{Age: time.Minute})
	if moved, left := rows(t, s, "api_keys", "label = 'child' AND parent_id = $1", f.root.KeyID), rows(t, s, "api_keys", "id = $1", f.a.KeyID); moved != n || left != 0 {
		t.Errorf("%d of %d moved, the key is there: %d", moved, n, left)
	}
	// The altered one stays altered, and a dangling parent does no harm.
	if _, err := s.Revoke(t.Context(), f.root, f.a1.KeyID, ""); err != nil {
		t.Error(err)
	}
	if _, err := s.Revoke(t.Context(), local, f.root.KeyID, api.ChildrenRevoke); err != nil {
		t.Fatal(err)
	}
	deleteEnded(t, s, revocation.Retention{Count: 3})
	if left := rows(t, s, "api_keys", "revoked_at IS NOT NULL"); left != 3 || len(lines(t, s)) != 3 {
		t.Errorf("%d rows and %d lines are left, want 3", left, len(lines(t, s)))
	}
}

// An altered row of an ended key stays, with those under it: what it says of the tree isn't to be relied on.
func TestAttack_ParentOfEndedKey(t *testing.T) {
	s := newStore(t)
	f := newFamily(t, s)
	endAgo(t, s, time.Hour, f.a)
	tamper(t, s, `UPDATE api_keys SET parent_id = $1 WHERE id = $2`, f.b.KeyID, f.a.KeyID)
	deleteEnded(t, s, revocation.Retention{Age: time.Minute})
	if n := rows(t, s, "api_keys", "parent_id = $1 AND id <> $2", f.b.KeyID, f.a.KeyID); n != 0 {
		t.Errorf("%d keys came under the key that the altered row names", n)
	}
	if n := rows(t, s, "api_keys", "id = $1", f.a.KeyID); n != 1 {
		t.Error("the altered row is gone")
	}
}

// A tenant that creates and revokes keys at its full rate leaves as many behind as are kept, while two vaults on the
// same storage delete them.
func TestAttack_KeysWithoutEnd(t *testing.T) {
	const workers, each, kept = 4, 100, 20
	dir := t.TempDir()
	stores := []*Store{storeAt(t, dir), storeAt(t, dir)}
	owner := tenant(t, stores[0], "hostile")
	other := tenant(t, stores[0], "other")
	revokedByOther := agent(t, stores[0], other, box1)
	endAgo(t, stores[0], 10*24*time.Hour, revokedByOther)
	keep := revocation.Retention{Age: 30 * 24 * time.Hour, Count: kept}
	var running sync.WaitGroup
	for i := range workers {
		running.Go(func() {
			s := stores[i%2]
			for n := range each {
				k, err := s.IssueKey(t.Context(), owner, api.KeyRequest{})
				if err == nil {
					_, err = s.Revoke(t.Context(), owner, k.ID, "")
				}
				if err == nil && n%20 == 5*i {
					err = s.deleteEndedOnce(t.Context(), keep)
				}
				if err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	running.Wait()
	for _, s := range stores {
		deleteEnded(t, s, keep)
	}
	s := stores[0]
	if n := rows(t, s, "api_keys", "tenant_id = $1 AND revoked_at IS NOT NULL", owner.TenantID); n != kept {
		t.Errorf("%d revoked keys are left, want %d", n, kept)
	}
	// Those of the other tenant stay.
	listed := lines(t, s)
	if !slices.Contains(listed, revokedByOther.KeyID) || rows(t, s, "api_keys", "id = $1", revokedByOther.KeyID) != 1 {
		t.Error("a key of another tenant is gone")
	}
	if len(listed) != kept+1 {
		t.Errorf("%d keys are listed, want %d", len(listed), kept+1)
	}
	for _, id := range listed { // the same ones as in the database
		if rows(t, s, "api_keys", "id = $1", id) != 1 {
			t.Errorf("%s is listed only", id)
		}
	}
	if started := storeAt(t, dir); len(lines(t, started)) != kept+1 {
		t.Error("a start lists others")
	}
}

// What docs/vault.md says of old backups: revocations that are kept survive a restore, older ones don't.
func TestRestoredBackupOfDeletedKey(t *testing.T) {
	dir := t.TempDir()
	s := storeAt(t, dir)
	f := newFamily(t, s)
	tamper(t, s, `CREATE TABLE backup AS SELECT * FROM api_keys`)
	endAgo(t, s, 31*24*time.Hour, f.a)
	endAgo(t, s, 29*24*time.Hour, f.b)
	deleteEnded(t, s, revocation.Retention{Age: 30 * 24 * time.Hour})
	tamper(t, s, `DELETE FROM api_keys WHERE id IN (SELECT id FROM backup)`)
	tamper(t, s, `INSERT INTO api_keys SELECT * FROM backup`)
	if diff := cmp.Diff(f.valid(t, storeAt(t, dir)), []string{"a", "a1", "box", "root"}); diff != "" {
		t.Errorf("valid (-got +want)\n%s", diff)
	}
}

// bounds says for each table what limits its rows: how many TestAttack_GrowingTables may leave.
var bounds = map[string]struct {
	most int
	what string
}{
	"root_key":       {1, "one row"},
	"heartbeat":      {1, "one row"},
	"schema_version": {11, "the migrations"},
	"tenants":        {2, "the operator creates them; one is the vault's own"},
	"tenant_usage":   {2, "one for each tenant"},
	"audit_chains":   {2, "one for each tenant"},
	"secrets":        {1, "tenant_secrets"},
	"oauth_grants":   {1, "one for each secret at most"},
	"bindings":       {1, "tenant_bindings"},
	"api_keys":       {1 + 5, "tenant_keys, and the ended keys that are kept"},
	"oauth_flows":    {flowsOfEach + 1, "tenant_flows, and the ended flows that are kept"},

	"network_policies": {1, "tenant_policies"},
	"allowlist":        {1, "tenant_allowlist"},

	"audit":         {2 * 2, "the retention of the audit log"},
	"audit_gaps":    {2 * 2, "at most one before each event"},
	"audit_repeats": {2 * 2, "at most one for each event"},
	"audit_secrets": {2 * 2, "those of each event"},
}

// A tenant that creates and deletes all it can leaves no more rows in any table than its limits and the retention allow.
func TestAttack_GrowingTables(t *testing.T) {
	dir := t.TempDir()
	limits := unlimited
	limits[limit.TenantFlows] = 1
	s, err := Open(t.Context(), Config{DataDir: dir, Database: postgrestest.Database(t, dir), RootKey: rootAt(t, dir), Limits: limits})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	owner := tenant(t, s, "hostile")
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	for i := range 30 {
		secret, _, _, err := s.PutSecret(t.Context(), owner, api.NewSecret{Name: fmt.Sprint("s", i), Value: text("v")}, &Grant{Provider: "google"})
		must(err)
		binding := bind(t, s, owner, api.NewBinding{SecretID: secret.ID, Resource: box1, ExposeAsEnv: "TOKEN"})
		box := agent(t, s, owner, box1)
		revealed(t, s, box)
		_, _, err = s.Bindings(t.Context(), box, BindingFilter{})
		must(err)
		_, _, err = s.Audit(t.Context(), box, AuditFilter{}) // denied
		wantKind(t, err, api.ErrDenied)
		successor, err := s.ReplaceKey(t.Context(), owner, box.KeyID, Replacement{})
		must(err)
		must(s.RevokeKey(t.Context(), successor.ID))
		_, err = s.Authenticate(t.Context(), successor.Key)
		s.CountRefusal(err, "192.0.2.1")
		_, err = s.Authenticate(t.Context(), api.NewKey(api.TenantKeyPrefix).Reveal())
		s.CountRefusal(err, "192.0.2.1")
		must(s.DeleteBinding(t.Context(), owner, binding.ID))
		must(s.DeleteSecret(t.Context(), owner, secret.ID))
		f, state, err := NewFlow(owner, "google", "http://127.0.0.1/callback", Wanted{}, time.Hour)
		must(err)
		must(s.AddFlow(t.Context(), owner, f, state))
		must(s.EndFlow(t.Context(), owner, f, api.FlowDenied, "access_denied"))
	}
	must(s.refusals.Write(t.Context(), s.AuditLogs()))
	deleteEnded(t, s, revocation.Retention{Count: 5})
	own := Actor{local: true}
	for _, tenant := range []string{owner.TenantID, ""} {
		own.TenantID = tenant
		if tenant == "" {
			look(t, s, &own.TenantID, `SELECT id FROM tenants WHERE id <> $1`, owner.TenantID)
		}
		prune(t, s, own, audit.Retention{Bytes: 1})
	}
	query := `SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'`
	if postgrestest.Chosen() {
		query = `SELECT table_name FROM information_schema.tables WHERE table_schema = current_schema()`
	}
	tables, err := read(t.Context(), s, operator, anyKey, func(t *txn) ([]string, error) { return collect(t, itself, query) })
	must(err)
	for _, table := range tables {
		bound, known := bounds[table]
		if n := rows(t, s, table, "1 = 1"); !known {
			t.Errorf("table %s: nothing is said to limit its rows", table)
		} else if n > bound.most {
			t.Errorf("table %s has %d rows, want at most %d: %s", table, n, bound.most, bound.what)
		}
	}
	if missing := len(bounds) - len(tables); missing != 0 {
		t.Errorf("tables %v, bounds of %v", tables, slices.Sorted(maps.Keys(bounds)))
	}
	if _, err := os.Stat(filepath.Join(dir, "revocations")); err != nil || len(lines(t, s)) > 5 {
		t.Errorf("%d keys are listed, %v", len(lines(t, s)), err)
	}
}
