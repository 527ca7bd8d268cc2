package postgres

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"

	"github.com/Miosa-osa/miosa-env/internal/delay"
	"github.com/Miosa-osa/miosa-env/vault/database"
)

// transfer implements database.Source and database.Target, on one connection.
type transfer struct{ *connection }

// openAlone connects for a transfer, and gets the openLock. Errors: each an *OpenError; database.ErrInUse.
func openAlone(ctx context.Context, url, begin string) (_ *transfer, err error) {
	conf, err := configure(url)
	if err != nil {
		return nil, err
	}
	// A table takes as long as it takes, and this transaction waits for the other database.
	conf.RuntimeParams["statement_timeout"], conf.RuntimeParams["idle_in_transaction_session_timeout"] = "0", "0"
	t := &transfer{&connection{pool: stdlib.OpenDB(*conf)}}
	defer func() {
		if err != nil {
			err = &OpenError{errors.Join(err, t.Close())}
		}
	}()
	if t.conn, err = t.pool.Conn(ctx); err != nil {
		return nil, err
	}
	// The connections of a vault that has just ended may last a moment longer.
	for deadline := time.Now().Add(2 * time.Second); ; {
		var got bool
		err := t.QueryRow("SELECT pg_try_advisory_lock(" + openLock + ")").Scan(&got)
		switch {
		case err != nil:
			return nil, err
		case got:
			t.open = true
			return t, t.Exec(begin) // on no other connection: it has the lock
		case time.Now().After(deadline):
			return nil, database.ErrInUse
		}
		if err := delay.Sleep(ctx, 50*time.Millisecond); err != nil {
			return nil, err
		}
	}
}

// hasTable reports whether the schema has a table.
func (t *transfer) hasTable(name string) (has bool, err error) {
	err = t.QueryRow("SELECT EXISTS (SELECT FROM pg_tables WHERE schemaname = current_schema() AND tablename = $1)", name).Scan(&has)
	return has, err
}

// OpenSource opens a database to copy it. Until Close, no vault can open it. Errors: each an *OpenError; database.ErrInUse,
// database.ErrMissing.
func OpenSource(ctx context.Context, url string) (database.Source, error) {
	t, err := openAlone(ctx, url, "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
	if err != nil {
		return nil, err
	}
	has, err := t.hasTable("schema_version")
	if err == nil && !has {
		err = database.ErrMissing
	}
	if err == nil {
		err = database.CheckSchema(t)
	}
	if err != nil {
		return nil, &OpenError{errors.Join(err, t.Close())}
	}
	return t, nil
}

// OpenTarget creates the tables of a new database, in a transaction. Errors: each an *OpenError; database.ErrInUse,
// database.ErrNotEmpty.
func OpenTarget(ctx context.Context, url string) (database.Target, error) {
	t, err := openAlone(ctx, url, "BEGIN ISOLATION LEVEL READ COMMITTED")
	if err != nil {
		return nil, err
	}
	has, err := t.hasTable("schema_version")
	if err == nil && has {
		err = database.ErrNotEmpty
	}
	if err == nil {
		err = database.Migrate(t, dialect)
	}
	if err != nil {
		return nil, &OpenError{errors.Join(err, t.Close())}
	}
	return t, nil
}

// Load implements database.Target.
func (t *transfer) Load(table string, columns []string, next func() ([]any, error)) error {
	return t.conn.Raw(func(driver any) error {
		_, err := driver.(*stdlib.Conn).Conn().CopyFrom(context.Background(), pgx.Identifier{table}, columns, pgx.CopyFromFunc(next))
		return err
	})
}

// Loaded implements database.Target. Without the statistics of the new rows, the server would read whole tables for each of them.
func (t *transfer) Loaded() error {
	err := t.Exec("SELECT setval(pg_get_serial_sequence('audit', 'seq'), (SELECT MAX(seq) FROM audit)) WHERE EXISTS (SELECT FROM audit)")
	if err == nil {
		err = t.Exec("ANALYZE")
	}
	return err
}

// Commit implements database.Target.
func (t *transfer) Commit() error {
	err := t.connection.Commit()
	if broken(err) {
		err = fmt.Errorf("the server didn't say whether the copy is complete: run this again, which says so: %w", err)
	}
	return err
}

// Close implements database.Source and database.Target. When it returns, vaults can open the database: the server may notice only
// later that a connection has ended.
func (t *transfer) Close() error {
	if t.conn != nil {
		t.Rollback()
	}
	if t.conn != nil {
		_ = t.Exec("SELECT pg_advisory_unlock_all()") // or it ends with the connection
	}
	t.close()
	return t.pool.Close()
}
