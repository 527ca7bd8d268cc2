package systemdtest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/Miosa-osa/miosa-env/internal/needs"
	"github.com/Miosa-osa/miosa-env/internal/test/poll"
	"golang.org/x/sys/unix"
)

// machine is a Debian booted in a container with the host's network. Its disk is an overlay, which survives
// reboots and is removed when the test ends.
type machine struct {
	*testing.T
	disk   string
	nspawn *exec.Cmd
	ended  chan error
	pid1   int
}

// needed skips a test that cannot boot a container.
func needed(t *testing.T) {
	t.Helper()
	needs.Long(t, "booting takes a minute")
	needs.Root(t, "to boot a machine")
	needs.Command(t, "systemd-nspawn", "debootstrap", "nsenter")
}

// debian returns a folder with a small Debian 12, which is created once per host.
func debian(t *testing.T) string {
	t.Helper()
	tree := filepath.Join(os.TempDir(), "miosa-env-debian-bookworm")
	lock, err := os.OpenFile(tree+".lock", os.O_CREATE|os.O_RDWR, 0o600)
	must(t, err)
	defer func() { _ = lock.Close() }()
	must(t, unix.Flock(int(lock.Fd()), unix.LOCK_EX))
	if _, err := os.Stat(tree); err == nil {
		return tree
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Minute)
	defer cancel()
	must(t, os.RemoveAll(tree+".part"))
	out, err := exec.CommandContext(ctx, "debootstrap", "--variant=minbase", "--include=systemd,systemd-sysv,dbus,ca-certificates", "bookworm", tree+".part").CombinedOutput()
	if err != nil {
		needs.System(t, "a Debian from its mirror: %v\n%s", err, tail(string(out)))
	}
	must(t, os.Rename(tree+".part", tree))
	return tree
}

func newMachine(t *testing.T) *machine {
	t.Helper()
	tree, dir := debian(t), t.TempDir()
	m := &machine{T: t, disk: filepath.Join(dir, "disk")}
	for _, d := range []string{"disk", "upper", "work"} {
		must(t, os.Mkdir(filepath.Join(dir, d), 0o755))
	}
	options := fmt.Sprintf("lowerdir=%s,upperdir=%s/upper,workdir=%s/work", tree, dir, dir)
	needs.Granted(t, unix.Mount("overlay", m.disk, "overlay", 0, options), "an overlay to boot from")
	t.Cleanup(func() {
		m.off()
		if err := unix.Unmount(m.disk, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	return m
}

// boot starts the machine and returns once it can run commands.
func (m *machine) boot() {
	m.Helper()
	m.nspawn = exec.Command("systemd-nspawn", "-q", "-D", m.disk, "--register=no", "--keep-unit", "--console=pipe", "--boot")
	m.nspawn.WaitDelay = time.Second
	must(m.T, m.nspawn.Start())
	m.ended = make(chan error, 1)
	go func() { m.ended <- m.nspawn.Wait() }()
	m.eventually("boots", time.Minute, func() bool {
		m.pid1 = child(m.nspawn.Process.Pid)
		if m.pid1 == 0 {
			return false
		}
		_, err := m.run("systemctl", "is-active", "basic.target")
		return err == nil
	})
}

// reboot reboots the machine and returns like boot.
func (m *machine) reboot() {
	m.Helper()
	_, _ = m.run("systemctl", "reboot")
	select {
	case <-m.ended: // with 133, which requests a restart
		m.nspawn = nil
	case <-time.After(time.Minute):
		m.Fatal("the machine doesn't go down")
	}
	m.boot()
}

// off ends the machine like a power failure.
func (m *machine) off() {
	if m.nspawn == nil {
		return
	}
	if pid1 := child(m.nspawn.Process.Pid); pid1 > 0 {
		_ = unix.Kill(pid1, unix.SIGKILL)
	}
	select {
	case <-m.ended:
	case <-time.After(10 * time.Second):
		_ = m.nspawn.Process.Kill()
		<-m.ended
	}
	m.nspawn = nil
}

// run runs a command in the machine and returns its output.
func (m *machine) run(argv ...string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	c := exec.CommandContext(ctx, "nsenter", append([]string{"-t", strconv.Itoa(m.pid1), "-m", "-u", "-i", "-n", "-p", "-C", "env", "-i", "PATH=/usr/bin:/usr/sbin:/bin:/sbin"}, argv...)...)
	c.Dir = "/"
	c.WaitDelay = time.Second
	out, err := c.CombinedOutput()
	return strings.TrimSpace(string(out)), err
}

// does is like run for commands that must succeed.
func (m *machine) does(argv ...string) string {
	m.Helper()
	out, err := m.run(argv...)
	if err != nil {
		journal, _ := m.run("journalctl", "-n", "40", "--no-pager")
		m.Fatalf("%s: %v\n%s\nthe journal:\n%s", strings.Join(argv, " "), err, out, journal)
	}
	return out
}

// shell runs lines of a document in root's home, each of which must succeed.
func (m *machine) shell(lines string) string {
	m.Helper()
	return m.does("sh", "-ec", "cd /root\n"+lines)
}

// show returns one property of a unit.
func (m *machine) show(unit, property string) string {
	_, value, _ := strings.Cut(m.properties(unit, property), "=")
	return value
}

// properties returns several properties of a unit from one call, as lines of the form Name=value.
func (m *machine) properties(unit string, names ...string) string {
	out, _ := m.run("systemctl", "show", "-p", strings.Join(names, ","), unit)
	return out
}

// write writes a file of the machine, from outside.
func (m *machine) write(path, text string, mode os.FileMode) {
	m.Helper()
	whole := filepath.Join(m.disk, path)
	must(m.T, os.MkdirAll(filepath.Dir(whole), 0o755))
	must(m.T, os.WriteFile(whole, []byte(text), mode))
	must(m.T, os.Chmod(whole, mode))
}

// eventually waits for a condition.
func (m *machine) eventually(what string, within time.Duration, so func() bool) {
	m.Helper()
	if !poll.Within(within, so) {
		status, _ := m.run("systemctl", "list-units", "--no-pager", "--all", "*app*", "*miosa*", "*.target")
		journal, _ := m.run("journalctl", "-n", "60", "--no-pager")
		m.Fatalf("not within %s: %s\n%s\nthe journal:\n%s", within, what, status, journal)
	}
}

// child returns the child of a process, or 0 if there is none.
func child(parent int) int {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", parent, parent))
	first, _, _ := strings.Cut(strings.TrimSpace(string(b)), " ")
	pid, convErr := strconv.Atoi(first)
	if errors.Join(err, convErr) != nil {
		return 0
	}
	return pid
}

func tail(s string) string { return s[max(0, len(s)-2000):] }

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
