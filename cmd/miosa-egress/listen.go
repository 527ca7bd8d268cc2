package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync/atomic"

	"github.com/mdlayher/vsock"
	"github.com/rs/zerolog"
	"golang.org/x/sys/unix"

	"github.com/Miosa-osa/miosa-env/agent/listener"
	"github.com/Miosa-osa/miosa-env/egress/config"
	"github.com/Miosa-osa/miosa-env/egress/proxy"
	"github.com/Miosa-osa/miosa-env/internal/cli"
	"github.com/Miosa-osa/miosa-env/internal/task"
)

// endpoint is a listener of the configuration. It passes connections to the proxy of its resource, which can change.
type endpoint struct {
	net.Listener
	to   atomic.Pointer[proxy.Queue]
	task *task.Task // nil: nothing is accepted yet
	log  zerolog.Logger
}

// listen listens on an address of the configuration.
func listen(ctx context.Context, l *config.Listener, log zerolog.Logger) (*endpoint, error) {
	var opened net.Listener
	var err error
	switch config.NetworkOf(l.Address) {
	case "unix":
		opened, err = listenUnix(strings.TrimPrefix(l.Address, "unix:"))
	case "vsock":
		cid, port, _ := config.ParseVsock(l.Address) // which the configuration has checked
		opened, err = vsock.ListenContextID(cid, port, nil)
	default:
		if opened, err = new(net.ListenConfig).Listen(ctx, "tcp", l.Address); errors.Is(err, unix.EADDRNOTAVAIL) {
			// The sandbox's device may be created later. Other sandboxes don't wait for it.
			if later, unable := listenAbsent(ctx, l.Address); unable == nil {
				log.Warn().Int("line", l.Line("address")).Str("address", l.Address).Msg("no device has the address of this listener yet")
				opened, err = later, nil
			}
		}
	}
	if err != nil {
		return nil, l.Problem("address", addressProblem("address", err))
	}
	return &endpoint{Listener: opened, log: log}, nil
}

// addressProblem is the error of a field with an address at which the broker can't listen.
func addressProblem(field string, err error) error {
	problem := fmt.Errorf("%s: %w", field, err)
	switch {
	case errors.Is(err, unix.EADDRNOTAVAIL):
		return cli.WithHint(problem, "no device of this machine has it, as ip addr shows")
	case errors.Is(err, unix.EADDRINUSE):
		return cli.WithHint(problem, "ss -ltnp shows what listens there: end it, or use another port")
	}
	return problem
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
func (e *endpoint) passTo(q *proxy.Queue) {
	e.to.Store(q)
	if e.task == nil {
		e.task = task.Start(context.Background(), func(ctx context.Context) {
			listener.Serve(ctx, e.Listener, e.log, func(c net.Conn) { e.to.Load().Give(c) })
		})
	}
}

// restore creates the socket again if it was removed.
func (e *endpoint) restore(log zerolog.Logger) {
	if u, ok := e.Listener.(unixListener); ok {
		listener.Restore(u.Listener, log)
	}
}

// close ends listening. Connections stay.
func (e *endpoint) close() {
	_ = e.Listener.Close()
	e.task.Close()
}
