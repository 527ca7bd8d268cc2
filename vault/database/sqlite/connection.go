package sqlite

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"time"

	"github.com/Miosa-osa/miosa-env/vault/database"
)

// maxStatements bounds what a connection keeps prepared: lists with filters come in many shapes.
const maxStatements = 128

// connection is one connection to the database, and its prepared statements: parsing them each time takes a third of a
// reveal. It connects when it is first used, and again after it broke. It is not safe for concurrent use.
type connection struct {
	url        string
	setup      string  // statement to run once connected; "": none
	pool       *sql.DB // of this one connection
	conn       *sql.Conn
	statements map[string]*sql.Stmt
}

func (c *connection) connect(ctx context.Context) (err error) {
	if c.conn != nil {
		return nil
	}
	if c.pool == nil {
		if c.pool, err = sql.Open("sqlite", c.url); err != nil {
			return err
		}
		c.pool.SetMaxOpenConns(1)
	}
	if c.conn, err = c.pool.Conn(ctx); err != nil {
		return err
	}
	c.statements = map[string]*sql.Stmt{}
	if c.setup != "" {
		_, err = c.conn.ExecContext(ctx, c.setup)
	}
	return err
}

// lockTimeout is how long a transaction waits for other processes.
const lockTimeout = 10 * time.Second

// begin starts a transaction, on a new connection if the old one is broken.
//
// It tries once a millisecond to get a lock that another process holds. SQLite's own wait sleeps for up to 100 ms
// between two tries, and so gets no lock for seconds while a process commits one write after another.
func (c *connection) begin(ctx context.Context, options *sql.TxOptions) (*sql.Tx, error) {
	replaced := false
	for deadline := time.Now().Add(lockTimeout); ; {
		if err := c.connect(ctx); err != nil {
			return nil, err
		}
		tx, err := c.conn.BeginTx(ctx, options)
		switch {
		case busy(err) && time.Now().Before(deadline):
		case broken(err) && !replaced:
			// database/sql has closed the connection already. Closing its statements would access freed memory.
			c.conn, c.statements, replaced = nil, nil, true
		default:
			return tx, err
		}
	}
}

func broken(err error) bool {
	return errors.Is(err, driver.ErrBadConn) || errors.Is(err, sql.ErrConnDone)
}

func (c *connection) close() error {
	var problems []error
	for _, s := range c.statements {
		problems = append(problems, s.Close())
	}
	if c.conn != nil {
		problems = append(problems, c.conn.Close())
	}
	if c.pool != nil {
		problems = append(problems, c.pool.Close())
	}
	c.conn, c.statements = nil, nil
	return errors.Join(problems...)
}

// statement is the query, prepared; nil if it can't be, or if there are enough.
func (c *connection) statement(ctx context.Context, query string) *sql.Stmt {
	s := c.statements[query]
	if s == nil && len(c.statements) < maxStatements {
		var err error
		if s, err = c.conn.PrepareContext(ctx, query); err != nil {
			return nil // running the query returns the error
		}
		c.statements[query] = s
	}
	return s
}

// transaction implements database.Tx on a connection that begin has been called on.
type transaction struct {
	conn *connection
	// ctx isn't the caller's: a client that disconnects can't interrupt a statement on a shared connection.
	// Statements are short, and wait no longer than lockTimeout.
	ctx context.Context
}

// Exec implements database.Tx.
func (t transaction) Exec(query string, args ...any) (err error) {
	if s := t.conn.statement(t.ctx, query); s != nil { //nolint:sqlclosecheck // it is kept; close closes it
		_, err = s.ExecContext(t.ctx, args...)
	} else {
		_, err = t.conn.conn.ExecContext(t.ctx, query, args...)
	}
	return err
}

// Query implements database.Tx.
func (t transaction) Query(query string, args ...any) (*sql.Rows, error) {
	if s := t.conn.statement(t.ctx, query); s != nil { //nolint:sqlclosecheck // it is kept; close closes it
		return s.QueryContext(t.ctx, args...)
	}
	return t.conn.conn.QueryContext(t.ctx, query, args...)
}

// QueryRow implements database.Tx.
func (t transaction) QueryRow(query string, args ...any) database.Row {
	if s := t.conn.statement(t.ctx, query); s != nil { //nolint:sqlclosecheck // it is kept; close closes it
		return s.QueryRowContext(t.ctx, args...)
	}
	return t.conn.conn.QueryRowContext(t.ctx, query, args...)
}
