package keyring

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// Names in the folder of a root key's file.
const (
	tempPrefix = ".root-key-"     // of the temporary files that replace it; a process that is killed leaves one behind
	lockName   = ".root-key.lock" // is locked by whatever changes root keys in the folder
)

// lockFolder gets the lock of the folder of root keys, and removes the temporary files of processes that were killed. With wait it
// waits for the lock, otherwise unlock is nil if another process has it.
func lockFolder(folder string, wait bool) (unlock func(), err error) {
	f, err := os.OpenFile(filepath.Join(folder, lockName), os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, err
	}
	how := unix.LOCK_EX
	if !wait {
		how |= unix.LOCK_NB
	}
	for {
		err = unix.Flock(int(f.Fd()), how)
		if !errors.Is(err, unix.EINTR) {
			break
		}
	}
	if err == nil {
		err = sweep(folder)
	}
	if err != nil {
		_ = f.Close()
		if !wait && errors.Is(err, unix.EWOULDBLOCK) {
			err = nil
		}
		return nil, err
	}
	return func() { _ = f.Close() }, nil // the lock ends with the process at the latest
}

// sweepIdle removes the temporary files of processes that were killed, unless another process changes a root key now.
func sweepIdle(folder string) error {
	left, err := leftovers(folder)
	if err != nil || len(left) == 0 {
		return err
	}
	unlock, err := lockFolder(folder, false)
	if unlock != nil {
		unlock()
	}
	return err
}

// sweep removes the temporary files. The caller has the folder's lock, so no process is writing one.
func sweep(folder string) error {
	left, err := leftovers(folder)
	for _, path := range left {
		if removed := os.Remove(path); !errors.Is(removed, fs.ErrNotExist) {
			err = errors.Join(err, removed)
		}
	}
	return err
}

// leftovers lists this user's temporary files of root keys in a folder. A folder that can't be read has none.
func leftovers(folder string) (paths []string, err error) {
	entries, err := os.ReadDir(folder)
	if errors.Is(err, fs.ErrPermission) || errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	for _, e := range entries {
		random, ok := strings.CutPrefix(e.Name(), tempPrefix)
		if !ok || random == "" || strings.Trim(random, "0123456789") != "" { // as os.CreateTemp names them
			continue
		}
		info, infoErr := e.Info()
		if infoErr != nil || !info.Mode().IsRegular() || info.Mode().Perm() != 0o600 {
			continue
		}
		if st, ok := info.Sys().(*syscall.Stat_t); ok && int(st.Uid) == os.Geteuid() {
			paths = append(paths, filepath.Join(folder, e.Name()))
		}
	}
	return paths, err
}
