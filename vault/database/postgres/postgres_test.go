package postgres

import (
	"os"
	"sync"
	"testing"

	"github.com/Miosa-osa/miosa-env/internal/test/postgrestest"
	"github.com/Miosa-osa/miosa-env/vault/database"
)

func TestMain(m *testing.M) {
	code := m.Run()
	postgrestest.Stop()
	os.Exit(code)
}

func openDB(t *testing.T, url string) *db {
	t.Helper()
	d, err := Open(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.Close() })
	return d.(*db)
}

// A write sees those of other processes before it, also on a server whose transactions keep their first snapshot by default.
func TestIsolationOfWrites(t *testing.T) {
	url := postgrestest.Start(t) + "&default_transaction_isolation=repeatable%20read"
	const writes = 50
	var all sync.WaitGroup
	vaults := []*db{openDB(t, url), openDB(t, url)}
	for _, d := range vaults {
		all.Go(func() {
			for range writes {
				err := d.Write(t.Context(), func(tx database.Tx) error {
					var n int64
					if err := tx.QueryRow("SELECT at FROM heartbeat WHERE id = 1").Scan(&n); err != nil {
						return err
					}
					return tx.Exec("UPDATE heartbeat SET at = $1 WHERE id = 1", n+1)
				})
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	var n int64
	err := vaults[0].Read(t.Context(), func(tx database.Tx) error { return tx.QueryRow("SELECT at FROM heartbeat WHERE id = 1").Scan(&n) })
	if err != nil || n != writes*int64(len(vaults)) {
		t.Errorf("%d writes, %v", n, err)
	}
}

// A transaction begins on another connection if the server has ended the one of the pool, and leaves none in use.
func TestLostConnection(t *testing.T) {
	opened, err := Open(t.Context(), postgrestest.Start(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = opened.Close() })
	d := opened.(*db)
	before := d.pool.Stats().InUse
	conn, err := d.pool.Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	c := &connection{pool: d.pool, conn: conn}
	if err := c.Exec("SELECT pg_terminate_backend(pg_backend_pid())"); err == nil {
		t.Fatal("the connection is still there")
	}
	var one int
	if err := c.read(func(tx database.Tx) error { return tx.QueryRow("SELECT 1").Scan(&one) }); err != nil || one != 1 {
		t.Errorf("%d, %v", one, err)
	}
	c.release()
	if after := d.pool.Stats().InUse; after != before {
		t.Errorf("%d connections are in use, %d before", after, before)
	}
}

// Errors of connections may pass by themselves.
func TestTransient(t *testing.T) {
	d, err := Open(t.Context(), postgrestest.Start(t)+"&application_name=transient")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.Close() })
	err = d.Read(t.Context(), func(tx database.Tx) error {
		err := tx.Exec("SELECT pg_terminate_backend(pg_backend_pid())")
		for range 3 {
			if !d.Transient(err) {
				t.Errorf("%v: not transient", err)
			}
			var n int
			err = tx.QueryRow("SELECT 1").Scan(&n)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}
