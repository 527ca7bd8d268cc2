package store

import (
	"strconv"
	"testing"

	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/vault/audit"
)

// Events that list thousands of bindings are read a few at a time, whatever the limit of the page.
func TestAttack_LargeEvents(t *testing.T) {
	s := newStore(t)
	a := tenant(t, s, "acme")
	const events, bindings, most = 40, 4000, 3 << 20
	for range events {
		err := s.write(t.Context(), a, anyKey, func(t *txn) error {
			e := api.Event{Action: actReveal}
			for i := range bindings {
				e.Bindings = append(e.Bindings, api.EventRef{ID: newID("bnd_"), SecretID: "sec_" + strconv.Itoa(i%8), Version: 1})
			}
			return t.audit(e)
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	tooMany := func(what string, n int) {
		t.Helper()
		if n*bindings*90 > most {
			t.Errorf("%s: %d events at once", what, n)
		}
	}
	listed := 0
	for f := (AuditFilter{Action: actReveal, Limit: 1000}); ; {
		page, next, err := s.Audit(t.Context(), a, f)
		if err != nil {
			t.Fatal(err)
		}
		tooMany("list", len(page))
		listed += len(page)
		if f.Cursor = next; next == "" {
			break
		}
	}
	if listed != events {
		t.Errorf("%d events listed, want %d", listed, events)
	}
	var v audit.Verifier
	verified := int64(0)
	for complete := false; !complete; {
		check, err := s.VerifyAudit(t.Context(), a, &v, 5000)
		if err != nil || check.Problem != nil {
			t.Fatal(check.Problem, err)
		}
		tooMany("verify", int(check.Checked))
		verified, complete = verified+check.Checked, check.Complete
	}
	if verified < events {
		t.Errorf("%d events verified", verified)
	}
	if n, err := s.AuditLogs().Prune(t.Context(), a.TenantID, a.KeyID, events); err != nil || n != events {
		t.Errorf("%d events removed, %v", n, err)
	}
}
