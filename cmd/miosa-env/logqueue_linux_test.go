package main

import (
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/Miosa-osa/miosa-env/internal/test/poll"
	"github.com/Miosa-osa/miosa-env/vault/vaulttest"
)

// fullPipe returns a pipe that has no room.
func fullPipe(t *testing.T) (out, in *os.File) {
	t.Helper()
	out, in, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = out.Close(), in.Close() })
	block := make([]byte, 4096)
	for err == nil {
		_, err = unix.Pwritev2(int(in.Fd()), [][]byte{block}, -1, unix.RWF_NOWAIT)
	}
	if !errors.Is(err, unix.EAGAIN) {
		t.Fatal(err)
	}
	return out, in
}

// TestAgent_UnreadLog: an agent whose log is not read writes its outputs, ends the use of a revoked key, and ends.
func TestAgent_UnreadLog(t *testing.T) {
	s := vaulttest.Start(t)
	id := s.Put(t, "token", "the-value", sandbox, "TOKEN")
	key, keyID := s.MintResourceKey(t, sandbox)
	d := newAgent(t, configured(s.BaseURL, key).with("MIOSA_LOG_LEVEL", "trace"),
		"[[output]]\npath = \"$DIR/env\"\nformat = \"shell\"\nallow_disk = true\n")
	_, in := fullPipe(t)
	d.write("log", "not read\n")
	d.start(in)
	d.holds("env", "the-value")
	s.Rotate(t, id, "another-value")
	d.holds("env", "another-value")
	s.Revoke(t, keyID)
	if !poll.Within(time.Minute, func() bool { _, err := os.Stat(d.dir + "/env"); return err != nil }) {
		t.Error("the output remains after the revocation")
	}
	d.ends()
}

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
