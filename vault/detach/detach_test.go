package detach_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/Miosa-osa/miosa-env/internal/devvault"
	"github.com/Miosa-osa/miosa-env/internal/test/poll"
	"github.com/Miosa-osa/miosa-env/vault/detach"
)

const patience = 20 * time.Second

// server serves requests that wait until they are woken through waiting, and are answered with their path.
type server struct {
	*http.Server
	addr     string
	detached *detach.Listener
	waiting  chan *detach.Request
	gone     chan error
}

func start(t *testing.T, idle time.Duration) *server {
	t.Helper()
	return startOn(t, listen(t), idle)
}

func listen(t *testing.T) net.Listener {
	t.Helper()
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func startOn(t *testing.T, l net.Listener, idle time.Duration) *server {
	t.Helper()
	s := &server{addr: l.Addr().String(), detached: detach.NewListener(l.Addr()), waiting: make(chan *detach.Request, 10), gone: make(chan error, 10)}
	s.Server = &http.Server{
		ReadHeaderTimeout: patience,
		BaseContext:       func(net.Listener) context.Context { return s.detached.Context(context.Background()) },
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			d, err := detach.New(r)
			if err == nil {
				err = d.Detach(w)
			}
			if err != nil {
				t.Error(err)
				return
			}
			path := r.URL.Path
			go func() {
				defer d.End(idle)
				s.waiting <- d
				if err := d.Wait(time.Now().Add(patience)); err != nil {
					s.gone <- err
					return
				}
				_ = d.Answer(http.StatusOK, http.Header{"X-Path": {path}}, []byte(path), patience) // the client sees an error
			}()
		}),
	}
	for _, l := range []net.Listener{l, s.detached} {
		go func() {
			if err := s.Serve(l); !errors.Is(err, http.ErrServerClosed) && !errors.Is(err, net.ErrClosed) {
				t.Error(err)
			}
		}()
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// client is a connection.
type client struct {
	t *testing.T
	net.Conn
	r *bufio.Reader
}

func (s *server) connect(t *testing.T) *client {
	t.Helper()
	c, err := new(net.Dialer).DialContext(t.Context(), "tcp", s.addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	_ = c.SetDeadline(time.Now().Add(patience))
	return &client{t, c, bufio.NewReader(c)}
}

func (c *client) send(text string) {
	c.t.Helper()
	if _, err := io.WriteString(c, text); err != nil {
		c.t.Fatal(err)
	}
}

func (c *client) get(path string) {
	c.t.Helper()
	c.send("GET " + path + " HTTP/1.1\r\nHost: x\r\n\r\n")
}

// answer reads a response, and returns whether the connection is closed after it.
func (c *client) answer(path string) (closed bool) {
	c.t.Helper()
	res, err := http.ReadResponse(c.r, nil)
	if err != nil {
		c.t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	body, err := io.ReadAll(res.Body)
	if _, invalid := http.ParseTime(res.Header.Get("Date")); err != nil || invalid != nil || res.StatusCode != http.StatusOK || string(body) != path ||
		res.ContentLength != int64(len(path)) || res.Header.Get("X-Path") != path {
		c.t.Errorf("status %d, header %v, body %q, %v", res.StatusCode, res.Header, body, err)
	}
	return res.Close
}

func (c *client) ends() {
	c.t.Helper()
	if b, err := c.r.ReadByte(); !errors.Is(err, io.EOF) {
		c.t.Errorf("the connection is open: %q, %v", b, err)
	}
}

// One connection carries many requests, each of which waits; also if its client sends the next one early.
func TestRequestsOfOneConnection(t *testing.T) {
	s := start(t, patience)
	c := s.connect(t)
	for i := range 5 {
		path := fmt.Sprintf("/%d", i)
		c.get(path)
		(<-s.waiting).Wake()
		if c.answer(path) {
			t.Fatal("the connection ends")
		}
	}
	c.get("/early")
	d := <-s.waiting
	c.get("/next")
	c.send("GET /third HTTP/1.1\r\n")
	d.Wake()
	c.answer("/early")
	d = <-s.waiting
	c.send("Host: x\r\n\r\n")
	d.Wake()
	c.answer("/next")
	(<-s.waiting).Wake()
	c.answer("/third")
}

// What HTTP says about the end of a connection holds for requests that wait too.
func TestEndOfConnection(t *testing.T) {
	for _, tt := range []struct{ name, request string }{
		{"asked for", "GET /x HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"},
		{"of HTTP/1.0", "GET /x HTTP/1.0\r\n\r\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := start(t, patience)
			c := s.connect(t)
			c.send(tt.request)
			(<-s.waiting).Wake()
			if !c.answer("/x") {
				t.Error("the response doesn't say that the connection ends")
			}
			c.ends()
		})
	}
	t.Run("after a time without a request", func(t *testing.T) {
		s := start(t, 50*time.Millisecond)
		c := s.connect(t)
		c.get("/x")
		(<-s.waiting).Wake()
		c.answer("/x")
		c.ends()
	})
	t.Run("by the client", func(t *testing.T) {
		s := start(t, patience)
		c := s.connect(t)
		c.get("/x")
		<-s.waiting
		_ = c.Close()
		if err := <-s.gone; err == nil {
			t.Error("no error")
		}
	})
}

// A server that stops wakes the requests that wait, closes connections between requests, and aborts the rest in time.
func TestShutdown(t *testing.T) {
	s := start(t, patience)
	idle, waiting := s.connect(t), s.connect(t)
	idle.get("/idle")
	(<-s.waiting).Wake()
	idle.answer("/idle")
	waiting.get("/waiting")
	<-s.waiting
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := errors.Join(s.Server.Shutdown(ctx), s.detached.Shutdown(ctx)); err != nil {
		t.Error(err)
	}
	if !waiting.answer("/waiting") {
		t.Error("the response doesn't say that the connection ends")
	}
	waiting.ends()
	idle.ends()

	s = start(t, patience)
	stuck := s.connect(t)
	stuck.get("/stuck")
	<-s.waiting
	ended, end := context.WithCancel(t.Context())
	end()
	poll.Until(t, patience, "the request has ended", func() bool { err := s.detached.Shutdown(ended); return err == nil })
}

// stuckListener returns connections whose writes wait from some time on, as when clients don't read, until they are closed.
type stuckListener struct {
	net.Listener
	stuck   chan struct{} // closed from then on
	end     chan struct{} // closed at the end of the test
	writing atomic.Int32  // writes that wait
}

type stuckConn struct {
	net.Conn
	listener *stuckListener
	closed   chan struct{}
	once     sync.Once
}

func (l *stuckListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	return &stuckConn{Conn: c, listener: l, closed: make(chan struct{})}, err
}

func (c *stuckConn) Write(b []byte) (int, error) {
	select {
	case <-c.listener.stuck:
		c.listener.writing.Add(1)
		defer c.listener.writing.Add(-1)
		select {
		case <-c.closed:
		case <-c.listener.end:
		}
		return 0, net.ErrClosed
	default:
		return c.Conn.Write(b)
	}
}

func (c *stuckConn) Close() error {
	c.once.Do(func() { close(c.closed) })
	return c.Conn.Close()
}

// Over TLS, the end of a connection waits for a client that doesn't read. The others, and Close, don't wait for that, and Shutdown ends
// it in time.
func TestShutdownWithStuckClientsOverTLS(t *testing.T) {
	root, certificate, err := devvault.NewCertificates()
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(root)
	stuck := &stuckListener{Listener: listen(t), stuck: make(chan struct{}), end: make(chan struct{})}
	t.Cleanup(func() { close(stuck.end) })
	s := startOn(t, tls.NewListener(stuck, &tls.Config{Certificates: []tls.Certificate{certificate}, MinVersion: tls.VersionTLS13}), patience)
	const idle, waiting = 5, 5
	for i := range idle + waiting {
		c := s.connect(t)
		c.Conn = tls.Client(c.Conn, &tls.Config{RootCAs: roots, ServerName: "127.0.0.1", MinVersion: tls.VersionTLS13})
		c.r.Reset(c.Conn)
		c.get("/x")
		d := <-s.waiting
		if i < idle {
			d.Wake()
			c.answer("/x")
		}
	}
	close(stuck.stuck)
	closed := make(chan error, 1)
	go func() { closed <- s.detached.Close() }()
	select {
	case err := <-closed:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(patience):
		t.Fatal("Close waits for clients")
	}
	poll.Until(t, patience, "all write at the same time", func() bool { return stuck.writing.Load() == idle+waiting })
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.detached.Shutdown(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	// The waiting ones end at once. Those that are being closed end by themselves: crypto/tls waits 5 seconds for a client.
	poll.Until(t, patience, "those that waited have ended", func() bool { return stuck.writing.Load() <= idle })
}

// Only requests of a server with a Listener can be detached.
func TestNoListener(t *testing.T) {
	if _, err := detach.New(new(http.Request).WithContext(t.Context())); err == nil {
		t.Error("no error")
	}
}
