// Package detach takes the connection of a request from net/http while the request waits, which may be a minute, and gives it back for the next
// request. Meanwhile the connection has one goroutine with a small stack, and none of net/http's buffers, headers and contexts. What
// a client sends is read by net/http only; the response is written by http.Response.
package detach

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"maps"
	"net"
	"net/http"
	"os"
	"slices"
	"sync"
	"time"
)

// errNoListener is the error of a request whose server has no Listener in its context.
var errNoListener = errors.New("the server's connections can't be detached")

// Request is a request that waits. One goroutine uses it; any may call Wake.
type Request struct {
	listener *Listener
	close    bool // the connection, after the response
	minor    int  // of the HTTP version
	sent     []byte
	woken    chan struct{} // holds one wake-up

	mu    sync.Mutex // guards the fields below
	conn  net.Conn   // nil until Detach, and after the connection was given back
	awake bool       // Wake doesn't interrupt reads: the request doesn't wait any more
	idle  bool       // between two requests
}

// New returns the Request of r, which isn't detached yet. Errors: the server has no Listener in its context.
func New(r *http.Request) (*Request, error) {
	l, ok := r.Context().Value(listenerKey{}).(*Listener)
	if !ok {
		return nil, errNoListener
	}
	return &Request{listener: l, close: r.Close || !r.ProtoAtLeast(1, 1), minor: r.ProtoMinor, woken: make(chan struct{}, 1)}, nil
}

// Detach takes the connection from net/http. The handler must return without using w, and call End at last, on any
// goroutine.
func (d *Request) Detach(w http.ResponseWriter) error {
	conn, buffered, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return err
	}
	early, _ := buffered.Peek(buffered.Reader.Buffered())
	d.sent = slices.Clone(early)
	if c, ok := conn.(*Conn); ok {
		conn, d.sent = c.Conn, append(d.sent, c.sent...)
	}
	d.mu.Lock()
	d.conn = conn
	d.mu.Unlock()
	d.listener.add(d)
	return nil
}

// Wake ends the current Wait, or the next one. It never blocks.
func (d *Request) Wake() {
	d.mu.Lock()
	defer d.mu.Unlock()
	select {
	case d.woken <- struct{}{}:
	default:
	}
	if d.conn != nil && !d.awake {
		_ = d.conn.SetReadDeadline(time.Unix(1, 0))
	}
}

// stop wakes the request, or makes End close its connection. It doesn't close that itself: over TLS this may wait for the client.
func (d *Request) stop() {
	d.Wake()
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.idle && d.conn != nil {
		_ = d.conn.SetReadDeadline(time.Unix(1, 0))
	}
}

// Wait returns nil after Wake, or when it is until. Errors: that of reading the connection, which the client has closed.
func (d *Request) Wait(until time.Time) error {
	if len(d.sent) > 0 { // of the next request, which must wait
		timer := time.NewTimer(time.Until(until))
		defer timer.Stop()
		select {
		case <-d.woken:
		case <-timer.C:
		}
		return nil
	}
	_ = d.conn.SetReadDeadline(until)
	select {
	case <-d.woken: // before the deadline was set
		return nil
	default:
	}
	first := make([]byte, 1)
	n, err := d.conn.Read(first)
	switch {
	case n > 0:
		d.sent = first
		return d.Wait(until)
	case errors.Is(err, os.ErrDeadlineExceeded):
		select {
		case <-d.woken:
		default:
		}
		return nil
	}
	return err
}

// A response is written in one piece, unless it is longer than writeBytes.
const (
	headerBytes = 1 << 10
	usualBytes  = 8 << 10
	writeBytes  = 64 << 10
)

// writers are for responses of at most usualBytes.
var writers = sync.Pool{New: func() any { return bufio.NewWriterSize(nil, usualBytes) }}

// Answer writes the response, within timeout. header may change.
func (d *Request) Answer(status int, header http.Header, body []byte, timeout time.Duration) error {
	d.mu.Lock()
	d.awake = true
	d.mu.Unlock()
	header.Set("Date", time.Now().UTC().Format(http.TimeFormat))
	response := http.Response{
		StatusCode: status, ProtoMajor: 1, ProtoMinor: d.minor, Header: header, Close: d.close || d.listener.closed(),
		ContentLength: int64(len(body)), Body: io.NopCloser(bytes.NewReader(body)),
	}
	d.close = response.Close
	_ = d.conn.SetDeadline(time.Now().Add(timeout))
	var text *bufio.Writer
	if size := len(body) + headerBytes; size > usualBytes {
		text = bufio.NewWriterSize(d.conn, min(size, writeBytes))
	} else {
		text = writers.Get().(*bufio.Writer)
		defer writers.Put(text)
		text.Reset(d.conn)
		defer text.Reset(nil)
	}
	err := response.Write(text)
	if err == nil {
		err = text.Flush()
	}
	d.close = d.close || err != nil
	return err
}

// End gives the connection back to net/http when the client sends its next request, unless it doesn't within timeout, or there was no
// Answer, or its client or the server close it.
func (d *Request) End(timeout time.Duration) {
	defer d.listener.remove(d)
	d.mu.Lock()
	d.idle = d.awake && !d.close && !d.listener.closed()
	keep := d.idle
	if keep {
		_ = d.conn.SetDeadline(time.Now().Add(timeout))
	}
	d.mu.Unlock()
	if keep && len(d.sent) == 0 {
		first := make([]byte, 1)
		n, err := d.conn.Read(first)
		d.sent, keep = first[:n], err == nil && n > 0
	}
	d.mu.Lock()
	conn := d.conn
	d.conn = nil
	d.mu.Unlock()
	_ = conn.SetDeadline(time.Time{})
	if !keep || !d.listener.give(&Conn{Conn: conn, sent: d.sent}) {
		_ = conn.Close()
	}
}

// Conn is a connection that was given back.
type Conn struct {
	net.Conn
	sent []byte // what was read of the next request
}

// Read implements net.Conn.
func (c *Conn) Read(b []byte) (int, error) {
	if len(c.sent) == 0 {
		return c.Conn.Read(b)
	}
	n := copy(b, c.sent)
	c.sent = c.sent[n:]
	return n, nil
}

// NetConn returns the connection that was detached.
func (c *Conn) NetConn() net.Conn { return c.Conn }

// CloseWrite is used by net/http, so that a client reads the answer to a request that it is still sending.
func (c *Conn) CloseWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return errors.ErrUnsupported
}

// Listener is a net.Listener whose connections are those that were given back. It also knows the ones that are detached.
type Listener struct {
	addr     net.Addr
	returned chan net.Conn
	done     chan struct{} // closed by Close

	mu       sync.Mutex // guards the fields below
	detached map[*Request]struct{}
	left     chan struct{} // closed when detached is empty; nil: nobody waits for that
}

// NewListener returns a Listener at an address.
func NewListener(addr net.Addr) *Listener {
	return &Listener{addr: addr, returned: make(chan net.Conn), done: make(chan struct{}), detached: map[*Request]struct{}{}}
}

// listenerKey is the key of a Listener in a context.
type listenerKey struct{}

// Context returns a context with l, as the base context of a server that serves both l and its own listener.
func (l *Listener) Context(ctx context.Context) context.Context {
	return context.WithValue(ctx, listenerKey{}, l)
}

// Accept implements net.Listener.
func (l *Listener) Accept() (net.Conn, error) {
	select {
	case c := <-l.returned:
		return c, nil
	case <-l.done:
		return nil, net.ErrClosed
	}
}

// Addr implements net.Listener.
func (l *Listener) Addr() net.Addr { return l.addr }

// Close implements net.Listener. It wakes the requests that wait, and closes connections between requests.
func (l *Listener) Close() error {
	l.mu.Lock()
	if !l.closed() {
		close(l.done)
	}
	detached := slices.Collect(maps.Keys(l.detached))
	l.mu.Unlock()
	for _, d := range detached {
		d.stop()
	}
	return nil
}

func (l *Listener) closed() bool {
	select {
	case <-l.done:
		return true
	default:
		return false
	}
}

// give gives a connection to the server, and reports false if that has stopped.
func (l *Listener) give(c net.Conn) bool {
	select {
	case l.returned <- c:
		return true
	case <-l.done:
		return false
	}
}

func (l *Listener) add(d *Request) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.detached[d] = struct{}{}
}

func (l *Listener) remove(d *Request) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.detached, d)
	if len(l.detached) == 0 && l.left != nil {
		close(l.left)
		l.left = nil
	}
}

// Shutdown waits until no request is detached, after Close. When ctx ends, it closes their connections. Errors: ctx's.
func (l *Listener) Shutdown(ctx context.Context) error {
	_ = l.Close()
	l.mu.Lock()
	if len(l.detached) == 0 {
		l.mu.Unlock()
		return nil
	}
	left := make(chan struct{})
	l.left = left
	l.mu.Unlock()
	select {
	case <-left:
		return nil
	case <-ctx.Done():
	}
	l.mu.Lock()
	detached := slices.Collect(maps.Keys(l.detached))
	l.mu.Unlock()
	for _, d := range detached {
		d.abort()
	}
	return ctx.Err()
}

// abort closes the connection, over TLS without telling the client, which may not read.
func (d *Request) abort() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if secure, ok := d.conn.(*tls.Conn); ok {
		_ = secure.NetConn().Close()
	} else if d.conn != nil {
		_ = d.conn.Close()
	}
}
