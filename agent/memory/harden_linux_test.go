package memory_test

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/Miosa-osa/miosa-env/agent/memory"
	"github.com/Miosa-osa/miosa-env/internal/needs"
	"golang.org/x/sys/unix"
)

// hardenVariable makes this test binary a process that waits to be killed. With "yes" it calls Harden, with "no" it
// doesn't, as a control.
const hardenVariable = "MIOSA_TEST_HARDEN"

// TestHardenProcess is not a test but the main function of that process.
func TestHardenProcess(t *testing.T) {
	switch os.Getenv(hardenVariable) {
	case "":
		return
	case "yes":
		must(t, memory.Harden())
	}
	fmt.Println("ready")
	_, _ = io.Copy(io.Discard, os.Stdin)
}

// hardenProcess starts that process as a user, in a new directory that it may write to.
func hardenProcess(t *testing.T, harden string, uid uint32) (c *exec.Cmd, dir string) {
	t.Helper()
	dir, err := os.MkdirTemp("", "harden") // a test's own folder is closed to other users
	must(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	must(t, os.Chmod(dir, 0o700))
	c = exec.Command("/proc/self/exe", "-test.run=^TestHardenProcess$", "-test.timeout=0")
	c.Dir = dir
	c.Env = []string{hardenVariable + "=" + harden, "GOTRACEBACK=crash"} // crash: the runtime leaves the end to the kernel
	if os.Geteuid() == 0 {
		must(t, os.Chown(dir, int(uid), int(uid)))
		c.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uid, Gid: uid}}
	}
	stdin, err := c.StdinPipe()
	must(t, err)
	stdout, err := c.StdoutPipe()
	must(t, err)
	must(t, c.Start())
	t.Cleanup(func() { _ = c.Process.Kill(); _ = stdin.Close(); _ = c.Wait() })
	if line, err := bufio.NewReader(stdout).ReadString('\n'); err != nil || line != "ready\n" {
		t.Fatalf("output %q: %v", line, err)
	}
	return c, dir
}

// allowCores raises the limit of core files of a process as far as this test may.
func allowCores(t *testing.T, pid int) {
	t.Helper()
	var limit unix.Rlimit
	must(t, unix.Prlimit(pid, unix.RLIMIT_CORE, nil, &limit))
	limit.Cur = limit.Max
	if os.Geteuid() == 0 {
		limit = unix.Rlimit{Cur: unix.RLIM_INFINITY, Max: unix.RLIM_INFINITY}
	}
	must(t, unix.Prlimit(pid, unix.RLIMIT_CORE, &limit, nil))
}

// A hardened process leaves no core file, even if its limit is raised or the kernel passes cores to a program.
func TestHardenLeavesNoCore(t *testing.T) {
	pattern, err := os.ReadFile("/proc/sys/kernel/core_pattern")
	must(t, err)
	inFolder := !strings.HasPrefix(string(pattern), "|") && !strings.HasPrefix(string(pattern), "/")
	for _, tt := range []struct {
		name   string
		harden string
		lifted bool
		core   bool
	}{
		{"the control: not hardened", "no", true, true},
		{"hardened", "yes", false, false},
		{"hardened, the limit lifted", "yes", true, false},
	} {
		for _, signal := range []syscall.Signal{syscall.SIGSEGV, syscall.SIGABRT, syscall.SIGQUIT, syscall.SIGBUS} {
			t.Run(fmt.Sprint(tt.name, ", ", signal), func(t *testing.T) {
				if tt.lifted && tt.harden == "yes" {
					needs.Root(t, "to lift the limit of a process that can't be dumped")
				}
				c, dir := hardenProcess(t, tt.harden, uint32(os.Geteuid()))
				if tt.lifted {
					allowCores(t, c.Process.Pid)
				}
				must(t, c.Process.Signal(signal))
				_ = c.Wait()
				end := c.ProcessState.Sys().(syscall.WaitStatus)
				if !end.Signaled() {
					t.Fatalf("ended with %v, not by a signal", c.ProcessState)
				}
				files, err := filepath.Glob(filepath.Join(dir, "*"))
				must(t, err)
				if tt.core && !end.CoreDump() {
					needs.System(t, "this machine makes no cores (core_pattern is %q)", pattern)
				}
				if end.CoreDump() != tt.core {
					t.Errorf("%v", c.ProcessState)
				}
				if got := len(files) > 0; got != (tt.core && inFolder) {
					t.Errorf("core files: %v", files)
				}
			})
		}
	}
}

// Other processes of the same user can't read a hardened one, since its files in /proc belong to root.
func TestHardenProtectsProc(t *testing.T) {
	needs.Root(t, "to be another user")
	const nobody = 65534
	for _, tt := range []struct {
		harden string
		owner  uint32
		open   bool
	}{
		{"no", nobody, true}, // the control
		{"yes", 0, false},
	} {
		t.Run(tt.harden, func(t *testing.T) {
			c, _ := hardenProcess(t, tt.harden, nobody)
			proc := "/proc/" + strconv.Itoa(c.Process.Pid)
			for _, name := range []string{"mem", "maps", "environ"} {
				info, err := os.Stat(filepath.Join(proc, name))
				must(t, err)
				if got := info.Sys().(*syscall.Stat_t).Uid; got != tt.owner {
					t.Errorf("%s belongs to %d, want %d", name, got, tt.owner)
				}
				look := exec.Command("head", "-c0", filepath.Join(proc, name)) // opens it
				look.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
				if out, err := look.CombinedOutput(); (err == nil) != tt.open {
					t.Errorf("%s, opened by the same user: %v, %s", name, err, out)
				}
			}
		})
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
