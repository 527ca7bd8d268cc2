package vault

import (
	"net"
	"net/http"
	"sync"
)

// limitListener limits the number of open connections. More wait in the kernel's queue. Its connState is that of the
// http.Server.
type limitListener struct {
	net.Listener
	open   chan struct{} // one element for each open connection
	closed chan struct{}
	once   sync.Once
}

func newLimitListener(l net.Listener, n int) *limitListener {
	return &limitListener{Listener: l, open: make(chan struct{}, n), closed: make(chan struct{})}
}

// Accept implements net.Listener.
func (l *limitListener) Accept() (net.Conn, error) {
	select {
	case l.open <- struct{}{}:
	case <-l.closed:
		return nil, net.ErrClosed
	}
	c, err := l.Listener.Accept()
	if err != nil {
		<-l.open
	}
	return c, err
}

func (l *limitListener) connState(_ net.Conn, s http.ConnState) {
	if s == http.StateClosed {
		<-l.open
	}
}

// Close implements net.Listener.
func (l *limitListener) Close() error {
	l.once.Do(func() { close(l.closed) })
	return l.Listener.Close()
}
