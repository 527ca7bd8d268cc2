package inject

import (
	"errors"
	"io/fs"
	"path"

	"golang.org/x/sys/unix"
)

// An empty file beside the values says that the hook is owed: it is there from just before they change until the
// hook has run. Whoever is killed in between finds everything in place at the next start, and would run no hook.

// owedName is hidden from patterns and, in a directory of files, from those who read it as Kubernetes' volumes are.
func (o *Output) owedName() string {
	if o.conf.Format == FormatFiles {
		return "..hook" + tempMark + "owed"
	}
	return "." + path.Base(o.conf.Path) + tempMark + "owed"
}

// owe notes that the hook is to run, in the directory that the values are in.
func (o *Output) owe(at *place) error {
	if o.conf.Hook == "" {
		return nil
	}
	fd, err := unix.Openat(at.fd, o.owedName(), unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o600)
	switch {
	case err == nil:
		return unix.Close(fd)
	case errors.Is(err, unix.EEXIST):
		return nil
	}
	return o.failed(at, &fs.PathError{Op: "create", Path: path.Join(at.path, o.owedName()), Err: err}, 0)
}

// owed tells whether the hook was to run, and didn't.
func (o *Output) owed() bool {
	at, err := o.valuesPlace()
	if err != nil {
		return false
	}
	defer at.close()
	_, err = at.stat(o.owedName())
	return err == nil
}

// paid notes that the hook has run. Where that can't be noted it runs once more than it must.
func (o *Output) paid() {
	at, err := o.valuesPlace()
	if err != nil {
		return
	}
	defer at.close()
	_ = at.unlink(o.owedName())
}

func (o *Output) valuesPlace() (*place, error) {
	if o.conf.Format == FormatFiles {
		return o.conf.open(o.conf.Path)
	}
	return o.conf.open(path.Dir(o.conf.Path))
}
