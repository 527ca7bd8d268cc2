// Package listener listens on Unix sockets. It replaces the socket that a process left behind, keeps other processes from
// listening on the same path, and can restore a socket that was removed.
package listener

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/rs/zerolog"
	"golang.org/x/sys/unix"

	"github.com/Miosa-osa/miosa-env/internal/delay"
)

// Listener listens on a path. Its methods may be called by any goroutine.
type Listener struct {
	path string
	mode fs.FileMode

	mu      sync.Mutex // guards the fields below
	current *net.UnixListener
	lock    *os.File
	created os.FileInfo // the socket of current
	closed  bool
}

// Listen listens on path with a socket of this mode. It creates the directory if that is missing, but not its parents.
// Errors: if another agent or broker listens there, something other than a socket is in the way, or another user could change the
// directory.
func Listen(path string, mode fs.FileMode) (*Listener, error) {
	if err := ValidPath(path); err != nil {
		return nil, err
	}
	l := &Listener{path: path, mode: mode}
	if err := l.bind(); err != nil {
		_ = l.Close()
		return nil, fmt.Errorf("socket %s: %w", path, err)
	}
	return l, nil
}

// bind listens on the path, instead of on the listener's previous socket. After an error that one stays.
func (l *Listener) bind() error {
	if err := makeFolder(filepath.Dir(l.path)); err != nil {
		return err
	}
	if err := l.takeLock(); err != nil {
		return err
	}
	if err := l.removeDead(); err != nil {
		return err
	}
	listener, err := net.ListenUnix("unix", &net.UnixAddr{Name: l.path, Net: "unix"})
	if err != nil {
		return err
	}
	listener.SetUnlinkOnClose(false)
	created, err := os.Lstat(l.path)
	if err == nil {
		err = os.Chmod(l.path, l.mode)
	}
	if err != nil {
		_ = os.Remove(l.path)
		_ = listener.Close()
		return err
	}
	if l.current != nil {
		_ = l.current.Close()
	}
	l.current, l.created = listener, created
	return nil
}

// takeLock locks a file next to the socket, so that no other process of this kind listens on the path. The lock ends with the process.
// Its file stays: removing it could remove the one that another agent has locked.
func (l *Listener) takeLock() error {
	path := l.path + ".lock"
	if l.lock != nil {
		if locked, err := l.lock.Stat(); err == nil && isFile(path, locked) {
			return nil
		}
	}
	lock, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return err
	}
	if err = unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		_ = lock.Close()
		if errors.Is(err, unix.EWOULDBLOCK) {
			return errors.New("another agent or broker is running and listens there")
		}
		return err
	}
	if l.lock != nil {
		_ = l.lock.Close()
	}
	l.lock = lock
	return nil
}

// removeDead removes the socket of an agent that has ended. The caller has the lock, so no agent listens there, but
// another program may.
func (l *Listener) removeDead() error {
	info, err := os.Lstat(l.path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	case info.Mode().Type() != fs.ModeSocket:
		return errOccupied
	}
	c, err := net.DialUnix("unix", nil, &net.UnixAddr{Name: l.path, Net: "unix"})
	if err == nil {
		_ = c.Close()
		return errors.New("another program listens there")
	}
	if !errors.Is(err, unix.ECONNREFUSED) {
		return err
	}
	return os.Remove(l.path)
}

// Path returns the path.
func (l *Listener) Path() string { return l.path }

// Accept returns the next connection. Errors: net.ErrClosed after Close.
func (l *Listener) Accept() (net.Conn, error) {
	for {
		listener := l.listening()
		c, err := listener.AcceptUnix()
		if err == nil || l.listening() == listener { // else Restore has closed it
			return c, err
		}
	}
}

func (l *Listener) listening() *net.UnixListener {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.current
}

// Restore listens on the path again if the socket was removed or replaced, and reports whether it had to. Connections
// stay. Errors: those of Listen.
func (l *Listener) Restore() (restored bool, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed || isFile(l.path, l.created) {
		return false, nil
	}
	if err := l.bind(); err != nil {
		return false, fmt.Errorf("socket %s: %w", l.path, err)
	}
	return true, nil
}

// Restore restores a listener, or a server of one, and logs that it had to, and errors.
func Restore(l interface {
	Restore() (restored bool, err error)
	Path() string
}, log zerolog.Logger) {
	switch restored, err := l.Restore(); {
	case err != nil:
		log.Error().Err(err).Msg("socket removed and cannot be recreated")
	case restored:
		log.Warn().Str("socket", l.Path()).Msg("socket removed: recreating it")
	}
}

// Close stops listening, and removes the socket unless it was replaced. It always returns nil.
func (l *Listener) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return nil
	}
	l.closed = true
	if isFile(l.path, l.created) {
		_ = os.Remove(l.path)
	}
	if l.current != nil {
		_ = l.current.Close()
	}
	if l.lock != nil {
		_ = l.lock.Close()
	}
	return nil
}

// isFile reports whether path is this very file.
func isFile(path string, file os.FileInfo) bool {
	now, err := os.Lstat(path)
	return err == nil && file != nil && os.SameFile(now, file)
}

// acceptPause is the pause after a connection couldn't be accepted, for lack of file descriptors for example.
const acceptPause = 100 * time.Millisecond

// Serve passes the connections that l accepts to handle, one after the other, until ctx ends or l is closed. It closes l.
func Serve(ctx context.Context, l interface {
	Accept() (net.Conn, error)
	Close() error
}, log zerolog.Logger, handle func(net.Conn)) {
	defer func() { _ = l.Close() }()
	stop := context.AfterFunc(ctx, func() { _ = l.Close() })
	defer stop()
	for {
		c, err := l.Accept()
		switch {
		case err == nil:
			handle(c)
		case ctx.Err() != nil, errors.Is(err, net.ErrClosed):
			return
		default:
			log.Error().Err(err).Msg("socket accepts no connections")
			if delay.Sleep(ctx, acceptPause) != nil {
				return
			}
		}
	}
}
