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

// A write sees those of other processes before it, also on a server whose transactions keep their first snapshot by default.
func TestIsolationOfWrites(t *testing.T) {
	url := postgrestest.Start(t) + "&default_transaction_isolation=repeatable%20read"
	const writes = 50
	var all sync.WaitGroup
	var vaults [2]database.DB
	for i := range vaults {
		d, err := Open(t.Context(), url)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = d.Close() })
		vaults[i] = d
	}
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
