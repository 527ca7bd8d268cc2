package containertest

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/Miosa-osa/miosa-env/vault/vaulttest"
)

// restricted are the flags of a container without privileges. The mounts that podman adds to a read-only root are
// disabled, because other engines do not have them.
var restricted = []string{"--read-only", "--read-only-tmpfs=false", "--cap-drop=all", "--security-opt=no-new-privileges"}

// The image works with a read-only root, without privileges and as any user.
func TestReadOnlyRootAndAnyUser(t *testing.T) {
	s := newFixture(t)
	args := append([]string{"--user=4711:4711"}, restricted...)
	s.run(t, s.env, append(args, wrapped, "/app", "show", "TOKEN")...).wants(t, 0, "uid 4711 ", "TOKEN "+sum(value))
	s.run(t, s.env, append(args, wrapped, "/app", "limits")...).wants(t, 0,
		"CapEff: 0000000000000000\n", "CapBnd: 0000000000000000\n", "NoNewPrivs: 1\n", "Seccomp: 2\n", "Uid: 4711 4711 4711 4711\n")
	s.run(t, s.env, append(args, wrapped, "/app", "write", "/file", "/usr/local/bin/file")...).wants(t, 0,
		"/file wasn't: read-only file system", "/usr/local/bin/file wasn't: read-only file system")
}

// The key is not visible to the command in any process, nor to root outside the container.
func TestKeyIsHidden(t *testing.T) {
	s := newFixture(t)
	file := []string{"--user=1000:1000", "--env=MIOSA_API_KEY_FILE=/key", "--volume=" + s.keyFile(t, 1000) + ":/key:ro"}
	for _, test := range []struct {
		name string
		env  []string
		args []string
	}{
		{"in a variable", s.env, nil},
		{"in a file", s.open(), file},
	} {
		t.Run(test.name, func(t *testing.T) {
			seen := s.run(t, test.env, append(test.args, wrapped, "/app", "keys")...)
			seen.wants(t, 0, "/proc/1/environ is closed", "/proc/1/cmdline has no key")
			if strings.Contains(seen.out, "HAS A KEY") {
				t.Errorf("the command can read a key:\n%s", seen.out)
			}
			for _, name := range []string{"MIOSA_API_KEY", "MIOSA_API_KEY_FILE"} {
				s.run(t, test.env, append(test.args, wrapped, "/app", "show", name)...).wants(t, 0, name+" isn't set")
			}

			c := s.start(t, test.env, append(test.args, wrapped, "/app", "serve", "TOKEN")...)
			c.prints(t, "serving")
			processes := c.processes(t)
			if len(processes) != 2 {
				t.Errorf("%d processes, want miosa-env and the command", len(processes))
			}
			for _, pid := range processes {
				for _, name := range []string{"environ", "cmdline"} {
					text, err := os.ReadFile(filepath.Join("/proc", pid, name))
					if err != nil {
						t.Fatal(err)
					}
					if bytes.Contains(text, []byte("msk_")) {
						t.Errorf("root sees a key in %s of %s", name, pid)
					}
				}
			}
		})
	}
	t.Run("it would be found", func(t *testing.T) {
		s.run(t, s.env, theirs, "keys").wants(t, 0, "/proc/1/environ HAS A KEY")
	})
}

// processes returns the host's ids of the container's processes: process 1 and its children.
func (c *container) processes(t *testing.T) []string {
	t.Helper()
	first := c.must(t, "inspect", "--format={{.State.Pid}}", c.id)
	text, err := os.ReadFile(fmt.Sprintf("/proc/%s/task/%s/children", first, first))
	if err != nil {
		t.Fatal(err)
	}
	return append([]string{first}, strings.Fields(string(text))...)
}

// A rotation restarts the command within the same container.
func TestRotation(t *testing.T) {
	s := newFixture(t)
	args := append([]string{"--entrypoint", `["miosa-env","run","--on-change","restart","--"]`}, restricted...)
	c := s.start(t, s.env, append(args, wrapped, "/app", "serve", "TOKEN")...)
	c.prints(t, "serving TOKEN "+sum(value))
	before := c.processes(t)
	for _, next := range []string{"canary-that-is-next", "canary-after-that"} {
		s.Rotate(t, s.secret, next)
		c.prints(t, "serving TOKEN "+sum(next))
	}
	if after := c.processes(t); len(after) != 2 || after[0] != before[0] || after[1] == before[1] {
		t.Errorf("processes %v became %v: want process 1 to stay, and its child to be another", before, after)
	}
	if log := c.log(t); strings.Count(log, "got TERM") != 2 {
		t.Errorf("the command did not get TERM twice:\n%s", log)
	}
	if code, _ := c.stop(t, 10); code != "3" {
		t.Errorf("exit code %s, want the command's 3", code)
	}
}

// An image without certificate authorities can be given a CA file; the project's image has its own.
func TestAuthorities(t *testing.T) {
	certificate, path, _ := vaulttest.Certificate(t)
	s := newFixture(t, vaulttest.WithTLS(certificate))
	if err := os.Chmod(path, 0o644); err != nil {
		t.Fatal(err)
	}
	for dir := filepath.Dir(path); dir != os.TempDir() && dir != "/"; dir = filepath.Dir(dir) {
		if err := os.Chmod(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	trusted := []string{"--env=MIOSA_CA_FILE=/ca.pem", "--volume=" + path + ":/ca.pem:ro"}
	s.run(t, s.env, append(trusted, wrapped, "/app", "show", "TOKEN")...).wants(t, 0, "TOKEN "+sum(value))
	s.run(t, s.env, append(trusted, ours, "list")...).wants(t, 0, "TOKEN")
	s.run(t, s.env, wrapped).wants(t, 125, "miosa-env: error: ", "certificate")
	s.run(t, s.env, ours, "list").wants(t, 125, "miosa-env: error: ", "certificate")
	if roots, err := os.ReadFile(filepath.Join(s.dir, "stage/out/ca-certificates.crt")); err != nil || bytes.Count(roots, []byte("BEGIN CERTIFICATE")) < 50 {
		t.Errorf("the image's authorities aren't there: %d bytes, %v", len(roots), err)
	}
}
