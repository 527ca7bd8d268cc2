package containertest

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/internal/needs"
)

// hostOnly wraps podman for Debian 12's podman-compose, which requests a project network even for a service in the
// host's network; podman refuses that.
const hostOnly = `#!/bin/sh
for word; do
	shift
	case $word in
	--net | --network-alias) skip=yes ;;
	*) test "$skip" || set -- "$@" "$word"; skip= ;;
	esac
done
exec podman "$@"
`

// compose runs podman-compose in a folder with compose.yaml and returns its output.
func (e *engine) compose(ctx context.Context, dir string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	c := exec.CommandContext(ctx, "podman-compose", append([]string{"--podman-path", filepath.Join(dir, "podman")}, args...)...)
	c.Dir, c.Env, c.WaitDelay = dir, e.environ(), 5*time.Second
	out, err := c.CombinedOutput()
	return api.RedactKeys(string(out)), err
}

// The compose example as shipped, with the test's image, command, network and vault.
func TestCompose(t *testing.T) {
	needs.Command(t, "podman-compose")
	s := newFixture(t)
	dir := filepath.Join(t.TempDir(), "project")
	if err := copyFile(s.keyFile(t, 65532), filepath.Join(dir, "miosa-api-key")); err != nil {
		t.Fatal(err)
	}
	text := shipped(t, "compose.yaml",
		"image: your-app-with-secrets", "image: "+wrapped+"\n    network_mode: host", // the vault is on loopback
		`command: ["/app"]`, `command: ["/app", "serve", "TOKEN"]`,
		"# MIOSA_BASE_URL: https://vault.example.org ", "MIOSA_BASE_URL: "+s.BaseURL+" ")
	key := filepath.Join(dir, "miosa-api-key")
	for _, err := range []error{
		os.WriteFile(filepath.Join(dir, "compose.yaml"), []byte(text), 0o644),
		os.WriteFile(filepath.Join(dir, "podman"), []byte(hostOnly), 0o755),
		os.Chmod(key, 0o400), os.Chown(key, 65532, 65532),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	must := func(args ...string) {
		t.Helper()
		out, err := s.compose(t.Context(), dir, args...)
		if err != nil || strings.Contains(out, "Error: ") { // exits with 0 for some errors
			t.Fatalf("podman-compose %s: %v\n%s", args[0], err, out)
		}
	}
	t.Cleanup(func() {
		if out, err := s.compose(context.Background(), dir, "down", "--timeout=0"); err != nil {
			t.Errorf("podman-compose down: %v\n%s", err, out)
		}
	})
	must("up", "--detach")
	c := &container{s.engine, "project_app_1"}
	c.prints(t, "serving TOKEN "+sum(value))
	s.Rotate(t, s.secret, "canary-that-is-next")
	c.prints(t, "serving TOKEN "+sum("canary-that-is-next"))
	c.within(t, "uid 65532 ", "/app", "show")
	c.within(t, "CapBnd: 0000000000000000\nNoNewPrivs: 1\n", "/app", "limits")
	c.within(t, "/file wasn't: read-only file system\n/tmp/file was made", "/app", "write", "/file", "/tmp/file")
	began := time.Now()
	must("stop", "--timeout=30")
	if took := time.Since(began); took > 25*time.Second {
		t.Errorf("stopping took %v", took)
	}
	if code := c.must(t, "inspect", "--format={{.State.ExitCode}}", c.id); code != "3" {
		t.Errorf("exit code %s, want the command's 3", code)
	}
	if log := c.log(t); strings.Count(log, "got TERM") != 2 {
		t.Errorf("the command did not get TERM twice:\n%s", log)
	}
}
