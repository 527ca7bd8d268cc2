package supervise_test

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/Miosa-osa/miosa-env/internal/needs"
	"github.com/Miosa-osa/miosa-env/internal/test/buffer"
	"github.com/Miosa-osa/miosa-env/internal/test/fifo"
	"github.com/Miosa-osa/miosa-env/internal/test/poll"
	"golang.org/x/sys/unix"
)

const masking = "TOKEN=hunter2hunter2"

// TestMaskedOutputFails checks that a failed write of output is reported and gives a nonzero exit code.
func TestMaskedOutputFails(t *testing.T) {
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer full.Close()
	for _, tc := range []struct {
		name, script string
		want         int
	}{
		{"the command succeeds", "echo hi", 125},
		{"the command fails", "echo hi; exit 3", 3},
		{"the command keeps writing", "exec yes", 128 + 13},
		{"no output", "exit 0", 0},
		{"a value is held back", "printf hunter2", 125},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c := under(t, "supervise", false, "-v", "-mask", masking, "sh", "-c", tc.script)
			var stderr bytes.Buffer
			c.Stdout, c.Stderr = full, &stderr
			if got := status(t, c); got != tc.want {
				t.Errorf("exit code %d, want %d", got, tc.want)
			}
			told := strings.Contains(stderr.String(), `"stream":"standard output","error":"no space left on device","message":"output lost: write failed"`)
			if want := tc.want != 0; told != want {
				t.Errorf("lost output reported: %v, want %v: %s", told, want, stderr.String())
			}
		})
	}
	t.Run("standard error", func(t *testing.T) {
		c := under(t, "supervise", false, "-mask", masking, "sh", "-c", "echo hi >&2")
		c.Stderr = full
		if got := status(t, c); got != 125 {
			t.Errorf("exit code %d, want 125", got)
		}
	})
}

// TestMaskedReaderExits checks that the command gets SIGPIPE at its first write after the reader of its output has
// closed the pipe, and that no lost output is reported.
func TestMaskedReaderExits(t *testing.T) {
	gate := fifo.New(t)
	c := under(t, "supervise", false, "-v", "-mask", masking, "sh", "-c", `echo one; read x < "$0"; echo two; exit 0`, gate)
	var stderr bytes.Buffer
	c.Stderr = &stderr
	out, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	if line, err := bufio.NewReader(out).ReadString('\n'); err != nil || line != "one\n" {
		t.Fatalf("%q, %v", line, err)
	}
	_ = out.Close()
	// The relay closes the read end of the command's pipe.
	poll.Until(t, 10*time.Second, "the command's pipe to be broken", func() bool {
		fds := []unix.PollFd{{Fd: int32(commandOutput(t, onlyChild(t, c.Process.Pid)))}}
		defer unix.Close(int(fds[0].Fd))
		_, err := unix.Poll(fds, 0)
		return err == nil && fds[0].Revents&unix.POLLERR != 0
	})
	fifo.WriteLine(t, gate, "go")
	_ = c.Wait()
	if code := codeOf(c); code != 128+13 {
		t.Errorf("exit code %d, want 141", code)
	}
	if strings.Contains(stderr.String(), "lost") {
		t.Errorf("the exit of the reader is reported: %s", stderr.String())
	}
}

// commandOutput opens the write end of the pipe that is a process's standard output.
func commandOutput(t *testing.T, pid int) int {
	t.Helper()
	fd, err := unix.Open(fmt.Sprintf("/proc/%d/fd/1", pid), unix.O_WRONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err == unix.ENXIO { // there is no reader any more
		p := make([]int, 2)
		if err := unix.Pipe2(p, unix.O_CLOEXEC); err != nil {
			t.Fatal(err)
		}
		_ = unix.Close(p[0])
		return p[1]
	}
	if err != nil {
		t.Fatal(err)
	}
	return fd
}

// TestMaskedReaderPauses checks that a slow reader gets all output, however short the stop timeout is.
func TestMaskedReaderPauses(t *testing.T) {
	const lines = 40000
	c := under(t, "supervise", false, "-stop-timeout", "50ms", "-mask", masking, "seq", fmt.Sprint(lines))
	out, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	poll.Until(t, 10*time.Second, "the pipe to be full and seq to block or end", func() bool { return pipeFull(t, out) })
	all, err := io.ReadAll(out)
	if err != nil {
		t.Fatal(err)
	}
	_ = c.Wait()
	if code := codeOf(c); code != 0 || bytes.Count(all, []byte("\n")) != lines {
		t.Errorf("exit code %d and %d of %d lines", code, bytes.Count(all, []byte("\n")), lines)
	}
}

func pipeFull(t *testing.T, r io.Reader) bool {
	t.Helper()
	n, err := unix.IoctlGetInt(int(r.(*os.File).Fd()), unix.TIOCINQ)
	if err != nil {
		t.Fatal(err)
	}
	return n >= 60<<10
}

// TestMaskedReaderNeverReads checks that a signal ends the wait for a reader, and that the lost output is reported.
func TestMaskedReaderNeverReads(t *testing.T) {
	for _, sig := range []unix.Signal{unix.SIGTERM, unix.SIGINT} {
		t.Run(unix.SignalName(sig), func(t *testing.T) {
			ended := filepath.Join(t.TempDir(), "ended")
			c := under(t, "supervise", false, "-v", "-mask", masking, "sh", "-c", `head -c 100000 /dev/zero; : > "$0"`, ended)
			var stderr bytes.Buffer
			c.Stderr = &stderr
			out, err := c.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := c.Start(); err != nil {
				t.Fatal(err)
			}
			poll.Until(t, 10*time.Second, "the command's end", func() bool {
				_, err := os.Stat(ended)
				return err == nil && len(children(c.Process.Pid)) == 0
			})
			kill(t, c.Process.Pid, sig)
			_, _ = c.Process.Wait()
			// Wait would close the pipe and so unblock the supervisor.
			_ = out.Close()
			_ = c.Wait()
			if !strings.Contains(stderr.String(), `"stream":"standard output","message":"output lost: reader too slow"`) {
				t.Errorf("lost output not reported: %s", stderr.String())
			}
		})
	}
}

// TestMaskedReaderNeverReadsWhileStopping checks that a command that stops in time is not reported as having exceeded
// the stop timeout if only the reader of its output has.
func TestMaskedReaderNeverReadsWhileStopping(t *testing.T) {
	c := under(t, "supervise", false, "-v", "-stop-timeout", "100ms", "-mask", masking, "sh", "-c", "exec yes")
	var stderr bytes.Buffer
	c.Stderr = &stderr
	out, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	poll.Until(t, 10*time.Second, "the pipe to be full", func() bool { return pipeFull(t, out) })
	kill(t, c.Process.Pid, unix.SIGTERM)
	_, _ = c.Process.Wait()
	_ = out.Close()
	_ = c.Wait()
	if strings.Contains(stderr.String(), "timed out") || !strings.Contains(stderr.String(), "reader too slow") {
		t.Errorf("lost output reported: %s", stderr.String())
	}
}

// TestMaskedDescendantWritesOn checks that a process that the command leaves behind can still print, masked, after the
// supervisor has exited with the command's exit code. A value printed in part before that exit is masked too.
func TestMaskedDescendantWritesOn(t *testing.T) {
	gate := fifo.New(t)
	c := under(t, "supervise", false, "-mask", masking, "sh", "-c",
		`(trap '' TERM; read x < "$0"; echo er2; echo error: hunter2hunter2 >&2; echo late hunter2hunter2) & printf 'early hunter2hunt'; exit 7`, gate)
	var stdout, stderr buffer.Buffer
	ends := capture(t, c, &stdout, &stderr)
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	ends.started()
	state, err := c.Process.Wait() // doesn't wait for the end of the output
	if err != nil {
		t.Fatal(err)
	}
	if state.ExitCode() != 7 {
		t.Errorf("exit code %d, want 7", state.ExitCode())
	}
	fifo.WriteLine(t, gate, "go")
	ends.wait()
	if got, want := stdout.String(), "early [TOKEN]\nlate [TOKEN]\n"; got != want {
		t.Errorf("standard output %q, want %q", got, want)
	}
	if got, want := stderr.String(), "error: [TOKEN]\n"; got != want {
		t.Errorf("standard error %q, want %q", got, want)
	}
}

// TestMaskedDescendantOfARestart checks that a process left behind by a command that was restarted can print, masked,
// while the next command runs and after the supervisor has exited.
func TestMaskedDescendantOfARestart(t *testing.T) {
	needs.Command(t, "setsid")
	gate, after, last, changes := fifo.New(t), fifo.New(t), fifo.New(t), fifo.New(t)
	c := under(t, "supervise", false, "-mask", masking, "-on-change", "restart", "-changes", changes, "sh", "-c",
		`if [ "$AGAIN" ]; then echo second; read x < "$1"; exit 4; fi
		setsid sh -c 'echo first; read x < "$0"; echo left 1 hunter2hunter2; read x < "$1"; echo left 2 hunter2hunter2' "$0" "$2" & wait`, gate, last, after)
	var stdout, stderr buffer.Buffer
	ends := capture(t, c, &stdout, &stderr)
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	ends.started()
	shown := func(text string) {
		t.Helper()
		poll.Until(t, 10*time.Second, text, func() bool { return strings.Contains(stdout.String(), text) })
	}
	shown("first\n")
	fifo.WriteLine(t, changes, "AGAIN=1")
	shown("second\n")
	fifo.WriteLine(t, gate, "go")
	shown("left 1 [TOKEN]\n")
	fifo.WriteLine(t, last, "go")
	_ = c.Wait()
	if code := codeOf(c); code != 4 {
		t.Errorf("exit code %d, want 4", code)
	}
	fifo.WriteLine(t, after, "go")
	shown("left 2 [TOKEN]\n")
	ends.wait()
}

// TestMaskedHelperHoldsNothingElse checks that the helper that continues a relay after the supervisor's exit holds the
// relayed streams, each until its end, and no other descriptor that the supervisor inherited.
func TestMaskedHelperHoldsNothingElse(t *testing.T) {
	gate := fifo.New(t)
	c := under(t, "supervise", false, "-mask", masking, "sh", "-c", `(exec 3>&- 2>&-; read x < "$0"; echo late) & exit 0`, gate)
	held, other, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	c.ExtraFiles = []*os.File{other}
	var stdout, stderr buffer.Buffer
	ends := capture(t, c, &stdout, &stderr)
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	ends.started()
	_ = other.Close()
	if _, err := c.Process.Wait(); err != nil {
		t.Fatal(err)
	}
	if _, err := held.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("descriptor 3 is still open: %v", err)
	}
	ends.waitFor(1) // standard error ends while standard output goes on
	fifo.WriteLine(t, gate, "go")
	ends.wait()
	if stdout.String() != "late\n" {
		t.Errorf("%q", stdout.String())
	}
}

// captured reads the output of a command independently of the wait for its exit.
type captured struct {
	t    *testing.T
	ours []*os.File
	done []chan struct{}
}

// capture sends a command's output to stdout and stderr.
func capture(t *testing.T, c *exec.Cmd, stdout, stderr io.Writer) *captured {
	t.Helper()
	k := &captured{t: t}
	for i, to := range []io.Writer{stdout, stderr} {
		r, w, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		k.ours = append(k.ours, w)
		if i == 0 {
			c.Stdout = w
		} else {
			c.Stderr = w
		}
		done := make(chan struct{})
		k.done = append(k.done, done)
		go func() { defer close(done); _, _ = io.Copy(to, r); _ = r.Close() }()
	}
	return k
}

func (k *captured) started() {
	for _, w := range k.ours {
		_ = w.Close()
	}
}

// waitFor waits for the end of one stream: 0 is standard output.
func (k *captured) waitFor(stream int) {
	k.t.Helper()
	poll.Until(k.t, 10*time.Second, "the end of an output", func() bool {
		select {
		case <-k.done[stream]:
			return true
		default:
			return false
		}
	})
}

func (k *captured) wait() {
	k.t.Helper()
	k.waitFor(0)
	k.waitFor(1)
}
