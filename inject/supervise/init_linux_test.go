package supervise_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/Miosa-osa/miosa-env/internal/needs"
	"github.com/Miosa-osa/miosa-env/internal/test/poll"
	"golang.org/x/sys/unix"
)

// The tests in this file check what docs/architecture.md states under "Differences from tini and dumb-init".

// TestSignalIsForTheCommandAlone checks that a signal is forwarded to the command and not to the command's children.
func TestSignalIsForTheCommandAlone(t *testing.T) {
	for _, way := range ways[2:] {
		t.Run(way.name, func(t *testing.T) {
			t.Parallel()
			file := filepath.Join(t.TempDir(), "got")
			c := under(t, way.mode, way.pid1, "sh", "-c", `
				trap 'echo command >> `+file+`' USR1
				trap 'exit 7' TERM
				sh -c 'trap "echo child >> `+file+`" USR1; echo ready >> `+file+`; while :; do sleep 0.02; done' &
				while :; do sleep 0.02; done`)
			if err := c.Start(); err != nil {
				t.Fatal(err)
			}
			said := func(what string) func() bool {
				return func() bool { b, _ := os.ReadFile(file); return strings.Contains(string(b), what) } // the file may not exist yet
			}
			poll.Until(t, 10*time.Second, "ready", said("ready"))
			kill(t, c.Process.Pid, unix.SIGUSR1)
			poll.Until(t, 10*time.Second, "the signal in the command", said("command"))
			kill(t, c.Process.Pid, unix.SIGTERM)
			_ = c.Wait()
			if code := codeOf(c); code != 7 || said("child")() {
				t.Errorf("exit code %d; the child got the signal: %v", code, said("child")())
			}
		})
	}
}

// TestNoSignalAtTheEnd checks that processes that a command leaves running get no signal when it exits.
func TestNoSignalAtTheEnd(t *testing.T) {
	c := under(t, "supervise", false, "sh", "-c", `sleep 60 & echo $!`)
	left := startTelling(t, c)
	_ = c.Wait()
	if code := codeOf(c); code != 0 {
		t.Errorf("exit code %d", code)
	}
	if !alive(left) {
		t.Error("the process has ended")
	}
	kill(t, left, unix.SIGKILL)
}

// TestWorkingDirectory checks that the supervisor and the command keep the working directory of the start.
func TestWorkingDirectory(t *testing.T) {
	c := under(t, "supervise", false, "sh", "-c", "readlink /proc/$PPID/cwd && readlink /proc/$$/cwd")
	c.Dir = t.TempDir()
	out, err := c.Output()
	if want := c.Dir + "\n" + c.Dir + "\n"; err != nil || string(out) != want {
		t.Errorf("%v; got %q, want %q", err, out, want)
	}
}

// TestFaultsAreForwarded checks that signals that usually report a fault are forwarded when another process sends them.
func TestFaultsAreForwarded(t *testing.T) {
	needs.Command(t, "bash")
	for _, n := range []unix.Signal{unix.SIGSEGV, unix.SIGBUS, unix.SIGFPE, unix.SIGILL, unix.SIGTRAP, unix.SIGSTKFLT, unix.SIGSYS, unix.SIGABRT} {
		c := under(t, "supervise", false, "bash", "-c", fmt.Sprintf(`trap 'exit 9' %d; echo $$; while :; do sleep 0.02; done`, n))
		startTelling(t, c)
		kill(t, c.Process.Pid, n)
		_ = c.Wait()
		if code := codeOf(c); code != 9 {
			t.Errorf("signal %d: exit code %d, want 9", n, code)
		}
	}
}

// TestReapedElsewhere checks that the supervisor reports a lost exit code of the command with exit code 125, and
// does not wait for the command forever.
func TestReapedElsewhere(t *testing.T) {
	for _, script := range []string{"exit 0", "exit 4", "sleep 0.1", "kill -9 $$", "sleep 1 >/dev/null 2>&1 & exit 0"} {
		var log bytes.Buffer
		c := under(t, "supervise", false, "-no-children", "-v", "sh", "-c", script)
		c.Stderr = &log
		if code := status(t, c); code != 125 || !strings.Contains(log.String(), "exit code lost") {
			t.Errorf("%s: exit code %d, log:\n%s", script, code, log.String())
		}
	}
}
