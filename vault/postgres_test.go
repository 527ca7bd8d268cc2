package vault_test

import (
	"os"
	"testing"

	"github.com/Miosa-osa/miosa-env/internal/needs"
	"github.com/Miosa-osa/miosa-env/internal/test/postgrestest"
	"github.com/Miosa-osa/miosa-env/vault/vaulttest"
)

func TestMain(m *testing.M) {
	code := m.Run()
	postgrestest.Stop()
	os.Exit(code)
}

// The tests of this package pass on PostgreSQL too.
func TestPostgreSQL(t *testing.T) {
	vaulttest.OneVault(t, "it is on PostgreSQL already")
	needs.Option(t, !needs.Raced, "-race=false", "the tests of vault/store find the races on PostgreSQL")
	postgrestest.Rerun(t)
}
