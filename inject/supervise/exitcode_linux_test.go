package supervise_test

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/Miosa-osa/miosa-env/internal/needs"
	"github.com/Miosa-osa/miosa-env/internal/test/poll"
)

// ways are the ways to run a command: replaced or supervised, as PID 1 or not.
var ways = []struct {
	name, mode string
	pid1       bool
}{
	{"replace", "replace", false},
	{"replace as PID 1", "replace", true},
	{"supervise", "supervise", false},
	{"supervise as PID 1", "supervise", true},
}

func TestEveryExitCode(t *testing.T) {
	step := 1
	if testing.Short() {
		step = 17 // 0 to 255 in 16 codes
	}
	for _, way := range ways {
		t.Run(way.name, func(t *testing.T) {
			t.Parallel()
			for want := 0; want < 256; want += step {
				c := under(t, way.mode, way.pid1, "sh", "-c", "exit "+strconv.Itoa(want))
				if got := status(t, c); got != want {
					t.Errorf("exit code %d, want %d", got, want)
				}
			}
		})
	}
}

// deadly returns the signals that end a process by default, with -short only two of the real-time signals.
func deadly() []syscall.Signal {
	var all []syscall.Signal
	for n := syscall.Signal(1); n <= 64; n++ {
		switch n {
		case unix.SIGCHLD, unix.SIGCONT, unix.SIGURG, unix.SIGWINCH, unix.SIGSTOP, unix.SIGTSTP, unix.SIGTTIN, unix.SIGTTOU:
		default:
			if n <= 34 || n == 64 || !testing.Short() { // all real-time signals are handled the same
				all = append(all, n)
			}
		}
	}
	return all
}

func TestDeathByEverySignal(t *testing.T) {
	for _, way := range ways {
		if way.mode == "replace" && way.pid1 {
			continue // the kernel does not let PID 1 kill itself
		}
		t.Run(way.name, func(t *testing.T) {
			t.Parallel()
			for _, n := range deadly() {
				// The shell signals itself with its builtin kill; it has default actions for all signals.
				c := under(t, way.mode, way.pid1, "sh", "-c", fmt.Sprintf("kill -%d $$; sleep 5", n))
				if got, want := status(t, c), 128+int(n); got != want {
					t.Errorf("killed by signal %d: exit code %d, want %d", n, got, want)
				}
			}
		})
	}
}

// TestEverySignalIsForwarded sends each signal to the supervisor and checks that the command receives it.
func TestEverySignalIsForwarded(t *testing.T) {
	for _, way := range ways[2:] {
		t.Run(way.name, func(t *testing.T) {
			t.Parallel()
			for _, n := range deadly() {
				if n == unix.SIGKILL {
					continue
				}
				c := under(t, way.mode, way.pid1, "sleep", "60")
				if err := c.Start(); err != nil {
					t.Fatal(err)
				}
				waitForSleep(t, c.Process.Pid)
				kill(t, c.Process.Pid, n)
				_ = c.Wait()
				if got, want := codeOf(c), 128+int(n); got != want {
					t.Errorf("signal %d to the supervisor: exit code %d, want %d", n, got, want)
				}
			}
		})
	}
}

// waitForSleep waits until pid's only child has executed sleep, so that signals arrive after that, and returns the
// child's pid.
func waitForSleep(t *testing.T, pid int) int {
	t.Helper()
	child := onlyChild(t, pid)
	poll.Until(t, 10*time.Second, "the command's exec", func() bool {
		name, err := os.ReadFile(fmt.Sprintf("/proc/%d/comm", child))
		return err == nil && string(bytes.TrimSpace(name)) == "sleep"
	})
	return child
}

// TestSignalsThatDontKill checks that signals that do not end a process by default are forwarded to a command that
// handles them, and do not end the supervisor.
func TestSignalsThatDontKill(t *testing.T) {
	for _, way := range ways[2:] {
		for _, sig := range []string{"CONT", "WINCH", "TSTP", "TTIN", "TTOU", "URG", "CHLD"} {
			t.Run(way.name+"/"+sig, func(t *testing.T) {
				t.Parallel()
				file := filepath.Join(t.TempDir(), "got")
				c := under(t, way.mode, way.pid1, "sh", "-c", `
					trap 'echo `+sig+` >> `+file+`' `+sig+`
					trap 'exit 7' TERM
					echo ready > `+file+`
					while :; do sleep 0.02; done`)
				if err := c.Start(); err != nil {
					t.Fatal(err)
				}
				poll.Until(t, 10*time.Second, "ready", func() bool { b, _ := os.ReadFile(file); return len(b) > 0 })
				// A shell gets CHLD for its own children too, so for CHLD only the exit code is checked.
				kill(t, c.Process.Pid, unix.SignalNum("SIG"+sig))
				want := sig != "CHLD"
				if want {
					poll.Until(t, 10*time.Second, sig+" in the command", func() bool {
						b, _ := os.ReadFile(file)
						return strings.Contains(string(b), sig)
					})
				}
				kill(t, c.Process.Pid, unix.SIGTERM)
				_ = c.Wait()
				if code := codeOf(c); code != 7 {
					t.Errorf("exit code %d, want 7", code)
				}
			})
		}
	}
}

func TestStopAndContinueByHand(t *testing.T) {
	c := under(t, "supervise", false, "sleep", "60")
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	child := waitForSleep(t, c.Process.Pid)
	state := func() byte { return children(c.Process.Pid)[child] }
	kill(t, c.Process.Pid, unix.SIGTSTP)
	poll.Until(t, 10*time.Second, "the command stopped", func() bool { return state() == 'T' })
	kill(t, c.Process.Pid, unix.SIGCONT)
	poll.Until(t, 10*time.Second, "the command continued", func() bool { return state() == 'S' })
	// A stopped command can still be ended.
	kill(t, c.Process.Pid, unix.SIGTSTP)
	poll.Until(t, 10*time.Second, "the command stopped", func() bool { return state() == 'T' })
	kill(t, c.Process.Pid, unix.SIGTERM)
	_ = c.Wait()
	if code := codeOf(c); code != 128+15 {
		t.Errorf("exit code %d, want 143", code)
	}
}

// TestDeathOfParent checks that a parent-death signal set with setpriv reaches the command.
func TestDeathOfParent(t *testing.T) {
	needs.Command(t, "setpriv")
	for _, way := range []string{"replace", "supervise"} {
		t.Run(way, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "got")
			self := under(t, way, false)
			parent := exec.Command("sh", "-c", `setpriv --pdeathsig USR1 "$0" "$@"; :`, self.Path, "sh", "-c", `
				trap 'echo USR1 >> `+file+`; exit' USR1
				echo ready > `+file+`
				while :; do sleep 0.02; done`)
			parent.Env = self.Env
			if err := parent.Start(); err != nil {
				t.Fatal(err)
			}
			said := func() string { b, _ := os.ReadFile(file); return string(b) }
			poll.Until(t, 10*time.Second, "ready", func() bool { return said() != "" })
			kill(t, parent.Process.Pid, unix.SIGKILL)
			_ = parent.Wait()
			poll.Until(t, 10*time.Second, "USR1 in the command", func() bool { return strings.Contains(said(), "USR1") })
		})
	}
}

// circle returns a script whose interpreter is a second script, whose interpreter is the first.
func circle(t *testing.T, dir string) string {
	t.Helper()
	a, b := filepath.Join(dir, "circle1"), filepath.Join(dir, "circle2")
	for from, to := range map[string]string{a: b, b: a} {
		if err := os.WriteFile(from, []byte("#!"+to+"\n"), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return a
}

// busy returns a program that is open for writing until the test ends.
func busy(t *testing.T, dir string) string {
	t.Helper()
	program, err := os.ReadFile("/bin/true")
	if err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(filepath.Join(dir, "busy"), os.O_CREATE|os.O_WRONLY, 0o755)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() })
	if _, err := f.Write(program); err != nil {
		t.Fatal(err)
	}
	return f.Name()
}

func TestStartErrors(t *testing.T) {
	dir := t.TempDir()
	file := func(name, text string, mode os.FileMode) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), mode); err != nil {
			t.Fatal(err)
		}
		return path
	}
	for _, tt := range []struct {
		name, path string
		want       int
	}{
		{"doesn't exist", filepath.Join(dir, "none"), 127},
		{"not executable", file("plain", "x", 0o644), 126},
		{"a directory", dir, 126},
		{"no first line", file("script", "exit 0\n", 0o755), 126},
		{"interpreter doesn't exist", file("badinterp", "#!/no/such/file\n", 0o755), 127},
		{"line ends of Windows", file("crlf", "#!/bin/sh\r\nexit 0\r\n", 0o755), 127},
		{"interpreter not executable", file("noexec", "#!"+file("plain2", "x", 0o644)+"\n", 0o755), 126},
		{"interpreter a directory", file("dirinterp", "#!"+dir+"\n", 0o755), 126},
		{"interpreters that form a cycle", circle(t, dir), 126},
		{"unknown format", file("elf", "\x7fELF\x02\x01\x01 and no more", 0o755), 126},
		{"open for writing", busy(t, dir), 126},
	} {
		for _, way := range ways {
			t.Run(tt.name+"/"+way.name, func(t *testing.T) {
				if got := status(t, under(t, way.mode, way.pid1, tt.path)); got != tt.want {
					t.Errorf("exit code %d, want %d", got, tt.want)
				}
			})
		}
	}
}
