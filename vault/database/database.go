// Package database is what the store needs of an SQL database. The store's statements are plain SQL with the
// parameters $1, $2 and so on. DB and the migrations hide the differences between databases, so another database needs no copy
// of the store.
package database

import (
	"context"
	"database/sql"
	"errors"

	"github.com/Miosa-osa/miosa-env/api"
)

// DB is an open database with an up-to-date schema. It is safe for concurrent use, and several processes may have
// the same database open.
type DB interface {
	// Read runs do on one snapshot; several times if necessary.
	Read(ctx context.Context, do func(Tx) error) error

	// Write runs do in a transaction during which nobody else writes, in any process, and commits it unless do returns
	// an error. A commit that Write reports is on the disk. do may run several times, all runs but the last one undone. After do has
	// started, the end of ctx doesn't interrupt it. Errors: ErrUncertain; those of do; ErrClosed.
	Write(ctx context.Context, do func(Tx) error) error

	// TryWrite writes as much as an ordinary change does, to find out whether there is room.
	TryWrite(ctx context.Context) error

	// Scrub erases what was overwritten or deleted from the database's files. It waits for readers and writers, also of
	// other processes, for a limited time. After an error, something remains.
	Scrub(ctx context.Context) error

	// Transient reports whether err is due to the disk, a lock or a connection, and so may pass by itself.
	Transient(err error) bool

	// Unwritable returns the reason, as clients may see it, if err is due to a full disk or a read-only database; else "".
	Unwritable(err error) string

	// Close waits for the transactions under way. After it, all methods return ErrClosed.
	Close() error
}

// Announcer is a DB whose server passes on announcements between the processes that have the database open. Of a DB that isn't one,
// each process has to poll for the changes of others.
type Announcer interface {
	// Announce makes the commit of a transaction of Write pass text on to all processes that listen, this one included. text has
	// 1 to MaxAnnouncement bytes.
	Announce(tx Tx, text string) error

	// Listen calls the functions of l, one at a time, until ctx ends. It connects again when the connection is lost.
	Listen(ctx context.Context, l Listener)
}

// MaxAnnouncement is the maximum length of an announcement, in bytes.
const MaxAnnouncement = 7999

// Listener is what a process does with announcements.
type Listener struct {
	// Heard gets the announcements in the order of their commits.
	Heard func(text string)

	// Missed is called whenever announcements may have been missed: with nil each time that the process has begun to listen, and with
	// the reason each time that listening has failed.
	Missed func(reason error)

	// Alive is called every few seconds while the connection works. Everything that was announced before the previous call of Alive
	// or Missed has been heard by then.
	Alive func()
}

// Tx is a transaction. It is used by one goroutine, which must close the rows of a query before the next statement.
type Tx interface {
	Exec(query string, args ...any) error
	Query(query string, args ...any) (*sql.Rows, error)
	QueryRow(query string, args ...any) Row

	// Defer is Exec for a statement that may be sent together with a later one or the commit, which then returns its error. This
	// saves a round trip to a server.
	Defer(query string, args ...any) error
}

// Row is the result of QueryRow.
type Row interface {
	// Scan is that of sql.Row. It may be what sends the query, so it has to be called before the next statement.
	Scan(dest ...any) error
}

// ErrUncertain is the error of a write whose commit had no answer: the server may have committed it, or may still do so.
var ErrUncertain = errors.New("the answer to a commit was lost")

// ErrClosed is the error of every call after Close.
var ErrClosed = api.NewError(api.ErrUnavailable, "the vault is stopping")
