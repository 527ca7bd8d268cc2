package vault_test

import (
	"database/sql"
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/vault/vaulttest"
)

// A reveal that cannot be audited is refused and counted. Reveals work again once they can be audited.
func TestFault_V10_RevealWithoutAudit(t *testing.T) {
	s := vaulttest.Start(t)
	id := s.Put(t, "a", "1", sandbox, "A")
	key := s.ResourceKey(t, sandbox)
	etag := reveal(t, s, key, sandbox).Etag
	db, err := sql.Open("sqlite", filepath.Join(s.DataDir(), "vault.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	run := func(statement string) {
		t.Helper()
		if _, err := db.ExecContext(t.Context(), statement); err != nil {
			t.Fatal(err)
		}
	}
	w := hold(t, s, key, sandbox, etag, 60)
	run(`CREATE TRIGGER no_reveals BEFORE INSERT ON audit WHEN NEW.action = 'reveal' BEGIN SELECT RAISE(ABORT, 'no'); END;
		CREATE TRIGGER no_counts BEFORE UPDATE ON audit_repeats BEGIN SELECT RAISE(ABORT, 'no'); END`)
	body, _ := revealOf(t, sandbox, "", 0)
	wantRefusal(t, ask(t, s, key, "POST", "/egress/bindings/reveal", body), api.ErrUnavailable, "audit")
	s.Rotate(t, id, "2") // wakes the waiting reveal, which is refused as well
	wantRefusal(t, w.ends(t, http.StatusServiceUnavailable), api.ErrUnavailable, "audit")
	if n := metric(t, s, "miosa_vault_audit_failures_total"); n != 2 {
		t.Errorf("%d audit failures counted, want 2", n)
	}
	run(`DROP TRIGGER no_reveals; DROP TRIGGER no_counts`)
	if got := values(reveal(t, s, key, sandbox)); got["A"] != "2" {
		t.Error("not the latest value")
	}
}

// Every reveal is audited before it is answered, with what it contained and which key got it.
func TestRevealIsAudited(t *testing.T) {
	s := vaulttest.Start(t)
	id := s.Put(t, "a", "1", sandbox, "A")
	key, keyID := s.MintResourceKey(t, sandbox)
	body, _ := revealOf(t, sandbox, "", 0)
	a := ask(t, s, key, "POST", "/egress/bindings/reveal", body, "X-Request-ID", "mine")
	if a.status != http.StatusOK {
		t.Fatalf("status %d", a.status)
	}
	events := decode[struct{ Events []api.Event }](t, ask(t, s, s.TenantKey, "GET", "/egress/audit?action=reveal", "")).Events
	if len(events) != 1 {
		t.Fatalf("%d events, want 1", len(events))
	}
	e := events[0]
	if e.KeyID != keyID || e.RequestID != "mine" || e.RemoteAddr != "127.0.0.1" || e.Outcome != api.OutcomeOK ||
		e.ResourceID != sandbox.ID || len(e.Bindings) != 1 || e.Bindings[0].SecretID != id || e.Bindings[0].Version != 1 {
		t.Errorf("got %+v", e)
	}
}

func TestNotReady(t *testing.T) {
	s := vaulttest.Start(t)
	if err := s.Vault().Store().Close(); err != nil {
		t.Fatal(err)
	}
	wantRefusal(t, ask(t, s, api.Key{}, "GET", "//readyz", ""), api.ErrUnavailable, "")
	wantRefusal(t, ask(t, s, s.TenantKey, "GET", "/egress/secrets", ""), api.ErrUnavailable, "")
	if a := ask(t, s, api.Key{}, "GET", "//healthz", ""); a.status != http.StatusOK {
		t.Errorf("healthz: status %d", a.status)
	}
}

// Metrics have routes and statuses as labels, and contain no id, name or key.
func TestMetrics(t *testing.T) {
	s := vaulttest.Start(t)
	id := s.Put(t, "the-name", "1", sandbox, "THE_VARIABLE")
	key := s.ResourceKey(t, sandbox)
	reveal(t, s, key, sandbox)
	ask(t, s, s.TenantKey, "GET", "/egress/secrets/"+id, "")
	ask(t, s, s.TenantKey, "GET", "/egress/secrets/sec_x", "")
	ask(t, s, s.TenantKey, "GET", "/no/such/path", "")
	text := string(ask(t, s, api.Key{}, "GET", "//metrics", "").body)
	for _, want := range []string{
		`miosa_vault_requests_total{route="GET /egress/secrets/{id}",status="200"} 1`,
		`miosa_vault_requests_total{route="GET /egress/secrets/{id}",status="404"} 1`,
		`miosa_vault_requests_total{route="POST /egress/bindings/reveal",status="200"} 1`,
		`miosa_vault_requests_total{route="none",status="404"} 1`,
		`miosa_vault_request_seconds_count{route="POST /egress/bindings/reveal"} 1`,
		`miosa_vault_waiting_reveals 0`,
		`miosa_vault_audit_failures_total 0`,
		`go_goroutines `,
	} {
		if !strings.Contains(text, "\n"+want) {
			t.Errorf("no %s", want)
		}
	}
	for _, never := range []string{id, "the-name", "THE_VARIABLE", sandbox.ID, key.Reveal(), s.TenantKey.Reveal(), "/no/such"} {
		if strings.Contains(text, never) {
			t.Errorf("%s is there", never)
		}
	}
}
