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

// place is a path that this process, and no other, listens on.
type place struct {
	path    string
	private bool // for root, or this user, alone

	mu       sync.Mutex // guards the fields below
	listener *net.UnixListener
	lock     *os.File
	made     os.FileInfo // our socket
	left     bool
}

// takePlace listens on path, privately or not. The socket is for everybody if we are root, since it is the kernel's word
// on who asks that counts; else for this user.
func takePlace(path string, private bool) (*place, error) {
	if err := ValidSocketPath(path); err != nil {
		return nil, err
	}
	p := &place{path: path, private: private}
	if err := p.take(); err != nil {
		p.leave()
		return nil, fmt.Errorf("socket %s: %w", path, err)
	}
	return p, nil
}

// ValidSocketPath tells whether a socket can have this path, wherever it leads.
func ValidSocketPath(path string) error {
	if !filepath.IsAbs(path) {
		return fmt.Errorf("socket %q: want a path from the root", path)
	}
	if len(path) > maxSocketPath {
		return fmt.Errorf("socket %s: the path is longer than %d bytes", path, maxSocketPath)
	}
	return nil
}

// take listens on the path, in the place of our own socket of before too. After an error that one stands,
// if it did.
func (p *place) take() (err error) {
	mode, folderMode := fs.FileMode(0o600), fs.FileMode(0o700)
	if os.Geteuid() == 0 {
		mode, folderMode = 0o666, 0o755
	}
	if p.private {
		mode = 0o600
	}
	if err := takeFolder(filepath.Dir(p.path), folderMode); err != nil {
		return err
	}
	if err := p.takeLock(); err != nil {
		return err
	}
	if err := p.clear(); err != nil {
		return err
	}
	listener, err := net.ListenUnix("unix", &net.UnixAddr{Name: p.path, Net: "unix"})
	if err != nil {
		return err
	}
	listener.SetUnlinkOnClose(false)
	made, err := os.Lstat(p.path)
	if err == nil {
		err = os.Chmod(p.path, mode)
	}
	if err != nil {
		_ = os.Remove(p.path)
		_ = listener.Close()
		return err
	}
	if p.listener != nil {
		_ = p.listener.Close() // nobody finds it any more
	}
	p.listener, p.made = listener, made
	return nil
}

// accept takes the next connection. Errors: net.ErrClosed once the place was left.
func (p *place) accept() (*net.UnixConn, error) {
	for {
		p.mu.Lock()
		listener := p.listener
		p.mu.Unlock()
		c, err := listener.AcceptUnix()
		if errors.Is(err, net.ErrClosed) && p.renewed(listener) {
			continue
		}
		return c, err
	}
}

func (p *place) renewed(old *net.UnixListener) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.listener != old
}

// Restore listens at the path again where somebody has removed or replaced the socket, and tells whether
// it had to. Whoever is connected stays so.
// Errors: those of Listen.
func (s *Socket) Restore() (restored bool, err error) { return s.place.restore() }

func (p *place) restore() (restored bool, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.left || stands(p.path, p.made) {
		return false, nil
	}
	if err := p.take(); err != nil {
		return false, fmt.Errorf("socket %s: %w", p.path, err)
	}
	return true, nil
}

// stands tells whether a path leads to what was made there.
func stands(path string, made os.FileInfo) bool {
	now, err := os.Lstat(path)
	return err == nil && made != nil && os.SameFile(now, made)
}

// takeFolder makes the folder if it isn't there, and refuses one in which others could put a socket of
// theirs in the place of ours.
func takeFolder(path string, mode fs.FileMode) error {
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
	return judgeFolder(path, info)
}

func judgeFolder(path string, info fs.FileInfo) error {
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

// LookAtSocketPath tells what Listen would find at a path, another agent aside, and writes nothing.
// Errors: those of Listen.
func LookAtSocketPath(path string) error {
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
		err = judgeFolder(folder, info)
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

// takeLock makes sure that we are the only agent that wants this path. The lock goes with its process,
// however that ends; its file stays, since whoever removed it could remove the next one's.
func (p *place) takeLock() error {
	path := p.path + ".lock"
	if p.lock != nil {
		if had, err := p.lock.Stat(); err == nil && stands(path, had) {
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
	if p.lock != nil {
		_ = p.lock.Close()
	}
	p.lock = lock
	return nil
}

// clear removes what a dead agent left.
func (p *place) clear() error {
	info, err := os.Lstat(p.path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	case info.Mode().Type() != fs.ModeSocket:
		return errOccupied
	}
	// We have the lock, so this isn't an agent's that lives; but it may be another program's.
	w, err := newWire(p.path, time.Second)
	if err == nil {
		w.close()
		return errors.New("another program listens there")
	}
	if !errors.Is(err, ErrNoAgent) {
		return err
	}
	return os.Remove(p.path)
}

// leave gives the place up, and removes the socket unless it isn't ours any more.
func (p *place) leave() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.left {
		return
	}
	p.left = true
	if stands(p.path, p.made) {
		_ = os.Remove(p.path)
	}
	if p.listener != nil {
		_ = p.listener.Close()
	}
	if p.lock != nil {
		_ = p.lock.Close()
	}
}
