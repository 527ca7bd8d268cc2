package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/Miosa-osa/miosa-env/internal/inherited"
	"github.com/Miosa-osa/miosa-env/internal/needs"
	"github.com/Miosa-osa/miosa-env/internal/test/poll"
	"github.com/Miosa-osa/miosa-env/vault/vaulttest"
)

// These tests compare with the same command run directly.

// startAs makes this test binary start another program in a state: "ignored blocked closed", the first two as
// hexadecimal sets of signals, the last as digits.
const startAs = "MIOSA_ENV_TEST_START"

func init() {
	if state := os.Getenv(startAs); state != "" {
		fmt.Fprintln(os.Stderr, startWith(state, os.Args[1:]))
		os.Exit(99)
	}
}

func startWith(state string, argv []string) error {
	runtime.LockOSThread()
	var ignored, blocked inherited.Signals
	var closed string
	if _, err := fmt.Sscanf(state, "%x %x %s", &ignored, &blocked, &closed); err != nil {
		return err
	}
	path, err := exec.LookPath(argv[0])
	if err != nil {
		return err
	}
	for n := syscall.Signal(1); n <= 64; n++ {
		var action inherited.Action
		if ignored.Has(n) {
			action.Handler = 1
		}
		_, _ = inherited.SetAction(n, action) // fails for KILL and STOP
	}
	for _, fd := range closed {
		if fd != '-' {
			unix.CloseOnExec(int(fd - '0'))
		}
	}
	set := unix.Sigset_t{Val: [16]uint64{uint64(blocked)}}
	if err := unix.PthreadSigmask(unix.SIG_SETMASK, &set, nil); err != nil {
		return err
	}
	return syscall.Exec(path, argv, slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, startAs+"=") }))
}

// state is the state in which a program is started.
type state struct {
	ignored, blocked inherited.Signals
	closed           string
}

func (s state) String() string {
	return fmt.Sprintf("%x %x %s", uint64(s.ignored), uint64(s.blocked), "-"+s.closed)
}

// from makes c start in a state.
func (s state) from(t *testing.T, c *exec.Cmd) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	c.Args = append([]string{self}, append([]string{c.Path}, c.Args[1:]...)...)
	c.Path = self
	c.Env = append(slices.Clone(c.Env), startAs+"="+s.String()) // c.Env is shared
}

// stays are the ways to run a command, and masking.
var stays = append(slices.Clone(ways), way{"mask", []string{"--mask"}, false})

// direct returns a command without the program, in the way's process id namespace.
func (e exact) direct(t *testing.T, w way, argv ...string) *exec.Cmd {
	t.Helper()
	c := e.command(t, w)
	path, err := exec.LookPath(argv[0])
	if err != nil {
		t.Fatal(err)
	}
	c.Path, c.Args = path, argv
	return c
}

// outcome returns the output of a command and how it ended.
func outcome(t *testing.T, c *exec.Cmd) string {
	t.Helper()
	c.WaitDelay = 10 * time.Second
	out, err := c.Output()
	if _, ok := errors.AsType[*exec.ExitError](err); err != nil && !ok {
		t.Fatal(err)
	}
	return fmt.Sprintf("%s%v", out, c.ProcessState)
}

// The command inherits exactly the ignored and blocked signals with which the program is started.
func TestSignalsAreInherited(t *testing.T) {
	e := newExact(t)
	var all []state
	for n := syscall.Signal(1); n <= 64; n++ {
		if n == unix.SIGKILL || n == unix.SIGSTOP || testing.Short() && n%8 != 1 { // 1 of 8 includes CHLD and 33
			continue
		}
		one := inherited.Set(n)
		all = append(all, state{ignored: one}, state{blocked: one})
	}
	const every = ^inherited.Signals(0)
	all = append(all, state{}, state{ignored: every}, state{blocked: every}, state{ignored: every, blocked: every})
	// Without pending signals, because the runtime of the starting program may send itself URG.
	show := []string{"grep", "-E", "^Sig(Blk|Ign|Cgt):", "/proc/self/status"}
	for _, w := range stays {
		t.Run(w.name, func(t *testing.T) {
			t.Parallel()
			w.needed(t)
			for _, s := range all {
				without, with := e.direct(t, w, show...), e.command(t, w, show...)
				s.from(t, without)
				s.from(t, with)
				if want, got := outcome(t, without), outcome(t, with); got != want {
					t.Errorf("started with %s: got\n%s\nwant\n%s", s, got, want)
				}
			}
		})
	}
}

// A hook inherits the same signal state as the command.
func TestHookInheritsSignals(t *testing.T) {
	e := newExact(t)
	s := state{ignored: inherited.Set(unix.SIGCHLD, unix.SIGPIPE, unix.SIGSEGV, 40), blocked: inherited.Set(unix.SIGUSR1, unix.SIGTERM, 34)}
	show := "grep -E '^Sig(Blk|Ign):' /proc/self/status"
	without := e.direct(t, way{}, "sh", "-c", show)
	s.from(t, without)
	want := strings.TrimSuffix(outcome(t, without), "exit status 0")
	with := e.command(t, way{flags: []string{"--on-change", "hook=" + show + " > hook.new && mv hook.new hook"}},
		"sh", "-c", "echo started > started; while ! [ -e hook ]; do sleep 0.02; done")
	s.from(t, with)
	if err := with.Start(); err != nil {
		t.Fatal(err)
	}
	there := func(name string) func() bool {
		return func() bool { _, err := os.Stat(filepath.Join(e.dir, name)); return err == nil }
	}
	if !poll.Within(time.Minute, there("started")) {
		t.Fatal("the command doesn't start")
	}
	e.vault.Put(t, "late", "1", sandbox, "LATE")
	if err := with.Wait(); err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile(filepath.Join(e.dir, "hook")); err != nil || string(got) != want {
		t.Errorf("%v; got\n%s\nwant\n%s", err, got, want)
	}
}

// If CHLD is ignored at the start, as a parent may leave it, the end of even a short command is noticed.
func TestChildIgnored(t *testing.T) {
	e := newExact(t)
	for _, w := range stays {
		t.Run(w.name, func(t *testing.T) {
			t.Parallel()
			w.needed(t)
			for range 30 {
				c := e.command(t, w, "sh", "-c", "exit 4")
				state{ignored: inherited.Set(unix.SIGCHLD)}.from(t, c)
				if code, said := w.code(t, c); code != 4 {
					t.Fatalf("exit code %d\n%s", code, said)
				}
			}
		})
	}
}

// masked matches the pipe with which --mask replaces a stream.
var masked = regexp.MustCompile(`(?m)^([12]) pipe:.*$`)

// A standard stream that is closed at the start is closed in the command, without another open file in its place.
func TestFilesAreInherited(t *testing.T) {
	needs.Command(t, "bash")
	e := newExact(t)
	file := filepath.Join(e.dir, "file")
	list := func(c *exec.Cmd, s state) string {
		t.Helper()
		s.from(t, c)
		out, err := os.Create(file)
		if err != nil {
			t.Fatal(err)
		}
		null, err := os.Open(os.DevNull)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _, _ = out.Close(), null.Close() }()
		c.Stdin, c.Stdout, c.Stderr = null, null, null
		c.ExtraFiles = []*os.File{out, null, null}
		if err := c.Run(); err != nil {
			t.Errorf("%s: %v", s, err)
		}
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	// ls would open the directory itself at the lowest free number.
	show := []string{"bash", "-c", `for n in /proc/self/fd/*; do n=${n##*/}; [ -e /proc/$$/fd/$n ] && echo "$n $(readlink /proc/$$/fd/$n)" >&3; done; ulimit -Sn >&3`}
	for _, w := range []way{ways[0], ways[2], {"mask", []string{"--mask"}, false}} {
		for _, closed := range []string{"", "0", "1", "2", "01", "02", "12", "012"} {
			t.Run(w.name+" without "+closed, func(t *testing.T) {
				want, got := list(e.direct(t, w, show...), state{closed: closed}), list(e.command(t, w, show...), state{closed: closed})
				if w.name == "mask" {
					got = masked.ReplaceAllString(got, "$1 /dev/null")
				}
				if got != want {
					t.Errorf("got\n%s\nwant\n%s", got, want)
				}
			})
		}
	}
}

// A signal that is blocked at the start and sent during the reveal stays pending for the command.
func TestBlockedSignalWaits(t *testing.T) {
	e := newExact(t)
	for _, w := range stays {
		t.Run(w.name, func(t *testing.T) {
			w.needed(t)
			fifo := filepath.Join(t.TempDir(), "fifo")
			if err := unix.Mkfifo(fifo, 0o600); err != nil {
				t.Fatal(err)
			}
			w.flags = append(slices.Clone(w.flags), "--env-file", fifo)
			c := e.command(t, w, "grep", "-E", "^(SigPnd|ShdPnd):", "/proc/self/status")
			state{blocked: inherited.Set(unix.SIGTERM, unix.SIGUSR1, 40)}.from(t, c)
			var out bytes.Buffer
			c.Stdout, c.Stderr = &out, os.Stderr
			if err := c.Start(); err != nil {
				t.Fatal(err)
			}
			pipe, err := os.OpenFile(fifo, os.O_WRONLY, 0) // returns when the program reads it
			if err != nil {
				t.Fatal(err)
			}
			for _, n := range []syscall.Signal{unix.SIGTERM, unix.SIGUSR1, 40} {
				if err := c.Process.Signal(n); err != nil {
					t.Fatal(err)
				}
			}
			_ = pipe.Close()
			if err := c.Wait(); err != nil {
				t.Fatal(err)
			}
			var pending uint64
			for _, field := range strings.Fields(out.String()) {
				if n, err := strconv.ParseUint(field, 16, 64); err == nil {
					pending |= n
				}
			}
			if want := inherited.Set(unix.SIGTERM, unix.SIGUSR1, 40); strings.HasPrefix(w.name, "replace") && inherited.Signals(pending) != want {
				t.Errorf("pending signals %x, want %x", pending, want)
			}
		})
	}
}

// waiting are commands of the program that wait for the vault.
var waiting = [][]string{
	{"run", "--", "true"}, {"run", "--cache", "--", "true"}, {"run", "--on-change", "restart", "--", "true"}, {"export"}, {"get", "X"}, {"list"},
	{"secrets", "list"}, {"audit"}, {"doctor"},
}

// A signal ends a waiting command of the program like any program: no goroutine stacks, and no special exit code.
func TestSignalsWhileWaiting(t *testing.T) {
	vault := vaulttest.Start(t)
	for _, words := range waiting {
		signals := []syscall.Signal{unix.SIGINT, unix.SIGQUIT, unix.SIGTERM, unix.SIGABRT, unix.SIGTRAP, unix.SIGSYS}
		if words[0] == "run" {
			signals = append(signals, unix.SIGUSR1, unix.SIGALRM, 34, 40)
		}
		for _, n := range signals {
			t.Run(strings.Join(words, " ")+"/"+strconv.Itoa(int(n)), func(t *testing.T) {
				if code, said := endWaiting(t, vault, words, n, 0); code != 128+int(n) || strings.Contains(said, "goroutine") {
					t.Errorf("exit code %d, standard error:\n%s", code, said)
				}
			})
		}
	}
}

// The same with FPE, SEGV and BUS, soon after the start.
func TestFaultsWhileWaiting(t *testing.T) {
	vault := vaulttest.Start(t)
	for _, words := range waiting {
		for _, n := range []syscall.Signal{unix.SIGFPE, unix.SIGSEGV, unix.SIGBUS} {
			t.Run(strings.Join(words, " ")+"/"+strconv.Itoa(int(n)), func(t *testing.T) {
				for pause := 100 * time.Millisecond; ; pause *= 4 {
					code, said := endWaiting(t, vault, words, n, pause)
					if code == 128+int(n) && !strings.Contains(said, "goroutine") {
						return
					}
					if pause > 10*time.Second {
						t.Fatalf("exit code %d, standard error:\n%s", code, said)
					}
				}
			})
		}
	}
}

// endWaiting sends a signal to a command of the program, pause after its request to the vault. It returns the exit
// code, as in a shell, and standard error.
func endWaiting(t *testing.T, vault *vaulttest.Server, words []string, n syscall.Signal, pause time.Duration) (code int, said string) {
	t.Helper()
	asked := make(chan struct{}, 100)
	silent := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		asked <- struct{}{}
		_, _ = io.Copy(io.Discard, r.Body)
		<-r.Context().Done()
	}))
	defer silent.Close()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	c := exec.CommandContext(ctx, filepath.Join(built, "miosa-env"), words...)
	a := configured(silent.URL, vault.ResourceKey(t, sandbox)).with("MIOSA_TENANT_KEY", vault.TenantKey.Reveal()).with("MIOSA_TIMEOUT", "1h").
		with("MIOSA_SOCKET", filepath.Join(t.TempDir(), "none")).with("MIOSA_CACHE_DIR", t.TempDir())
	for name, value := range a.env {
		c.Env = append(c.Env, name+"="+value)
	}
	state{}.from(t, c)
	c.Dir = t.TempDir()
	var stderr bytes.Buffer
	c.Stderr = &stderr
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Process.Kill() }()
	select {
	case <-asked:
	case <-time.After(time.Minute):
		t.Fatal("the vault gets no request")
	}
	time.Sleep(pause)
	if err := c.Process.Signal(n); err != nil {
		t.Fatal(err)
	}
	_ = c.Wait()
	return codeOf(c.ProcessState), stderr.String()
}
