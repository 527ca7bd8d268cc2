package proxy

import (
	"net"
	"sync"
	"time"

	"github.com/Miosa-osa/miosa-env/internal/silence"
)

// connections are the open connections of a resource's clients.
type connections struct {
	limit int

	mu     sync.Mutex // guards the fields below
	open   map[*conn]struct{}
	closed bool // no more are accepted
}

// conn is the connection of a client.
type conn struct {
	net.Conn
	of   *connections
	once sync.Once
}

// add takes a connection. It returns nil if there are too many.
func (cs *connections) add(inner net.Conn) *conn {
	if tcp, ok := inner.(*net.TCPConn); ok {
		_ = tcp.SetKeepAliveConfig(silence.KeepAlive)
	}
	c := &conn{Conn: inner, of: cs}
	cs.mu.Lock()
	defer cs.mu.Unlock()
	if cs.closed || len(cs.open) >= cs.limit {
		return nil
	}
	cs.open[c] = struct{}{}
	return c
}

// count is the number of open connections.
func (cs *connections) count() int {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	return len(cs.open)
}

// close closes all connections.
func (cs *connections) close() {
	cs.mu.Lock()
	cs.closed = true
	open := make([]*conn, 0, len(cs.open))
	for c := range cs.open {
		open = append(open, c)
	}
	cs.mu.Unlock()
	for _, c := range open {
		_ = c.Close()
	}
}

// Close implements net.Conn.
func (c *conn) Close() error {
	c.once.Do(func() {
		c.of.mu.Lock()
		delete(c.of.open, c)
		c.of.mu.Unlock()
	})
	return c.Conn.Close()
}

// CloseWrite ends the direction to the client.
func (c *conn) CloseWrite() error { return closeWrite(c.Conn) }

// closeWrite ends one direction of a connection, or both if it can't be halved.
func closeWrite(c net.Conn) error {
	if half, ok := c.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return c.Close()
}

// limited is a listener whose connections are counted.
type limited struct {
	net.Listener
	of     *connections
	refuse []byte // sent to connections beyond the limit
	full   func() // called for each of them
}

// Accept implements net.Listener.
func (l limited) Accept() (net.Conn, error) {
	for {
		inner, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		if c := l.of.add(inner); c != nil {
			return c, nil
		}
		l.full()
		// A few bytes fit into the buffer of a new connection: no client can delay this.
		_ = inner.SetWriteDeadline(time.Now().Add(time.Second))
		_, _ = inner.Write(l.refuse)
		_ = inner.Close()
	}
}
