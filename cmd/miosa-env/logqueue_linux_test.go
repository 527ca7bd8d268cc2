package main

import (
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/Miosa-osa/miosa-env/internal/test/poll"
)

// TestUnreadLog: a supervisor whose log is not read stops its command as usual, and ends.
func TestUnreadLog(t *testing.T) {
	for _, flags := range []string{"--on-change restart", "--mask", "--mask --on-change restart"} {
		t.Run(flags, func(t *testing.T) {
			w := way{flags: append(strings.Fields(flags), "--stop-timeout", "100ms")}
			c := newExact(t).command(t, w, "sh", "-c", `trap "" TERM; while :; do echo 0123456789; done`)
			out, in, err := os.Pipe()
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _, _ = out.Close(), in.Close() }()
			c.Stdout, c.Stderr = in, in
			if err := c.Start(); err != nil {
				t.Fatal(err)
			}
			full := func() bool {
				room := []unix.PollFd{{Fd: int32(in.Fd()), Events: unix.POLLOUT}}
				n, err := unix.Poll(room, 0)
				return err == nil && n == 0
			}
			if !poll.Within(time.Minute, full) {
				t.Fatal("the pipe isn't full")
			}
			if err := c.Process.Signal(unix.SIGTERM); err != nil {
				t.Fatal(err)
			}
			_ = c.Wait()
			if code := codeOf(c.ProcessState); code != 137 {
				t.Errorf("exit code %d, want 137", code)
			}
		})
	}
}
