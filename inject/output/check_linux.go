package output

import (
	"errors"
	"io/fs"
	"path"

	"golang.org/x/sys/unix"
)

// Look reports whether Write could write to Path, without writing. The Config must be valid.
//
// Errors: *Unsafe; fs.ErrNotExist and others of the system, with the path.
func (c Config) Look() error {
	dir := path.Dir(c.Path)
	d, err := c.open(dir)
	if err != nil {
		return err
	}
	defer d.close()
	exists, err := c.exists(d)
	if err != nil {
		return err
	}
	if exists && c.Format == Files { // the directory may be a file system of its own
		within, err := c.open(c.Path)
		if err != nil {
			return err
		}
		defer within.close()
		d, dir = within, c.Path
	}
	if err := c.onDisk(d); err != nil {
		return err
	}
	if err := unix.Faccessat(d.fd, ".", unix.W_OK|unix.X_OK, unix.AT_EACCESS); err != nil {
		return &fs.PathError{Op: "write to", Path: dir, Err: err}
	}
	return nil
}

// exists reports whether Path exists in its directory. Something that isn't of the output's type is an error.
func (c Config) exists(parent *directory) (bool, error) {
	base := path.Base(c.Path)
	st, err := parent.stat(base)
	switch kind := st.Mode & unix.S_IFMT; {
	case errors.Is(err, unix.ENOENT):
		return false, nil
	case err != nil:
		return false, err
	case kind == unix.S_IFLNK:
		return true, parent.symlinked(base)
	case c.Format != Files && kind != unix.S_IFREG:
		return true, &Unsafe{Path: c.Path, Reason: "is there and isn't a file", Fix: "remove it, or choose another path"}
	case c.Format == Files && kind != unix.S_IFDIR:
		return true, &Unsafe{Path: c.Path, Reason: "is there and isn't a directory", Fix: "remove it, or choose another path"}
	}
	return true, nil
}

// onDisk returns an error if d is on a file system with a disk and disks aren't allowed.
func (c Config) onDisk(d *directory) error {
	if c.AllowDisk {
		return nil
	}
	var st unix.Statfs_t
	if err := unix.Fstatfs(d.fd, &st); err != nil {
		return d.failure("statfs", "", err)
	}
	kind := uint32(st.Type) // signed on some platforms
	if kind == unix.TMPFS_MAGIC || kind == unix.RAMFS_MAGIC {
		return nil
	}
	return &Unsafe{
		Path: d.path, Reason: "is on " + diskName(kind) + ", where values would outlive this machine's memory",
		Fix: "choose a path on a tmpfs, such as /run or /dev/shm", Allow: "allow_disk",
	}
}

// stamp is a file's status without what reading the file may change. A change of content, mode or owner changes Ctim,
// which nobody can set, and which advances in steps of some milliseconds.
type stamp unix.Stat_t

func stampOf(st unix.Stat_t) stamp {
	st.Atim, st.Blocks = unix.Timespec{}, 0
	return stamp(st)
}

// withoutContent returns the part of a directory's stamp that doesn't change when files are added to it.
func (s stamp) withoutContent() stamp {
	s.Nlink, s.Size, s.Mtim, s.Ctim = 0, 0, unix.Timespec{}, unix.Timespec{}
	return s
}
