package main

import (
	"context"
	"fmt"
	"net"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/mdlayher/vsock"
	"github.com/rs/zerolog"

	"github.com/Miosa-osa/miosa-env/agent/listener"
	"github.com/Miosa-osa/miosa-env/egress/config"
	"github.com/Miosa-osa/miosa-env/internal/task"
)

// bound is a listener of the configuration. It passes connections to the proxy of its resource, which can change.
type bound struct {
	net.Listener
	to   atomic.Pointer[queue]
	task *task.Task // nil: nothing is accepted yet
	log  zerolog.Logger
}

// listen listens on an address of the configuration.
func listen(ctx context.Context, l *config.Listener, log zerolog.Logger) (*bound, error) {
	var opened net.Listener
	var err error
	switch config.NetworkOf(l.Address) {
	case "unix":
		opened, err = listenUnix(strings.TrimPrefix(l.Address, "unix:"))
	case "vsock":
		cid, port, _ := config.ParseVsock(l.Address) // which the configuration has checked
		opened, err = vsock.ListenContextID(cid, port, nil)
	default:
		opened, err = new(net.ListenConfig).Listen(ctx, "tcp", l.Address)
	}
	if err != nil {
		return nil, l.Problem("address", fmt.Errorf("address: %w", err))
	}
	return &bound{Listener: opened, log: log}, nil
}

// unixListener is a listener.Listener as a net.Listener.
type unixListener struct{ *listener.Listener }

func (u unixListener) Addr() net.Addr { return &net.UnixAddr{Net: "unix", Name: u.Path()} }

func listenUnix(path string) (net.Listener, error) {
	l, err := listener.Listen(path, 0o600)
	if err != nil {
		return nil, err
	}
	return unixListener{l}, nil
}

// passTo passes connections that are accepted from now on to a queue.
func (b *bound) passTo(q *queue) {
	b.to.Store(q)
	if b.task == nil {
		b.task = task.Start(context.Background(), func(ctx context.Context) {
			listener.Serve(ctx, b.Listener, b.log, func(c net.Conn) { b.to.Load().give(c) })
		})
	}
}

// restore creates the socket again if it was removed.
func (b *bound) restore(log zerolog.Logger) {
	if u, ok := b.Listener.(unixListener); ok {
		restoreSocket(u.Listener, log)
	}
}

func restoreSocket(l *listener.Listener, log zerolog.Logger) {
	switch restored, err := l.Restore(); {
	case err != nil:
		log.Error().Err(err).Msg("socket removed and cannot be recreated")
	case restored:
		log.Warn().Str("socket", l.Path()).Msg("socket removed: recreating it")
	}
}

// close ends listening. Connections stay.
func (b *bound) close() {
	_ = b.Listener.Close()
	b.task.Close()
}

// queue is a listener of connections that others have accepted.
type queue struct {
	connections chan net.Conn
	closed      chan struct{}
	once        sync.Once
}

func newQueue() *queue {
	return &queue{connections: make(chan net.Conn), closed: make(chan struct{})}
}

// give passes a connection on, or closes it if the queue is closed.
func (q *queue) give(c net.Conn) {
	select {
	case q.connections <- c:
	case <-q.closed:
		_ = c.Close()
	}
}

// Accept implements net.Listener.
func (q *queue) Accept() (net.Conn, error) {
	select {
	case c := <-q.connections:
		return c, nil
	case <-q.closed:
		return nil, net.ErrClosed
	}
}

// Close implements net.Listener.
func (q *queue) Close() error {
	q.once.Do(func() { close(q.closed) })
	return nil
}

// Addr implements net.Listener.
func (q *queue) Addr() net.Addr { return &net.TCPAddr{} }
