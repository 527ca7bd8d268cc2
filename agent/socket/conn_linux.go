package socket

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/Miosa-osa/miosa-env/agent/listener"
	"github.com/Miosa-osa/miosa-env/api"
)

// conn is a client's connection to an agent. It uses blocking system calls: the first connection of package net takes
// longer than a whole request.
type conn struct {
	fd       int
	timedOut bool
	end      time.Time // no read starts after it; zero: no limit
}

// newConn connects to an agent. It waits up to timeout if the listener's queue is full.
func newConn(path string, timeout time.Duration) (*conn, error) {
	if listener.ValidPath(path) == nil && errors.Is(unix.Access(path, unix.F_OK), unix.ENOENT) {
		return nil, ErrNoAgent // without a socket, for the commands that then ask the vault
	}
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("open a socket: %w", err)
	}
	c := &conn{fd: fd}
	err = c.setTimeout(unix.SO_SNDTIMEO, timeout)
	if err == nil {
		err = ignoringEINTR(func() error { return unix.Connect(fd, &unix.SockaddrUnix{Name: path}) })
	}
	switch {
	case err == nil:
		return c, nil
	case path == "", errors.Is(err, unix.ENOENT), errors.Is(err, unix.ECONNREFUSED) && isSocket(path):
		err = ErrNoAgent
	case errors.Is(err, unix.ECONNREFUSED):
		err = fmt.Errorf("%s %w", path, ErrNotSocket)
	case errors.Is(err, unix.EINVAL):
		err = fmt.Errorf("%s %w: it is longer than %d bytes", path, ErrNotSocket, len(unix.RawSockaddrUnix{}.Path)-1)
	case errors.Is(err, unix.EPROTOTYPE):
		err = fmt.Errorf("%s %w of an agent: %w", path, ErrNotSocket, err)
	case errors.Is(err, unix.ENOTDIR), errors.Is(err, unix.ELOOP):
		err = fmt.Errorf("%s %w: %w", path, ErrNotSocket, err)
	case errors.Is(err, unix.EACCES), errors.Is(err, unix.EPERM):
		err = api.NewError(api.ErrDenied, "this user may not use the agent's socket "+path)
	case errors.Is(err, unix.EAGAIN):
		err = api.NewError(api.ErrUnavailable, "the agent at "+path+" takes no connections")
	default:
		err = fmt.Errorf("connect to the agent at %s: %w", path, err)
	}
	c.close()
	return nil, err
}

// isSocket reports whether path is a socket, or was removed meanwhile.
func isSocket(path string) bool {
	info, err := os.Stat(path)
	return err != nil || info.Mode()&os.ModeSocket != 0
}

func (c *conn) setTimeout(option int, d time.Duration) error {
	timeout := unix.NsecToTimeval(int64(d))
	return unix.SetsockoptTimeval(c.fd, unix.SOL_SOCKET, option, &timeout)
}

func (c *conn) close() { _ = unix.Close(c.fd) }

// exchange sends a request, reads the reply and closes the connection. It fails when ctx ends, when no part of the reply
// arrives for the length of timeout, and replyTimeout after that whatever has arrived.
func (c *conn) exchange(ctx context.Context, q request, timeout time.Duration) (r reply, err error) {
	defer c.close()
	if err := c.setTimeout(unix.SO_RCVTIMEO, timeout); err != nil {
		return reply{}, fmt.Errorf("set a timeout for the agent: %w", err)
	}
	c.end = time.Now().Add(timeout + replyTimeout)
	if ctx.Done() != nil {
		shut := make(chan struct{})
		stop := context.AfterFunc(ctx, func() {
			defer close(shut)
			_ = unix.Shutdown(c.fd, unix.SHUT_RDWR) // ends a system call that blocks
		})
		defer func() {
			if !stop() {
				<-shut // or close could give the descriptor to another file first
			}
			if err != nil && ctx.Err() != nil {
				err = ctx.Err()
			}
		}()
	}
	// An agent that has too many connections replies and closes without reading.
	if err := c.send(q.line()); err != nil && !errors.Is(err, unix.EPIPE) && !errors.Is(err, unix.ECONNRESET) {
		return reply{}, fmt.Errorf("ask the agent: %w", err)
	}
	r, err = readReply(c)
	if errors.Is(err, unix.ECONNRESET) || errors.Is(err, os.ErrDeadlineExceeded) {
		err = api.NewError(api.ErrUnavailable, "the agent doesn't answer")
	}
	return r, err
}

func (c *conn) send(b []byte) error {
	return ignoringEINTR(func() error {
		n, err := unix.SendmsgN(c.fd, b, nil, nil, unix.MSG_NOSIGNAL)
		if err == nil && n < len(b) {
			return io.ErrShortWrite // the socket's buffer has room for any request
		}
		return err
	})
}

// Read implements io.Reader.
func (c *conn) Read(b []byte) (n int, err error) {
	if len(b) == 0 {
		return 0, nil
	}
	err = unix.EAGAIN
	if c.end.IsZero() || time.Now().Before(c.end) {
		err = ignoringEINTR(func() error { n, err = unix.Read(c.fd, b); return err })
	}
	switch {
	case errors.Is(err, unix.EAGAIN):
		c.timedOut = true
		return 0, os.ErrDeadlineExceeded
	case err != nil:
		return 0, err
	case n == 0:
		return 0, io.EOF
	}
	return n, nil
}

// ignoringEINTR repeats a system call that a signal has interrupted. The kernel doesn't restart one that has a timeout.
func ignoringEINTR(call func() error) error {
	for {
		if err := call(); !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}
