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

// TestTenThousandOrphans checks that 10,000 orphans, whose exits coalesce into few SIGCHLDs, are all reaped while the
// command runs, and that none is mistaken for the command.
func TestTenThousandOrphans(t *testing.T) {
	needs.Long(t, "20,000 processes")
	needs.Command(t, "perl")
	// A hundred processes, each with a hundred children that it doesn't wait for.
	const orphans = `
		$SIG{TERM} = sub { exit 42 };
		for (1..100) {
			unless (fork) {
				for (1..100) { fork or exit }
				exit;
			}
			wait;
		}
		open my $ready, ">", $ARGV[0];
		sleep 1 while 1;`
	for _, way := range ways[2:] {
		t.Run(way.name, func(t *testing.T) {
			t.Parallel()
			ready := filepath.Join(t.TempDir(), "ready")
			var log bytes.Buffer
			c := under(t, way.mode, way.pid1, "-v", "perl", "-e", orphans, ready)
			c.Stderr = &log
			if err := c.Start(); err != nil {
				t.Fatal(err)
			}
			poll.Until(t, 5*time.Minute, "10,000 orphans", func() bool { _, err := os.Stat(ready); return err == nil })
			poll.Until(t, 10*time.Second, "no child but the command", func() bool { return len(children(c.Process.Pid)) == 1 })
			kill(t, c.Process.Pid, unix.SIGTERM)
			_ = c.Wait()
			if code := codeOf(c); code != 42 {
				t.Errorf("exit code %d, want 42", code)
			}
			if n := bytes.Count(log.Bytes(), []byte("orphan reaped")); n != 10_000 {
				t.Errorf("%d orphans were reaped, want 10,000", n)
			}
		})
	}
}

// startTelling starts a command that prints a process id first, and returns that id.
func startTelling(t *testing.T, c *exec.Cmd) (pid int) {
	t.Helper()
	out, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := fmt.Fscan(out, &pid); err != nil {
		t.Fatal(err)
	}
	return pid
}

// TestOrphanIsAdopted checks that an orphan of the command becomes a child of the supervisor even if that is not PID 1.
func TestOrphanIsAdopted(t *testing.T) {
	c := under(t, "supervise", false, "sh", "-c", `sh -c 'sleep 60 & echo $!'; sleep 60`)
	orphan := startTelling(t, c)
	poll.Until(t, 10*time.Second, "the orphan among our children", func() bool { _, ok := children(c.Process.Pid)[orphan]; return ok })
	kill(t, c.Process.Pid, unix.SIGTERM)
	_ = c.Wait()
	// Processes in the command's group are stopped with it.
	poll.Until(t, 10*time.Second, "the orphan's end", func() bool { return !alive(orphan) })
}

// TestTermReachesTheCommand checks that TERM is forwarded and that the exit code is the one the command chooses.
func TestTermReachesTheCommand(t *testing.T) {
	for _, way := range ways[2:] {
		t.Run(way.name, func(t *testing.T) {
			c := under(t, way.mode, way.pid1, "sh", "-c", `trap 'exit 33' TERM; echo; while :; do sleep 0.02; done`)
			out, err := c.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := c.Start(); err != nil {
				t.Fatal(err)
			}
			_, _ = out.Read(make([]byte, 1))
			kill(t, c.Process.Pid, unix.SIGTERM)
			_ = c.Wait()
			if code := codeOf(c); code != 33 {
				t.Errorf("exit code %d, want 33", code)
			}
		})
	}
}

// TestFault_A13_ChildIgnoresTerm checks that a command that ignores TERM is killed with its process group after the
// stop timeout, and that the exit code is 137.
func TestFault_A13_ChildIgnoresTerm(t *testing.T) {
	for _, way := range ways[2:] {
		t.Run(way.name, func(t *testing.T) {
			// The pids below are from the host: those of a PID namespace would mean nothing here.
			c := under(t, way.mode, way.pid1, "-stop-timeout", "300ms", "sh", "-c",
				`trap '' TERM; sleep 61 & sleep 62 & echo; sleep 60`)
			out, err := c.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := c.Start(); err != nil {
				t.Fatal(err)
			}
			_, _ = out.Read(make([]byte, 1))
			command := onlyChild(t, c.Process.Pid)
			var group []int
			poll.Until(t, 10*time.Second, "the command's children", func() bool {
				group = group[:0]
				for pid := range children(command) {
					group = append(group, pid)
				}
				return len(group) >= 2
			})
			start := time.Now()
			kill(t, c.Process.Pid, unix.SIGTERM)
			_ = c.Wait()
			if code := codeOf(c); code != 128+9 {
				t.Errorf("exit code %d, want 137", code)
			}
			if took := time.Since(start); took < 300*time.Millisecond {
				t.Errorf("killed after %v, before its time", took)
			}
			for _, pid := range group {
				poll.Until(t, 10*time.Second, "the group's end", func() bool { return !alive(pid) })
			}
		})
	}
}

// TestRestOfTheGroup checks that processes that remain in the group of a command that exits on TERM get TERM too,
// and that the supervisor waits for them.
func TestRestOfTheGroup(t *testing.T) {
	dir := t.TempDir()
	c := under(t, "supervise", false, "sh", "-c", `
		trap 'exit 5' TERM
		sh -c 'trap "sleep 0.2; echo > `+dir+`/cleaned; exit" TERM; echo; while :; do sleep 0.02; done' &
		while :; do sleep 0.02; done`)
	out, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	_, _ = out.Read(make([]byte, 1))
	kill(t, c.Process.Pid, unix.SIGTERM)
	_ = c.Wait()
	if code := codeOf(c); code != 5 {
		t.Errorf("exit code %d, want 5", code)
	}
	if _, err := os.Stat(filepath.Join(dir, "cleaned")); err != nil {
		t.Error("the supervisor exited before the rest of the command's group")
	}
}

// TestSupervisorKilled checks that the command gets TERM when the supervisor is killed, unless --outlive is set.
func TestSupervisorKilled(t *testing.T) {
	for _, outlive := range []bool{false, true} {
		t.Run(fmt.Sprintf("outlive=%v", outlive), func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "got")
			c := under(t, "supervise", false, fmt.Sprintf("-outlive=%v", outlive), "sh", "-c", `
				trap 'echo TERM >> `+file+`; exit' TERM
				echo ready > `+file+`
				while :; do sleep 0.02; done`)
			if err := c.Start(); err != nil {
				t.Fatal(err)
			}
			poll.Until(t, 10*time.Second, "ready", func() bool { b, _ := os.ReadFile(file); return len(b) > 0 })
			command := onlyChild(t, c.Process.Pid)
			kill(t, c.Process.Pid, unix.SIGKILL)
			_ = c.Wait()
			if !outlive {
				poll.Until(t, 10*time.Second, "the command's end", func() bool { return !alive(command) })
				if b, _ := os.ReadFile(file); !bytes.Contains(b, []byte("TERM")) {
					t.Error("the command got no TERM")
				}
				return
			}
			time.Sleep(200 * time.Millisecond) // time for a signal to arrive
			if !alive(command) {
				t.Error("the command ended with the supervisor")
			}
			kill(t, command, unix.SIGKILL)
		})
	}
}

// TestChangeOfUserDropsParentDeath checks the documented rule that the kernel clears the parent-death signal of a
// command that changes its user.
func TestChangeOfUserDropsParentDeath(t *testing.T) {
	needs.Command(t, "setpriv")
	needs.Root(t, "to run a command as another user")
	for signal, argv := range map[string][]string{
		"TERM":   {"setpriv", "--dump"},
		"[none]": {"setpriv", "--reuid", "65534", "--clear-groups", "setpriv", "--dump"},
	} {
		out, err := under(t, "supervise", false, argv...).Output()
		if want := "Parent death signal: " + signal; err != nil || !strings.Contains(string(out), want) {
			t.Errorf("%q: %v, no %q in\n%s", argv, err, want, out)
		}
	}
}

// TestParentDeathOfThread checks that the command gets no parent-death signal while the supervisor runs. The kernel sends
// that signal when the thread that forked exits, and the runtime starts and ends threads.
func TestParentDeathOfThread(t *testing.T) {
	c := under(t, "supervise", false, "sleep", "60")
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	child := waitForSleep(t, c.Process.Pid)
	for range 200 { // each wakes the runtime
		kill(t, c.Process.Pid, unix.SIGWINCH)
	}
	if !alive(child) {
		t.Error("the command ended before the supervisor")
	}
	kill(t, c.Process.Pid, unix.SIGTERM)
	_ = c.Wait()
}

// TestInheritedIgnored checks that signals ignored at the start (by nohup, systemd or for a background job) are ignored
// in the command. Without the entry point that the linker sets in miosa-env, only HUP and INT are known; the tests of
// the program cover the others.
func TestInheritedIgnored(t *testing.T) {
	for _, way := range ways {
		t.Run(way.name, func(t *testing.T) {
			self := under(t, way.mode, way.pid1, "grep", "SigIgn", "/proc/self/status")
			// A shell ignores both signals, then executes the test binary.
			self.Args = append([]string{"sh", "-c", `trap '' HUP INT; exec "$0" "$@"`, self.Path}, self.Args[1:]...)
			self.Path = "/bin/sh"
			out, err := self.Output()
			if err != nil {
				t.Fatal(err)
			}
			mask, err := strconv.ParseUint(strings.TrimSpace(strings.TrimPrefix(string(out), "SigIgn:")), 16, 64)
			if err != nil {
				t.Fatal(err)
			}
			if want := uint64(1<<(syscall.SIGHUP-1) | 1<<(syscall.SIGINT-1)); mask != want {
				t.Errorf("the command ignores %x, want %x", mask, want)
			}
		})
	}
}
