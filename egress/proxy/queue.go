package proxy

import (
	"net"
	"sync"
)

// Queue is a listener of connections that were accepted elsewhere.
type Queue struct {
	connections chan net.Conn
	closed      chan struct{}
	once        sync.Once
}

// NewQueue returns an open Queue.
func NewQueue() *Queue {
	return &Queue{connections: make(chan net.Conn), closed: make(chan struct{})}
}

// Give passes a connection on, or closes it if the queue is closed.
func (q *Queue) Give(c net.Conn) {
	select {
	case q.connections <- c:
	case <-q.closed:
		_ = c.Close()
	}
}

// Accept implements net.Listener.
func (q *Queue) Accept() (net.Conn, error) {
	select {
	case c := <-q.connections:
		return c, nil
	case <-q.closed:
		return nil, net.ErrClosed
	}
}

// Close implements net.Listener.
func (q *Queue) Close() error {
	q.once.Do(func() { close(q.closed) })
	return nil
}

// Addr implements net.Listener.
func (q *Queue) Addr() net.Addr { return &net.TCPAddr{} }
