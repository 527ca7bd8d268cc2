package store

import (
	"testing"
	"time"

	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/internal/test/memoryimage"
	"github.com/Miosa-osa/miosa-env/vault/audit"
)

// millionEvents is the size of the log of BenchmarkMillionEvents.
const millionEvents = 1_000_000

// BenchmarkMillionEvents measures each operation on the log of a tenant with a million events, and the most memory that the
// process has had meanwhile. The figures are in docs/benchmarks.md. -benchtime 1x is enough.
func BenchmarkMillionEvents(b *testing.B) {
	s := newStore(b)
	owner := tenant(b, s, "acme")
	began := time.Now()
	fillLog(b, s, owner, millionEvents)
	b.Logf("filled in %s", time.Since(began).Round(time.Second))
	s.db.Scrub(b.Context())
	newest, _, err := s.Audit(b.Context(), owner, AuditFilter{Limit: 1})
	if err != nil {
		b.Fatal(err)
	}
	old := newest[0].Timestamp.Add(-millionEvents / 2 * time.Minute)
	run := func(name string, do func(b *testing.B)) {
		b.Run(name, func(b *testing.B) {
			memoryimage.ResetPeak(b)
			for b.Loop() {
				do(b)
			}
			b.ReportMetric(memoryimage.Peak(b), "peak-MiB")
		})
	}
	for _, list := range []struct {
		name string
		f    AuditFilter
	}{
		{"list, newest", AuditFilter{Limit: 1000}},
		{"list, since half of them", AuditFilter{Limit: 1000, Since: &old}},
		{"filter, action", AuditFilter{Limit: 1000, Action: actKeyCreate}},
		{"filter, resource", AuditFilter{Limit: 1000, ResourceType: "sandbox", ResourceID: "sb_7"}},
		{"filter, key", AuditFilter{Limit: 1000, KeyID: "key_7"}},
		{"filter, secret", AuditFilter{Limit: 1000, SecretID: "sec_7"}},
		{"filter, no such secret", AuditFilter{Limit: 1000, SecretID: "sec_x"}},
		{"filter, no such host", AuditFilter{Limit: 1000, Host: "example.com"}},
		{"filter, key and resource that never met", AuditFilter{Limit: 1000, KeyID: "key_7", ResourceID: "sb_8"}},
		{"filter, action and type that never met", AuditFilter{Limit: 1000, Action: actSecretRotate, ResourceType: "computer"}},
	} {
		run(list.name, func(b *testing.B) {
			if _, _, err := s.Audit(b.Context(), owner, list.f); err != nil {
				b.Fatal(err)
			}
		})
	}
	run("verify", func(b *testing.B) {
		v := &audit.Verifier{}
		for check := (api.AuditCheck{}); !check.Complete; {
			var err error
			if check, err = s.VerifyAudit(b.Context(), owner, v, 1000); err != nil || check.Problem != nil {
				b.Fatal(err, check.Problem)
			}
		}
	})
	run("export", func(b *testing.B) {
		if err := s.AuditLogs().Export(b.Context(), owner.TenantID, func(audit.ExportedEvent) error { return nil }); err != nil {
			b.Fatal(err)
		}
	})
	b.Run("append", func(b *testing.B) {
		memoryimage.ResetPeak(b)
		fillLog(b, s, owner, 1000)
		b.ReportMetric(memoryimage.Peak(b), "peak-MiB")
	})
	b.Run("retention of half", func(b *testing.B) {
		memoryimage.ResetPeak(b)
		if _, err := s.AuditLogs().Prune(b.Context(), owner.TenantID, audit.KeyID, millionEvents/2); err != nil {
			b.Fatal(err)
		}
		b.ReportMetric(memoryimage.Peak(b), "peak-MiB")
	})
	if check := verified(b, s, owner, &audit.Verifier{}); check.Problem != nil {
		b.Errorf("%+v", check.Problem)
	}
}
