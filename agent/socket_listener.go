package agent

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/Miosa-osa/miosa-env/internal/newfile"
)

// maxSocketPath is the longest name the kernel takes, in bytes.
const maxSocketPath = 107

// listener listens on a path, and makes sure that no other agent does.
type listener struct {
	path    string
	private bool // for root, or this user, alone

	mu      sync.Mutex // guards the fields below
	current *net.UnixListener
	lock    *os.File
	made    os.FileInfo // our socket
	closed  bool
}

// newListener listens on path. If we are root and it isn't private, every user may connect, since the kernel identifies
// clients; else only this user.
func newListener(path string, private bool) (*listener, error) {
	if err := ValidSocketPath(path); err != nil {
		return nil, err
	}
	l := &listener{path: path, private: private}
	if err := l.bind(); err != nil {
		l.close()
		return nil, fmt.Errorf("socket %s: %w", path, err)
	}
	return l, nil
}

// ValidSocketPath returns an error if no socket can have this path.
func ValidSocketPath(path string) error {
	if !filepath.IsAbs(path) {
		return fmt.Errorf("socket %q: want a path from the root", path)
	}
	if len(path) > maxSocketPath {
		return fmt.Errorf("socket %s: the path is longer than %d bytes", path, maxSocketPath)
	}
	return nil
}

// bind listens on the path, and replaces our own socket of before. After an error that one stays, if there was one.
func (l *listener) bind() (err error) {
	mode, folderMode := fs.FileMode(0o600), fs.FileMode(0o700)
	if os.Geteuid() == 0 {
		mode, folderMode = 0o666, 0o755
	}
	if l.private {
		mode = 0o600
	}
	if err := makeFolder(filepath.Dir(l.path), folderMode); err != nil {
		return err
	}
	if err := l.takeLock(); err != nil {
		return err
	}
	if err := l.clear(); err != nil {
		return err
	}
	listener, err := net.ListenUnix("unix", &net.UnixAddr{Name: l.path, Net: "unix"})
	if err != nil {
		return err
	}
	listener.SetUnlinkOnClose(false)
	made, err := os.Lstat(l.path)
	if err == nil {
		err = os.Chmod(l.path, mode)
	}
	if err != nil {
		_ = os.Remove(l.path)
		_ = listener.Close()
		return err
	}
	if l.current != nil {
		_ = l.current.Close() // nobody finds it any more
	}
	l.current, l.made = listener, made
	return nil
}

// accept returns the next connection. Errors: net.ErrClosed after close.
func (l *listener) accept() (*net.UnixConn, error) {
	for {
		l.mu.Lock()
		listener := l.current
		l.mu.Unlock()
		c, err := listener.AcceptUnix()
		if errors.Is(err, net.ErrClosed) && l.renewed(listener) {
			continue
		}
		return c, err
	}
}

func (l *listener) renewed(old *net.UnixListener) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.current != old
}

// Restore listens at the path again if the socket was removed or replaced, and reports whether it had to. Connections
// stay.
// Errors: those of Listen.
func (s *Socket) Restore() (restored bool, err error) { return s.listener.restore() }

func (l *listener) restore() (restored bool, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed || same(l.path, l.made) {
		return false, nil
	}
	if err := l.bind(); err != nil {
		return false, fmt.Errorf("socket %s: %w", l.path, err)
	}
	return true, nil
}

// same reports whether a path leads to the file that was made there.
func same(path string, made os.FileInfo) bool {
	now, err := os.Lstat(path)
	return err == nil && made != nil && os.SameFile(now, made)
}

// makeFolder creates the directory if it is missing, and refuses one in which another user could replace our socket.
func makeFolder(path string, mode fs.FileMode) error {
	err := os.Mkdir(path, mode)
	if err == nil {
		return os.Chmod(path, mode) // whatever the umask
	}
	if !errors.Is(err, fs.ErrExist) {
		return err
	}
	info, err := os.Lstat(path)
	if err != nil {
		return err
	}
	return checkFolder(path, info)
}

func checkFolder(path string, info fs.FileInfo) error {
	switch {
	case !info.IsDir():
		return fmt.Errorf("%s isn't a folder", path)
	case info.Mode().Perm()&0o022 != 0:
		return fmt.Errorf("others may write to the folder %s: chmod go-w it", path)
	case !newfile.Ours(info):
		return fmt.Errorf("the folder %s belongs to another user", path)
	}
	return nil
}

var (
	errAlive    = errors.New("another agent is running and listens there")
	errOccupied = errors.New("there is something else in its place, and not a socket")
)

// CheckSocketPath returns the error that Listen would return for a path, unless another agent has it. It writes nothing.
// Errors: those of Listen.
func CheckSocketPath(path string) error {
	if err := ValidSocketPath(path); err != nil {
		return err
	}
	folder := filepath.Dir(path)
	info, err := os.Lstat(folder)
	switch {
	case errors.Is(err, fs.ErrNotExist): // it would be made, but not the one above
		folder = filepath.Dir(folder)
		_, err = os.Stat(folder)
	case err == nil:
		err = checkFolder(folder, info)
	}
	if err == nil {
		if err = unix.Faccessat(unix.AT_FDCWD, folder, unix.W_OK|unix.X_OK, unix.AT_EACCESS); err != nil {
			err = &fs.PathError{Op: "write to", Path: folder, Err: err}
		}
	}
	if err == nil {
		if there, statErr := os.Lstat(path); statErr == nil && there.Mode().Type() != fs.ModeSocket {
			err = errOccupied
		}
	}
	if err != nil {
		return fmt.Errorf("socket %s: %w", path, err)
	}
	return nil
}

// takeLock makes sure that no other agent has this path. The lock ends with its process. Its file stays: removing it
// could remove the next agent's.
func (l *listener) takeLock() error {
	path := l.path + ".lock"
	if l.lock != nil {
		if had, err := l.lock.Stat(); err == nil && same(path, had) {
			return nil
		}
	}
	lock, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return err
	}
	err = unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if err != nil {
		_ = lock.Close()
		if errors.Is(err, unix.EWOULDBLOCK) {
			return errAlive
		}
		return err
	}
	if l.lock != nil {
		_ = l.lock.Close()
	}
	l.lock = lock
	return nil
}

// clear removes the socket of an agent that has ended.
func (l *listener) clear() error {
	info, err := os.Lstat(l.path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	case info.Mode().Type() != fs.ModeSocket:
		return errOccupied
	}
	// We have the lock, so this isn't an agent's that lives; but it may be another program's.
	w, err := newWire(l.path, time.Second)
	if err == nil {
		w.close()
		return errors.New("another program listens there")
	}
	if !errors.Is(err, ErrNoAgent) {
		return err
	}
	return os.Remove(l.path)
}

// close stops listening, and removes the socket if it is still ours.
func (l *listener) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return
	}
	l.closed = true
	if same(l.path, l.made) {
		_ = os.Remove(l.path)
	}
	if l.current != nil {
		_ = l.current.Close()
	}
	if l.lock != nil {
		_ = l.lock.Close()
	}
}
