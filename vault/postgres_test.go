package vault_test

import (
	"os"
	"testing"

	"github.com/Miosa-osa/miosa-env/internal/needs"
	"github.com/Miosa-osa/miosa-env/internal/test/postgrestest"
)

func TestMain(m *testing.M) {
	code := m.Run()
	postgrestest.Stop()
	os.Exit(code)
}

// The tests of this package pass on PostgreSQL too.
func TestPostgreSQL(t *testing.T) {
	if needs.Raced {
		t.Skip("races of the store on PostgreSQL are found by the tests of vault/store")
	}
	postgrestest.Rerun(t)
}
