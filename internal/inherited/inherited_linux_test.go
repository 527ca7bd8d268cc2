package inherited_test

import (
	"fmt"
	"math"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/Miosa-osa/miosa-env/internal/inherited"
)

// roleEnv selects what the test binary does when it is run again: "start" runs it as "show" in another state.
const roleEnv = "INHERITED_TEST_PLAY"

func TestMain(m *testing.M) {
	switch os.Getenv(roleEnv) {
	case "start":
		fmt.Println(start())
	case "show":
		fmt.Println(inherited.Noted(), inherited.Ignored(), inherited.Blocked(),
			inherited.Closed(0), inherited.Closed(1), inherited.Closed(2), *inherited.Files())
	case "ordered":
		fmt.Println(inherited.Ordered(), blockedOnNewThread())
	default:
		os.Exit(m.Run())
	}
}

var (
	ignored = inherited.Set(unix.SIGUSR1, unix.SIGCHLD, unix.SIGSEGV, unix.SIGPROF, 40, 64)
	blocked = inherited.Set(unix.SIGTERM, unix.SIGILL, 34, 50)
)

func start() error {
	runtime.LockOSThread()
	if err := os.Setenv(roleEnv, "show"); err != nil {
		return err
	}
	for n := syscall.Signal(1); n <= 64; n++ {
		var action inherited.Action
		if ignored.Has(n) {
			action.Handler = 1
		}
		_, _ = inherited.SetAction(n, action) // fails for KILL and STOP
	}
	unix.CloseOnExec(0)
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &syscall.Rlimit{Cur: 200, Max: 300}); err != nil {
		return err
	}
	if err := unix.PthreadSigmask(unix.SIG_SETMASK, &unix.Sigset_t{Val: [16]uint64{uint64(blocked)}}, nil); err != nil {
		return err
	}
	return syscall.Exec("/proc/self/exe", os.Args[:1], os.Environ())
}

// TestNoted checks that the state at the start of a process is recorded, with and without cgo. It fails if a release of
// Go starts programs in another way.
func TestNoted(t *testing.T) {
	c := exec.Command("/proc/self/exe")
	c.Env = append(os.Environ(), roleEnv+"=start")
	out, err := c.CombinedOutput()
	want := fmt.Sprintln(true, ignored, blocked, true, false, false, syscall.Rlimit{Cur: 200, Max: 300})
	if err != nil || strings.TrimSpace(string(out)) != strings.TrimSpace(want) {
		t.Errorf("%v; got\n%s\nwant\n%s", err, out, want)
	}
}

// blockedOnNewThread returns the signals that a thread blocks which the runtime starts now.
func blockedOnNewThread() inherited.Signals {
	blocked := make(chan inherited.Signals)
	for range 64 { // more than there are threads
		go func() {
			runtime.LockOSThread()
			var now unix.Sigset_t
			_ = unix.PthreadSigmask(unix.SIG_BLOCK, nil, &now)
			blocked <- inherited.Signals(now.Val[0])
			select {} // keep the thread
		}()
	}
	all := ^inherited.Signals(0)
	for range 64 {
		all &= <-blocked
	}
	return all
}

// TestOrdered checks that all threads block real-time signals if an argument is "run", except 34, which the runtime unblocks.
func TestOrdered(t *testing.T) {
	const ordered = inherited.Signals(math.MaxUint64 >> 34 << 34)
	for _, c := range []struct {
		args []string
		want string
	}{
		{nil, fmt.Sprintln(false, inherited.Signals(0))},
		{[]string{"run"}, fmt.Sprintln(true, ordered)},
		{[]string{"", "--log-level", "debug", "run", "--", "true"}, fmt.Sprintln(true, ordered)},
		{[]string{"running", "ru", "r", "Run", "-run", "--run"}, fmt.Sprintln(false, inherited.Signals(0))},
	} {
		cmd := exec.Command("/proc/self/exe", c.args...)
		cmd.Env = append(os.Environ(), roleEnv+"=ordered")
		if out, err := cmd.CombinedOutput(); err != nil || string(out) != c.want {
			t.Errorf("%q: got %s, want %s (%v)", c.args, out, c.want, err)
		}
	}
	argv0 := &exec.Cmd{Path: "/proc/self/exe", Args: []string{"run"}, Env: append(os.Environ(), roleEnv+"=ordered")}
	if out, err := argv0.CombinedOutput(); err != nil || string(out) != fmt.Sprintln(false, inherited.Signals(0)) {
		t.Errorf("the program's name: got %s (%v)", out, err)
	}
}
