//go:build !race

package packagetest

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/Miosa-osa/miosa-env/internal/needs"
)

// system is a Debian installation in a folder.
type system struct {
	t   *testing.T
	dir string
}

// suite is the Debian release of the system. The base system is cached in the temporary folder.
const suite = "bookworm"

// newSystem copies the base system. It needs root.
func newSystem(t *testing.T) *system {
	t.Helper()
	needs.Command(t, "debootstrap", "chroot", "cp", "dpkg")
	needs.Root(t, "to install a system in a folder")
	base := filepath.Join(os.TempDir(), "miosa-env-test-"+suite)
	if _, err := os.Stat(base); err != nil {
		bootstrap(t, base)
	}
	s := &system{t, filepath.Join(workDir, strings.ReplaceAll(t.Name(), "/", "-"))}
	output(t, "cp", "-a", base, s.dir)
	t.Cleanup(func() { _ = os.RemoveAll(s.dir) })
	return s
}

// bootstrap creates the base system, completely or not at all.
func bootstrap(t *testing.T, base string) {
	t.Helper()
	making, err := os.MkdirTemp(os.TempDir(), "miosa-env-making")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = os.RemoveAll(making) }()
	if err := os.Chmod(making, 0o755); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	c := exec.CommandContext(ctx, "debootstrap", "--variant=minbase", "--include=systemd,rpm", suite, making)
	c.WaitDelay = time.Second
	if out, err := c.CombinedOutput(); err != nil {
		lines := strings.Split(string(out), "\n")
		needs.System(t, "a Debian from its mirror: %v\n%s", err, strings.Join(lines[max(0, len(lines)-5):], "\n"))
	}
	_ = os.RemoveAll(filepath.Join(making, "var", "cache", "apt"))
	if err := os.Rename(making, base); err != nil && !os.IsExist(err) {
		t.Fatal(err)
	}
}

// run runs a shell command in the system.
func (s *system) run(command string) (out string, code int) {
	s.t.Helper()
	out, errs, code := ran(s.t, []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C", "DEBIAN_FRONTEND=noninteractive"}, "chroot", s.dir, "/bin/sh", "-ec", command)
	return out + errs, code
}

// must runs a shell command in the system that must succeed.
func (s *system) must(command string) string {
	s.t.Helper()
	out, code := s.run(command)
	if code != 0 {
		s.t.Fatalf("%s: exit code %d\n%s", command, code, out)
	}
	return out
}

// give copies a file into the system's root directory.
func (s *system) give(path, name string) {
	s.t.Helper()
	output(s.t, "cp", path, filepath.Join(s.dir, name))
}

// ours lists this project's files in the system.
func (s *system) ours() string {
	s.t.Helper()
	return s.must("find / -xdev \\( -path /proc -o -path /sys -o -path /tmp -o -path /dev \\) -prune -o -name '*miosa*' -print | grep -v -e '^/one' -e '^/two' -e '^/var/log/' || true; getent passwd miosa-env || true; getent group miosa-env || true")
}
