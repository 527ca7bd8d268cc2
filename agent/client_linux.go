package agent

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/Miosa-osa/miosa-env/api"
)

// wire is one connection to an agent. It blocks in the kernel instead of going through package net,
// whose first connection costs a command's start more than all else the agent is asked.
type wire struct {
	fd     int
	silent bool      // ended by the time limit
	end    time.Time // no read begins after it; zero: any may
}

// newWire connects, waiting at most timeout for a full queue.
func newWire(path string, timeout time.Duration) (*wire, error) {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("open a socket: %w", err)
	}
	w := &wire{fd: fd}
	err = w.limit(unix.SO_SNDTIMEO, timeout)
	if err == nil {
		err = ignoringEINTR(func() error { return unix.Connect(fd, &unix.SockaddrUnix{Name: path}) })
	}
	switch {
	case err == nil:
		return w, nil
	case path == "", errors.Is(err, unix.ENOENT), errors.Is(err, unix.ECONNREFUSED) && isSocket(path):
		err = ErrNoAgent
	case errors.Is(err, unix.ECONNREFUSED):
		err = fmt.Errorf("%s %w", path, ErrNotSocket)
	case errors.Is(err, unix.EINVAL):
		err = fmt.Errorf("%s %w: it is longer than %d bytes", path, ErrNotSocket, maxSocketPath)
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
	w.close()
	return nil, err
}

// isSocket reports whether path is a socket, of nobody any more, or gone by now.
func isSocket(path string) bool {
	info, err := os.Stat(path)
	return err != nil || info.Mode()&os.ModeSocket != 0
}

// limit sets a time limit on the socket's calls.
func (w *wire) limit(option int, d time.Duration) error {
	limit := unix.NsecToTimeval(int64(d))
	return unix.SetsockoptTimeval(w.fd, unix.SOL_SOCKET, option, &limit)
}

func (w *wire) close() { _ = unix.Close(w.fd) }

// exchange sends a request, reads the answer and closes the connection. The end of ctx ends it; so does
// patience, by which each part of the answer must be there, and answerTimeout later the whole.
func (w *wire) exchange(ctx context.Context, q request, patience time.Duration) (r reply, err error) {
	defer w.close()
	if err := w.limit(unix.SO_RCVTIMEO, patience); err != nil {
		return reply{}, fmt.Errorf("limit the agent's time: %w", err)
	}
	w.end = time.Now().Add(patience + answerTimeout)
	if ctx.Done() != nil {
		hungUp := make(chan struct{})
		stop := context.AfterFunc(ctx, func() {
			defer close(hungUp)
			_ = unix.Shutdown(w.fd, unix.SHUT_RDWR) // wakes whoever blocks on it
		})
		defer func() {
			if !stop() { // else the number may be somebody else's by then
				<-hungUp
			}
			if err != nil && ctx.Err() != nil {
				err = ctx.Err()
			}
		}()
	}
	// An agent that has too many connections answers and hangs up without reading.
	if err := w.send(q.line()); err != nil && !errors.Is(err, unix.EPIPE) && !errors.Is(err, unix.ECONNRESET) {
		return reply{}, fmt.Errorf("ask the agent: %w", err)
	}
	r, err = readReply(w)
	if errors.Is(err, unix.ECONNRESET) || errors.Is(err, os.ErrDeadlineExceeded) {
		err = api.NewError(api.ErrUnavailable, "the agent doesn't answer")
	}
	return r, err
}

func (w *wire) send(b []byte) error {
	return ignoringEINTR(func() error {
		n, err := unix.SendmsgN(w.fd, b, nil, nil, unix.MSG_NOSIGNAL)
		if err == nil && n < len(b) {
			return io.ErrShortWrite // a request fits any buffer
		}
		return err
	})
}

// Read implements io.Reader.
func (w *wire) Read(b []byte) (n int, err error) {
	if len(b) == 0 {
		return 0, nil
	}
	if !w.end.IsZero() && time.Now().After(w.end) {
		w.silent = true
		return 0, os.ErrDeadlineExceeded
	}
	err = ignoringEINTR(func() error { n, err = unix.Read(w.fd, b); return err })
	switch {
	case errors.Is(err, unix.EAGAIN):
		w.silent = true
		return 0, os.ErrDeadlineExceeded
	case err != nil:
		return 0, err
	case n == 0:
		return 0, io.EOF
	}
	return n, nil
}

// ignoringEINTR does it again when a signal came between: with a time limit on the socket the kernel
// doesn't.
func ignoringEINTR(do func() error) error {
	for {
		if err := do(); !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}
