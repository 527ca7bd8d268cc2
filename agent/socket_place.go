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
)

// maxSocketPath is the longest name the kernel takes, in bytes.
const maxSocketPath = 107

// place is a path that this process, and no other, listens on.
type place struct {
	path     string
	listener *net.UnixListener
	lock     *os.File
	made     os.FileInfo // our socket

	left sync.Once
}

// takePlace listens on path. The socket is for everybody if we are root, since it is the kernel's word
// on who asks that counts; else for this user.
func takePlace(path string) (p *place, err error) {
	if !filepath.IsAbs(path) {
		return nil, fmt.Errorf("socket %q: want a path from the root", path)
	}
	if len(path) > maxSocketPath {
		return nil, fmt.Errorf("socket %s: the path is longer than %d bytes", path, maxSocketPath)
	}
	mode, folderMode := fs.FileMode(0o600), fs.FileMode(0o700)
	if os.Geteuid() == 0 {
		mode, folderMode = 0o666, 0o755
	}
	if err := takeFolder(filepath.Dir(path), folderMode); err != nil {
		return nil, fmt.Errorf("socket %s: %w", path, err)
	}
	p = &place{path: path}
	defer func() {
		if err != nil {
			p.leave()
			p, err = nil, fmt.Errorf("socket %s: %w", path, err)
		}
	}()
	if err := p.takeLock(); err != nil {
		return p, err
	}
	if err := p.clear(); err != nil {
		return p, err
	}
	if p.listener, err = net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"}); err != nil {
		return p, err
	}
	p.listener.SetUnlinkOnClose(false)
	if p.made, err = os.Lstat(path); err != nil {
		return p, err
	}
	return p, os.Chmod(path, mode)
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
	switch {
	case err != nil:
		return err
	case !info.IsDir():
		return fmt.Errorf("%s isn't a folder", path)
	case info.Mode().Perm()&0o022 != 0:
		return fmt.Errorf("others may write to the folder %s: chmod go-w it", path)
	case !ours(info):
		return fmt.Errorf("the folder %s belongs to another user", path)
	}
	return nil
}

var errAlive = errors.New("another agent is running and listens there")

// takeLock makes sure that we are the only agent that wants this path. The lock goes with its process,
// however that ends; its file stays, since whoever removed it could remove the next one's.
func (p *place) takeLock() (err error) {
	p.lock, err = os.OpenFile(p.path+".lock", os.O_CREATE|os.O_RDWR|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return err
	}
	err = unix.Flock(int(p.lock.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if errors.Is(err, unix.EWOULDBLOCK) {
		return errAlive
	}
	return err
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
		return errors.New("there is something else in its place, and not a socket")
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
	p.left.Do(func() {
		if now, err := os.Lstat(p.path); err == nil && p.made != nil && os.SameFile(now, p.made) {
			_ = os.Remove(p.path)
		}
		if p.listener != nil {
			_ = p.listener.Close()
		}
		if p.lock != nil {
			_ = p.lock.Close()
		}
	})
}
