package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"github.com/creack/pty"
	"golang.org/x/sys/unix"

	"github.com/Miosa-osa/miosa-env/internal/needs"
	"github.com/Miosa-osa/miosa-env/internal/test/poll"
	"github.com/Miosa-osa/miosa-env/vault/vaulttest"
)

// These tests check exit codes and signals of the program as released; those of package inject check its parts in
// more detail.

// countAs makes this test binary a command that counts signals.
const countAs = "MIOSA_ENV_TEST_COUNT"

func init() {
	if os.Getenv(countAs) != "" {
		os.Exit(count())
	}
}

// count prints each INT with its number, until QUIT. A shell could merge two that arrive close together.
func count() int {
	signals := make(chan os.Signal, 100)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGQUIT)
	fmt.Println("counting")
	for n := 1; (<-signals) == syscall.SIGINT; n++ {
		fmt.Printf("INT %d.\n", n)
	}
	fmt.Println("done")
	return 7
}

// way is a way to run a command under the program.
type way struct {
	name  string
	flags []string
	pid1  bool
}

var ways = []way{
	{"replace", nil, false},
	{"replace as PID 1", []string{"--replace"}, true},
	{"supervise", []string{"--on-change", "restart"}, false},
	{"supervise as PID 1", []string{"--on-change", "restart"}, true},
}

// exact starts commands in a way. The vault binds 0 to ZERO.
type exact struct {
	vault *vaulttest.Server
	env   []string
	dir   string
}

func newExact(t *testing.T) exact {
	t.Helper()
	ignoreNothing()
	s := vaulttest.Start(t)
	s.Put(t, "zero", "0", sandbox, "ZERO")
	a := configured(s.BaseURL, s.ResourceKey(t, sandbox)).with("MIOSA_TIMEOUT", "30s")
	return exact{s, environ(a.env), t.TempDir()}
}

func (e exact) command(t *testing.T, w way, argv ...string) *exec.Cmd {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	t.Cleanup(cancel)
	c := exec.CommandContext(ctx, filepath.Join(built, "miosa-env"), append(append(append([]string{"run"}, w.flags...), "--"), argv...)...)
	c.Env, c.Dir = e.env, e.dir
	c.SysProcAttr = &syscall.SysProcAttr{}
	if w.pid1 {
		c.SysProcAttr.Cloneflags = syscall.CLONE_NEWPID
	}
	return c
}

// code runs c and returns its exit code as in a shell, and its error output.
func (w way) code(t *testing.T, c *exec.Cmd) (int, string) {
	t.Helper()
	var said bytes.Buffer
	c.Stderr = &said
	c.WaitDelay = 10 * time.Second
	if err := c.Run(); err != nil {
		if _, ok := errors.AsType[*exec.ExitError](err); !ok {
			t.Fatal(err)
		}
	}
	return codeOf(c.ProcessState), said.String()
}

func (w way) needed(t *testing.T) {
	t.Helper()
	if !w.pid1 {
		return
	}
	c := exec.Command("true")
	c.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWPID}
	needs.Granted(t, c.Run(), "a PID namespace")
}

// ignoreNothing resets signals that this process inherited as ignored, because everything it starts would inherit
// them: make leaves 32 and 33 ignored. Go's own functions restore the inherited state.
var ignoreNothing = sync.OnceFunc(func() {
	type sigaction struct{ handler, flags, restorer, mask uint64 }
	for n := uintptr(1); n <= 64; n++ {
		var now, standard sigaction
		unix.RawSyscall6(unix.SYS_RT_SIGACTION, n, 0, uintptr(unsafe.Pointer(&now)), 8, 0, 0)
		if now.handler == 1 { // SIG_IGN
			unix.RawSyscall6(unix.SYS_RT_SIGACTION, n, uintptr(unsafe.Pointer(&standard)), 0, 8, 0, 0)
		}
	}
})

func TestExactExitCodes(t *testing.T) {
	e := newExact(t)
	step := 1
	if testing.Short() {
		step = 17 // 0 to 255 in 16 codes
	}
	for _, w := range ways {
		t.Run(w.name, func(t *testing.T) {
			t.Parallel()
			w.needed(t)
			for want := 0; want < 256; want += step {
				c := e.command(t, w, "sh", "-c", fmt.Sprintf("exit $((%d + ${ZERO:-1000}))", want))
				if got, said := w.code(t, c); got != want || said != "" {
					t.Errorf("exit code %d, want %d\n%s", got, want, said)
				}
			}
		})
	}
}

// fatalSignals returns the signals whose default action ends a process, with -short only two of the real-time signals.
func fatalSignals() (all []syscall.Signal) {
	for n := syscall.Signal(1); n <= 64; n++ {
		switch n {
		case unix.SIGCHLD, unix.SIGCONT, unix.SIGURG, unix.SIGWINCH, unix.SIGSTOP, unix.SIGTSTP, unix.SIGTTIN, unix.SIGTTOU:
		default:
			if n <= 34 || n == 64 || !testing.Short() { // real-time signals are alike
				all = append(all, n)
			}
		}
	}
	return all
}

func TestExactSignals(t *testing.T) {
	e := newExact(t)
	for _, w := range ways {
		if w.pid1 && w.name == "replace as PID 1" {
			continue // the kernel does not let PID 1 kill itself
		}
		t.Run(w.name, func(t *testing.T) {
			t.Parallel()
			w.needed(t)
			for _, n := range fatalSignals() {
				c := e.command(t, w, "sh", "-c", fmt.Sprintf("ulimit -c 0; kill -%d $$; sleep 5", n))
				if got, said := w.code(t, c); got != 128+int(n) || said != "" {
					t.Errorf("signal %d: exit code %d\n%s", n, got, said)
				}
			}
		})
	}
}

// When a supervisor is killed, its command is ended too, unless --outlive is set.
func TestKilledSupervisor(t *testing.T) {
	e := newExact(t)
	for _, tt := range []struct {
		name    string
		flags   []string
		outlive bool
	}{
		{"killed", []string{"--on-change", "restart"}, false},
		{"killed, masking", []string{"--mask"}, false},
		{"killed, outlived", []string{"--on-change", "restart", "--outlive"}, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			read := func(name string) string { b, _ := os.ReadFile(filepath.Join(dir, name)); return string(b) } // may not exist yet
			c := e.command(t, way{flags: tt.flags}, "sh", "-c", `
				trap 'echo TERM > got; exit' TERM
				echo $$ > pid
				while :; do echo >> ticks; sleep 0.02; done`)
			c.Dir = dir
			if err := c.Start(); err != nil {
				t.Fatal(err)
			}
			defer func() { _ = c.Process.Kill() }()
			if !poll.Within(time.Minute, func() bool { return len(read("ticks")) > 0 }) {
				t.Fatal("the command does not start")
			}
			pid, err := strconv.Atoi(strings.TrimSpace(read("pid")))
			if err != nil {
				t.Fatal(err)
			}
			if err := c.Process.Kill(); err != nil {
				t.Fatal(err)
			}
			_ = c.Wait() // killed; the command's signal was sent before
			if !tt.outlive {
				if !poll.Within(time.Minute, func() bool { return read("got") == "TERM\n" }) {
					t.Error("the command does not get TERM")
					_ = syscall.Kill(pid, syscall.SIGKILL)
				}
				return
			}
			ticks := len(read("ticks"))
			if !poll.Within(time.Minute, func() bool { return len(read("ticks")) > ticks+5 || read("got") != "" }) || read("got") != "" {
				t.Error("the command ends with the supervisor")
			}
			if err := syscall.Kill(pid, syscall.SIGTERM); err != nil {
				t.Error(err)
			}
			if !poll.Within(time.Minute, func() bool { return read("got") == "TERM\n" }) {
				t.Error("TERM does not end the command")
			}
		})
	}
}

// One Ctrl-C sends one INT to the command, and one Ctrl-\ one QUIT. An additional one would be counted before the
// next key.
func TestOneSignalPerKey(t *testing.T) {
	e := newExact(t)
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	e.env = append(e.env, countAs+"=yes")
	for _, w := range append(ways, way{"mask", []string{"--mask"}, false}) {
		t.Run(w.name, func(t *testing.T) {
			t.Parallel()
			w.needed(t)
			c := e.command(t, w, self)
			c.SysProcAttr.Setsid, c.SysProcAttr.Setctty = true, true
			master, err := pty.StartWithAttrs(c, &pty.Winsize{Rows: 24, Cols: 80}, c.SysProcAttr)
			if err != nil {
				t.Fatal(err)
			}
			var mu sync.Mutex
			var text bytes.Buffer // guarded by mu
			closed := make(chan struct{})
			go func() {
				defer close(closed)
				b := make([]byte, 4096)
				for {
					n, err := master.Read(b)
					mu.Lock()
					text.Write(b[:n])
					mu.Unlock()
					if err != nil {
						return
					}
				}
			}()
			t.Cleanup(func() { _ = c.Process.Kill(); _ = c.Wait(); _ = master.Close(); <-closed })
			shown := func() string { mu.Lock(); defer mu.Unlock(); return text.String() }
			typed := func(keys, then string) {
				t.Helper()
				if _, err := master.WriteString(keys); err != nil {
					t.Fatal(err)
				}
				if !poll.Within(time.Minute, func() bool { return strings.Contains(shown(), then) }) {
					t.Fatalf("the screen does not show %q:\n%s", then, shown())
				}
			}
			const times = 20
			typed("", "counting")
			for n := 1; n <= times; n++ {
				typed("\x03", fmt.Sprintf("INT %d.", n))
			}
			typed("\x1c", "done")
			_ = c.Wait()
			if n := strings.Count(shown(), "INT "); n != times {
				t.Errorf("%d signals for %d times Ctrl-C", n, times)
			}
			if code := codeOf(c.ProcessState); code != 7 {
				t.Errorf("exit code %d, want 7", code)
			}
		})
	}
}
