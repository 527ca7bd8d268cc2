package fetch_test

import (
	"context"
	"net"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/Miosa-osa/miosa-env/fetch"
)

// memory is a network inside a synctest bubble: its connections are pipes, so waiting on them advances virtual
// time.
type memory struct {
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func (m *memory) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	ours, theirs := net.Pipe()
	select {
	case m.conns <- theirs:
		return ours, nil
	case <-m.closed:
		return nil, net.ErrClosed
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (m *memory) Accept() (net.Conn, error) {
	select {
	case c := <-m.conns:
		return c, nil
	case <-m.closed:
		return nil, net.ErrClosed
	}
}

func (m *memory) Close() error   { m.once.Do(func() { close(m.closed) }); return nil }
func (m *memory) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 1} }

// virtually runs test in virtual time with a client of a scripted vault.
func virtually(t *testing.T, answer func(n int, w http.ResponseWriter, r *http.Request), test func(t *testing.T, c *fetch.Client, s *script), change ...func(*fetch.Config)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		s := &script{}
		net := &memory{conns: make(chan net.Conn), closed: make(chan struct{})}
		server := &http.Server{Handler: s.handler(answer)}
		done := make(chan struct{})
		go func() { defer close(done); _ = server.Serve(net) }()
		c := client(t, "http://127.0.0.1:1", change...)
		c.DialWith(net.dial)
		test(t, c, s)
		c.Close()
		_ = server.Close()
		<-done
		synctest.Wait() // all responses in progress have begun
		s.busy.Wait()
	})
}

// elapsed returns the virtual time that f takes.
func elapsed(f func()) time.Duration {
	began := time.Now()
	f()
	return time.Since(began)
}
