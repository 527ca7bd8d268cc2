package store

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/internal/needs"
	"github.com/Miosa-osa/miosa-env/internal/test/postgrestest"
	"github.com/Miosa-osa/miosa-env/vault/audit"
)

// fillLog appends n events to the log of a, one every minute, the last one now.
func fillLog(t testing.TB, s *Store, a Actor, n int) {
	t.Helper()
	const batch = 10_000
	end := now()
	for done := 0; done < n; {
		err := s.write(t.Context(), a, anyKey, func(tx *txn) error {
			l, err := tx.auditLog()
			if err != nil {
				return err
			}
			for i := 0; i < batch && done < n; i++ {
				done++
				l.Now = end.Add(time.Duration(done-n) * time.Minute)
				e := api.Event{Action: actSecretRotate, Outcome: api.OutcomeOK, KeyID: fmt.Sprint("key_", done%100), SecretID: fmt.Sprint("sec_", done%1000),
					Version: int64(done), ResourceType: "sandbox", ResourceID: fmt.Sprint("sb_", done%500), RemoteAddr: "192.0.2.1", RequestID: "req_0123456789abcdef"}
				if err := l.Append(&e); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}

// prune removes what r doesn't keep, and returns the number of the newest event that was removed.
func prune(t testing.TB, s *Store, a Actor, r audit.Retention) int64 {
	t.Helper()
	logs := s.AuditLogs()
	var through int64
	err := logs.Read(t.Context(), a.TenantID, func(l *audit.Log) (err error) {
		through, err = l.Expired(r)
		return err
	})
	if err == nil && through > 0 {
		_, err = logs.Prune(t.Context(), a.TenantID, audit.KeyID, through)
	}
	if err != nil {
		t.Fatal(err)
	}
	return through
}

// Retention removes the oldest events, by age and by size, and the rest is still verified, with the heads that are in it.
func TestRetention(t *testing.T) {
	s := newStore(t)
	owner, other := tenant(t, s, "acme"), tenant(t, s, "other")
	fillLog(t, s, owner, 2000)
	stored := head(t, s, owner)
	bytesBefore, err := s.AuditBytes(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	// The events of tenants and keys are newer than those of the log, of which the last is now.
	if through := prune(t, s, owner, audit.Retention{Age: 1000 * time.Minute}); through < 995 || through > 1005 {
		t.Errorf("by age: removed up to %d", through)
	}
	check := verified(t, s, owner, &audit.Verifier{Stored: &stored})
	if check.Problem != nil || check.Checked < 990 || check.Checked > 1010 {
		t.Errorf("after age: %+v %+v", check, check.Problem)
	}
	half := bytesBefore / 4
	prune(t, s, owner, audit.Retention{Bytes: half})
	bytesAfter, err := s.AuditBytes(t.Context())
	if err != nil || bytesAfter > half+half/10 || bytesAfter < half/2 {
		t.Errorf("by size: %d bytes of %d, want %d; %v", bytesAfter, bytesBefore, half, err)
	}
	if check := verified(t, s, owner, &audit.Verifier{Stored: &stored}); check.Problem != nil {
		t.Errorf("after size: %+v", check.Problem)
	}
	if through := prune(t, s, owner, audit.Retention{Age: 365 * 24 * time.Hour, Bytes: 1 << 40}); through != 0 {
		t.Errorf("removed up to %d of what is kept", through)
	}
	if through := prune(t, s, owner, audit.Retention{Age: time.Nanosecond}); through == 0 {
		t.Error("nothing was removed")
	}
	if h := head(t, s, owner); h.Count != 2 { // the newest, and the event about the removal
		t.Errorf("%d events are left", h.Count)
	}
	if n := len(audited(t, s, owner, "audit.prune")); n == 0 {
		t.Error("the removal isn't audited")
	}
	if check := verified(t, s, other, &audit.Verifier{}); check.Problem != nil || check.Checked != 1 {
		t.Errorf("the other tenant: %+v", check)
	}
	// What retention left out can't be cut further without being found.
	tamper(t, s, `DELETE FROM audit WHERE seq = (SELECT MIN(seq) FROM audit WHERE tenant_id = $1)`, owner.TenantID)
	if got := kindOf(verified(t, s, owner, &audit.Verifier{})); got != "missing" {
		t.Errorf("found %q", got)
	}
}

// fillTraffic appends n requests to the log of a.
func fillTraffic(t testing.TB, s *Store, a Actor, n int) {
	t.Helper()
	fillTrafficAt(t, s, a, n, now())
}

// fillTrafficAt is fillTraffic at a time.
func fillTrafficAt(t testing.TB, s *Store, a Actor, n int, at time.Time) {
	t.Helper()
	err := s.write(t.Context(), a, anyKey, func(tx *txn) error {
		l, err := tx.auditLog()
		if err == nil {
			l.Now = at
		}
		for i := 0; i < n && err == nil; i++ {
			list := reports(1, "h.example.com")
			list[0].ID = rand.Text()
			_, err = l.AppendTraffic(api.Event{KeyID: "key_broker"}, list, tx.usedBindings)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// Traffic takes half of the size at most: however many requests a sandbox sends, the events of other kinds stay. What is left is
// verified, in the database, in an export and under new keys.
func TestAttack_TrafficDisplacesEvents(t *testing.T) {
	s := newStore(t)
	owner := tenant(t, s, "acme")
	logs := s.AuditLogs()
	keep := audit.Retention{Bytes: 400_000}
	others := func() (n int64) {
		t.Helper()
		look(t, s, &n, `SELECT COUNT(*) FROM audit WHERE action NOT LIKE 'traffic.%' AND action <> 'audit.prune'`)
		return n
	}
	count := func() (n int64) {
		look(t, s, &n, `SELECT COUNT(*) FROM audit WHERE tenant_id = $1`, owner.TenantID)
		return n
	}
	stored := head(t, s, owner)
	for range 3 {
		for range 4 {
			fillLog(t, s, owner, 15)
			fillTraffic(t, s, owner, 250)
		}
		middle := head(t, s, owner) // a request, which is removed
		fillTraffic(t, s, owner, 500)
		fillLog(t, s, owner, 1)
		want := others()
		halfway := &audit.Verifier{}
		if err := logs.Read(t.Context(), owner.TenantID, func(l *audit.Log) error {
			_, err := halfway.Next(l, 700)
			return err
		}); err != nil {
			t.Fatal(err)
		}
		if err := logs.Trim(t.Context(), owner.TenantID, keep); err != nil {
			t.Fatal(err)
		}
		if got := others(); got != want {
			t.Fatalf("%d events of other kinds are left of %d", got, want)
		}
		var size int64
		look(t, s, &size, `SELECT traffic_bytes FROM audit_chains WHERE tenant_id = $1`, owner.TenantID)
		if size > keep.Bytes/2 || size < keep.Bytes/2-1000 {
			t.Errorf("%d bytes of traffic are left", size)
		}
		if h := head(t, s, owner); h.Count != count() {
			t.Errorf("the head counts %d events of %d", h.Count, count())
		}
		for name, v := range map[string]*audit.Verifier{"from the start": {Stored: &stored}, "halfway": halfway} {
			if check := verified(t, s, owner, v); check.Problem != nil {
				t.Errorf("%s: %+v", name, check.Problem)
			}
		}
		if check := verified(t, s, owner, &audit.Verifier{Stored: &middle}); kindOf(check) != audit.KindPruned {
			t.Errorf("the head of a removed request: %+v", check.Problem)
		}
		var out bytes.Buffer
		if err := logs.Export(t.Context(), owner.TenantID, func(e audit.ExportedEvent) error { return json.NewEncoder(&out).Encode(e) }); err != nil {
			t.Fatal(err)
		}
		whole := out.Bytes()
		if _, check, err := audit.VerifyExport(bytes.NewReader(whole), func(string) *api.AuditHead { return &stored }); err != nil || check.Problem != nil || check.Removed == 0 {
			t.Errorf("an export: %+v, %+v, %v", check, check.Problem, err)
		}
		lines := bytes.SplitAfter(whole, []byte("\n"))
		cut := bytes.Join(append(lines[:5:5], lines[6:]...), nil)
		if _, check, err := audit.VerifyExport(bytes.NewReader(cut), nil); err != nil || kindOf(check) != "missing" {
			t.Errorf("an export without an event: %+v, %v", check, err)
		}
		if _, err := s.RotateKeys(t.Context(), "acme"); err != nil {
			t.Fatal(err)
		}
		if check := verified(t, s, owner, &audit.Verifier{}); check.Problem != nil {
			t.Errorf("under new keys: %+v", check.Problem)
		}
	}
	// Retention by age and size still removes the oldest of all, with the gaps between them.
	var gaps int64
	look(t, s, &gaps, `SELECT COUNT(*) FROM audit_gaps`)
	if gaps < 4 || gaps > others()+1 {
		t.Errorf("%d gaps", gaps)
	}
	if err := logs.Trim(t.Context(), owner.TenantID, audit.Retention{Bytes: 30_000}); err != nil {
		t.Fatal(err)
	}
	if check := verified(t, s, owner, &audit.Verifier{}); check.Problem != nil || check.Checked > 60 || check.Checked != count() {
		t.Errorf("%+v %+v, %d rows", check, check.Problem, count())
	}
	var left int64
	look(t, s, &left, `SELECT COUNT(*) FROM audit_gaps`)
	if left >= gaps {
		t.Errorf("%d gaps are left of %d", left, gaps)
	}
}

// The times of events aren't always in the order of the log: a clock was set back, or vaults of one database have different clocks.
// Whatever is removed first, the log is whole.
func TestTrafficRetentionWithAnotherClock(t *testing.T) {
	s := newStore(t)
	owner := tenant(t, s, "acme")
	at := now()
	for i, minutes := range []int{40, 30, 20, 10, 35, 0} { // blocks of requests, of which later ones seem to be older
		if i == 4 {
			fillLog(t, s, owner, 1)
		}
		fillTrafficAt(t, s, owner, 50, at.Add(time.Duration(minutes-60)*time.Minute))
	}
	fillLog(t, s, owner, 1)
	size := func() (n int64) {
		t.Helper()
		look(t, s, &n, `SELECT traffic_bytes FROM audit_chains WHERE tenant_id = $1`, owner.TenantID)
		return n
	}
	logs := s.AuditLogs()
	for all, left := size(), size(); left > all/10; left = size() {
		if err := logs.Trim(t.Context(), owner.TenantID, audit.Retention{Bytes: 2 * (left - all/20)}); err != nil {
			t.Fatal(err)
		}
		if check := verified(t, s, owner, &audit.Verifier{}); check.Problem != nil {
			t.Fatalf("with %d bytes of %d: %+v", size(), all, check.Problem)
		}
		var out bytes.Buffer
		if err := logs.Export(t.Context(), owner.TenantID, func(e audit.ExportedEvent) error { return json.NewEncoder(&out).Encode(e) }); err != nil {
			t.Fatal(err)
		}
		if _, check, err := audit.VerifyExport(&out, nil); err != nil || check.Problem != nil {
			t.Fatalf("an export with %d bytes of %d: %+v, %v", size(), all, check.Problem, err)
		}
	}
	if _, err := logs.Prune(t.Context(), owner.TenantID, audit.KeyID, head(t, s, owner).Seq-1); err != nil {
		t.Error(err)
	}
	if check := verified(t, s, owner, &audit.Verifier{}); check.Problem != nil {
		t.Errorf("after all: %+v", check.Problem)
	}
}

// A gap that the vault hasn't written, or not for these events, hides no removed event, and what was changed isn't removed.
func TestAttack_ForgedGap(t *testing.T) {
	for _, tt := range []struct{ name, statement string }{
		{"an event beside it", `DELETE FROM audit WHERE number = (SELECT last_number + 1 FROM audit_gaps WHERE tenant_id = $1)`},
		{"it covers another event", `DELETE FROM audit WHERE number = (SELECT last_number + 1 FROM audit_gaps WHERE tenant_id = $1);
			UPDATE audit_gaps SET last_number = last_number + 1`},
		{"a second one", `DELETE FROM audit WHERE number = (SELECT last_number + 3 FROM audit_gaps WHERE tenant_id = $1);
			INSERT INTO audit_gaps SELECT tenant_id, last_number + 3, last_number + 3, hash, mac_key_id, mac FROM audit_gaps WHERE tenant_id = $1`},
		{"its hash", `UPDATE audit_gaps SET hash = (SELECT hash FROM audit LIMIT 1) WHERE tenant_id = $1`},
		{"none", `DELETE FROM audit_gaps WHERE tenant_id = $1`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := newStore(t)
			owner := tenant(t, s, "acme")
			fillTraffic(t, s, owner, 50)
			keep := audit.Retention{Bytes: 40_000}
			if err := s.AuditLogs().Trim(t.Context(), owner.TenantID, keep); err != nil {
				t.Fatal(err)
			}
			for statement := range strings.SplitSeq(tt.statement, ";") {
				tamper(t, s, statement, slices.Repeat([]any{owner.TenantID}, strings.Count(statement, "$1"))...)
			}
			if got := kindOf(verified(t, s, owner, &audit.Verifier{})); got != "missing" {
				t.Errorf("found %q", got)
			}
			wantKind(t, s.AuditLogs().Trim(t.Context(), owner.TenantID, audit.Retention{Bytes: 2000}), api.ErrConflict)
		})
	}
}

// A removal that is stopped between any two transactions leaves a whole log, and another one completes it.
func TestRetentionStopped(t *testing.T) {
	s := newStore(t)
	owner := tenant(t, s, "acme")
	fillLog(t, s, owner, 1800)
	steps := 0
	s.step = func(string) error {
		if steps++; steps%2 == 1 {
			return errCrash
		}
		return nil
	}
	for stops := 0; ; stops++ {
		_, err := s.AuditLogs().Prune(t.Context(), owner.TenantID, audit.KeyID, 1700)
		if check := verified(t, s, owner, &audit.Verifier{}); check.Problem != nil {
			t.Fatalf("after %d stops: %+v", stops, check.Problem)
		}
		if err == nil {
			if stops == 0 {
				t.Error("nothing was stopped")
			}
			break
		}
		if !errors.Is(err, errCrash) {
			t.Fatal(err)
		}
	}
	if h := head(t, s, owner); h.Pruned != 1700 {
		t.Errorf("removed up to %d", h.Pruned)
	}
}

// An event that was changed isn't removed: it is the evidence.
func TestAttack_PrunedEvidence(t *testing.T) {
	s := newStore(t)
	owner := tenant(t, s, "acme")
	fillLog(t, s, owner, 20)
	tamper(t, s, `UPDATE audit SET remote_addr = 'x' WHERE number = 5`)
	_, err := s.AuditLogs().Prune(t.Context(), owner.TenantID, audit.KeyID, 10)
	wantKind(t, err, api.ErrConflict)
	if check := verified(t, s, owner, &audit.Verifier{}); check.Problem == nil || check.Problem.Seq != 5 {
		t.Errorf("%+v", check.Problem)
	}
}

func TestExportIsVerified(t *testing.T) {
	s := newStore(t)
	owner := tenant(t, s, "acme")
	bound(t, s, owner, "A", "1")
	reader := agent(t, s, owner, box1)
	revealed(t, s, reader)
	revealed(t, s, reader)
	fillLog(t, s, owner, 1200)
	var out bytes.Buffer
	lines := json.NewEncoder(&out)
	if err := s.AuditLogs().Export(t.Context(), owner.TenantID, func(e audit.ExportedEvent) error { return lines.Encode(e) }); err != nil {
		t.Fatal(err)
	}
	want := head(t, s, owner)
	got, check, err := audit.VerifyExport(&out, func(string) *api.AuditHead { return &want })
	if err != nil || check.Problem != nil || got.Hash != want.Hash || check.Checked != want.Count {
		t.Errorf("%+v %+v %v", got, check, err)
	}
}

// A resource key that reveals 50 bindings without end makes the database no larger, and each reveal is counted.
func TestAttack_RevealsFillDisk(t *testing.T) {
	needs.Long(t, "it reveals for seconds")
	postgrestest.SQLiteOnly(t)
	s := newStore(t)
	owner := tenant(t, s, "acme")
	for i := range 50 {
		bound(t, s, owner, fmt.Sprintf("SECRET_%02d", i), "v")
	}
	reader := agent(t, s, owner, box1)
	revealed(t, s, reader)
	size := func() (bytes int64) {
		var pages, pageSize int64
		look(t, s, &pages, `PRAGMA page_count`)
		look(t, s, &pageSize, `PRAGMA page_size`)
		return pages * pageSize
	}
	const most = 64 << 10
	before, reveals, began := size(), int64(1), time.Now()
	for reveals < 20_000 && (reveals < 500 || time.Since(began) < 5*time.Second) {
		revealed(t, s, reader)
		reveals++
	}
	grown := size() - before
	t.Logf("%d reveals in %s: the database has grown by %d bytes", reveals, time.Since(began).Round(time.Millisecond), grown)
	if grown > most {
		t.Errorf("%d reveals made the database %d bytes larger, at most %d is allowed", reveals, grown, most)
	}
	events := audited(t, s, owner, actReveal)
	counted := int64(0)
	for _, e := range events {
		counted += e.Count
		if len(e.Bindings) != 50 {
			t.Errorf("an event names %d values", len(e.Bindings))
		}
	}
	if counted != reveals || len(events) > 2 {
		t.Errorf("%d reveals in %d events, want %d", counted, len(events), reveals)
	}
	// Another set, and another address, are events of their own.
	bound(t, s, owner, "ANOTHER", "v")
	revealed(t, s, reader)
	reader.RemoteAddr = "198.51.100.1"
	revealed(t, s, reader)
	if n := len(audited(t, s, owner, actReveal)); n != len(events)+2 {
		t.Errorf("%d events", n)
	}
	// Very many addresses are not.
	for i := range 200 {
		reader.RemoteAddr = fmt.Sprintf("198.51.100.%d", i)
		revealed(t, s, reader)
	}
	if n := len(audited(t, s, owner, actReveal)); n > 70 {
		t.Errorf("%d events", n)
	}
	if check := verified(t, s, owner, &audit.Verifier{}); check.Problem != nil {
		t.Errorf("%+v", check.Problem)
	}
}

// Random keys, revoked and expired keys are audited with their number, whatever their rate, in bounded memory and space.
func TestAttack_UnknownKeys(t *testing.T) {
	s := newStore(t)
	owner := tenant(t, s, "acme")
	issued, err := s.CreateResourceKey(t.Context(), owner, box1, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.RevokeKey(t.Context(), issued.ID); err != nil {
		t.Fatal(err)
	}
	const attempts = 5000
	for i := range attempts {
		key := api.NewKey(api.ResourceKeyPrefix).Reveal()
		if i%10 == 0 {
			key = issued.Key
		}
		_, err := s.Authenticate(t.Context(), key)
		if reason := s.CountRefusal(err, fmt.Sprintf("192.0.%d.%d", i/256, i%256)); reason == "" {
			t.Fatal(err)
		}
		if i%1000 == 999 {
			if err := s.refusals.Write(context.Background(), s.AuditLogs()); err != nil {
				t.Fatal(err)
			}
		}
	}
	own, err := s.LocalActor(t.Context(), OwnTenant)
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name, detail, keyID string
		a                   Actor
		want                int64
	}{{"unknown", audit.Unknown, "", own, attempts * 9 / 10}, {"revoked", audit.Revoked, issued.ID, owner, attempts / 10}} {
		events := audited(t, s, tt.a, "key.refused")
		counted := int64(0)
		for _, e := range events {
			counted += e.Count
			if e.KeyID != tt.keyID || e.Outcome != api.OutcomeDenied {
				t.Errorf("%+v", e)
			}
		}
		if counted != tt.want || len(events) > 70 {
			t.Errorf("%s: %d attempts in %d events, want %d", tt.name, counted, len(events), tt.want)
		}
		if check := verified(t, s, tt.a, &audit.Verifier{}); check.Problem != nil {
			t.Errorf("%+v", check.Problem)
		}
	}
}
