// Package sqlite is the embedded database: SQLite in WAL mode, in one file. Writes that arrive together share a
// commit.
package sqlite

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"github.com/Miosa-osa/miosa-env/internal/newfile"
	"github.com/Miosa-osa/miosa-env/vault/database"
)

const fileName = "vault.db"

// db implements database.DB: a single connection that writes, and a few that read.
type db struct {
	writer  *connection      // guarded by the turn of Batcher
	readers chan *connection // those that are idle

	*database.Batcher
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
	if err := newfile.MkdirAll(dir); err != nil {
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
	d := &db{readers: make(chan *connection, maxReaders)}
	// synchronous=FULL: an acknowledged write is on the disk. secure_delete: overwritten and deleted data is zeroed, so
	// the ciphertext of a retired key doesn't remain in free pages.
	d.writer, err = newConnection(path, "busy_timeout(1)", "journal_mode(wal)", "synchronous(full)", "foreign_keys(on)",
		"secure_delete(on)", "journal_size_limit(67108864)")
	d.Batcher = database.NewBatcher(d.writer)
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
	defer w.Rollback()
	var mode string
	if err := w.QueryRow("PRAGMA journal_mode").Scan(&mode); err != nil {
		return err
	}
	if mode != "wal" {
		return errors.New("this file system can't hold a write-ahead log")
	}
	if err := database.Migrate(w, strings.NewReplacer()); err != nil {
		return err
	}
	return w.Commit()
}

// Read implements database.DB.
func (d *db) Read(ctx context.Context, do func(database.Tx) error) error {
	var c *connection
	select {
	case c = <-d.readers:
	case <-d.Closed():
		return database.ErrClosed
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() { d.readers <- c }()
	select {
	case <-d.Closed():
		return database.ErrClosed // the connection may be closed too
	default:
	}
	return c.read(do)
}

// read runs do on a snapshot.
func (c *connection) read(do func(database.Tx) error) error {
	if err := c.begin(context.Background(), "BEGIN"); err != nil {
		return err
	}
	defer c.Rollback()
	return do(c)
}

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

// scrubTimeout is how long Scrub tries. Each try waits a second at most, while nobody writes.
const scrubTimeout = time.Minute

// Scrub implements database.DB: it moves the write-ahead log into the database and empties it.
func (d *db) Scrub(ctx context.Context) error {
	for deadline := time.Now().Add(scrubTimeout); ; {
		if emptied, err := d.emptyLog(ctx); emptied || err != nil {
			return err
		}
		if time.Now().After(deadline) {
			return errors.New("the write-ahead log can't be emptied: other processes are using it")
		}
	}
}

// emptyLog tries to empty the write-ahead log, which takes a moment in which nobody reads it and no other process writes.
func (d *db) emptyLog(ctx context.Context) (emptied bool, err error) {
	if err := d.TakeTurn(ctx); err != nil {
		return false, err
	}
	defer d.GiveTurn()
	if err := d.writer.begin(ctx, "PRAGMA busy_timeout = 1000"); err != nil {
		return false, err
	}
	d.writer.open = false // it started no transaction
	defer func() { _ = d.writer.Exec("PRAGMA busy_timeout = 1") }()
	var blocked, frames, moved int
	err = d.writer.QueryRow("PRAGMA wal_checkpoint(TRUNCATE)").Scan(&blocked, &frames, &moved)
	if busy(err) {
		return false, nil
	}
	return err == nil && blocked == 0, err
}

// Close implements database.DB.
func (d *db) Close() error {
	if !d.Batcher.Close() {
		return nil
	}
	defer d.GiveTurn()
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

// Unwritable implements database.DB.
func (*db) Unwritable(err error) string {
	if code(err) == sqlite3.SQLITE_FULL {
		return "the vault's disk is full"
	}
	return ""
}

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
