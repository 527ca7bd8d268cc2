package vault

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"time"
)

// maxStatements bounds what a connection keeps prepared: lists with filters come in many shapes.
const maxStatements = 128

// connection is one connection to the database, with the statements prepared on it: parsing them anew
// each time takes a third of a reveal. It connects when it's first used, and again after it broke. Whoever
// holds it has it alone.
type connection struct {
	url        string
	setup      string  // run once connected; "": nothing
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

// begin starts a transaction, on a new connection where the old one turns out to be broken.
//
// For a lock that another process holds it asks once a millisecond. SQLite's own wait sleeps up to 100 ms
// between two looks, and so loses for seconds against a process that commits one write after another.
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
			// database/sql has closed the connection already. What was prepared on it is forgotten, not
			// closed: that would reach into memory that is gone.
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

// statement is the query, prepared; nil where it can't be, or isn't worth it.
func (c *connection) statement(ctx context.Context, query string) *sql.Stmt {
	s := c.statements[query]
	if s == nil && len(c.statements) < maxStatements {
		var err error
		if s, err = c.conn.PrepareContext(ctx, query); err != nil {
			return nil // running the query says what is wrong with it
		}
		c.statements[query] = s
	}
	return s
}

func (c *connection) exec(ctx context.Context, query string, args ...any) (sql.Result, error) {
	if err := c.connect(ctx); err != nil {
		return nil, err
	}
	if s := c.statement(ctx, query); s != nil { //nolint:sqlclosecheck // it is kept; close closes it
		return s.ExecContext(ctx, args...)
	}
	return c.conn.ExecContext(ctx, query, args...)
}

func (c *connection) query(ctx context.Context, query string, args ...any) (*sql.Rows, error) {
	if err := c.connect(ctx); err != nil {
		return nil, err
	}
	if s := c.statement(ctx, query); s != nil { //nolint:sqlclosecheck // it is kept; close closes it
		return s.QueryContext(ctx, args...)
	}
	return c.conn.QueryContext(ctx, query, args...)
}

// row is the one row of a query, or why there is none.
type row struct {
	*sql.Row
	err error
}

// Scan is sql.Row's.
func (r row) Scan(dest ...any) error {
	if r.err != nil {
		return r.err
	}
	return r.Row.Scan(dest...)
}

func (c *connection) queryRow(ctx context.Context, query string, args ...any) row {
	if err := c.connect(ctx); err != nil {
		return row{err: err}
	}
	if s := c.statement(ctx, query); s != nil { //nolint:sqlclosecheck // it is kept; close closes it
		return row{Row: s.QueryRowContext(ctx, args...)}
	}
	return row{Row: c.conn.QueryRowContext(ctx, query, args...)}
}
