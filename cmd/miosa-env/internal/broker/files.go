package broker

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/Miosa-osa/miosa-env/cmd/miosa-env/internal/program"
	"github.com/Miosa-osa/miosa-env/internal/cli"
)

// folderPattern is that of the names of folders with the files of a command.
const folderPattern = "miosa-env-egress-"

// Files are the files that a command's variables name, in a folder that only this user can change. They are public: a command may
// read them after it has become another user.
type Files struct {
	broker *Broker

	mu          sync.Mutex // guards the fields below
	authorities []byte     // PEM
	folder      *os.File   // with a lock while the files are needed; nil: none yet
	closed      bool
}

// NewFiles returns the files that clients of the broker need. It writes nothing yet.
func (b *Broker) NewFiles() *Files { return &Files{broker: b} }

// Trust sets what the broker's clients must trust.
func (f *Files) Trust(found Found) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.authorities = found.Authorities
}

// Variables returns the variables that point a command to the broker, and writes the files that they name if there are none yet. get
// returns the variables that the command has without them.
func (f *Files) Variables(get func(name string) string) ([]string, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return nil, os.ErrClosed
	}
	if f.folder == nil {
		if err := f.write(get); err != nil {
			return nil, fmt.Errorf("files for the clients of the broker: %w", err)
		}
	}
	at := f.paths()
	if !f.wgetIsFree(get) {
		at.wget = ""
	}
	return f.broker.variables(get, at), nil
}

func (f *Files) paths() paths {
	in := func(name string) string { return filepath.Join(f.folder.Name(), name) }
	return paths{bundle: in("ca.pem"), store: in("ca.p12"), wget: in("wgetrc")}
}

// wgetIsFree reports whether the command's Wget has no configuration, which WGETRC would replace. Built with GnuTLS it reads its
// authorities from no other variable.
func (*Files) wgetIsFree(get func(name string) string) bool {
	if get("WGETRC") != "" {
		return false
	}
	_, err := os.Lstat(filepath.Join(get("HOME"), ".wgetrc"))
	return errors.Is(err, fs.ErrNotExist)
}

// write creates the folder and its files.
func (f *Files) write(get func(name string) string) (err error) {
	if f.folder, err = newFolder(); err != nil {
		return err
	}
	all := certificates(append(bundleOf(roots(get)), f.authorities...))
	store, err := trustStoreOf(all)
	at := f.paths()
	for path, text := range map[string][]byte{at.bundle: bundleOf(all), at.store: store, at.wget: []byte("ca_certificate = " + at.bundle + "\n")} {
		if err == nil {
			err = os.WriteFile(path, text, 0o600)
		}
		if err == nil {
			err = os.Chmod(path, 0o644) //nolint:gosec // it is for everyone
		}
	}
	if err != nil {
		f.remove()
	}
	return err
}

// Outlive keeps the files from being removed by others while the command or another process that it starts runs, even if this
// process is killed. A nil Files has none.
func (f *Files) Outlive() error {
	if f == nil {
		return nil
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.folder == nil {
		return nil
	}
	_, err := unix.FcntlInt(f.folder.Fd(), unix.F_SETFD, 0)
	return err
}

// Close removes the files. A nil Files has none.
func (f *Files) Close() {
	if f == nil {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.closed = true
	f.remove()
}

func (f *Files) remove() {
	if f.folder != nil {
		_ = os.RemoveAll(f.folder.Name())
		_ = f.folder.Close()
		f.folder = nil
	}
}

// newFolder creates a locked folder in memory, or where there is none, in the folder for temporary files. It removes those of
// processes that were killed.
func newFolder() (*os.File, error) {
	parents := slices.DeleteFunc(program.MemoryFolders(os.Environ()), func(parent string) bool { return !program.InMemory(parent) })
	parents = append(parents, os.TempDir())
	for _, parent := range parents {
		sweep(parent)
	}
	var problems []error
	for _, parent := range parents {
		if strings.ContainsFunc(parent, func(r rune) bool { return r <= ' ' || strings.ContainsRune(`"'\`, r) }) {
			continue // JAVA_TOOL_OPTIONS would need quotes
		}
		folder, err := newFolderIn(parent)
		if err == nil {
			return folder, nil
		}
		problems = append(problems, err)
	}
	return nil, cli.WithHint(errors.Join(problems...), "let this user write to /dev/shm, or to the folder that XDG_RUNTIME_DIR or TMPDIR names")
}

func newFolderIn(parent string) (*os.File, error) {
	for {
		path, err := os.MkdirTemp(parent, folderPattern)
		if err != nil {
			return nil, err
		}
		folder, err := lockFolder(path)
		switch {
		case err == nil:
			return folder, os.Chmod(path, 0o755) //nolint:gosec // likewise
		case !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, unix.EWOULDBLOCK): // another process has swept it
			_ = os.Remove(path)
			return nil, err
		}
	}
}

// lockFolder opens a folder and locks it. Errors: unix.EWOULDBLOCK if another process has the lock; fs.ErrNotExist.
func lockFolder(path string) (*os.File, error) {
	folder, err := os.OpenFile(path, os.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW, 0)
	if err != nil {
		return nil, err
	}
	err = unix.Flock(int(folder.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if err == nil {
		_, err = os.Lstat(path) // it may have been removed before the lock
	}
	if err != nil {
		_ = folder.Close()
		return nil, err
	}
	return folder, nil
}

// sweep removes the folders of this user that no process has locked.
func sweep(parent string) {
	left, _ := filepath.Glob(filepath.Join(parent, folderPattern+"*"))
	for _, path := range left {
		info, err := os.Lstat(path)
		if err != nil {
			continue
		}
		if stat, ok := info.Sys().(*syscall.Stat_t); !ok || !info.IsDir() || int(stat.Uid) != os.Geteuid() {
			continue
		}
		if folder, err := lockFolder(path); err == nil {
			_ = os.RemoveAll(path)
			_ = folder.Close()
		}
	}
}
