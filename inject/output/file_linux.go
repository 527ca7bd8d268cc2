package output

import (
	"crypto/rand"
	"crypto/subtle"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/Miosa-osa/miosa-env/api"
)

// writeFile writes text to the output's file. changed is false if the file already contains it.
func (o *Output) writeFile(text []byte) (stamps map[string]stamp, changed bool, err error) {
	d, err := o.conf.open(path.Dir(o.conf.Path))
	if err != nil {
		return nil, false, err
	}
	defer d.close()
	if err := o.conf.onDisk(d); err != nil {
		return nil, false, err
	}
	if err := o.sweepFile(d); err != nil {
		return nil, false, err
	}
	base := path.Base(o.conf.Path)
	exists, err := o.conf.exists(d)
	if err != nil {
		return nil, false, err
	}
	if exists {
		if found, ok := o.found(d, base, text); ok {
			return map[string]stamp{base: found}, false, nil
		}
	}

	temp := randomName("." + base)
	f, err := o.create(d, temp, text)
	if err != nil {
		return nil, false, err
	}
	defer func() { _ = f.Close() }()
	if err = o.setPending(d); err == nil {
		err = o.failed(d, d.rename(temp, base), len(text))
	}
	if err != nil {
		_ = d.unlink(temp)
		return nil, false, err
	}
	var st unix.Stat_t // of what was written, even if it has been replaced
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return nil, false, d.failure("stat", base, err)
	}
	return map[string]stamp{base: stampOf(st)}, true, d.sync()
}

// found reports whether a file is as create would make it, and returns its stamp.
func (o *Output) found(d *directory, name string, content []byte) (stamp, bool) {
	dir, err := d.stat("")
	if err != nil {
		return stamp{}, false
	}
	// O_NONBLOCK, in case it is a fifo by now.
	fd, err := unix.Openat(d.fd, name, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return stamp{}, false
	}
	f := os.NewFile(uintptr(fd), name)
	defer func() { _ = f.Close() }()
	var st unix.Stat_t
	if unix.Fstat(fd, &st) != nil || !o.ours(st, dir) || st.Size != int64(len(content)) {
		return stamp{}, false
	}
	there := make([]byte, len(content))
	defer clear(there)
	if _, err := io.ReadFull(f, there); err != nil {
		return stamp{}, false
	}
	same := false
	api.Quietly(func() { same = subtle.ConstantTimeCompare(there, content) == 1 })
	return stampOf(st), same
}

// sweepFile removes, once, temporary files that a killed process left. In a directory that everybody may write to, those
// of other users stay.
func (o *Output) sweepFile(d *directory) error {
	if o.swept {
		return nil
	}
	names, err := d.names()
	if err != nil {
		return err
	}
	for _, name := range names {
		if end, ok := strings.CutPrefix(name, "."+path.Base(o.conf.Path)+tempMark); !ok || len(end) != tempRandom {
			continue
		}
		st, err := d.stat(name)
		if err != nil || st.Mode&unix.S_IFMT != unix.S_IFREG || int(st.Uid) != os.Geteuid() && int(st.Uid) != o.uid {
			continue
		}
		if err := d.unlink(name); err != nil {
			return err
		}
	}
	o.swept = true
	return nil
}

// create creates a file with content and the output's mode and owners, and syncs it. Until then only this user has access
// to it. On errors it is removed.
func (o *Output) create(d *directory, name string, content []byte) (*os.File, error) {
	fd, err := unix.Openat(d.fd, name, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return nil, o.failed(d, d.failure("create", name, err), len(content))
	}
	f := os.NewFile(uintptr(fd), path.Join(d.path, name))
	_, err = f.Write(content)
	if err == nil && (o.uid >= 0 || o.gid >= 0) {
		if err = unix.Fchown(fd, o.uid, o.gid); err != nil {
			err = fmt.Errorf("give %s to its owner: %w", o.conf.Path, err)
		}
	}
	if err == nil {
		err = f.Chmod(o.conf.mode())
	}
	if err == nil {
		err = f.Sync()
	}
	if err != nil {
		_ = f.Close()
		_ = d.unlink(name)
		return nil, o.failed(d, err, len(content))
	}
	return f, nil
}

// failed returns err, explained if it is that the file system is full.
func (o *Output) failed(d *directory, err error, size int) error {
	if errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT) {
		return fmt.Errorf("%s: its file system is full (%d bytes needed, %d free), the old content stays: %w", o.conf.Path, size, d.free(), err)
	}
	return err
}

// ours reports whether a file has the type, mode and owners that create gives to files in a directory.
func (o *Output) ours(st, dir unix.Stat_t) bool {
	uid, gid := uint32(os.Geteuid()), uint32(os.Getegid())
	if dir.Mode&unix.S_ISGID != 0 {
		gid = dir.Gid
	}
	if o.uid >= 0 {
		uid = uint32(o.uid)
	}
	if o.gid >= 0 {
		gid = uint32(o.gid)
	}
	return st.Mode == unix.S_IFREG|uint32(o.conf.mode()) && st.Uid == uid && st.Gid == gid && st.Nlink == 1
}

func randomName(start string) string {
	return start + tempMark + strings.ToLower(rand.Text()[:tempRandom])
}
