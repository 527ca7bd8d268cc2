package sqlite

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/Miosa-osa/miosa-env/internal/newfile"
	"github.com/Miosa-osa/miosa-env/vault/database"
)

// OpenSource opens the database of a folder to copy it. Until Close, no vault can open it. Errors: database.ErrInUse,
// database.ErrMissing.
func OpenSource(dir string) (_ database.Source, err error) {
	path, err := filepath.Abs(filepath.Join(dir, fileName))
	if err != nil {
		return nil, err
	}
	found, err := Exists(dir)
	if err == nil && !found {
		err = database.ErrMissing
	}
	if err != nil {
		return nil, err
	}
	// A vault has a shared lock of the file for as long as it is open. Commands may have it too, for a moment.
	c, err := newConnection(path, "busy_timeout(1000)", "locking_mode(exclusive)", "query_only(on)")
	if err != nil {
		return nil, err
	}
	if c.conn, err = c.pool.Conn(context.Background()); err == nil {
		err = c.Exec("BEGIN")
	}
	if err == nil {
		err = database.CheckSchema(c)
	}
	if err != nil {
		if busy(err) {
			err = database.ErrInUse
		}
		return nil, fmt.Errorf("open %s: %w", path, errors.Join(err, c.close()))
	}
	return source{c}, nil
}

// source implements database.Source.
type source struct{ *connection }

func (s source) Close() error { return s.close() }

// target implements database.Target. It is a file of another name until Commit.
type target struct {
	*connection
	file *os.File // of path; has its lock
	path string
	dir  string

	named bool // by Commit
}

const partialName = fileName + ".partial"

// OpenTarget creates a new database for a folder, which it creates if it is missing. Errors: database.ErrInUse if another process
// does so too, database.ErrNotEmpty.
func OpenTarget(dir string) (_ database.Target, err error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	if dir, err = filepath.Abs(dir); err != nil {
		return nil, err
	}
	for _, path := range Files(dir) {
		if _, err := os.Lstat(path); err == nil {
			return nil, fmt.Errorf("%w: %s", database.ErrNotEmpty, path)
		} else if !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
	}
	t := &target{dir: dir, path: filepath.Join(dir, partialName)}
	if t.file, err = lockNew(t.path); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = fmt.Errorf("create %s: %w", t.path, errors.Join(err, t.Close()))
		}
	}()
	// A process that is killed leaves a file that the next one overwrites, so there is nothing to undo.
	t.connection, err = newConnection(t.path, "journal_mode(off)", "synchronous(off)", "locking_mode(exclusive)", "foreign_keys(on)",
		"cache_size(-65536)")
	if err == nil {
		t.conn, err = t.pool.Conn(context.Background())
	}
	if err == nil {
		err = t.Exec("BEGIN IMMEDIATE")
	}
	if err == nil {
		err = database.Migrate(t, strings.NewReplacer())
	}
	return t, err
}

// lockNew creates or empties a file, unless another process has it locked. Errors: database.ErrInUse.
func lockNew(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, err
	}
	err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if errors.Is(err, unix.EWOULDBLOCK) || err == nil && !onlyName(f, path) {
		err = fmt.Errorf("%w: another process writes %s", database.ErrInUse, path)
	}
	if err == nil {
		err = f.Truncate(0)
	}
	if err == nil {
		err = f.Chmod(0o600)
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// onlyName reports whether path is the only name of an open file: the process that had the lock hasn't committed or removed it.
func onlyName(f *os.File, path string) bool {
	opened, err := f.Stat()
	named, statErr := os.Lstat(path)
	if err != nil || statErr != nil || !os.SameFile(opened, named) {
		return false
	}
	stat, ok := opened.Sys().(*syscall.Stat_t)
	return ok && stat.Nlink == 1
}

// Load implements database.Target.
func (t *target) Load(table string, columns []string, next func() ([]any, error)) error {
	insert := database.InsertStatement(table, columns)
	for {
		row, err := next()
		if err == nil && row != nil {
			err = t.Exec(insert, row...)
		}
		if err != nil || row == nil {
			return err
		}
	}
}

// Loaded implements database.Target.
func (*target) Loaded() error { return nil }

// Commit implements database.Target.
func (t *target) Commit() error {
	err := t.Exec("COMMIT")
	if err == nil {
		err = t.close()
	}
	if err == nil {
		err = t.file.Sync()
	}
	if err == nil {
		err = os.Link(t.path, filepath.Join(t.dir, fileName)) // an error if there is one meanwhile
	}
	if err == nil {
		t.named = true
		err = os.Remove(t.path)
	}
	if err == nil {
		err = newfile.SyncFolder(t.dir)
	}
	return err
}

// Close implements database.Target.
func (t *target) Close() (err error) {
	if t.connection != nil {
		err = t.close()
	}
	if !t.named {
		err = errors.Join(err, os.Remove(t.path))
	}
	return errors.Join(err, t.file.Close())
}
