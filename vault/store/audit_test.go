package store

import (
	"encoding/hex"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/internal/needs"
	"github.com/Miosa-osa/miosa-env/internal/test/postgrestest"
	"github.com/Miosa-osa/miosa-env/vault/audit"
	"github.com/Miosa-osa/miosa-env/vault/database"
)

// verified verifies a log in parts of three events.
func verified(t testing.TB, s *Store, a Actor, v *audit.Verifier) api.AuditCheck {
	t.Helper()
	total := int64(0)
	for {
		check, err := s.VerifyAudit(t.Context(), a, v, 3)
		if err != nil {
			t.Fatal(err)
		}
		total += check.Checked
		if check.Complete || check.Problem != nil {
			check.Checked = total
			return check
		}
		if v.Stored != nil {
			continue // a cursor doesn't have it
		}
		if v, err = audit.ContinueAt(v.Cursor()); err != nil {
			t.Fatal(err)
		}
	}
}

func head(t testing.TB, s *Store, a Actor) api.AuditHead {
	t.Helper()
	h, err := s.AuditHead(t.Context(), a)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// kindOf is the kind of a problem; "": none.
func kindOf(c api.AuditCheck) string {
	if c.Problem == nil {
		return ""
	}
	return c.Problem.Kind
}

func TestAuditChain(t *testing.T) {
	s := newStore(t)
	owner, other := tenant(t, s, "acme"), tenant(t, s, "other")
	bound(t, s, owner, "A", "1")
	bound(t, s, other, "A", "1")
	reader := agent(t, s, owner, box1)
	for range 3 {
		revealed(t, s, reader)
	}
	if _, err := s.RotateKeys(t.Context(), ""); err != nil {
		t.Fatal(err)
	}
	for _, a := range []Actor{owner, other} {
		events, _, err := s.Audit(t.Context(), a, AuditFilter{})
		if err != nil {
			t.Fatal(err)
		}
		slices.Reverse(events)
		for i, e := range events {
			if e.Seq != int64(i+1) || len(e.Hash) != 64 || !e.InsertedAt.Equal(e.Timestamp) {
				t.Errorf("event %d: %+v", i+1, e)
			}
		}
		last := events[len(events)-1]
		if diff := cmp.Diff(head(t, s, a), api.AuditHead{TenantID: a.TenantID, Seq: last.Seq, Hash: last.Hash, EventID: last.ID, Count: last.Seq}); diff != "" {
			t.Errorf("head (-got +want)\n%s", diff)
		}
		if diff := cmp.Diff(verified(t, s, a, &audit.Verifier{}), api.AuditCheck{Checked: last.Seq, Seq: last.Seq, Complete: true}); diff != "" {
			t.Errorf("check (-got +want)\n%s", diff)
		}
	}
	reveals := audited(t, s, owner, actReveal)
	if len(reveals) != 1 || reveals[0].Count != 3 || !reveals[0].LastAt.After(reveals[0].Timestamp) {
		t.Errorf("reveals %+v", reveals)
	}
}

// Each way in which a writer to the database can change the log is found, by verification or by the next event.
func TestAttack_AuditTampered(t *testing.T) {
	postgrestest.SQLiteOnly(t)
	for _, tt := range []struct {
		name, statement string
		kind            string // of the problem that is found
	}{
		{"nothing", `SELECT 1`, ""},
		{"an event changed", `UPDATE audit SET action = 'secret.read' WHERE number = 3 AND tenant_id = $1`, "changed"},
		{"its time", `UPDATE audit SET at = at + 1 WHERE number = 3 AND tenant_id = $1`, "changed"},
		{"its address", `UPDATE audit SET remote_addr = '' WHERE number = 3 AND tenant_id = $1`, "changed"},
		{"the values that it gave", `UPDATE audit SET bindings = '' WHERE action = 'reveal' AND tenant_id = $1`, "changed"},
		{"that it is counted", `UPDATE audit SET repeats = 0 WHERE action = 'reveal' AND tenant_id = $1`, "changed"},
		{"its hash", `UPDATE audit SET hash = x'00' WHERE number = 3 AND tenant_id = $1`, "changed"},
		{"an event deleted", `DELETE FROM audit WHERE number = 3 AND tenant_id = $1`, "missing"},
		{"the first event", `DELETE FROM audit WHERE number = 1 AND tenant_id = $1`, "missing"},
		{"moved to another tenant", `UPDATE audit SET tenant_id = (SELECT id FROM tenants WHERE id <> $1) WHERE number = 3 AND tenant_id = $1`, "missing"},
		{"the end cut", `DELETE FROM audit WHERE number > 4 AND tenant_id = $1`, "missing"},
		{"all", `DELETE FROM audit WHERE tenant_id = $1`, "missing"},
		{"the end cut, and the head moved", `DELETE FROM audit WHERE number > 4 AND tenant_id = $1; UPDATE audit_chains SET number = 4,
			hash = (SELECT hash FROM audit WHERE number = 4 AND tenant_id = $1), event_id = (SELECT id FROM audit WHERE number = 4 AND tenant_id = $1)
			WHERE tenant_id = $1`, "head"},
		{"the start cut, and the head changed", `DELETE FROM audit WHERE number < 4 AND tenant_id = $1; UPDATE audit_chains SET pruned_number = 3
			WHERE tenant_id = $1`, "head"},
		{"the head deleted", `DELETE FROM audit_chains WHERE tenant_id = $1`, "head"},
		{"the head of another tenant", `DELETE FROM audit_chains WHERE tenant_id = $1; UPDATE audit_chains SET tenant_id = $1`, "head"},
		{"as before there were chains", `DELETE FROM audit_chains WHERE tenant_id = $1; DELETE FROM audit_repeats WHERE tenant_id = $1;
			UPDATE audit SET number = 0, hash = '', repeats = 0 WHERE tenant_id = $1`, "head"},
		{"an event inserted at the end", `INSERT INTO audit SELECT NULL, 'evt_x', tenant_id, at, action, outcome, key_id, secret_id, binding_id, target_key_id,
			resource_type, resource_id, version, bindings, remote_addr, request_id, detail, number + 1, hash, repeats, host, external_user_id, external_workspace_id, method, path, status_code, effect, policy_id, rule_id, occurred_at
			FROM audit WHERE tenant_id = $1 ORDER BY seq DESC LIMIT 1`, "inserted"},
		{"an event inserted before the start", `INSERT INTO audit SELECT -1, 'evt_x', tenant_id, at, action, outcome, key_id, secret_id, binding_id, target_key_id,
			resource_type, resource_id, version, bindings, remote_addr, request_id, detail, 0, hash, repeats, host, external_user_id, external_workspace_id, method, path, status_code, effect, policy_id, rule_id, occurred_at
			FROM audit WHERE tenant_id = $1 ORDER BY seq DESC LIMIT 1`, "inserted"},
		{"a count", `UPDATE audit_repeats SET count = 1 WHERE tenant_id = $1`, "count"},
		{"a last time", `UPDATE audit_repeats SET last_at = started_at WHERE tenant_id = $1`, "count"},
		{"a count removed", `DELETE FROM audit_repeats WHERE tenant_id = $1`, "count"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			s := storeAt(t, dir)
			owner := tenant(t, s, "acme")
			other := tenant(t, s, "other")
			bound(t, s, owner, "A", "1")
			reader := agent(t, s, owner, box1)
			revealed(t, s, reader)
			revealed(t, s, reader)
			bound(t, s, owner, "B", "2")
			for statement := range strings.SplitSeq(tt.statement, ";") {
				n := strings.Count(statement, "$1")
				tamper(t, s, statement, slices.Repeat([]any{owner.TenantID}, min(n, 1))...)
			}
			if got := kindOf(verified(t, s, owner, &audit.Verifier{})); got != tt.kind {
				t.Errorf("found %q, want %q", got, tt.kind)
			}
			again := storeAt(t, dir) // a restart doesn't accept what it finds
			if got := kindOf(verified(t, again, owner, &audit.Verifier{})); got != tt.kind {
				t.Errorf("after a restart: found %q, want %q", got, tt.kind)
			}
			// Nor do further events.
			bound(t, again, owner, "C", "3")
			revealed(t, again, reader)
			if got := kindOf(verified(t, again, owner, &audit.Verifier{})); (got == "") != (tt.kind == "") {
				t.Errorf("after another event: found %q", got)
			}
			if tt.name != "the head of another tenant" && !strings.HasPrefix(tt.name, "moved") {
				if check := verified(t, again, other, &audit.Verifier{}); check.Problem != nil {
					t.Errorf("the other tenant: %+v", check.Problem)
				}
			}
		})
	}
}

// A database that was replaced by an older copy is consistent: only a head that was stored elsewhere shows it.
func TestAttack_AuditRolledBack(t *testing.T) {
	s := newStore(t)
	owner := tenant(t, s, "acme")
	bound(t, s, owner, "A", "1")
	type chainRow struct {
		number int64
		hash   []byte
		id     string
		bytes  int64
		mac    []byte
	}
	var old chainRow
	if err := s.db.Read(t.Context(), func(tx database.Tx) error {
		return tx.QueryRow(`SELECT number, hash, event_id, bytes, mac FROM audit_chains WHERE tenant_id = $1`, owner.TenantID).
			Scan(&old.number, &old.hash, &old.id, &old.bytes, &old.mac)
	}); err != nil {
		t.Fatal(err)
	}
	before := head(t, s, owner)
	bound(t, s, owner, "B", "2")
	stored := head(t, s, owner)
	for _, known := range []api.AuditHead{before, stored, {Hash: stored.Hash}} {
		if check := verified(t, s, owner, &audit.Verifier{Stored: &known}); check.Problem != nil {
			t.Errorf("a head that is in the log: %+v", check.Problem)
		}
	}
	tamper(t, s, `DELETE FROM audit WHERE number > $1`, old.number)
	tamper(t, s, `UPDATE audit_chains SET number = $1, hash = $2, event_id = $3, bytes = $4, mac = $5`, old.number, old.hash, old.id, old.bytes, old.mac)
	if check := verified(t, s, owner, &audit.Verifier{}); check.Problem != nil {
		t.Fatalf("the attack is noticed without a stored head: %+v", check.Problem)
	}
	bound(t, s, owner, "C", "3") // as many events as before
	for _, known := range []api.AuditHead{stored, {Hash: stored.Hash}} {
		if got := kindOf(verified(t, s, owner, &audit.Verifier{Stored: &known})); got != "head" {
			t.Errorf("found %q", got)
		}
	}
	if check := verified(t, s, owner, &audit.Verifier{Stored: &before}); check.Problem != nil {
		t.Errorf("a head that is still in the log: %+v", check.Problem)
	}
}

// The encoding of docs/api.md, computed without this project's code for the first event of a log.
func TestAuditHashIsAsDocumented(t *testing.T) {
	s := newStore(t)
	owner := tenant(t, s, "acme")
	events, _, err := s.Audit(t.Context(), owner, AuditFilter{})
	if err != nil || len(events) != 1 {
		t.Fatal(events, err)
	}
	e := events[0]
	var list []byte
	for _, text := range []string{"miosa-vault event", "", "seq", "1", "id", e.ID, "tenant_id", e.TenantID, "timestamp", itoa(int(e.Timestamp.UnixMicro())),
		"action", "key.create", "outcome", "ok", "key_id", "local", "target_key_id", e.TargetKeyID} {
		list = append(list, 0, 0, 0, 0, 0, 0, 0, byte(len(text)))
		list = append(list, text...)
	}
	if want := hashOf(string(list)); want != e.Hash || hex.EncodedLen(32) != len(want) {
		t.Errorf("hash %s, want %s", e.Hash, want)
	}
}

// A filter that selects few of many events takes several pages, each of which examines a limited number; together they have
// what one would have.
func TestAuditExaminesInPages(t *testing.T) {
	needs.Long(t, "writes 24,000 events")
	s := newStore(t)
	owner := tenant(t, s, "acme")
	fillLog(t, s, owner, 12_000)
	fillLog(t, s, owner, 12_000)
	f := AuditFilter{KeyID: "key_1", ResourceID: "sb_301"} // of secrets sec_301 and sec_801
	all := AuditFilter{Limit: 1000, SecretID: "sec_301"}
	want, got, pages := map[string]bool{}, map[string]bool{}, 0
	for more := true; more; more = all.Cursor != "" {
		events, next, err := s.Audit(t.Context(), owner, all)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range events {
			if e.KeyID == f.KeyID && e.ResourceID == f.ResourceID {
				want[e.ID] = true
			}
		}
		all.Cursor = next
	}
	f = AuditFilter{Limit: 100, Action: actSecretRotate, ResourceType: "computer"}
	for more := true; more; more = f.Cursor != "" {
		events, next, err := s.Audit(t.Context(), owner, f)
		if err != nil || len(events) > 0 {
			t.Fatal(events, err)
		}
		f.Cursor = next
		pages++
	}
	if pages != 3 {
		t.Errorf("%d pages for 24000 events of which none matches, want 3", pages)
	}
	f = AuditFilter{Limit: 3, KeyID: "key_1", ResourceID: "sb_301", SecretID: "sec_301", Action: actSecretRotate, ResourceType: "sandbox"}
	for more := true; more; more = f.Cursor != "" {
		events, next, err := s.Audit(t.Context(), owner, f)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range events {
			got[e.ID] = true
		}
		f.Cursor = next
	}
	if diff := cmp.Diff(got, want); diff != "" || len(want) < 20 {
		t.Errorf("%d events (-got +want)\n%s", len(want), diff)
	}
}

func TestAuditHosts(t *testing.T) {
	s := newStore(t)
	a := tenant(t, s, "acme")
	for _, host := range []string{"a.example", "b.example", "b.example", ""} {
		err := s.write(t.Context(), a, anyKey, func(t *txn) error { return t.audit(api.Event{Action: "request", Traffic: api.Traffic{Host: host}}) })
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, f := range []AuditFilter{{}, {Action: "request"}, {KeyID: a.KeyID, ResourceType: ""}} {
		hosts, partial, err := s.AuditHosts(t.Context(), a, f)
		if err != nil || partial || len(hosts) != 2 || hosts[0].Host != "b.example" || hosts[0].Count != 2 || hosts[1].Count != 1 {
			t.Errorf("filter %+v: %+v, %v", f, hosts, err)
		}
	}
}

// Groups are of the newest 10,000 events, so that no request keeps the database for long, and say so.
func TestAuditHosts_Newest(t *testing.T) {
	s := newStore(t)
	a := tenant(t, s, "acme")
	const examined = 10_000
	err := s.write(t.Context(), a, anyKey, func(t *txn) error {
		for i := range examined + 3 {
			host := "new.example"
			if i < 5 {
				host = "old.example"
			}
			if err := t.audit(api.Event{Action: "request", Traffic: api.Traffic{Host: host}}); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range []AuditFilter{{}, {Action: "request"}} {
		hosts, partial, err := s.AuditHosts(t.Context(), a, f)
		if err != nil || !partial || len(hosts) != 2 || hosts[0].Count+hosts[1].Count != examined || hosts[1].Count != 2 {
			t.Errorf("filter %+v: %+v, %v, %v", f, hosts, partial, err)
		}
	}
	if hosts, partial, err := s.AuditHosts(t.Context(), a, AuditFilter{Host: "old.example"}); err != nil || partial || hosts[0].Count != 5 {
		t.Errorf("of a host: %+v, %v, %v", hosts, partial, err)
	}
}

// A page of long events is shorter, so that it takes no more memory than was reserved for it.
func TestPageOfLongEvents(t *testing.T) {
	s := newStore(t)
	owner := tenant(t, s, "acme")
	const events, refs = 5, 200
	err := s.write(t.Context(), owner, anyKey, func(t *txn) error {
		for range events {
			if err := t.audit(api.Event{Action: actReveal, Bindings: make([]api.EventRef, refs)}); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	f := AuditFilter{Action: actReveal, Limit: 8}
	if most := f.PageBytes(); most != 32<<10 {
		t.Errorf("a page of 8 events has %d bytes", most)
	}
	n := 0
	for pages := 0; pages == 0 || f.Cursor != ""; pages++ {
		page, next, err := s.Audit(t.Context(), owner, f)
		if err != nil {
			t.Fatal(err)
		}
		if len(page) > 2 {
			t.Errorf("a page has %d events of about 20 KiB", len(page))
		}
		n, f.Cursor = n+len(page), next
	}
	if n != events {
		t.Errorf("%d events, want %d", n, events)
	}
	for limit, want := range map[int]int64{0: 400 << 10, 1: 4 << 10, 1000: 2 << 20} {
		if got := (&AuditFilter{Limit: limit}).PageBytes(); got != want {
			t.Errorf("limit %d: %d bytes, want %d", limit, got, want)
		}
	}
}
