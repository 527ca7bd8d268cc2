package vault

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"
)

// Everything that is SQLite's alone stands in this file; the other files speak plain SQL with $n
// parameters.

//go:embed migrations/sqlite/*.sql
var sqliteMigrations embed.FS

const databaseFile = "vault.db"

// database is one open database: a single connection that writes, and a few that read.
type database struct {
	write   *connection      // guarded by the store's turn
	readers chan *connection // those that nobody holds
}

// openSQLite opens or makes DIR/vault.db, readable by its owner only.
func openSQLite(ctx context.Context, dir string, readers int) (*database, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	path, err := filepath.Abs(filepath.Join(dir, databaseFile))
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
	// synchronous=FULL: an answered write has been synced. secure_delete: what a rotation or a
	// deletion leaves behind is zeroed, so a retired key's ciphertext doesn't linger in free pages.
	db := &database{write: &connection{url: sqliteURL(path, url.Values{
		"_pragma": {"busy_timeout(10000)", "journal_mode(wal)", "synchronous(full)", "foreign_keys(on)",
			"secure_delete(on)", "temp_store(memory)", "journal_size_limit(67108864)", "trusted_schema(off)"},
		"_txlock": {"immediate"},
	}), setup: "PRAGMA busy_timeout = 1"}, readers: make(chan *connection, readers)}
	for range readers {
		db.readers <- &connection{url: sqliteURL(path, url.Values{
			"_pragma": {"busy_timeout(10000)", "query_only(on)", "temp_store(memory)", "trusted_schema(off)"},
		})}
	}
	var mode string
	err = db.write.queryRow(ctx, "PRAGMA journal_mode").Scan(&mode)
	if err == nil && mode != "wal" {
		err = errors.New("this file system can't hold a write-ahead log")
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open %s: %w", path, err), db.close())
	}
	return db, nil
}

func sqliteURL(path string, params url.Values) string {
	return "file:" + (&url.URL{Path: path}).EscapedPath() + "?" + params.Encode()
}

// close waits for the readers, and leaves none to come.
func (db *database) close() error {
	problems := []error{db.write.close()}
	for range cap(db.readers) {
		problems = append(problems, (<-db.readers).close())
	}
	return errors.Join(problems...)
}

// foreignChanges returns a number that moves when another process (or connection) has committed, and
// stands still over our own writes: SQLite counts by connection, and this is the one we write on.
func (db *database) foreignChanges(ctx context.Context) (n int64, err error) {
	err = db.write.queryRow(ctx, "PRAGMA data_version").Scan(&n)
	return n, err
}

// scrub moves the write-ahead log into the database and empties it, so that what was overwritten is
// gone from there too. Best effort: a reader elsewhere can hold it back.
func (db *database) scrub(ctx context.Context) {
	for _, statement := range []string{"PRAGMA busy_timeout = 1000", "PRAGMA wal_checkpoint(TRUNCATE)", db.write.setup} {
		_, _ = db.write.exec(ctx, statement)
	}
}

// busy tells whether another process holds the lock.
func busy(err error) bool {
	var e *sqlite.Error
	return errors.As(err, &e) && e.Code()&0xff == sqlite3.SQLITE_BUSY
}

// diskFull tells whether the disk has no room left.
func diskFull(err error) bool {
	var e *sqlite.Error
	return errors.As(err, &e) && e.Code()&0xff == sqlite3.SQLITE_FULL
}

// passing tells whether a database error is the disk's or a lock's, and so may pass.
func passing(err error) bool {
	var e *sqlite.Error
	if !errors.As(err, &e) {
		return broken(err)
	}
	switch e.Code() & 0xff {
	case sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR,
		sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_NOMEM, sqlite3.SQLITE_PROTOCOL:
		return true
	}
	return false
}
