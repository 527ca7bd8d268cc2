package output

import (
	"errors"
	"path"

	"golang.org/x/sys/unix"
)

// While a hook is pending, there is an empty file beside the values, from just before they change until the hook has run.
// Without it, a process that is killed in between would find the values unchanged at its next start, and run no hook.

// pendingName returns the file's name, which patterns and readers of Kubernetes' volumes skip.
func (o *Output) pendingName() string {
	if o.conf.Format == Files {
		return "..hook" + tempMark + "owed"
	}
	return "." + path.Base(o.conf.Path) + tempMark + "owed"
}

// setPending records that the hook must run, in the directory with the values.
func (o *Output) setPending(d *directory) error {
	if o.conf.Hook == "" {
		return nil
	}
	fd, err := unix.Openat(d.fd, o.pendingName(), unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o600)
	switch {
	case err == nil:
		return unix.Close(fd)
	case errors.Is(err, unix.EEXIST):
		return nil
	}
	return o.failed(d, d.failure("create", o.pendingName(), err), 0)
}

// pending reports whether the hook should have run and didn't.
func (o *Output) pending() bool {
	d, err := o.valuesDirectory()
	if err != nil {
		return false
	}
	defer d.close()
	_, err = d.stat(o.pendingName())
	return err == nil
}

// clearPending records that the hook has run. If that fails, it runs once more than necessary.
func (o *Output) clearPending() {
	if d, err := o.valuesDirectory(); err == nil {
		_ = d.unlink(o.pendingName())
		d.close()
	}
}

func (o *Output) valuesDirectory() (*directory, error) {
	if o.conf.Format == Files {
		return o.conf.open(o.conf.Path)
	}
	return o.conf.open(path.Dir(o.conf.Path))
}
