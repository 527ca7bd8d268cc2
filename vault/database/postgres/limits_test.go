package postgres

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"net"
	"reflect"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/stdlib"

	"github.com/Miosa-osa/miosa-env/internal/test/poll"
	"github.com/Miosa-osa/miosa-env/internal/test/postgrestest"
	"github.com/Miosa-osa/miosa-env/vault/database"
)

// A connection parses a statement once, however often it runs it.
func TestStatementsStayPrepared(t *testing.T) {
	d := openDB(t, postgrestest.Start(t))
	const statement = "SELECT at + $1 FROM heartbeat WHERE id = 1"
	err := d.Read(t.Context(), func(tx database.Tx) error {
		var n int64
		for range 20 {
			if err := tx.QueryRow(statement, 1).Scan(&n); err != nil {
				return err
			}
		}
		var prepared, runs int
		err := tx.QueryRow("SELECT COUNT(*), SUM(generic_plans + custom_plans) FROM pg_prepared_statements WHERE statement = $1", statement).Scan(&prepared, &runs)
		if prepared != 1 || runs != 20 {
			t.Errorf("%d prepared statements have run %d times, want 1 and 20", prepared, runs)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}

// However many requests there are, a vault has as many connections as documented.
func TestConnectionsAreBounded(t *testing.T) {
	const name, requests = "bounded", 1000
	url := postgrestest.Start(t)
	d, observer := openDB(t, url+"&application_name="+name), openDB(t, url)
	listen(t, d)
	var all sync.WaitGroup
	var failed atomic.Int64
	for i := range requests {
		all.Go(func() {
			do := d.Read
			if i%10 == 0 {
				do = d.Write
			}
			if err := do(t.Context(), func(tx database.Tx) error { return tx.Exec("SELECT pg_sleep(0.001)") }); err != nil {
				failed.Add(1)
			}
		})
	}
	ended := make(chan struct{})
	go func() { all.Wait(); close(ended) }()
	most := 0
	for running := true; running; {
		select {
		case <-ended:
			running = false
		default:
		}
		var n int
		err := observer.Read(t.Context(), func(tx database.Tx) error {
			return tx.QueryRow("SELECT COUNT(*) FROM pg_stat_activity WHERE starts_with(application_name, $1)", name).Scan(&n)
		})
		if err != nil {
			t.Fatal(err)
		}
		most = max(most, n)
	}
	if n := failed.Load(); n > 0 || most != maxReaders+2 {
		t.Errorf("%d failed, at most %d connections; want 0 and %d", n, most, maxReaders+2)
	}
}

// A transaction that the server has undone because of another one is tried again, a few times.
func TestConflictsAreTriedAgain(t *testing.T) {
	d := openDB(t, postgrestest.Start(t))
	for _, code := range []string{"40001", "40P01"} {
		for name, do := range map[string]func(context.Context, func(database.Tx) error) error{"read": d.Read, "write": d.Write} {
			for _, conflicts := range []int{0, 1, tries - 1, tries} {
				runs := 0
				err := do(t.Context(), func(tx database.Tx) error {
					runs++
					if runs <= conflicts {
						return tx.Exec("DO $$ BEGIN RAISE EXCEPTION USING ERRCODE = '" + code + "'; END $$")
					}
					return nil
				})
				if runs != min(conflicts+1, tries) || (err != nil) != (conflicts == tries) || err != nil && !d.Transient(err) {
					t.Errorf("%s with %d times %s: %d runs, %v", name, conflicts, code, runs, err)
				}
			}
		}
	}
}

// A transaction that the server has rolled back isn't reported as committed.
func TestRolledBack(t *testing.T) {
	d := openDB(t, postgrestest.Start(t))
	err := d.Write(t.Context(), func(tx database.Tx) error {
		_ = tx.Exec("SELECT 1/0")
		return nil
	})
	if err == nil {
		t.Error("reported as committed")
	}
}

// Deferred statements run in order, with the arguments that they were given, before the next query and the commit.
func TestDefer(t *testing.T) {
	d := openDB(t, postgrestest.Start(t))
	b := []byte("one")
	err := d.Write(t.Context(), func(tx database.Tx) error {
		if err := tx.Exec("CREATE TABLE deferred (n BIGINT, b BYTEA)"); err != nil {
			return err
		}
		for n := range 3 * maxDeferred / 2 {
			if err := tx.Defer("INSERT INTO deferred VALUES ($1, $2)", n, b); err != nil {
				return err
			}
		}
		copy(b, "two")
		if err := tx.Defer("UPDATE deferred SET n = n + 1000 WHERE n < $1", 10); err != nil {
			return err
		}
		var rows, changed int
		err := tx.QueryRow("SELECT COUNT(*), COUNT(*) FILTER (WHERE n >= 1000) FROM deferred WHERE b = 'one'").Scan(&rows, &changed)
		if rows != 3*maxDeferred/2 || changed != 10 {
			t.Errorf("%d rows, %d changed", rows, changed)
		}
		return errors.Join(err, tx.Defer("DELETE FROM deferred WHERE n > $1", 0))
	})
	if err != nil {
		t.Fatal(err)
	}
	var left int
	if err := d.Read(t.Context(), func(tx database.Tx) error { return tx.QueryRow("SELECT COUNT(*) FROM deferred").Scan(&left) }); err != nil || left != 0 {
		t.Errorf("%d rows are left, %v", left, err)
	}
}

// A query that is sent with deferred statements has the result that it has on its own.
func TestQueryWithDeferred(t *testing.T) {
	d := openDB(t, postgrestest.Start(t))
	type result struct {
		number int
		text   string
		bytes  []byte
		none   sql.NullInt64
		err    error
	}
	err := d.Write(t.Context(), func(tx database.Tx) error {
		if err := tx.Exec("CREATE TABLE kinds (n BIGINT, t TEXT, b BYTEA, none BIGINT)"); err != nil {
			return err
		}
		for _, tt := range []struct {
			name, query string
			arg         any
			want        error
		}{
			{"a row", "SELECT n, t, b, none FROM kinds WHERE n = $1", 1, nil},
			{"a row by a text that the server doesn't accept", "SELECT n, t, b, none FROM kinds WHERE t <> $1", "a\x00b", nil},
			{"a row that the statement inserts", "INSERT INTO kinds VALUES ($1, 'text', 'bytes', NULL) RETURNING n, t, b, none", 1, nil},
			{"no row", "SELECT n, t, b, none FROM kinds WHERE n = $1", 2, sql.ErrNoRows},
		} {
			var results [2]result
			for i := range results {
				if err := tx.Exec("DELETE FROM kinds"); err != nil {
					return err
				}
				insert := tx.Exec
				if i == 1 {
					insert = tx.Defer
				}
				if err := insert("INSERT INTO kinds VALUES (1, 'text', $1, NULL)", []byte("bytes")); err != nil {
					return err
				}
				r := &results[i]
				r.err = tx.QueryRow(tt.query, tt.arg).Scan(&r.number, &r.text, &r.bytes, &r.none)
			}
			if !errors.Is(results[0].err, tt.want) || !errors.Is(results[1].err, tt.want) {
				t.Errorf("%s: %v, with deferred statements %v", tt.name, results[0].err, results[1].err)
			}
			results[0].err, results[1].err = nil, nil
			if !reflect.DeepEqual(results[0], results[1]) || tt.want == nil && string(results[0].bytes) != "bytes" {
				t.Errorf("%s: %+v, with deferred statements %+v", tt.name, results[0], results[1])
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// The error of a deferred statement is that of the next one or of the commit, and of no other write that shares it.
func TestDeferredErrors(t *testing.T) {
	d := openDB(t, postgrestest.Start(t))
	const failing = "UPDATE heartbeat SET at = at / $1 WHERE id = 1"
	var none int
	for name, then := range map[string]func(database.Tx) error{
		"commit": func(database.Tx) error { return nil },
		"exec":   func(tx database.Tx) error { return tx.Exec("SELECT 1") },
		"row":    func(tx database.Tx) error { return tx.QueryRow("SELECT 1").Scan(&none) },
		"query": func(tx database.Tx) error {
			rows, err := tx.Query("SELECT 1")
			if err != nil {
				return err
			}
			defer rows.Close()
			return rows.Err()
		},
	} {
		if err := d.TakeTurn(t.Context()); err != nil { // so that they share the commit
			t.Fatal(err)
		}
		const writes = 5
		results := make(chan error, writes)
		for i := range writes {
			go func() {
				err := d.Write(t.Context(), func(tx database.Tx) error {
					if i != writes/2 {
						return tx.Defer("UPDATE heartbeat SET at = at + $1 WHERE id = 1", 1)
					}
					return errors.Join(tx.Defer(failing, 0), then(tx))
				})
				if i == writes/2 && code(err) != "22012" { // division by zero
					t.Errorf("%s: %v", name, err)
				}
				if i != writes/2 && err != nil {
					t.Errorf("%s: another write: %v", name, err)
				}
				results <- err
			}()
		}
		poll.Until(t, time.Minute, "all are queued", func() bool { return d.Queued() == writes })
		d.GiveTurn()
		for range writes {
			<-results
		}
	}
	var at int
	if err := d.Read(t.Context(), func(tx database.Tx) error { return tx.QueryRow("SELECT at FROM heartbeat WHERE id = 1").Scan(&at) }); err != nil || at != 16 {
		t.Errorf("%d of 16 other writes are done, %v", at, err)
	}
}

// cutting is a connection to the server that is cut at a commit.
type cutting struct {
	net.Conn
	at        *atomic.Bool // the next commit
	delivered bool         // it reaches the server, and its answer doesn't reach the vault
}

func (c cutting) Write(b []byte) (int, error) {
	if !bytes.Contains(b, []byte("COMMIT\x00")) || !c.at.CompareAndSwap(true, false) {
		return c.Conn.Write(b)
	}
	if c.delivered {
		if _, err := c.Conn.Write(b); err != nil {
			return 0, err
		}
		if _, err := c.Read(make([]byte, 1)); err != nil { // the answer
			return 0, err
		}
	}
	return len(b), c.Close()
}

// If the connection is cut during a commit, the vault doesn't know whether it was done: each write reports that, and
// none is done twice.
func TestCutAtCommit(t *testing.T) {
	url := postgrestest.Start(t)
	count := func(d *db) (n int64) {
		t.Helper()
		if err := d.Read(t.Context(), func(tx database.Tx) error { return tx.QueryRow("SELECT at FROM heartbeat WHERE id = 1").Scan(&n) }); err != nil {
			t.Fatal(err)
		}
		return n
	}
	for _, writes := range []int64{1, 5} {
		for _, delivered := range []bool{false, true} {
			d := openDB(t, url)
			conf := d.conf.Copy()
			var cut atomic.Bool
			conf.DialFunc = func(ctx context.Context, network, address string) (net.Conn, error) {
				conn, err := dialer.DialContext(ctx, network, address)
				return cutting{conn, &cut, delivered}, err
			}
			d.pool = stdlib.OpenDB(*conf)
			d.writer.pool = d.pool
			before := count(d)
			if err := d.TakeTurn(t.Context()); err != nil { // so that they share the commit
				t.Fatal(err)
			}
			results := make(chan error, writes)
			for range writes {
				go func() {
					results <- d.Write(t.Context(), func(tx database.Tx) error { return tx.Exec("UPDATE heartbeat SET at = at + 1 WHERE id = 1") })
				}()
			}
			poll.Until(t, time.Minute, "all are queued", func() bool { return int64(d.Queued()) == writes })
			cut.Store(true)
			d.GiveTurn()
			for range writes {
				if err := <-results; !errors.Is(err, database.ErrUncertain) || !d.Transient(err) {
					t.Errorf("delivered %t: %v", delivered, err)
				}
			}
			want := before
			if delivered {
				want += writes
			}
			if n := count(d); n != want {
				t.Errorf("%d writes, delivered %t: %d are done, want %d", writes, delivered, n-before, want-before)
			}
		}
	}
}
