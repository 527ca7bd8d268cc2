package output

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/Miosa-osa/miosa-env/inject/environ"
)

// directory is an open directory that was reached without symlinks, through parents that other users can't change. All
// operations are relative to fd, so its path isn't resolved again.
type directory struct {
	fd   int
	path string
}

// openDirectory opens a directory with an absolute and clean path, one element at a time. Each element is opened before it
// is checked, so the directory that is used is the one that was checked. It must belong to root or this user and be
// writable by nobody else, unless it is sticky, as /dev/shm, or is shared.
//
// Errors: *Unsafe; fs.ErrNotExist and others of the system, with the path.
func openDirectory(dir, shared string) (*directory, error) {
	d := &directory{unix.AT_FDCWD, "/"}
	elements := strings.FieldsFunc(dir, func(r rune) bool { return r == '/' })
	for _, element := range append([]string{"/"}, elements...) {
		next, err := d.enter(element)
		d.close()
		if err != nil {
			return nil, err
		}
		if err := next.trusted(shared); err != nil {
			next.close()
			return nil, err
		}
		d = next
	}
	defer d.close()
	return d.open(".") // an O_PATH descriptor can't be listed or synced
}

// open opens a directory on the way to Path, or Path itself.
func (c Config) open(dir string) (*directory, error) {
	parent, shared := path.Dir(c.Path), ""
	if c.AllowShared {
		shared = parent
	}
	d, err := openDirectory(dir, shared)
	if unsafe, ok := errors.AsType[*Unsafe](err); ok && unsafe.Path != parent {
		unsafe.Allow = ""
	}
	return d, err
}

// enter opens a directory in d to walk on from.
func (d *directory) enter(name string) (*directory, error) {
	fd, err := unix.Openat(d.fd, name, unix.O_PATH|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err == nil {
		return &directory{fd, path.Join(d.path, name)}, nil
	}
	if st, statErr := d.stat(name); statErr == nil && st.Mode&unix.S_IFMT == unix.S_IFLNK {
		return nil, d.symlinked(name)
	}
	return nil, d.failure("open", name, err)
}

// open opens a directory in d, or d itself with ".".
func (d *directory) open(name string) (*directory, error) {
	fd, err := unix.Openat(d.fd, name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, d.failure("open", name, err)
	}
	return &directory{fd, path.Join(d.path, name)}, nil
}

// symlinked returns the error for a symlink in d.
func (d *directory) symlinked(name string) *Unsafe {
	at, target := path.Join(d.path, name), d.readlink(name)
	if !path.IsAbs(target) {
		target = path.Join(d.path, target)
	}
	return &Unsafe{Path: at, Reason: "is a symlink", Fix: "give the path without symlinks: " + environ.Quote(at) + " leads to " + environ.Quote(target)}
}

// trusted returns an error if other users can change what is in d, unless d is shared.
func (d *directory) trusted(shared string) error {
	st, err := d.stat("")
	if err != nil {
		return err
	}
	if us := os.Geteuid(); st.Uid != 0 && int(st.Uid) != us {
		return &Unsafe{
			Path: d.path, Reason: "belongs to uid " + strconv.Itoa(int(st.Uid)) + ", who could put something else in the way",
			Fix: "chown " + strconv.Itoa(us) + " " + environ.Quote(d.path) + ", or choose a path under directories of root's",
		}
	}
	if st.Mode&0o022 != 0 && st.Mode&unix.S_ISVTX == 0 && d.path != shared {
		return &Unsafe{
			Path: d.path, Reason: fmt.Sprintf("has mode %#o: others could put something else in the way", st.Mode&0o7777),
			Fix: "chmod go-w " + environ.Quote(d.path), Allow: "allow_shared",
		}
	}
	return nil
}

func diskName(kind uint32) string {
	for _, known := range []struct {
		kind uint32
		name string
	}{
		{unix.EXT4_SUPER_MAGIC, "ext4"}, {unix.XFS_SUPER_MAGIC, "xfs"}, {unix.BTRFS_SUPER_MAGIC, "btrfs"},
		{unix.OVERLAYFS_SUPER_MAGIC, "overlay"}, {unix.NFS_SUPER_MAGIC, "nfs"}, {unix.FUSE_SUPER_MAGIC, "fuse"},
		{unix.F2FS_SUPER_MAGIC, "f2fs"}, {0x2fc12fc1, "zfs"}, {unix.V9FS_MAGIC, "9p"}, {0x6a656a63, "virtiofs"},
	} {
		if kind == known.kind {
			return known.name
		}
	}
	return fmt.Sprintf("a file system of type %#x", kind)
}

// free returns the number of free bytes in d's file system, for error messages.
func (d *directory) free() uint64 {
	var st unix.Statfs_t
	if unix.Fstatfs(d.fd, &st) != nil {
		return 0
	}
	return st.Bavail * uint64(st.Bsize)
}

// stat returns the status of a file in d, without following a symlink, or of d itself with "".
func (d *directory) stat(name string) (st unix.Stat_t, err error) {
	err = unix.Fstatat(d.fd, name, &st, unix.AT_SYMLINK_NOFOLLOW|unix.AT_EMPTY_PATH)
	return st, d.failure("stat", name, err)
}

// readlink returns a symlink's target, or "".
func (d *directory) readlink(name string) string {
	target := make([]byte, unix.PathMax)
	n, err := unix.Readlinkat(d.fd, name, target)
	if err != nil {
		return ""
	}
	return string(target[:n])
}

// unlink removes what isn't a directory. It is no error if it doesn't exist.
func (d *directory) unlink(name string) error {
	if err := unix.Unlinkat(d.fd, name, 0); err != unix.ENOENT {
		return d.failure("remove", name, err)
	}
	return nil
}

// mkdir creates a directory that only this user can access.
func (d *directory) mkdir(name string) error {
	return d.failure("create", name, unix.Mkdirat(d.fd, name, 0o700))
}

// symlink creates a symlink.
func (d *directory) symlink(target, name string) error {
	return d.failure("link", name, unix.Symlinkat(target, d.fd, name))
}

// rename moves a file in d to another name.
func (d *directory) rename(from, to string) error {
	return d.failure("replace", to, unix.Renameat(d.fd, from, d.fd, to))
}

// names lists what is in d.
func (d *directory) names() ([]string, error) {
	again, err := d.open(".") // with a position of its own
	if err != nil {
		return nil, err
	}
	f := os.NewFile(uintptr(again.fd), d.path)
	defer func() { _ = f.Close() }()
	return f.Readdirnames(-1)
}

// sync writes d to its medium.
func (d *directory) sync() error {
	return d.failure("sync", "", unix.Fsync(d.fd))
}

// failure returns an error about a file in d, or nil if err is nil.
func (d *directory) failure(op, name string, err error) error {
	if err == nil {
		return nil
	}
	return &fs.PathError{Op: op, Path: path.Join(d.path, name), Err: err}
}

func (d *directory) close() { _ = unix.Close(d.fd) }
