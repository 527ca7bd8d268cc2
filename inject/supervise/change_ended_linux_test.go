package supervise_test

import (
	"bytes"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/Miosa-osa/miosa-env/internal/test/fifo"
	"github.com/Miosa-osa/miosa-env/internal/test/poll"
	"golang.org/x/sys/unix"
)

// TestChangeWhileDraining checks that a change after the command's end does nothing, although a slow reader hasn't read the
// command's output yet: no restart, no hook, and no signal to a process that the command has left running.
func TestChangeWhileDraining(t *testing.T) {
	hooked := filepath.Join(t.TempDir(), "hooked")
	for _, how := range []string{"restart", "signal=TERM", "hook=echo $MIOSA_COMMAND_PID >> " + hooked} {
		t.Run(how, func(t *testing.T) {
			changes := fifo.New(t)
			file := filepath.Join(t.TempDir(), "wrote")
			c := under(t, "supervise", false, "-mask", masking, "-on-change", how, "-stop-timeout", "50ms", "-changes", changes,
				"sh", "-c", `sleep 60 >/dev/null 2>&1 & echo $! >> "$0"; seq 22000; exit 3`, file) // more than one pipe, less than two
			out, err := c.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := c.Start(); err != nil {
				t.Fatal(err)
			}
			wrote := func() []string { b, _ := os.ReadFile(file); return strings.Fields(string(b)) }
			left := adopted(t, c.Process.Pid, file, 1)
			defer func() { _ = unix.Kill(left, unix.SIGKILL) }()
			fifo.WriteLine(t, changes, "TOKEN=another-value")
			time.Sleep(300 * time.Millisecond) // time for what must not happen
			all, err := io.ReadAll(out)
			if err != nil {
				t.Fatal(err)
			}
			_ = c.Wait()
			if code, lines := codeOf(c), bytes.Count(all, []byte("\n")); code != 3 || lines != 22000 {
				t.Errorf("exit code %d and %d lines, want 3 and 22000", code, lines)
			}
			if len(wrote()) != 1 {
				t.Error("the command was started again")
			}
			if b, err := os.ReadFile(hooked); err == nil {
				t.Errorf("the hook ran, for the command %s", b)
			}
			if !alive(left) {
				t.Error("the process that the command left running was ended")
			}
		})
	}
}

// TestEndWhileDraining checks that a supervisor whose context ends after the command's end gives up output that nobody reads, and
// sends no signal to a process that the command has left running.
func TestEndWhileDraining(t *testing.T) {
	changes, file := fifo.New(t), filepath.Join(t.TempDir(), "wrote")
	c := under(t, "supervise", false, "-mask", masking, "-stop-timeout", "50ms", "-changes", changes,
		"sh", "-c", `sleep 60 >/dev/null 2>&1 & echo $! >> "$0"; seq 22000; exit 3`, file)
	if _, err := c.StdoutPipe(); err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	left := adopted(t, c.Process.Pid, file, 1)
	defer func() { _ = unix.Kill(left, unix.SIGKILL) }()
	defer time.AfterFunc(30*time.Second, func() { _ = c.Process.Kill() }).Stop()
	fifo.WriteLine(t, changes, "end")
	_ = c.Wait()
	if code := codeOf(c); code != 128+15 {
		t.Errorf("exit code %d, want 143", code)
	}
	if !alive(left) {
		t.Error("the process that the command left running was ended")
	}
}

// TestHookWhileDraining checks that a hook that was to run once more after the current one doesn't once the command has ended.
func TestHookWhileDraining(t *testing.T) {
	dir := t.TempDir()
	file, hooked, log := filepath.Join(dir, "wrote"), filepath.Join(dir, "hooked"), filepath.Join(dir, "log")
	changes, endHook, endCommand := fifo.New(t), fifo.New(t), fifo.New(t)
	c := under(t, "supervise", false, "-v", "-mask", masking, "-on-change", "hook=echo >> "+hooked+"; read x < "+endHook, "-changes", changes,
		"sh", "-c", `sleep 60 >/dev/null 2>&1 & echo $! >> "$0"; read x < "$1"; seq 22000`, file, endCommand)
	out, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	stderr, err := os.Create(log)
	if err != nil {
		t.Fatal(err)
	}
	defer stderr.Close()
	c.Stderr = stderr
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	for i := 1; i <= 2; i++ { // the second change comes while the hook runs
		fifo.WriteLine(t, changes, "TOKEN=value-"+strconv.Itoa(i))
		poll.Until(t, 30*time.Second, "the change", func() bool {
			b, _ := os.ReadFile(log)
			return bytes.Count(b, []byte(`"running hook"`)) == i
		})
	}
	fifo.WriteLine(t, endCommand, "go")
	left := adopted(t, c.Process.Pid, file, 2)
	defer func() { _ = unix.Kill(left, unix.SIGKILL) }()
	fifo.WriteLine(t, endHook, "go")
	poll.Until(t, 30*time.Second, "the hook's end, and no other one", func() bool { return len(children(c.Process.Pid)) == 1 })
	if _, err := io.Copy(io.Discard, out); err != nil {
		t.Fatal(err)
	}
	if err := c.Wait(); err != nil {
		b, _ := os.ReadFile(log)
		t.Errorf("%v\n%s", err, b)
	}
	if b, err := os.ReadFile(hooked); err != nil || len(b) != 1 {
		t.Errorf("the hook ran %d times, %v; want once", len(b), err)
	}
}

// TestHookReapedElsewhere checks that the hook runs once more after a change that came while it ran, also if the kernel has
// reaped it.
func TestHookReapedElsewhere(t *testing.T) {
	hooked, log, endHook := filepath.Join(t.TempDir(), "hooked"), filepath.Join(t.TempDir(), "log"), fifo.New(t)
	stderr, err := os.Create(log)
	if err != nil {
		t.Fatal(err)
	}
	defer stderr.Close()
	_, changes, wrote := changingAs(t, false, func(c *exec.Cmd) { c.Stderr = stderr }, server,
		"-v", "-no-children", "-mask", masking, "-on-change", "hook=echo x >> "+hooked+"; read x < "+endHook)
	waitFor(t, wrote, "first")
	count := func(file, text string) int {
		b, _ := os.ReadFile(file)
		return bytes.Count(b, []byte(text))
	}
	for i := 1; i <= 2; i++ { // the second change comes while the hook runs
		fifo.WriteLine(t, changes, "SECRET=value-"+strconv.Itoa(i))
		poll.Until(t, 30*time.Second, "the change", func() bool { return count(log, `"running hook"`) == i && count(hooked, "x") == 1 })
	}
	fifo.WriteLine(t, endHook, "go")
	poll.Until(t, 10*time.Second, "the second hook", func() bool { return count(hooked, "x") == 2 })
	fifo.WriteLine(t, endHook, "go")
}

// adopted waits until a supervisor has reaped its command and adopted the process whose id is in a file, and has so many children.
func adopted(t *testing.T, supervisor int, file string, n int) (left int) {
	t.Helper()
	poll.Until(t, 30*time.Second, "the process to be left and adopted", func() bool {
		b, _ := os.ReadFile(file)
		left, _ = strconv.Atoi(strings.TrimSpace(string(b)))
		ours := children(supervisor)
		return len(ours) == n && ours[left] != 0
	})
	return left
}

// TestRestartFails checks that a command that was running and can't be started again gives exit code 125, not that of a
// command that never ran.
func TestRestartFails(t *testing.T) {
	for _, tt := range []struct {
		name string
		hide func(program string) error
	}{
		{"doesn't exist", os.Remove},
		{"not executable", func(program string) error { return os.Chmod(program, 0o644) }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			program, changes, said := filepath.Join(dir, "program"), fifo.New(t), filepath.Join(dir, "said")
			if err := os.WriteFile(program, []byte("#!/bin/sh\necho up >> "+said+"\nexec sleep 60\n"), 0o755); err != nil {
				t.Fatal(err)
			}
			c := under(t, "supervise", false, "-on-change", "restart", "-changes", changes, program)
			var log bytes.Buffer
			c.Stderr = &log
			if err := c.Start(); err != nil {
				t.Fatal(err)
			}
			poll.Until(t, 10*time.Second, "the command", func() bool { _, err := os.Stat(said); return err == nil })
			if err := tt.hide(program); err != nil {
				t.Fatal(err)
			}
			fifo.WriteLine(t, changes, "SECRET=second")
			_ = c.Wait()
			if code := codeOf(c); code != 125 || !strings.HasPrefix(log.String(), "restart: execute "+program) {
				t.Errorf("exit code %d, want 125; the log:\n%s", code, log.String())
			}
		})
	}
}
