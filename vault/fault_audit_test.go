package vault_test

import (
	"bytes"
	"database/sql"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/internal/needs"
	"github.com/Miosa-osa/miosa-env/internal/test/postgrestest"
	"github.com/Miosa-osa/miosa-env/vault/vaulttest"
)

// openDatabase opens the vault's database in addition to the vault, as another process would.
func openDatabase(t *testing.T, s *vaulttest.Server) *sql.DB {
	t.Helper()
	driver, at := "sqlite", filepath.Join(s.DataDir(), "vault.db")
	if postgrestest.Chosen() {
		driver, at = "pgx", postgrestest.Database(t, s.DataDir())
	}
	db, err := sql.Open(driver, at)
	if err != nil {
		t.Fatal(err)
	}
	db.SetMaxOpenConns(1)
	t.Cleanup(func() { _ = db.Close() })
	return db
}

// blockAudit returns statements that make writes of audit events fail, and that undo this. With breaks the transaction is undone too, or on
// PostgreSQL, where it always is, the connection ends. when is the condition for a new event; "": none.
func blockAudit(when string, breaks bool) (block, unblock string) {
	if when != "" {
		when = " WHEN (" + when + ")"
	}
	if !postgrestest.Chosen() {
		fail := " BEGIN SELECT RAISE(" + map[bool]string{false: "ABORT", true: "ROLLBACK"}[breaks] + ", 'no'); END;"
		return "CREATE TRIGGER blocked BEFORE INSERT ON audit" + when + fail + "CREATE TRIGGER uncounted BEFORE UPDATE ON audit_repeats" + fail,
			`DROP TRIGGER blocked; DROP TRIGGER uncounted`
	}
	fail := map[bool]string{false: "RAISE EXCEPTION 'no'", true: "PERFORM pg_terminate_backend(pg_backend_pid())"}[breaks]
	return "CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN " + fail + "; END $$;" +
			"CREATE TRIGGER blocked BEFORE INSERT ON audit FOR EACH ROW" + when + " EXECUTE FUNCTION fail();" +
			"CREATE TRIGGER uncounted BEFORE UPDATE ON audit_repeats FOR EACH ROW EXECUTE FUNCTION fail()",
		`DROP FUNCTION fail CASCADE`
}

// While no audit event can be written, every route that changes state or reveals values answers 503 and has no
// effect. Routes that only read keep working. Afterwards all routes work again.
func TestFault_V10_NothingUnaudited(t *testing.T) {
	vaulttest.OneVault(t, "it opens the database's file")
	type statements struct{ block, unblock string }
	of := func(block, unblock string) statements { return statements{block, unblock} }
	lock := of(`BEGIN EXCLUSIVE`, `ROLLBACK`)
	if postgrestest.Chosen() {
		lock.block = `BEGIN; LOCK TABLE audit`
	}
	for _, tt := range []struct {
		name string
		statements
		slow bool // each commit waits 10 s for the lock, so requests are sent in parallel
	}{
		{"the table refuses", of(blockAudit("", false)), false},
		{"the table breaks the transaction", of(blockAudit("", true)), false},
		{"the database is locked", lock, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if tt.slow {
				needs.Long(t, "waits until the vault's lock timeout")
			}
			t.Parallel()
			s := vaulttest.Start(t, vaulttest.WithOAuth(t, acmeProvider))
			o := own(t, s)
			broker, _ := brokerKey(t, s, sandbox.String())
			before := state(t, s, o)
			db := openDatabase(t, s)
			run := func(statement string) {
				t.Helper()
				if _, err := db.ExecContext(t.Context(), statement); err != nil {
					t.Fatal(err)
				}
			}
			run(tt.block)
			answers := map[string]answer{}
			var mu sync.Mutex // guards answers
			var asking sync.WaitGroup
			for _, route := range s.Vault().Routes() {
				method, path, body := o.request(t, route, false)
				key := s.TenantKey
				switch {
				case strings.HasSuffix(route, "/reveal"):
					key = o.key
				case strings.HasSuffix(route, "/traffic"):
					key = broker
				}
				send := func() {
					a := ask(t, s, key, method, path, body)
					mu.Lock()
					defer mu.Unlock()
					answers[route] = a
				}
				if tt.slow {
					asking.Go(send)
				} else {
					send()
				}
			}
			asking.Wait()
			if !tt.slow { // a missing audit event must not turn a denial into a success
				wantRefusal(t, ask(t, s, o.key, "GET", "/egress/secrets/"+o.secret, ""), api.ErrDenied, "")
			}
			run(tt.unblock)
			for route, a := range answers {
				if bytes.Contains(a.body, []byte("s3cret-of-the-owner")) || bytes.Contains(a.body, []byte("sealed")) {
					t.Errorf("%s revealed a value", route)
				}
				if !strings.HasPrefix(route, "GET ") {
					t.Run(route, func(t *testing.T) { wantRefusal(t, a, api.ErrUnavailable, "") })
				} else if a.status != http.StatusOK && route != "GET /egress/audit/resource/{id}" { // which is a WebSocket
					t.Errorf("%s: status %d: %s", route, a.status, a.body)
				}
				if !tt.slow && !strings.HasPrefix(route, "GET ") && !bytes.Contains(a.body, []byte("audited")) {
					t.Errorf("%s: the reason is missing: %s", route, a.body)
				}
			}
			if diff := cmp.Diff(before, state(t, s, o)); diff != "" {
				t.Errorf("the state changed (-before +after):\n%s", diff)
			}
			for _, route := range []string{"PATCH /egress/secrets/{id}", "DELETE /egress/secrets/{id}"} {
				method, path, body := o.request(t, route, false)
				if a := ask(t, s, s.TenantKey, method, path, body); a.status != http.StatusOK {
					t.Errorf("afterwards, %s: status %d: %s", route, a.status, a.body)
				}
			}
		})
	}
}
