package inherited_test

import (
	"fmt"
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
