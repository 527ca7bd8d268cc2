package sqlite

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"net/url"
	"time"

	"github.com/Miosa-osa/miosa-env/vault/database"
)

// maxStatements is how many statements a connection keeps prepared: lists with filters come in many forms.
const maxStatements = 128

// connection is one connection to the database, and its prepared statements: parsing them each time takes a third of a
// reveal. It connects when it is first used, and again after it broke. It is not safe for concurrent use.
//
// It implements database.Tx for the transaction that begin has started. An sql.Tx would cost a goroutine. Statements don't end
// with a context, since a client that disconnects must not interrupt one on a shared connection; they are short, and wait
// no longer than lockTimeout.
type connection struct {
	pool       *sql.DB // of this one connection
	conn       *sql.Conn
	statements map[string]*sql.Stmt
	open       bool // a transaction
}

// newConnection returns a connection on which the pragmas are run first.
func newConnection(path string, pragmas ...string) (*connection, error) {
	params := url.Values{"_pragma": append(pragmas, "temp_store(memory)", "trusted_schema(off)")}
	pool, err := sql.Open("sqlite", "file:"+(&url.URL{Path: path}).EscapedPath()+"?"+params.Encode())
	if err != nil {
		return nil, err
	}
	pool.SetMaxOpenConns(1)
	return &connection{pool: pool, statements: map[string]*sql.Stmt{}}, nil
}

// lockTimeout is how long a transaction waits for other processes.
const lockTimeout = 10 * time.Second

// begin starts a transaction with a statement: BEGIN or BEGIN IMMEDIATE. It connects again if the connection is broken.
//
// It tries once a millisecond to get a lock that another process holds. SQLite's own wait sleeps for up to 100 ms
// between two tries, and so gets no lock for seconds while a process commits one write after another.
func (c *connection) begin(ctx context.Context, statement string) (err error) {
	replaced := false
	for deadline := time.Now().Add(lockTimeout); ; {
		if c.conn == nil {
			c.conn, err = c.pool.Conn(ctx)
		}
		if c.conn != nil {
			err = c.Exec(statement)
		}
		switch {
		case busy(err) && ctx.Err() == nil && time.Now().Before(deadline):
		case broken(err) && !replaced:
			// database/sql has closed the connection already. Closing its statements would access freed memory.
			c.conn, replaced = nil, true
			clear(c.statements)
		default:
			c.open = err == nil
			return err
		}
	}
}

func broken(err error) bool {
	return errors.Is(err, driver.ErrBadConn) || errors.Is(err, sql.ErrConnDone)
}

func (c *connection) close() error {
	err := c.closeStatements()
	if c.conn != nil {
		err = errors.Join(err, c.conn.Close())
	}
	c.conn = nil
	return errors.Join(err, c.pool.Close())
}

func (c *connection) closeStatements() (err error) {
	for _, s := range c.statements {
		err = errors.Join(err, s.Close())
	}
	clear(c.statements)
	return err
}

// statement prepares a query, unless it is prepared already.
func (c *connection) statement(query string) (*sql.Stmt, error) {
	if s := c.statements[query]; s != nil {
		return s, nil
	}
	if len(c.statements) >= maxStatements {
		if err := c.closeStatements(); err != nil {
			return nil, err
		}
	}
	s, err := c.conn.PrepareContext(context.Background(), query)
	if err == nil {
		c.statements[query] = s
	}
	return s, err
}

// Begin implements database.Writer. A client that disconnects doesn't interrupt what others share.
func (c *connection) Begin() error { return c.begin(context.Background(), "BEGIN IMMEDIATE") }

// Commit implements database.Writer.
func (c *connection) Commit() error {
	err := c.Exec("COMMIT")
	c.open = err != nil
	return err
}

// Rollback implements database.Writer. SQLite may have undone the transaction already.
func (c *connection) Rollback() {
	if c.open {
		_ = c.Exec("ROLLBACK")
	}
	c.open = false
}

// Exec implements database.Tx.
func (c *connection) Exec(query string, args ...any) error {
	s, err := c.statement(query) //nolint:sqlclosecheck // the connection keeps it
	if err == nil {
		_, err = s.ExecContext(context.Background(), args...)
	}
	return err
}

// Defer implements database.Tx.
func (c *connection) Defer(query string, args ...any) error { return c.Exec(query, args...) }

// Query implements database.Tx.
func (c *connection) Query(query string, args ...any) (*sql.Rows, error) {
	s, err := c.statement(query) //nolint:sqlclosecheck // the connection keeps it
	if err != nil {
		return nil, err
	}
	return s.QueryContext(context.Background(), args...)
}

// QueryRow implements database.Tx.
func (c *connection) QueryRow(query string, args ...any) database.Row {
	s, err := c.statement(query) //nolint:sqlclosecheck // the connection keeps it
	if err != nil {
		return c.conn.QueryRowContext(context.Background(), query) // which returns the error
	}
	return s.QueryRowContext(context.Background(), args...)
}
