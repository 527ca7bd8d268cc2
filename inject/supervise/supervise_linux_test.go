package supervise_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"github.com/rs/zerolog"
	"golang.org/x/sys/unix"

	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/inject/command"
	"github.com/Miosa-osa/miosa-env/inject/signal"
	"github.com/Miosa-osa/miosa-env/inject/supervise"
	"github.com/Miosa-osa/miosa-env/internal/inherited"
	"github.com/Miosa-osa/miosa-env/internal/needs"
	"github.com/Miosa-osa/miosa-env/internal/test/poll"
)

// playAs is the variable that makes the test binary run a command as miosa-env does, instead of the tests. Tests start
// it in this way as the program under test.
const playAs = "INJECT_TEST_PLAY"

func init() { runtime.LockOSThread() } // as miosa-env does

func TestMain(m *testing.M) {
	if code, ok := supervise.Helper(os.Args); ok {
		os.Exit(code)
	}
	if mode := os.Getenv(playAs); mode != "" {
		os.Unsetenv(playAs)
		os.Exit(play(mode, os.Args[1:]))
	}
	ignoreNothing()
	os.Exit(m.Run())
}

// ignoreNothing resets the signals that were ignored when the tests started, because all processes that the tests start
// would inherit that: make ignores 32 and 33, nohup ignores HUP. os/signal can only restore the actions from the start.
func ignoreNothing() {
	type sigaction struct{ handler, flags, restorer, mask uint64 }
	for n := uintptr(1); n <= 64; n++ {
		var now, standard sigaction
		unix.RawSyscall6(unix.SYS_RT_SIGACTION, n, 0, uintptr(unsafe.Pointer(&now)), 8, 0, 0)
		if now.handler == 1 { // SIG_IGN
			unix.RawSyscall6(unix.SYS_RT_SIGACTION, n, uintptr(unsafe.Pointer(&standard)), 0, 8, 0, 0)
		}
	}
}

// play runs "replace COMMAND..." or "supervise FLAGS COMMAND...".
func play(mode string, args []string) int {
	if mode == "until" {
		return playUntil(args)
	}
	set := flag.NewFlagSet(mode, flag.ContinueOnError)
	var s supervise.Supervision
	onChange := set.String("on-change", "ignore", "")
	changes := set.String("changes", "", "a fifo; each line in it is a new NAME=value, or the word end")
	mask := set.String("mask", "", "NAME=value")
	verbose := set.Bool("v", false, "")
	refuse := set.Bool("no-subreaper", false, "")
	unwaited := set.Bool("no-children", false, "have the kernel reap what we start")
	set.DurationVar(&s.StopTimeout, "stop-timeout", 0, "")
	set.DurationVar(&s.Settle, "settle", 0, "")
	set.BoolVar(&s.Outlive, "outlive", false, "")
	stop := set.String("stop-signal", "TERM", "")
	if err := set.Parse(args); err != nil {
		return 2
	}
	path, err := exec.LookPath(set.Arg(0))
	if err != nil {
		path = set.Arg(0)
	}
	c := command.Command{Path: path, Args: set.Args(), Env: os.Environ()}
	fail := func(err error) int {
		fmt.Fprintln(os.Stderr, err)
		var coded interface{ ExitCode() int }
		if errors.As(err, &coded) {
			return coded.ExitCode()
		}
		return command.ExitFailed
	}
	if mode == "replace" {
		return fail(c.Replace(nil))
	}
	s.Log = zerolog.Nop()
	if *verbose {
		s.Log = zerolog.New(os.Stderr)
	}
	if s.OnChange, err = supervise.ParseChange(*onChange); err != nil {
		return fail(err)
	}
	if s.StopSignal, err = signal.Parse(*stop); err != nil {
		return fail(err)
	}
	if name, value, ok := strings.Cut(*mask, "="); ok {
		s.Masked = true
		c.Mask = []api.Bound{{Label: api.Label{ExposeAsEnv: name}, Value: api.NewValue([]byte(value))}}
	}
	if *refuse {
		if err := refuseSubreaper(); err != nil {
			return fail(err)
		}
	}
	signals, err := signal.Catch()
	if err != nil {
		return fail(err)
	}
	if *unwaited {
		const noChildWait = 2 // SA_NOCLDWAIT
		now, err := inherited.SetAction(unix.SIGCHLD, inherited.Action{})
		if err != nil {
			return fail(err)
		}
		now.Flags |= noChildWait
		if _, err := inherited.SetAction(unix.SIGCHLD, now); err != nil {
			return fail(err)
		}
	}
	ctx, end := context.WithCancel(context.Background())
	defer end()
	next := make(chan command.Command)
	if *changes != "" {
		// Opened before the command starts, because what is written to a fifo without a reader is lost.
		fifo, err := os.OpenFile(*changes, os.O_RDWR, 0)
		if err != nil {
			return fail(err)
		}
		go func() {
			for lines := bufio.NewScanner(fifo); lines.Scan(); {
				if lines.Text() == "end" {
					end()
					continue
				}
				changed := c
				changed.Env = append(os.Environ(), lines.Text())
				if name, value, ok := strings.Cut(lines.Text(), "="); ok && s.Masked {
					changed.Mask = []api.Bound{{Label: api.Label{ExposeAsEnv: name}, Value: api.NewValue([]byte(value))}}
				}
				next <- changed
			}
		}()
	}
	exit, err := s.Run(ctx, signals, c, next)
	if err != nil {
		return fail(err)
	}
	exit.Die()
	return exit.Code
}

// under returns a command that runs argv in the given mode, "replace" or "supervise". Flags of play may precede argv.
// With pid1, it is the first process of its own PID namespace.
func under(t *testing.T, mode string, pid1 bool, argv ...string) *exec.Cmd {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	c := exec.Command(self, argv...)
	c.Env = append(os.Environ(), playAs+"="+mode)
	c.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if pid1 {
		needNamespaces(t)
		c.SysProcAttr.Cloneflags = syscall.CLONE_NEWPID
		if os.Geteuid() != 0 {
			c.SysProcAttr.Cloneflags |= syscall.CLONE_NEWUSER
			c.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}}
			c.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}}
		}
	}
	return c
}

// needNamespaces skips the test if the kernel does not permit PID namespaces.
func needNamespaces(t *testing.T) {
	t.Helper()
	c := exec.Command("/bin/true")
	c.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWPID}
	if os.Geteuid() != 0 {
		c.SysProcAttr.Cloneflags |= syscall.CLONE_NEWUSER
	}
	needs.Granted(t, c.Run(), "a PID namespace")
}

// status runs c and returns its exit code as a shell reports it: 128+n for death by signal n.
func status(t *testing.T, c *exec.Cmd) int {
	t.Helper()
	var exit *exec.ExitError
	if err := c.Run(); err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return codeOf(c)
}

func codeOf(c *exec.Cmd) int {
	ws := c.ProcessState.Sys().(syscall.WaitStatus)
	if ws.Signaled() {
		return 128 + int(ws.Signal())
	}
	return ws.ExitStatus()
}

// children returns the pids of a process's children, with their states.
func children(pid int) map[int]byte {
	found := map[int]byte{}
	stats, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, file := range stats {
		stat, err := os.ReadFile(file)
		if err != nil {
			continue
		}
		name, rest := bytes.IndexByte(stat, ' '), bytes.LastIndexByte(stat, ')')
		fields := bytes.Fields(stat[rest+1:])
		if len(fields) < 2 || string(fields[1]) != strconv.Itoa(pid) {
			continue
		}
		child, _ := strconv.Atoi(string(stat[:name]))
		found[child] = fields[0][0]
	}
	return found
}

// onlyChild waits for pid's one child and returns it.
func onlyChild(t *testing.T, pid int) int {
	t.Helper()
	var child int
	poll.Until(t, 10*time.Second, "one child", func() bool {
		all := children(pid)
		for child = range all {
		}
		return len(all) == 1
	})
	return child
}

// alive reports whether pid is a running process and not a zombie.
func alive(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return false
	}
	return !bytes.Contains(stat[bytes.LastIndexByte(stat, ')'):], []byte(") Z"))
}

// kill sends a signal to a process that belongs to the test.
func kill(t *testing.T, pid int, sig syscall.Signal) {
	t.Helper()
	if err := unix.Kill(pid, sig); err != nil {
		t.Fatalf("kill -%d %d: %v", sig, pid, err)
	}
}
