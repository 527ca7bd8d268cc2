package vault

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"testing"
	"time"
)

func TestBucketsAreOneEach(t *testing.T) {
	b := newBuckets(2, 3, 10)
	now := time.Unix(1e9, 0)
	take := func(name string, want time.Duration) {
		t.Helper()
		if got := b.take(name, now); got != want {
			t.Errorf("%s waits %v, want %v", name, got, want)
		}
	}
	for range 3 {
		take("a", 0)
	}
	take("a", 500*time.Millisecond)
	take("a", 500*time.Millisecond) // a refused request takes no token
	take("b", 0)
	now = now.Add(500 * time.Millisecond)
	take("a", 0)
	take("a", 500*time.Millisecond)
	now = now.Add(time.Hour)
	for range 3 {
		take("a", 0)
	}
	take("a", 500*time.Millisecond)
}

func TestBucketsAreBounded(t *testing.T) {
	b := newBuckets(1, 1, 4)
	now := time.Unix(1e9, 0)
	b.take("kept", now)
	for i := range 1000 {
		b.take(fmt.Sprint(i), now)
		if b.take("kept", now) == 0 {
			t.Fatal("a recently used name was dropped")
		}
	}
	if n := len(b.recent) + len(b.old); n > 4 {
		t.Errorf("has %d entries, want at most 4", n)
	}
	if b.take("0", now) != 0 {
		t.Error("a dropped name didn't start anew")
	}
}

func TestSemaphores(t *testing.T) {
	p := newSemaphores(2)
	leave, _ := p.acquire("a")
	if _, ok := p.acquire("a"); !ok {
		t.Fatal("no second place")
	}
	if _, ok := p.acquire("a"); ok {
		t.Error("a third place of two")
	}
	other, ok := p.acquire("b")
	if !ok {
		t.Error("no place for another")
	}
	leave()
	if leave, ok = p.acquire("a"); !ok {
		t.Error("a place that was left isn't free")
	}
	leave()
	other()
	if len(p.taken) != 1 {
		t.Errorf("remembers %v", p.taken)
	}
}

func TestWholeSeconds(t *testing.T) {
	for _, c := range []struct {
		name string
		wait time.Duration
		want int
	}{
		{"none", 0, 1},
		{"little", time.Millisecond, 1},
		{"one", time.Second, 1},
		{"more than one", time.Second + 1, 2},
		{"for ever", 1<<63 - 1, 3600},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := wholeSeconds(c.wait); got != c.want {
				t.Errorf("got %d, want %d", got, c.want)
			}
		})
	}
}

func TestOrigin(t *testing.T) {
	for _, c := range []struct{ name, remote, want string }{
		{"IPv4", "192.0.2.1:1234", "192.0.2.1"},
		{"IPv4 in IPv6", "[::ffff:192.0.2.1]:1234", "192.0.2.1"},
		{"IPv6", "[2001:db8:1:2:3:4:5:6]:1234", "2001:db8:1:2::/64"},
		{"IPv6 of the same network", "[2001:db8:1:2::9]:1", "2001:db8:1:2::/64"},
		{"IPv6 with a zone", "[fe80::1%eth0]:1", "fe80::/64"},
		{"a unix socket", "@", "unknown"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := origin(c.remote); got != c.want {
				t.Errorf("got %s, want %s", got, c.want)
			}
		})
	}
}

// At the limit, a new connection is not refused but accepted when another closes.
func TestLimitListener(t *testing.T) {
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := newLimitListener(inner, 2)
	srv := &http.Server{ConnState: l.connState, Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusNoContent)
	})}
	ended := make(chan error, 1)
	go func() { ended <- srv.Serve(l) }()
	var clients []net.Conn
	for range 3 {
		c, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = c.Close() }()
		if _, err := io.WriteString(c, "GET / HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
		clients = append(clients, c)
	}
	answered := func(c net.Conn, within time.Duration) bool {
		_ = c.SetReadDeadline(time.Now().Add(within))
		_, err := io.ReadFull(c, make([]byte, len("HTTP/1.1 204")))
		return err == nil
	}
	if !answered(clients[0], 10*time.Second) || !answered(clients[1], 10*time.Second) {
		t.Error("one of two connections isn't accepted")
	}
	if answered(clients[2], 100*time.Millisecond) {
		t.Fatal("a third connection was accepted")
	}
	_ = clients[0].Close()
	if !answered(clients[2], 10*time.Second) {
		t.Error("the third connection isn't accepted after another was closed")
	}
	if len(l.open) != 2 {
		t.Errorf("%d connections are counted, want 2", len(l.open))
	}
	// Closing it wakes an Accept that waits for another connection's end.
	if err := srv.Close(); err != nil {
		t.Error(err)
	}
	if err := <-ended; !errors.Is(err, http.ErrServerClosed) {
		t.Errorf("served until %v", err)
	}
}
