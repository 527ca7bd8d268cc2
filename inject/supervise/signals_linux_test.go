package supervise_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/Miosa-osa/miosa-env/inject/signal"
	"github.com/Miosa-osa/miosa-env/internal/inherited"
	"github.com/Miosa-osa/miosa-env/internal/needs"
	"github.com/Miosa-osa/miosa-env/internal/test/buffer"
	"github.com/Miosa-osa/miosa-env/internal/test/poll"
)

// playUntil is a program that sends itself signals before it has a command. It prints each check that fails.
func playUntil(args []string) int {
	signals, err := signal.Catch()
	if err != nil {
		fmt.Println(err)
		return 1
	}
	ctx := context.Background()
	prepared := errors.New("prepared")
	if slices.Equal(args, []string{"ignored"}) {
		err := signals.Until(ctx, func(ctx context.Context) error {
			_ = unix.Kill(unix.Getpid(), unix.SIGHUP)
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-time.After(100 * time.Millisecond):
				return prepared
			}
		})
		if !errors.Is(err, prepared) {
			fmt.Printf("an ignored signal: got %v\n", err)
		}
		return 0
	}
	if err := signals.Until(ctx, func(context.Context) error { return prepared }); !errors.Is(err, prepared) {
		fmt.Printf("got %v, want what the preparing gave\n", err)
	}
	for _, sig := range []syscall.Signal{unix.SIGTERM, unix.SIGUSR1, unix.SIGPROF, 34, 64} {
		err := signals.Until(ctx, func(ctx context.Context) error {
			if err := unix.Kill(unix.Getpid(), sig); err != nil {
				return err
			}
			<-ctx.Done()
			return ctx.Err()
		})
		var interrupted signal.Interrupted
		if !errors.As(err, &interrupted) || interrupted.ExitCode() != 128+int(sig) {
			fmt.Printf("signal %d: got %v\n", sig, err)
		}
	}
	if err := signals.Until(ctx, breakPipe); !errors.Is(err, unix.EPIPE) {
		fmt.Printf("a closed pipe we write to: got %v, want what the preparing gave\n", err)
	}
	err = signals.Until(ctx, func(context.Context) error { return unix.Kill(unix.Getpid(), unix.SIGWINCH) })
	if err != nil {
		fmt.Printf("a change of window size: %v\n", err)
	}
	return 0
}

// breakPipe writes to a pipe and to a socket whose other ends are closed.
func breakPipe(ctx context.Context) error {
	var p [2]int
	if err := errors.Join(unix.Pipe(p[:]), unix.Close(p[0])); err != nil {
		return err
	}
	s, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	if err != nil {
		return err
	}
	if err := unix.Close(s[0]); err != nil {
		return err
	}
	_, onPipe := unix.Write(p[1], []byte("x"))
	_, onSocket := unix.Write(s[1], []byte("x"))
	select {
	case <-ctx.Done(): // the fault was treated as a request to stop
		return ctx.Err()
	case <-time.After(100 * time.Millisecond):
	}
	if !errors.Is(onPipe, unix.EPIPE) {
		return fmt.Errorf("pipe: %w", onPipe)
	}
	return onSocket
}

// TestUntilIgnores checks that a signal that was ignored at the start does not interrupt the preparation.
func TestUntilIgnores(t *testing.T) {
	c := under(t, "until", false, "ignored")
	c.Path, c.Args = "/bin/sh", []string{"sh", "-c", `trap '' HUP; exec "$0" ignored`, c.Path}
	if out, err := c.CombinedOutput(); err != nil || len(out) > 0 {
		t.Errorf("%v\n%s", err, out)
	}
}

// TestUntil checks that a signal before the command starts cancels the preparation and is returned.
func TestUntil(t *testing.T) {
	for _, way := range ways[2:] {
		t.Run(way.name, func(t *testing.T) {
			out, err := under(t, "until", way.pid1).CombinedOutput()
			if err != nil || len(out) > 0 {
				t.Errorf("%v\n%s", err, out)
			}
		})
	}
}

// queueing is the variable that makes the test binary receive so many real-time signals and print them with their
// values.
const queueing = "INJECT_TEST_QUEUE"

func init() {
	if count, err := strconv.Atoi(os.Getenv(queueing)); err == nil {
		os.Exit(queue(count))
	}
}

// info is the start of a siginfo_t.
type info struct {
	number, errno, code, _ int32
	pid                    int32
	uid                    uint32
	value                  uint64
	_                      [96]byte
}

// queue prints the numbers and values of the first count signals. It starts itself again if they aren't blocked.
func queue(count int) int {
	wanted := unix.Sigset_t{Val: [16]uint64{1<<39 | 1<<63}}
	if inherited.Blocked()&inherited.Set(40, 64) == 0 {
		runtime.LockOSThread()
		if err := unix.PthreadSigmask(unix.SIG_BLOCK, &wanted, nil); err != nil {
			return 1
		}
		_ = syscall.Exec("/proc/self/exe", os.Args, os.Environ())
		return 1
	}
	fd, err := unix.Signalfd(-1, &wanted, unix.SFD_CLOEXEC)
	if err != nil {
		return 1
	}
	fmt.Println("ready")
	all := make([]unix.SignalfdSiginfo, count)
	for i := range all {
		if _, err := unix.Read(fd, (*[unsafe.Sizeof(all[i])]byte)(unsafe.Pointer(&all[i]))[:]); err != nil {
			return 1
		}
	}
	for _, one := range all {
		fmt.Println(one.Signo, one.Ptr)
	}
	return 0
}

// TestFirstRealTimeSignal checks that SIGRTMIN, which the Go runtime withholds from os/signal, is forwarded as often as
// it is sent.
func TestFirstRealTimeSignal(t *testing.T) {
	needs.Command(t, "python3")
	const count = 300
	c := under(t, "supervise", false, "python3", "-c", `
import signal, sys
signal.pthread_sigmask(signal.SIG_BLOCK, [34])
print("ready", flush=True)
for i in range(int(sys.argv[1])): signal.sigwaitinfo([34])
print("all", flush=True)`, strconv.Itoa(count))
	pipe, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	late := time.AfterFunc(time.Minute, func() { _ = c.Process.Signal(unix.SIGTERM) })
	defer late.Stop()
	lines := bufio.NewScanner(pipe)
	if !lines.Scan() {
		t.Fatal("the command did not start")
	}
	for range count {
		kill(t, c.Process.Pid, 34)
	}
	if !lines.Scan() {
		t.Errorf("fewer than %d signals arrived", count)
	}
	_ = c.Wait()
}

// TestRealTimeSignals checks that real-time signals sent in a burst are all forwarded with their values, none merged,
// and that those of the same number stay in order, whether they were blocked at the start or not.
func TestRealTimeSignals(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	const count = 300
	kinds := []syscall.Signal{64, 40}
	for _, way := range ways[2:] {
		for _, value := range []bool{false, true} {
			for _, blocked := range []bool{false, true} {
				t.Run(fmt.Sprintf("%s, value=%v, blocked=%v", way.name, value, blocked), func(t *testing.T) {
					c := under(t, way.mode, way.pid1, "env", queueing+"="+strconv.Itoa(count*len(kinds)), self, "run") // Ordered
					c.Stderr = os.Stderr
					burst(t, c, blocked, value, count, kinds)
				})
			}
		}
	}
}

// burst starts c, which runs queue, and sends it so many signals of each kind.
func burst(t *testing.T, c *exec.Cmd, blocked, value bool, count int, kinds []syscall.Signal) {
	t.Helper()
	pipe, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if blocked {
		startBlocking(t, c, kinds...)
	} else if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	late := time.AfterFunc(time.Minute, func() { _ = c.Process.Signal(unix.SIGTERM) })
	defer late.Stop()
	lines := bufio.NewScanner(pipe)
	if !lines.Scan() || lines.Text() != "ready" {
		t.Fatalf("the command printed %q", lines.Text())
	}
	want := map[string][]string{}
	for i := range count {
		for _, n := range kinds {
			one := info{number: int32(n), code: -1, pid: int32(os.Getpid()), value: uint64(i)} // SI_QUEUE
			name := strconv.Itoa(int(n))
			if !value {
				kill(t, c.Process.Pid, n)
				want[name] = append(want[name], "0")
				continue
			}
			if _, _, errno := unix.RawSyscall(unix.SYS_RT_SIGQUEUEINFO, uintptr(c.Process.Pid), uintptr(n), uintptr(unsafe.Pointer(&one))); errno != 0 {
				t.Fatal(errno)
			}
			want[name] = append(want[name], strconv.Itoa(i))
		}
	}
	got := map[string][]string{}
	for lines.Scan() {
		name, v, _ := strings.Cut(lines.Text(), " ")
		got[name] = append(got[name], v)
	}
	_ = c.Wait()
	if diff := cmp.Diff(got, want); diff != "" {
		t.Errorf("(-got +want):\n%s", diff)
	}
}

// startBlocking starts a program with some signals blocked.
func startBlocking(t *testing.T, c *exec.Cmd, some ...syscall.Signal) {
	t.Helper()
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var set, before unix.Sigset_t
	for _, n := range some {
		set.Val[0] |= 1 << (n - 1)
	}
	if err := unix.PthreadSigmask(unix.SIG_BLOCK, &set, &before); err != nil {
		t.Fatal(err)
	}
	err := c.Start()
	if err := errors.Join(err, unix.PthreadSigmask(unix.SIG_SETMASK, &before, nil)); err != nil {
		t.Fatal(err)
	}
}

// TestStopSendsNothingElse checks that a stop request includes CONT only for a command that is stopped.
func TestStopSendsNothingElse(t *testing.T) {
	const script = `trap 'echo continued' CONT; trap end=yes TERM; echo $$; while [ -z "$end" ]; do sleep 0.02; done; exit 3`
	for _, stopped := range []bool{false, true} {
		t.Run(fmt.Sprintf("stopped %t", stopped), func(t *testing.T) {
			c := under(t, "supervise", false, "sh", "-c", script)
			out := new(buffer.Buffer)
			c.Stdout = out
			if err := c.Start(); err != nil {
				t.Fatal(err)
			}
			var pid int
			poll.Until(t, 10*time.Second, "the command's process id", func() bool { _, err := fmt.Sscan(out.String(), &pid); return err == nil })
			if stopped {
				kill(t, pid, unix.SIGSTOP)
			}
			kill(t, c.Process.Pid, unix.SIGTERM)
			_ = c.Wait()
			if code := codeOf(c); code != 3 {
				t.Errorf("exit code %d", code)
			}
			if !stopped && strings.Contains(out.String(), "continued") {
				t.Errorf("the command got CONT and printed %q", out.String())
			}
		})
	}
}
