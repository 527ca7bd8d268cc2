package inject

import (
	"errors"
	"io/fs"
	"path"

	"golang.org/x/sys/unix"
)

// Look tells what Write would find on the way to Path, and writes nothing. C must be valid.
//
// Errors: *Unsafe; fs.ErrNotExist and others of the system, with the path.
func (c OutputConfig) Look() error {
	dir := path.Dir(c.Path)
	at, err := c.open(dir)
	if err != nil {
		return err
	}
	defer at.close()
	base := path.Base(c.Path)
	st, err := at.stat(base)
	switch kind := st.Mode & unix.S_IFMT; {
	case errors.Is(err, unix.ENOENT):
	case err != nil:
		return &fs.PathError{Op: "stat", Path: c.Path, Err: err}
	case kind == unix.S_IFLNK:
		return symlinked(c.Path, at.readlink(base))
	case c.Format != FormatFiles && kind != unix.S_IFREG:
		return &Unsafe{Path: c.Path, Reason: "is there and isn't a file", Fix: "remove it, or choose another path"}
	case c.Format == FormatFiles && kind != unix.S_IFDIR:
		return &Unsafe{Path: c.Path, Reason: "is there and isn't a directory", Fix: "remove it, or choose another path"}
	case c.Format == FormatFiles: // which may be a file system of its own
		within, err := c.open(c.Path)
		if err != nil {
			return err
		}
		defer within.close()
		at, dir = within, c.Path
	}
	if !c.AllowDisk {
		if err := at.inMemory(); err != nil {
			return err
		}
	}
	if err := unix.Faccessat(at.fd, ".", unix.W_OK|unix.X_OK, unix.AT_EACCESS); err != nil {
		return &fs.PathError{Op: "write to", Path: dir, Err: err}
	}
	return nil
}
