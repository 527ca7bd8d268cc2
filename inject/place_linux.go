package inject

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// place is an open directory that was reached without a symlink, through parents that nobody else can
// change. Whatever is done in it is done relative to fd: its path isn't looked up a second time.
type place struct {
	fd   int
	path string
}

// openPlace walks to a directory, given as an absolute and clean path, part by part. Each part is
// opened before it is looked at, so what was checked is what is used, and each must belong to root or to
// us and be writable by nobody else, unless it is sticky as /dev/shm is, or is the one that may be shared.
//
// Errors: *Unsafe; fs.ErrNotExist and others of the system, with the path.
func openPlace(dir, shared string) (*place, error) {
	fd, err := openDirectory(unix.AT_FDCWD, "/")
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: "/", Err: err}
	}
	at := &place{fd, "/"}
	if err := at.trusted(shared); err != nil {
		at.close()
		return nil, err
	}
	for part := range strings.SplitSeq(strings.Trim(dir, "/"), "/") {
		if part == "" {
			break // dir is the root
		}
		next, err := at.enter(part)
		at.close()
		if err != nil {
			return nil, err
		}
		if err := next.trusted(shared); err != nil {
			next.close()
			return nil, err
		}
		at = next
	}
	defer at.close()
	// What was walked on can't be listed or synced.
	fd, err = unix.Openat(at.fd, ".", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: at.path, Err: err}
	}
	return &place{fd, at.path}, nil
}

// open is openPlace for a directory on the way to Path, or for Path itself.
func (c OutputConfig) open(dir string) (*place, error) {
	mayBeShared, shared := path.Dir(c.Path), ""
	if c.AllowShared {
		shared = mayBeShared
	}
	at, err := openPlace(dir, shared)
	if unsafe, ok := errors.AsType[*Unsafe](err); ok && unsafe.Path != mayBeShared {
		unsafe.Allow = ""
	}
	return at, err
}

func openDirectory(at int, name string) (int, error) {
	return unix.Openat(at, name, unix.O_PATH|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
}

// enter opens a directory in p, to walk on from.
func (p *place) enter(name string) (*place, error) {
	whole := path.Join(p.path, name)
	fd, err := openDirectory(p.fd, name)
	if err == nil {
		return &place{fd, whole}, nil
	}
	if st, statErr := p.stat(name); statErr == nil && st.Mode&unix.S_IFMT == unix.S_IFLNK {
		return nil, symlinked(whole, p.readlink(name))
	}
	return nil, &fs.PathError{Op: "open", Path: whole, Err: err}
}

func symlinked(at, target string) *Unsafe {
	if !path.IsAbs(target) {
		target = path.Join(path.Dir(at), target)
	}
	return &Unsafe{Path: at, Reason: "is a symlink", Fix: "give the path without symlinks: " + shown(at) + " leads to " + shown(target)}
}

// trusted tells whether nobody but root and us can change what is in p, or whether it may be shared.
func (p *place) trusted(shared string) error {
	var st unix.Stat_t
	if err := unix.Fstat(p.fd, &st); err != nil {
		return &fs.PathError{Op: "stat", Path: p.path, Err: err}
	}
	if us := os.Geteuid(); st.Uid != 0 && int(st.Uid) != us {
		return &Unsafe{Path: p.path, Reason: "belongs to uid " + strconv.Itoa(int(st.Uid)) + ", who could put something else in the way", Fix: "chown " + strconv.Itoa(us) + " " + shown(p.path) + ", or choose a path under directories of root's"}
	}
	if st.Mode&0o022 != 0 && st.Mode&unix.S_ISVTX == 0 && p.path != shared {
		return &Unsafe{
			Path: p.path, Reason: fmt.Sprintf("has mode %#o: others could put something else in the way", st.Mode&0o7777),
			Fix: "chmod go-w " + shown(p.path), Allow: "allow_shared",
		}
	}
	return nil
}

// inMemory tells whether p is on a file system that has no disk under it.
func (p *place) inMemory() error {
	var st unix.Statfs_t
	if err := unix.Fstatfs(p.fd, &st); err != nil {
		return &fs.PathError{Op: "statfs", Path: p.path, Err: err}
	}
	kind := uint32(st.Type) // some platforms have it as a signed number
	if kind == unix.TMPFS_MAGIC || kind == unix.RAMFS_MAGIC {
		return nil
	}
	return &Unsafe{
		Path: p.path, Reason: "is on " + diskName(kind) + ", where values would outlive this machine's memory",
		Fix: "choose a path on a tmpfs, such as /run or /dev/shm", Allow: "allow_disk",
	}
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

// free is how many bytes are left in p's file system, for an error to say.
func (p *place) free() uint64 {
	var st unix.Statfs_t
	if unix.Fstatfs(p.fd, &st) != nil {
		return 0
	}
	return st.Bavail * uint64(st.Bsize)
}

// stat doesn't follow a symlink.
func (p *place) stat(name string) (st unix.Stat_t, err error) {
	err = unix.Fstatat(p.fd, name, &st, unix.AT_SYMLINK_NOFOLLOW)
	return st, err
}

// readlink returns a symlink's target, empty if there is none.
func (p *place) readlink(name string) string {
	target := make([]byte, unix.PathMax)
	n, err := unix.Readlinkat(p.fd, name, target)
	if err != nil {
		return ""
	}
	return string(target[:n])
}

// unlink removes what isn't a directory. That it isn't there is no error.
func (p *place) unlink(name string) error {
	if err := unix.Unlinkat(p.fd, name, 0); err != nil && !errors.Is(err, unix.ENOENT) {
		return &fs.PathError{Op: "remove", Path: path.Join(p.path, name), Err: err}
	}
	return nil
}

// names lists what is in p.
func (p *place) names() ([]string, error) {
	fd, err := unix.Openat(p.fd, ".", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: p.path, Err: err}
	}
	f := os.NewFile(uintptr(fd), p.path)
	defer func() { _ = f.Close() }()
	return f.Readdirnames(-1)
}

// sync makes what was renamed in p last.
func (p *place) sync() error {
	if err := unix.Fsync(p.fd); err != nil {
		return &fs.PathError{Op: "sync", Path: p.path, Err: err}
	}
	return nil
}

func (p *place) close() { _ = unix.Close(p.fd) }
