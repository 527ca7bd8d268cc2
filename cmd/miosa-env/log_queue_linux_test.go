package main

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/Miosa-osa/miosa-env/internal/test/poll"
)

// TestStopsWithALogThatNobodyReads: a supervisor whose log goes where nobody reads stops its command as ever, and ends.
func TestStopsWithALogThatNobodyReads(t *testing.T) {
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

// TestLogQueue: lines are written in order, each whole; what has no room is dropped.
func TestLogQueue(t *testing.T) {
	var read bytes.Buffer
	r, w := io.Pipe()
	q := newLogQueue(w)
	var want strings.Builder
	line := make([]byte, 0, 20)
	for i := range 3 * logRoom {
		line = fmt.Appendf(line[:0], "line %d\n", i) // a line's memory is the logger's
		if n, err := q.Write(line); n != len(line) || err != nil {
			t.Fatal(n, err)
		}
	}
	q.flush() // nobody reads
	done := make(chan struct{})
	go func() {
		defer close(done)
		_, _ = io.Copy(&read, r)
	}()
	q.flush()
	_ = w.Close()
	<-done
	for i := range logRoom {
		fmt.Fprintf(&want, "line %d\n", i)
	}
	// One more has room if the first is being written by then.
	if n := strings.Count(read.String(), "\n"); !strings.HasPrefix(read.String(), want.String()) || n > logRoom+1 {
		t.Errorf("%d lines, want the first %d and at most one more", n, logRoom)
	}
}
