package store

import (
	"os"
	"os/exec"
	"sync"
	"testing"

	"github.com/Miosa-osa/miosa-env/internal/needs"
	"github.com/Miosa-osa/miosa-env/internal/test/postgrestest"
)

// databaseEnv is postgres in a process whose stores are on PostgreSQL.
const databaseEnv = "MIOSA_TEST_DATABASE"

func onPostgres() bool { return os.Getenv(databaseEnv) == "postgres" }

func TestMain(m *testing.M) {
	code := m.Run()
	postgrestest.Stop()
	os.Exit(code)
}

// databaseOf returns the database of a folder: a schema of a PostgreSQL server, or "", SQLite.
func databaseOf(t testing.TB, dir string) string {
	t.Helper()
	if !onPostgres() {
		return ""
	}
	at, ok := databases.Load(dir)
	if !ok {
		at, _ = databases.LoadOrStore(dir, postgrestest.Start(t))
	}
	return at.(string)
}

var databases sync.Map // URLs by folder

// sqliteOnly skips a test that damages the database's files, or has statements in SQLite's dialect.
func sqliteOnly(t *testing.T) {
	t.Helper()
	needs.Option(t, !onPostgres(), databaseEnv+"=", "it needs SQLite")
}

// The tests of this package pass on PostgreSQL too.
func TestPostgreSQL(t *testing.T) {
	if onPostgres() {
		return
	}
	needs.Long(t, "it runs the tests again")
	postgrestest.Start(t) // or the test is skipped
	c := exec.CommandContext(t.Context(), os.Args[0], "-test.short", "-test.timeout=10m", "-test.count=1")
	c.Env = append(os.Environ(), databaseEnv+"=postgres")
	if out, err := c.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
}
