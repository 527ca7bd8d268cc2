package listener

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/Miosa-osa/miosa-env/internal/newfile"
)

// maxPath is the longest path that the kernel accepts, in bytes.
const maxPath = len(unix.RawSockaddrUnix{}.Path) - 1

var errOccupied = errors.New("there is something else in its place, and not a socket")

// ValidPath returns an error if no socket can have this path.
func ValidPath(path string) error {
	if !filepath.IsAbs(path) {
		return fmt.Errorf("socket %q: want a path from the root", path)
	}
	if len(path) > maxPath {
		return fmt.Errorf("socket %s: the path is longer than %d bytes", path, maxPath)
	}
	return nil
}

// CheckPath returns the error that Listen would return, except if another process listens on the path. It changes nothing.
func CheckPath(path string) error {
	if err := ValidPath(path); err != nil {
		return err
	}
	folder := filepath.Dir(path)
	info, err := os.Lstat(folder)
	switch {
	case errors.Is(err, fs.ErrNotExist): // Listen would create it, but not its parents
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

// makeFolder creates a socket's directory if it is missing, and refuses one in which another user could replace sockets.
// Every user may enter root's.
func makeFolder(path string) error {
	mode := fs.FileMode(0o700)
	if os.Geteuid() == 0 {
		mode = 0o755
	}
	err := os.Mkdir(path, mode)
	if err == nil {
		return os.Chmod(path, mode) // the umask doesn't apply to this
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
