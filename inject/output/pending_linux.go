package output

import (
	"os"
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

// setPending records that the hook must run, in the directory with the values. It replaces what another user has put in the
// file's place.
func (o *Output) setPending(d *directory) error {
	if o.conf.Hook == "" || o.pendingIn(d) {
		return nil
	}
	if err := d.unlink(o.pendingName()); err != nil {
		return err
	}
	fd, err := unix.Openat(d.fd, o.pendingName(), unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return o.failed(d, d.failure("create", o.pendingName(), err), 0)
	}
	return unix.Close(fd)
}

// pendingIn reports whether this user has recorded in d that the hook must run. Others may write to a shared directory, and link
// this user's files there.
func (o *Output) pendingIn(d *directory) bool {
	st, err := d.stat(o.pendingName())
	return err == nil && st.Mode == unix.S_IFREG|0o600 && int(st.Uid) == os.Geteuid() && st.Size == 0 && st.Nlink == 1
}

// pending reports whether the hook should have run and didn't.
func (o *Output) pending() bool {
	d, err := o.valuesDirectory()
	if err != nil {
		return false
	}
	defer d.close()
	return o.pendingIn(d)
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
