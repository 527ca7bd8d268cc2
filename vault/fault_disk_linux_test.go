package vault_test

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/internal/needs"
	"github.com/Miosa-osa/miosa-env/internal/test/poll"
	"github.com/Miosa-osa/miosa-env/internal/test/postgrestest"
	"github.com/Miosa-osa/miosa-env/vault"
	"github.com/Miosa-osa/miosa-env/vault/vaulttest"
)

// isolatedEnv is set in the process in which isolated runs a test.
const isolatedEnv = "MIOSA_TEST_ALONE"

// isolated runs the test again in a process of its own and returns true in that process. If the test is skipped
// there, it is skipped here too.
func isolated(t *testing.T, attr *syscall.SysProcAttr) bool {
	t.Helper()
	if os.Getenv(isolatedEnv) == t.Name() {
		return true
	}
	c := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v", "-test.timeout=5m")
	c.Env = append(os.Environ(), isolatedEnv+"="+t.Name())
	c.SysProcAttr = attr
	out, err := c.CombinedOutput()
	switch {
	case errors.Is(err, unix.EPERM):
		needs.Granted(t, err, "a mount namespace")
	case err != nil:
		t.Fatalf("%v\n%s", err, out)
	}
	needs.WhatItNeeded(t, out)
	t.Logf("%s", out)
	return false
}

// faultyDiskVault is a vault on a faulty disk, and the writes it acknowledged.
type faultyDiskVault struct {
	*vaulttest.Server
	key    api.Key           // resource key of sandbox
	values map[string]string // by variable name, which is also the secret's name
	ids    map[string]string // secret ids, by the same name
	made   int
}

func newFaultyDiskVault(t *testing.T, opts ...vaulttest.Option) *faultyDiskVault {
	t.Helper()
	d := &faultyDiskVault{Server: vaulttest.Start(t, opts...), values: map[string]string{}, ids: map[string]string{}}
	d.key = d.ResourceKey(t, sandbox)
	for range 3 {
		if !d.put(t, 100) {
			t.Fatal("cannot create a secret on a working disk")
		}
	}
	return d
}

// put creates a secret with a value of n bytes and reports whether the vault acknowledged it. A refusal must be a
// 503 with a retry time.
func (d *faultyDiskVault) put(t *testing.T, n int) bool {
	t.Helper()
	d.made++
	name := fmt.Sprintf("S%03d", d.made)
	value := name + strings.Repeat("v", n)
	a := ask(t, d.Server, d.TenantKey, "POST", "/egress/secrets", toJSON(t, map[string]string{
		"name": name, "value": value, "resource_type": sandbox.Type, "resource_id": sandbox.ID, "expose_as_env": name}))
	if a.status != http.StatusCreated {
		wantRefusal(t, a, api.ErrUnavailable, "")
		return false
	}
	d.values[name], d.ids[name] = value, decode[struct{ Data api.Secret }](t, a).Data.ID
	return true
}

// rotate rotates the first secret and reports whether the vault acknowledged it.
func (d *faultyDiskVault) rotate(t *testing.T) bool {
	t.Helper()
	d.made++
	value := fmt.Sprintf("rotated %d", d.made)
	a := ask(t, d.Server, d.TenantKey, "PATCH", "/egress/secrets/"+d.ids["S001"], toJSON(t, map[string]string{"value": value}))
	if a.status != http.StatusOK {
		wantRefusal(t, a, api.ErrUnavailable, "")
		return false
	}
	d.values["S001"] = value
	return true
}

// wantReads checks that read-only routes work and return exactly the acknowledged writes.
func (d *faultyDiskVault) wantReads(t *testing.T) {
	t.Helper()
	a := ask(t, d.Server, d.TenantKey, "GET", "/egress/secrets", "")
	if a.status != http.StatusOK {
		t.Fatalf("list: status %d: %s", a.status, a.body)
	}
	listed := map[string]string{}
	for _, s := range decode[struct{ Secrets []api.Secret }](t, a).Secrets {
		listed[s.Name] = s.ID
	}
	if diff := cmp.Diff(listed, d.ids); diff != "" {
		t.Fatalf("listed (-got +acknowledged):\n%s", diff)
	}
	for path, status := range map[string]int{"/egress/secrets/" + d.ids["S001"]: 200, "/egress/bindings": 200, "/egress/audit": 200, "//healthz": 200} {
		if a := ask(t, d.Server, d.TenantKey, "GET", path, ""); a.status != status {
			t.Errorf("%s: status %d: %s", path, a.status, a.body)
		}
	}
}

// reveals returns the number of audited reveals.
func (d *faultyDiskVault) reveals(t *testing.T) int {
	t.Helper()
	return items(t, ask(t, d.Server, d.TenantKey, "GET", "/egress/audit?action=reveal&limit=1000", ""))
}

// tryReveal checks that a reveal is either audited or refused, and reports whether it succeeded.
func (d *faultyDiskVault) tryReveal(t *testing.T) bool {
	t.Helper()
	before := d.reveals(t)
	body, _ := revealOf(t, sandbox, "", 0)
	a := ask(t, d.Server, d.key, "POST", "/egress/bindings/reveal", body)
	given := a.status == http.StatusOK
	if !given {
		wantRefusal(t, a, api.ErrUnavailable, "audited")
	}
	if n := d.reveals(t) - before; n > 1 || given && n != 1 || !given && n != 0 {
		t.Errorf("status %d, and %d reveals audited", a.status, n)
	}
	return given
}

// wantRecovery checks that within seconds and without a restart the vault accepts writes and returns the
// acknowledged ones.
func (d *faultyDiskVault) wantRecovery(t *testing.T) {
	t.Helper()
	poll.Until(t, patience, "ready again", func() bool { return ask(t, d.Server, api.Key{}, "GET", "//readyz", "").status == http.StatusOK })
	if !d.rotate(t) || !d.put(t, 5000) {
		t.Fatal("ready, but refuses writes")
	}
	d.wantReads(t)
	if diff := cmp.Diff(values(reveal(t, d.Server, d.key, sandbox)), d.values); diff != "" {
		t.Fatalf("revealed (-got +acknowledged):\n%s", diff)
	}
}

// wantRestart checks that a restarted vault returns the acknowledged writes from an intact database.
func (d *faultyDiskVault) wantRestart(t *testing.T) {
	t.Helper()
	d.Restart(t)
	d.wantReads(t)
	if diff := cmp.Diff(values(reveal(t, d.Server, d.key, sandbox)), d.values); diff != "" {
		t.Fatalf("revealed after a restart (-got +acknowledged):\n%s", diff)
	}
	var verdict string
	if err := openDatabase(t, d.Server).QueryRowContext(t.Context(), "PRAGMA integrity_check").Scan(&verdict); err != nil || verdict != "ok" {
		t.Errorf("integrity: %q, %v", verdict, err)
	}
}

// A file system fills up under a vault, with varying space left. Unstored writes are not acknowledged, unaudited
// reveals are refused, read-only routes work, refusals are 503 with the reason, and the vault recovers without a
// restart once there is space.
func TestFault_V3_FullDisk(t *testing.T) {
	vaulttest.OneVault(t, "it needs SQLite")
	postgrestest.SQLiteOnly(t)
	t.Parallel() // most of it is waiting
	attr := &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS}
	if uid := os.Geteuid(); uid != 0 { // without root, a user namespace allows mounting too, where available
		attr.Cloneflags |= syscall.CLONE_NEWUSER
		attr.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: uid, Size: 1}}
		attr.GidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getegid(), Size: 1}}
	}
	if !isolated(t, attr) {
		return
	}
	dir := t.TempDir()
	_ = unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, "")
	needs.Granted(t, unix.Mount("tmpfs", dir, "tmpfs", 0, "size=10m,mode=700"), "a tmpfs with a size limit")
	t.Cleanup(func() { _ = unix.Unmount(dir, unix.MNT_DETACH) })
	for _, left := range []int{0, 1, 2, 3, 5, 8, 20, 100} { // pages
		t.Run(fmt.Sprintf("%d pages left", left), func(t *testing.T) {
			data := filepath.Join(dir, fmt.Sprint(left))
			t.Cleanup(func() { _ = os.RemoveAll(data) })
			var conf vault.Config
			d := newFaultyDiskVault(t, func(c *vault.Config) { c.Store.DataDir = data; conf = *c })
			ballast := filepath.Join(dir, "ballast")
			fillUp(t, ballast, left)
			acknowledged := 0
			for refused := 0; refused < 5; {
				if d.put(t, 50_000) {
					acknowledged, refused = acknowledged+1, 0
				} else {
					refused++
				}
			}
			for range 200 { // including writes small enough to fit
				if !d.rotate(t) {
					break
				}
				acknowledged++
			}
			if d.rotate(t) {
				t.Fatal("the disk never fills up")
			}
			d.wantReads(t)
			if given := d.tryReveal(t); given {
				t.Log("an audit event still fits")
			}
			a := ask(t, d.Server, d.TenantKey, "POST", "/egress/resource-keys", toJSON(t, sandbox))
			wantRefusal(t, a, api.ErrUnavailable, "disk is full")
			wantRefusal(t, ask(t, d.Server, d.TenantKey, "DELETE", "/egress/secrets/"+d.ids["S002"], ""), api.ErrUnavailable, "disk is full")
			poll.Until(t, patience, "not ready", func() bool {
				return ask(t, d.Server, api.Key{}, "GET", "//readyz", "").status == http.StatusServiceUnavailable
			})
			if err := os.Remove(ballast); err != nil {
				t.Fatal(err)
			}
			began := time.Now()
			d.wantRecovery(t)
			t.Logf("%d writes acknowledged; recovered after %s", acknowledged, time.Since(began).Round(time.Millisecond))
			// A vault started on a full disk either serves or reports why it cannot, and damages nothing.
			fillUp(t, ballast, left)
			d.Stop(t)
			fillUp(t, ballast+"2", 0) // use the space that stopping has freed
			v, err := vault.Open(t.Context(), conf)
			t.Logf("started while the disk is full: %v", err)
			switch {
			case err == nil:
				if err := v.Close(); err != nil {
					t.Logf("closed: %v", err)
				}
			case !strings.Contains(err.Error(), "disk"):
				t.Errorf("the reason is missing: %v", err)
			}
			if err := errors.Join(os.Remove(ballast), os.Remove(ballast+"2")); err != nil {
				t.Fatal(err)
			}
			d.wantRestart(t)
		})
	}
}

// fillUp writes a file until the given number of pages is left.
func fillUp(t *testing.T, path string, left int) {
	t.Helper()
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	size, page := int64(0), make([]byte, os.Getpagesize())
	for {
		n, err := f.Write(page)
		size += int64(n)
		if errors.Is(err, unix.ENOSPC) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := f.Truncate(max(0, size-int64(left*len(page)))); err != nil {
		t.Fatal(err)
	}
}
