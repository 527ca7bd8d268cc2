// Package sqlite is the embedded database: SQLite in WAL mode, in one file. Writes that arrive together share a
// commit.
package sqlite

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"github.com/Miosa-osa/miosa-env/vault/database"
)

//go:embed migrations/*.sql
var migrations embed.FS

const fileName = "vault.db"

// db implements database.DB: a single connection that writes, and a few that read.
type db struct {
	writer  *connection      // guarded by turn
	readers chan *connection // those that are idle
	changes int64            // data_version at the last call of ChangedElsewhere; guarded by turn

	queue queue
	turn  chan struct{}   // a semaphore of one: holds the token of the goroutine that uses writer
	open  context.Context // done after Close
	close context.CancelFunc
}

// Files returns the paths of a database's files, which need not exist.
func Files(dir string) []string {
	path := filepath.Join(dir, fileName)
	return []string{path, path + "-wal", path + "-shm"}
}

// Exists reports whether dir holds a database.
func Exists(dir string) (bool, error) {
	_, err := os.Stat(filepath.Join(dir, fileName))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}

// maxReaders is how many connections read at the same time.
const maxReaders = 4

// Open opens DIR/vault.db, which it creates if it is missing, readable by its owner only, and migrates it.
func Open(ctx context.Context, dir string) (_ database.DB, err error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	path, err := filepath.Abs(filepath.Join(dir, fileName))
	if err != nil {
		return nil, err
	}
	// SQLite gives -wal and -shm the mode of the database.
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	if err := f.Close(); err != nil {
		return nil, err
	}
	// As durable as fsync, which also writes the file's timestamps. Where there is no fdatasync, fsync stays.
	_, _ = sqlite.Fdatasync(true)
	d := &db{readers: make(chan *connection, maxReaders), turn: make(chan struct{}, 1)}
	d.open, d.close = context.WithCancel(context.WithoutCancel(ctx))
	// synchronous=FULL: an acknowledged write is on the disk. secure_delete: overwritten and deleted data is zeroed, so
	// the ciphertext of a retired key doesn't remain in free pages.
	d.writer, err = newConnection(path, "busy_timeout(1)", "journal_mode(wal)", "synchronous(full)", "foreign_keys(on)",
		"secure_delete(on)", "journal_size_limit(67108864)")
	for range maxReaders {
		c, readerErr := newConnection(path, "busy_timeout(10000)", "query_only(on)")
		d.readers <- c
		err = errors.Join(err, readerErr)
	}
	if err != nil {
		return nil, err
	}
	if err := d.prepare(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("open %s: %w", path, err), d.Close())
	}
	return d, nil
}

func (d *db) prepare(ctx context.Context) error {
	w := d.writer
	if err := w.begin(ctx, "BEGIN IMMEDIATE"); err != nil {
		return err
	}
	defer w.rollback()
	var mode string
	if err := w.QueryRow("PRAGMA journal_mode").Scan(&mode); err != nil {
		return err
	}
	if mode != "wal" {
		return errors.New("this file system can't hold a write-ahead log")
	}
	if err := database.Migrate(w, migrations, "migrations"); err != nil {
		return err
	}
	if err := w.commit(); err != nil {
		return err
	}
	return w.dataVersion(&d.changes)
}

// Read implements database.DB.
func (d *db) Read(ctx context.Context, do func(database.Tx) error) error {
	var c *connection
	select {
	case c = <-d.readers:
	case <-d.open.Done():
		return database.ErrClosed
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() { d.readers <- c }()
	if d.open.Err() != nil {
		return database.ErrClosed // the connection may be closed too
	}
	return c.read(do)
}

// read runs do on a snapshot.
func (c *connection) read(do func(database.Tx) error) error {
	if err := c.begin(context.Background(), "BEGIN"); err != nil {
		return err
	}
	defer c.rollback()
	return do(c)
}

// ChangedElsewhere implements database.DB.
func (d *db) ChangedElsewhere(ctx context.Context, do func(database.Tx) error) (changed bool, err error) {
	if err := d.takeTurn(ctx); err != nil {
		return false, err
	}
	defer d.giveTurn()
	before := d.changes
	err = d.writer.read(func(tx database.Tx) error {
		if err := do(tx); err != nil {
			return err
		}
		return d.writer.dataVersion(&d.changes)
	})
	return err == nil && d.changes != before, err
}

// dataVersion reads a number that changes when another process or connection has committed, and doesn't when this
// connection has: SQLite counts per connection.
func (c *connection) dataVersion(n *int64) error { return c.QueryRow("PRAGMA data_version").Scan(n) }

// TryWrite implements database.DB. A small write may fit where others don't, so the first one is large.
func (d *db) TryWrite(ctx context.Context) error {
	for _, value := range []string{"zeroblob(65536)", "unixepoch() * 1000000"} {
		if err := d.Write(ctx, func(tx database.Tx) error {
			return tx.Exec("UPDATE heartbeat SET at = " + value + " WHERE id = 1")
		}); err != nil {
			return err
		}
	}
	return nil
}

// Scrub implements database.DB: it moves the write-ahead log into the database and empties it.
func (d *db) Scrub(ctx context.Context) error {
	if err := d.takeTurn(ctx); err != nil {
		return err
	}
	defer d.giveTurn()
	// While it waits for readers, nobody writes.
	if err := d.writer.begin(ctx, "PRAGMA busy_timeout = 1000"); err != nil {
		return err
	}
	d.writer.open = false // it started no transaction
	defer func() { _ = d.writer.Exec("PRAGMA busy_timeout = 1") }()
	for deadline := time.Now().Add(lockTimeout); ; {
		var blocked, frames, moved int
		err := d.writer.QueryRow("PRAGMA wal_checkpoint(TRUNCATE)").Scan(&blocked, &frames, &moved)
		if err != nil && !busy(err) || err == nil && blocked == 0 {
			return err
		}
		if time.Now().After(deadline) {
			return errors.New("the write-ahead log can't be emptied: other processes are reading it")
		}
	}
}

// Close implements database.DB.
func (d *db) Close() error {
	if d.open.Err() != nil {
		return nil
	}
	d.close()
	d.turn <- struct{}{} // nobody writes any more
	defer d.giveTurn()
	problems := []error{d.writer.close()}
	for range maxReaders {
		c := <-d.readers
		problems = append(problems, c.close())
		defer func() { d.readers <- c }() // for readers that wait, which see closed
	}
	return errors.Join(problems...)
}

// code is SQLite's primary error code; -1 if err is none of SQLite's.
func code(err error) int {
	if e, ok := errors.AsType[*sqlite.Error](err); ok {
		return e.Code() & 0xff
	}
	return -1
}

// busy reports whether another process holds the lock.
func busy(err error) bool { return code(err) == sqlite3.SQLITE_BUSY }

// DiskFull implements database.DB.
func (*db) DiskFull(err error) bool { return code(err) == sqlite3.SQLITE_FULL }

// Transient implements database.DB.
func (*db) Transient(err error) bool {
	switch code(err) {
	case -1:
		return broken(err)
	case sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR,
		sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_NOMEM, sqlite3.SQLITE_PROTOCOL:
		return true
	}
	return false
}
