package envfile_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/Miosa-osa/miosa-env/inject/envfile"
	"github.com/Miosa-osa/miosa-env/internal/needs"
)

// systemdPath is where distributions install systemd.
const systemdPath = "/lib/systemd/systemd"

// startSystemd is a shell script that starts systemd with its own /run, set up as on a system booted with systemd, and
// afterwards removes the cgroup that systemd created.
const startSystemd = `
mount -t tmpfs tmpfs /run && mkdir -p /run/systemd/system || exit 77
export XDG_RUNTIME_DIR=/run SYSTEMD_UNIT_PATH="$1" HOME=/nonexistent
code=0
"$2" --user --unit=read.service --log-target=console --log-level=info || code=$?
while IFS=: read -r id controllers path; do
  for root in /sys/fs/cgroup /sys/fs/cgroup/systemd /sys/fs/cgroup/unified; do
    rmdir "$root$path/init.scope" 2>/dev/null
  done
done </proc/self/cgroup
exit $code`

// systemdReads starts a service with text as its EnvironmentFile= under a real systemd, a user manager in its own
// namespaces, and returns the service's environment.
func systemdReads(t *testing.T, text string) (map[string]string, error) {
	t.Helper()
	dir := t.TempDir()
	out := filepath.Join(dir, "out")
	unit := fmt.Sprintf(`[Unit]
DefaultDependencies=no
SuccessAction=exit-force
FailureAction=exit-force
[Service]
Type=oneshot
EnvironmentFile=%s
ExecStart=/usr/bin/env -0
StandardOutput=truncate:%s
`, filepath.Join(dir, "env"), out)
	for name, content := range map[string]string{"env": text, "read.service": unit} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	c := exec.CommandContext(ctx, "sh", "-c", startSystemd, "sh", dir, systemdPath)
	c.Env = []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin"}
	// Killing the first process of the namespace ends all others in it.
	c.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWPID | syscall.CLONE_NEWNS, Unshareflags: syscall.CLONE_NEWNS, Pdeathsig: syscall.SIGKILL}
	log, err := c.CombinedOutput()
	if err != nil {
		return nil, fmt.Errorf("%w\n%s", err, log)
	}
	printed, err := os.ReadFile(out)
	if err != nil {
		return nil, fmt.Errorf("%w\n%s", err, log)
	}
	return environOfText(string(bytes.TrimSuffix(printed, []byte{0}))), nil
}

// needSystemd skips the test if it cannot run systemd. It returns the variables that every service has.
func needSystemd(t *testing.T) map[string]string {
	t.Helper()
	needs.Command(t, systemdPath)
	needs.Root(t, "to run a systemd in namespaces of its own")
	got, err := systemdReads(t, "PROBE=probe\n")
	needs.Granted(t, err, "a systemd of the test's own")
	if got["PROBE"] != "probe" {
		t.Fatalf("systemd reads %q", got)
	}
	delete(got, "PROBE")
	return got
}

func TestSystemdReadBack(t *testing.T) {
	own := needSystemd(t)
	p := carried(t, "systemd")
	if len(p) != len(nasty)+3000 {
		t.Error("no value refused")
	}
	got, err := systemdReads(t, encoded(t, "systemd", p))
	if err != nil {
		t.Fatal(err)
	}
	for name := range own {
		delete(got, name)
	}
	if diff := cmp.Diff(got, wantOf(p)); diff != "" {
		t.Errorf("(-got +want):\n%s", diff)
	}
}

// TestSystemdRefusals checks that Encode refuses exactly those values that a real systemd would lose. Values just
// within a limit are read.
func TestSystemdRefusals(t *testing.T) {
	needSystemd(t)
	longest := strings.Repeat("x", 131_071-len("A="))
	if os.Getpagesize() != 4096 {
		needs.System(t, "pages of 4 KiB: with others the limits of execve are different")
	}
	for _, tt := range []struct {
		name, value, want string
	}{
		{"the longest", longest, ""},
		{"a byte more", longest + "x", "A can't be written as systemd: with its name it is longer than the 131071 bytes that a service can be given"},
		{"U+FDCF, U+FDF0, U+FFFD", "\ufdcf\ufdf0\ufffd", ""},
		{"U+FDD0", "\ufdd0", "A can't be written as systemd: its value holds a Unicode noncharacter, for which systemd drops it"},
		{"U+10FFFF", "x\U0010ffffx", "A can't be written as systemd: its value holds a Unicode noncharacter, for which systemd drops it"},
		{"bytes", "canary\xff", "A can't be written as systemd: its value isn't UTF-8"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			err := envfile.Encode(io.Discard, "systemd", pairs("A", tt.value))
			if tt.want == "" && err != nil || tt.want != "" && (err == nil || err.Error() != tt.want) {
				t.Errorf("got %v, want %q", err, tt.want)
			}
			read, failed := systemdReads(t, `A="`+tt.value+"\"\n")
			if exact := failed == nil && read["A"] == tt.value; exact != (err == nil) {
				t.Errorf("systemd reads it exactly: %v (%v); Encode: %v", exact, failed, err)
			}
		})
	}
}
