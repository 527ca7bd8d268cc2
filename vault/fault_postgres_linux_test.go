package vault_test

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/internal/needs"
	"github.com/Miosa-osa/miosa-env/internal/test/poll"
	"github.com/Miosa-osa/miosa-env/internal/test/postgrestest"
	"github.com/Miosa-osa/miosa-env/vault"
)

// on is an option for a vault on a database.
func on(url string) func(*vault.Config) {
	return func(c *vault.Config) { c.Store.Database = url }
}

// wantRefusals checks that a vault whose database accepts no writes says so: it refuses changes and reveals with a reason, isn't
// ready, counts the reveals, and goes on reading.
func (d *faultyDiskVault) wantRefusals(t *testing.T, reason string) {
	t.Helper()
	d.wantReads(t)
	if d.tryReveal(t) {
		t.Error("a reveal was audited")
	}
	wantRefusal(t, ask(t, d.Server, d.TenantKey, "POST", "/egress/resource-keys", toJSON(t, sandbox)), api.ErrUnavailable, reason)
	wantRefusal(t, ask(t, d.Server, d.TenantKey, "DELETE", "/egress/secrets/"+d.ids["S002"], ""), api.ErrUnavailable, reason)
	poll.Until(t, patience, "not ready", func() bool {
		a := ask(t, d.Server, api.Key{}, "GET", "//readyz", "")
		return a.status == http.StatusServiceUnavailable && strings.Contains(string(a.body), reason)
	})
	if metric(t, d.Server, "miosa_vault_audit_failures_total") == 0 {
		t.Error("refused reveals aren't counted")
	}
}

// A server on PostgreSQL that accepts no writes is like a full disk: nothing is acknowledged or revealed, and the vault recovers by itself.
func TestFault_V3_ReadOnlyPostgreSQL(t *testing.T) {
	postgrestest.SQLiteOnly(t) // it has a server of its own
	t.Parallel()               // most of it is waiting
	server := postgrestest.New(t)
	set := func(statement string) {
		t.Helper()
		for _, s := range []string{statement, "SELECT pg_reload_conf()"} {
			if err := server.Exec(t.Context(), s); err != nil {
				t.Fatal(err)
			}
		}
	}
	d := newFaultyDiskVault(t, on(server.URL(server.Addr())))
	set("ALTER SYSTEM SET default_transaction_read_only = on")
	poll.Until(t, patience, "a refusal", func() bool { return !d.rotate(t) })
	d.wantRefusals(t, "read-only")
	set("ALTER SYSTEM RESET default_transaction_read_only")
	d.wantRecovery(t)
}

// A standby isn't asked before it is the primary: it may not have the newest keys and versions yet.
func TestFault_V3_PromotedPostgreSQL(t *testing.T) {
	postgrestest.SQLiteOnly(t) // it has a server of its own
	t.Parallel()
	primary := postgrestest.New(t)
	standby := primary.Standby(t)
	d := newFaultyDiskVault(t, on(primary.URL(primary.Addr(), standby.Addr())))
	if err := primary.Kill(); err != nil {
		t.Fatal(err)
	}
	if d.rotate(t) {
		t.Error("a rotation was acknowledged")
	}
	body, _ := revealOf(t, sandbox, "", 0)
	for _, a := range []answer{
		ask(t, d.Server, d.key, "POST", "/egress/bindings/reveal", body),
		ask(t, d.Server, d.TenantKey, "GET", "/egress/secrets", ""),
		ask(t, d.Server, d.TenantKey, "GET", "/egress/secrets/"+d.ids["S001"], ""),
	} {
		wantRefusal(t, a, api.ErrUnavailable, "")
	}
	if err := standby.Promote(t.Context()); err != nil {
		t.Fatal(err)
	}
	d.wantRecovery(t)
}

// The same with a server whose disk is full.
func TestFault_V3_FullPostgreSQL(t *testing.T) {
	postgrestest.SQLiteOnly(t) // it has a server of its own
	t.Parallel()
	needs.Root(t, "to mount a tmpfs that the server's account can write to")
	if !isolated(t, &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS}) {
		return
	}
	_ = unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, "")
	needs.Granted(t, unix.Mount("tmpfs", "/mnt", "tmpfs", 0, "size=20m,mode=777"), "a tmpfs with a size limit")
	t.Cleanup(func() { _ = unix.Unmount("/mnt", unix.MNT_DETACH) })
	server := postgrestest.New(t)
	for _, s := range []string{"CREATE TABLESPACE small LOCATION '" + postgrestest.Folder(t, "/mnt") + "'", "ALTER DATABASE postgres SET default_tablespace = small"} {
		if err := server.Exec(t.Context(), s); err != nil {
			t.Fatal(err)
		}
	}
	d := newFaultyDiskVault(t, on(server.URL(server.Addr())))
	ballast := filepath.Join("/mnt", "ballast")
	fillUp(t, ballast, 0)
	// What still fits in the tables' pages is acknowledged, and kept.
	for refused := 0; refused < 5; {
		if refused++; d.put(t, 5000) || d.rotate(t) || d.tryReveal(t) {
			refused = 0
		}
	}
	d.wantRefusals(t, "disk is full")
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	d.wantRecovery(t)
}
