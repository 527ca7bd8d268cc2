package sqlite

import (
	"database/sql/driver"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/internal/test/poll"
	"github.com/Miosa-osa/miosa-env/vault/database"
)

func openDB(t *testing.T, dir string) *db {
	t.Helper()
	d, err := Open(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.Close() })
	return d.(*db)
}

func run(t *testing.T, d *db, statement string, args ...any) {
	t.Helper()
	if err := d.Write(t.Context(), func(tx database.Tx) error { return tx.Exec(statement, args...) }); err != nil {
		t.Fatal(err)
	}
}

func count(t *testing.T, d *db, query string) (n int) {
	t.Helper()
	if err := d.Read(t.Context(), func(tx database.Tx) error { return tx.QueryRow(query).Scan(&n) }); err != nil {
		t.Fatal(err)
	}
	return n
}

// A broken connection is replaced, for writing and for reading.
func TestReconnects(t *testing.T) {
	d := openDB(t, t.TempDir())
	run(t, d, `CREATE TABLE numbers (n BIGINT)`)
	breakIt := func(c *connection) {
		if c.conn != nil {
			_ = c.conn.Raw(func(any) error { return driver.ErrBadConn })
		}
	}
	for range cap(d.readers) {
		count(t, d, `SELECT COUNT(*) FROM numbers`)
	}
	if err := d.TakeTurn(t.Context()); err != nil {
		t.Fatal(err)
	}
	breakIt(d.writer)
	d.GiveTurn()
	for range cap(d.readers) {
		c := <-d.readers
		breakIt(c)
		d.readers <- c
	}
	run(t, d, `INSERT INTO numbers VALUES (1)`)
	for range cap(d.readers) {
		if n := count(t, d, `SELECT COUNT(*) FROM numbers`); n != 1 {
			t.Errorf("%d rows, want 1", n)
		}
	}
}

// Writes share a commit. Those that are refused or fail leave nothing behind; the others are committed.
func TestWritesShareACommit(t *testing.T) {
	refused := api.NewError(api.ErrConflict, "refused")
	for _, tt := range []struct {
		name  string
		fails func(database.Tx) error
		want  func(error) bool
	}{
		{"refused", func(database.Tx) error { return refused }, func(err error) bool { return errors.Is(err, refused) }},
		{"failed", func(tx database.Tx) error { return tx.Exec(`INSERT INTO nowhere VALUES (1)`) }, func(err error) bool { return code(err) > 0 }},
		{"undoes all", func(tx database.Tx) error { return tx.Exec(`INSERT INTO numbers VALUES (-1)`) }, func(err error) bool { return code(err) > 0 }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			d := openDB(t, t.TempDir())
			run(t, d, `CREATE TABLE numbers (n BIGINT)`)
			run(t, d, `CREATE TRIGGER undo BEFORE INSERT ON numbers WHEN NEW.n < 0 BEGIN SELECT RAISE(ROLLBACK, 'no'); END`)
			const writers, bad = 30, 3
			if err := d.TakeTurn(t.Context()); err != nil { // until all are queued
				t.Fatal(err)
			}
			done := make(chan error, writers)
			for i := range writers {
				go func() {
					done <- d.Write(t.Context(), func(tx database.Tx) error {
						if err := tx.Exec(`INSERT INTO numbers VALUES ($1)`, i); err != nil || i%10 != 3 {
							return err
						}
						return tt.fails(tx)
					})
				}()
			}
			poll.Until(t, 10*time.Second, "all queued", func() bool {
				return d.Queued() == writers
			})
			d.GiveTurn()
			failed := 0
			for range writers {
				if err := <-done; err != nil {
					if failed++; !tt.want(err) {
						t.Errorf("got %v", err)
					}
				}
			}
			stored, distinct := count(t, d, `SELECT COUNT(*) FROM numbers WHERE n % 10 <> 3`), count(t, d, `SELECT COUNT(DISTINCT n) FROM numbers`)
			if failed != bad || stored != writers-bad || distinct != writers-bad {
				t.Errorf("%d failed, %d stored, %d distinct; want %d, %d, %d", failed, stored, distinct, bad, writers-bad, writers-bad)
			}
		})
	}
}

func TestClosed(t *testing.T) {
	d := openDB(t, t.TempDir())
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	nothing := func(database.Tx) error { return nil }
	for name, err := range map[string]error{
		"read": d.Read(t.Context(), nothing), "write": d.Write(t.Context(), nothing), "try": d.TryWrite(t.Context()), "close": d.Close(),
	} {
		if want := map[bool]error{true: nil, false: database.ErrClosed}[name == "close"]; !errors.Is(err, want) {
			t.Errorf("%s: got %v, want %v", name, err, want)
		}
	}
}

// A write that panics does so in the goroutine that called Write. Writes in the same transaction are committed, and later ones
// are not blocked.
func TestWritePanics(t *testing.T) {
	d := openDB(t, t.TempDir())
	run(t, d, `CREATE TABLE rows (name TEXT)`)
	insert := func(tx database.Tx) error { return tx.Exec(`INSERT INTO rows VALUES ('kept')`) }
	panics := func(tx database.Tx) error {
		if err := tx.Exec(`INSERT INTO rows VALUES ('undone')`); err != nil {
			return err
		}
		panic("a test's")
	}
	write := func(do func(database.Tx) error) <-chan any {
		done := make(chan any, 1)
		go func() {
			defer func() {
				if v := recover(); v != nil {
					done <- v
				}
			}()
			done <- d.Write(t.Context(), do)
		}()
		return done
	}
	want := func(result <-chan any, panicked bool) {
		t.Helper()
		switch v := (<-result).(type) {
		case string:
			if !panicked || !strings.Contains(v, "a test's") || !strings.Contains(v, "TestWritePanics") {
				t.Errorf("panicked: %s", v)
			}
		default:
			if panicked || v != nil {
				t.Errorf("returned %v", v)
			}
		}
	}
	want(write(panics), true)

	inside, leave := make(chan struct{}), make(chan struct{})
	first := write(func(database.Tx) error { close(inside); <-leave; return nil })
	<-inside
	var results []<-chan any
	for i, do := range []func(database.Tx) error{insert, panics, insert} {
		results = append(results, write(do))
		poll.Until(t, 10*time.Second, "the write is queued", func() bool {
			return d.Queued() == i+1
		})
	}
	close(leave)
	want(first, false)
	want(results[0], false)
	want(results[1], true)
	want(results[2], false)
	if kept, all := count(t, d, `SELECT count(*) FROM rows WHERE name = 'kept'`), count(t, d, `SELECT count(*) FROM rows`); kept != 2 || all != 2 {
		t.Errorf("%d of %d rows are kept, want 2 of 2", kept, all)
	}
}
