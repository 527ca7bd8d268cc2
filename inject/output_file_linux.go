package inject

import (
	"crypto/subtle"
	"errors"
	"io/fs"
	"os"
	"path"

	"golang.org/x/sys/unix"

	"github.com/Miosa-osa/miosa-env/api"
)

// writeFile makes the output's one file hold pairs. changed is false where it did already.
func (o *Output) writeFile(pairs []api.Bound) (stamps map[string]stamp, changed bool, err error) {
	text := make([]byte, 0, Room(o.conf.Format, pairs))
	defer func() { clear(text[:cap(text)]) }()
	api.Quietly(func() { text, err = Append(text, o.conf.Format, pairs) })
	if err != nil {
		return nil, false, err
	}
	at, err := o.conf.open(path.Dir(o.conf.Path))
	if err != nil {
		return nil, false, err
	}
	defer at.close()
	if !o.conf.AllowDisk {
		if err := at.inMemory(); err != nil {
			return nil, false, err
		}
	}
	if err := o.sweepFile(at); err != nil {
		return nil, false, err
	}
	base := path.Base(o.conf.Path)
	switch st, err := at.stat(base); {
	case errors.Is(err, unix.ENOENT):
	case err != nil:
		return nil, false, &fs.PathError{Op: "stat", Path: o.conf.Path, Err: err}
	case st.Mode&unix.S_IFMT == unix.S_IFLNK:
		return nil, false, symlinked(o.conf.Path, at.readlink(base))
	case st.Mode&unix.S_IFMT != unix.S_IFREG:
		return nil, false, &Unsafe{Path: o.conf.Path, Reason: "is there and isn't a file", Fix: "remove it, or choose another path"}
	default:
		if found, ok := o.found(at, base, text); ok {
			return map[string]stamp{base: found}, false, nil
		}
	}

	temp := randomName("." + base)
	fd, err := o.create(at, temp, text)
	if err != nil {
		return nil, false, err
	}
	defer func() { _ = unix.Close(fd) }()
	if err = o.owe(at); err == nil {
		if err = unix.Renameat(at.fd, temp, at.fd, base); err != nil {
			err = o.failed(at, &fs.PathError{Op: "replace", Path: o.conf.Path, Err: err}, len(text))
		}
	}
	if err != nil {
		_ = at.unlink(temp)
		return nil, false, err
	}
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return nil, false, &fs.PathError{Op: "stat", Path: o.conf.Path, Err: err}
	}
	return map[string]stamp{base: stampOf(st)}, true, at.sync()
}

// found tells whether a file is there as create would make it, and how it looks.
func (o *Output) found(at *place, name string, content []byte) (stamp, bool) {
	var st, dir unix.Stat_t
	if unix.Fstat(at.fd, &dir) != nil {
		return stamp{}, false
	}
	// Not to wait, should it have become a fifo.
	fd, err := unix.Openat(at.fd, name, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return stamp{}, false
	}
	defer func() { _ = unix.Close(fd) }()
	if unix.Fstat(fd, &st) != nil || !o.ours(st, dir) || st.Size != int64(len(content)) {
		return stamp{}, false
	}
	there := make([]byte, len(content))
	defer clear(there)
	for rest := there; len(rest) > 0; {
		n, err := unix.Read(fd, rest)
		if err != nil && !errors.Is(err, unix.EINTR) || err == nil && n == 0 {
			return stamp{}, false
		}
		rest = rest[max(n, 0):]
	}
	same := false
	api.Quietly(func() { same = subtle.ConstantTimeCompare(there, content) == 1 })
	return stampOf(st), same
}

// sweepFile removes, once, temporary files that a killed run left behind. Where everybody may put
// files, those of others are none of ours, whatever they are called.
func (o *Output) sweepFile(at *place) error {
	if o.swept {
		return nil
	}
	names, err := at.names()
	if err != nil {
		return err
	}
	for _, name := range names {
		if !isTemporary(name, "."+path.Base(o.conf.Path)) {
			continue
		}
		st, err := at.stat(name)
		if err != nil || st.Mode&unix.S_IFMT != unix.S_IFREG || int(st.Uid) != os.Geteuid() && int(st.Uid) != o.uid {
			continue
		}
		if err := at.unlink(name); err != nil {
			return err
		}
	}
	o.swept = true
	return nil
}
