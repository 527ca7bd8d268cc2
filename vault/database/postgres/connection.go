package postgres

import (
	"bytes"
	"cmp"
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/stdlib"

	"github.com/Miosa-osa/miosa-env/vault/database"
)

// connection is one connection to the server. pgx keeps its statements prepared. It is not safe for concurrent use.
//
// It implements database.Tx for the transaction that begin has started, and database.Writer. Statements don't end with a
// context, since a client that disconnects must not interrupt what others share; the server limits their time.
type connection struct {
	pool *sql.DB
	conn *sql.Conn // nil: not connected
	open bool      // a transaction, at the server

	deferred *pgx.Batch // nil: no statements
}

// Begin implements database.Writer. Its lock keeps other processes from writing until the transaction ends.
func (c *connection) Begin() error {
	var only bool
	// Whatever the default of the server: a snapshot from before the lock would lack what others have written.
	err := c.begin("BEGIN ISOLATION LEVEL READ COMMITTED", func() error {
		return c.QueryRow(`SELECT current_setting('transaction_read_only')::bool
			FROM pg_advisory_xact_lock(hashtextextended('miosa-vault ' || current_schema(), 0))`).Scan(&only)
	})
	if err == nil && only {
		c.close() // another server of the URL may be the primary now
		err = errReadOnly
	}
	if err != nil {
		c.Rollback()
	}
	return err
}

// errReadOnly is the error of writes while the server is a standby, or its transactions only read by default.
var errReadOnly = errors.New("the server is read-only")

// begin runs do in a transaction. The statement that starts it is sent with the first one of do: if the connection is broken then, begin
// takes another one, and runs do again. It tries one more than the pool has, since a restart of the server breaks all of those.
func (c *connection) begin(statement string, do func() error) (err error) {
	for range maxReaders + 1 + 1 {
		if c.conn == nil {
			if c.conn, err = c.pool.Conn(context.Background()); err != nil {
				return err
			}
		}
		if err = c.Defer(statement); err == nil {
			err = do()
		}
		if c.open || !broken(err) {
			return err
		}
		c.close()
	}
	return err
}

// Commit implements database.Writer.
func (c *connection) Commit() error {
	if err := c.flush(); err != nil {
		return err
	}
	err := c.conn.Raw(func(conn any) error {
		done, err := conn.(*stdlib.Conn).Conn().Exec(context.Background(), "COMMIT")
		if err == nil && done.String() != "COMMIT" { // after an error that nobody has reported
			err = errors.New("the server has rolled the transaction back")
		}
		return err
	})
	c.open = err != nil
	if broken(err) && !pgconn.SafeToRetry(err) {
		err = fmt.Errorf("%w: %w", database.ErrUncertain, err)
	}
	return err
}

// Rollback implements database.Writer.
func (c *connection) Rollback() {
	c.deferred = nil
	if c.open && c.conn != nil && c.Exec("ROLLBACK") != nil {
		c.close() // which ends the transaction too
	}
	c.open = false
}

// close closes the connection, and doesn't return it to the pool: it may be broken or in a transaction.
func (c *connection) close() {
	if c.conn != nil {
		_ = c.conn.Raw(func(any) error { return driver.ErrBadConn })
		_ = c.conn.Close()
	}
	c.conn, c.open, c.deferred = nil, false, nil
}

// release returns the connection to the pool.
func (c *connection) release() {
	if c.conn != nil {
		_ = c.conn.Close()
	}
	c.conn = nil
}

// Defer implements database.Tx.
func (c *connection) Defer(query string, args ...any) error {
	if err := c.queue(query, args); err != nil {
		return err
	}
	if c.deferred.Len() >= maxDeferred {
		return c.flush()
	}
	return nil
}

// maxDeferred is the maximum number of deferred statements.
const maxDeferred = 64

// queue adds a statement to the deferred ones.
func (c *connection) queue(query string, args []any) error {
	kept := make([]any, len(args)) // the caller may change what args point to
	for i, arg := range storable(args) {
		value, err := driver.DefaultParameterConverter.ConvertValue(arg)
		if err != nil {
			return err
		}
		if b, ok := value.([]byte); ok {
			value = bytes.Clone(b)
		}
		kept[i] = value
	}
	if c.deferred == nil {
		c.deferred = &pgx.Batch{}
	}
	c.deferred.Queue(query, kept...)
	return nil
}

// flush runs the deferred statements.
func (c *connection) flush() error {
	if c.deferred == nil {
		return nil
	}
	return c.send(nil)
}

// send runs the deferred statements, in one round trip, and scans the row of the last one into row unless that is nil. After an error, the
// server runs none of those that follow.
func (c *connection) send(row []any) error {
	batch := c.deferred
	c.deferred = nil
	err := c.conn.Raw(func(conn any) (err error) {
		results := conn.(*stdlib.Conn).Conn().SendBatch(context.Background(), batch)
		for n := range batch.Len() {
			if row != nil && n == batch.Len()-1 {
				err = results.QueryRow().Scan(row...)
			} else {
				_, err = results.Exec()
			}
			if err != nil {
				break
			}
		}
		return cmp.Or(err, results.Close())
	})
	c.open = c.open || !broken(err)
	return err
}

// Exec implements database.Tx.
func (c *connection) Exec(query string, args ...any) error {
	if err := c.flush(); err != nil {
		return err
	}
	_, err := c.conn.ExecContext(context.Background(), query, storable(args)...)
	return err
}

// Query implements database.Tx.
func (c *connection) Query(query string, args ...any) (*sql.Rows, error) {
	if err := c.flush(); err != nil {
		return nil, err
	}
	return c.conn.QueryContext(context.Background(), query, storable(args)...)
}

// QueryRow implements database.Tx.
func (c *connection) QueryRow(query string, args ...any) database.Row {
	if c.deferred == nil {
		return c.conn.QueryRowContext(context.Background(), query, storable(args)...)
	}
	return deferredRow{c, query, args}
}

// deferredRow is the result of a query that Scan sends together with the deferred statements.
type deferredRow struct {
	c     *connection
	query string
	args  []any
}

// Scan implements database.Row.
func (r deferredRow) Scan(dest ...any) error {
	if err := r.c.queue(r.query, r.args); err != nil {
		return err
	}
	return r.c.send(dest)
}

// storable returns arguments whose texts the server accepts. Texts that it doesn't accept are in no row, since the vault checks
// what it stores; clients may look for them.
func storable(args []any) []any {
	for i, arg := range args {
		if text, ok := arg.(string); ok && (!utf8.ValidString(text) || strings.Contains(text, "\x00")) {
			args = slices.Clone(args)
			args[i] = strings.ToValidUTF8(strings.ReplaceAll(text, "\x00", "\uFFFD"), "\uFFFD")
		}
	}
	return args
}
