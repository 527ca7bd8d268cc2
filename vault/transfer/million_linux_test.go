package transfer

import (
	"fmt"
	"testing"
	"time"

	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/internal/test/memoryimage"
	"github.com/Miosa-osa/miosa-env/vault/audit"
	"github.com/Miosa-osa/miosa-env/vault/store"
)

// millionEvents is the size of the log of BenchmarkMillionEvents.
const millionEvents = 1_000_000

// BenchmarkMillionEvents measures how long a database with an audit log of a million events takes to PostgreSQL and back, and the
// most memory that this process, without the server, has had meanwhile. -benchtime 1x is enough.
func BenchmarkMillionEvents(b *testing.B) {
	root := newRoot(b)
	first, server := End{Dir: b.TempDir()}, on("PostgreSQL")(b)
	s := open(b, first, root)
	if _, err := s.CreateTenantKey(b.Context(), "acme"); err != nil {
		b.Fatal(err)
	}
	owner := must[store.Actor](b)(s.LocalActor(b.Context(), "acme"))
	const batch = 10_000
	for done := 0; done < millionEvents; {
		err := s.AuditLogs().Write(b.Context(), owner.TenantID, func(l *audit.Log) error {
			for range batch {
				done++
				e := api.Event{Action: "secret.rotate", Outcome: api.OutcomeOK, KeyID: fmt.Sprint("key_", done%100), SecretID: fmt.Sprint("sec_", done%1000),
					Version: int64(done), ResourceType: "sandbox", ResourceID: fmt.Sprint("sb_", done%500), RemoteAddr: "192.0.2.1", RequestID: "req_0123456789abcdef"}
				if err := l.Append(&e); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			b.Fatal(err)
		}
	}
	if err := s.Close(); err != nil {
		b.Fatal(err)
	}
	for _, way := range []struct {
		name string
		from End
		to   func(testing.TB) End
	}{
		{"to PostgreSQL", first, func(testing.TB) End { return server }},
		{"to SQLite", server, on("SQLite")},
	} {
		b.Run(way.name, func(b *testing.B) {
			memoryimage.ResetPeak(b)
			steps := map[string]time.Duration{}
			for b.Loop() {
				last := time.Now()
				err := Run(b.Context(), Config{From: way.from, To: way.to(b), RootKey: root, Progress: func(p Progress) {
					steps[p.Step] += time.Since(last)
					last = time.Now()
				}})
				if err != nil {
					b.Fatal(err)
				}
			}
			for step, took := range steps {
				b.ReportMetric(took.Seconds(), step+"-s")
			}
			b.ReportMetric(memoryimage.Peak(b), "peak-MiB")
		})
	}
}
