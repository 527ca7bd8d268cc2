package socket

import (
	"errors"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// conns returns both ends of a connection.
func conns(t *testing.T) (client *conn, agent int) {
	t.Helper()
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Close(pair[1]) })
	return &conn{fd: pair[0]}, pair[1]
}

// A reply that arrives byte by byte times out: no read starts after the end, even if there is something to read.
func TestReplyDeadline(t *testing.T) {
	const patience = time.Minute
	w, agent := conns(t)
	if _, err := unix.Write(agent, []byte("{}\n")); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	if _, err := w.exchange(t.Context(), request{Op: opStatus}, patience); err != nil {
		t.Fatal(err)
	}
	if got := w.end.Sub(began); got < patience || got > patience+replyTimeout+time.Since(began) {
		t.Errorf("reads may begin for %s", got)
	}
	w, agent = conns(t)
	defer w.close()
	if _, err := unix.Write(agent, []byte("{}\n")); err != nil {
		t.Fatal(err)
	}
	w.end = time.Now().Add(-time.Nanosecond)
	if n, err := w.Read(make([]byte, 8)); n != 0 || !errors.Is(err, os.ErrDeadlineExceeded) || !w.timedOut {
		t.Errorf("%d bytes, error %v", n, err)
	}
}
