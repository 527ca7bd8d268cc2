package postgres

import (
	"context"
	"database/sql"
	"testing"
	"time"

	"github.com/Miosa-osa/miosa-env/internal/test/postgrestest"
	"github.com/Miosa-osa/miosa-env/vault/database/migrations"
)

// While a migration can't lock a table that somebody reads for long, vaults of the earlier version go on. When the reader has ended,
// the migration runs.
func TestMigrationLetsOthersGoOn(t *testing.T) {
	url := postgrestest.Start(t)
	observer, err := sql.Open("pgx", url)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = observer.Close() }()
	exec := func(statement string, args ...any) {
		t.Helper()
		if _, err := observer.ExecContext(t.Context(), statement, args...); err != nil {
			t.Fatal(err)
		}
	}
	// The schema of the version whose newest migration is 10.
	const newest = 10
	exec("CREATE TABLE schema_version (version BIGINT PRIMARY KEY, applied_at BIGINT NOT NULL)")
	files, err := migrations.Files.ReadDir(".")
	if err != nil {
		t.Fatal(err)
	}
	for i, f := range files[:newest] {
		text, err := migrations.Files.ReadFile(f.Name())
		if err != nil {
			t.Fatal(err)
		}
		exec(dialect.Replace(string(text)))
		exec("INSERT INTO schema_version VALUES ($1, 0)", i+1)
	}
	reader, err := observer.BeginTx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = reader.Rollback() }()
	if _, err := reader.ExecContext(t.Context(), "LOCK TABLE audit IN ACCESS SHARE MODE"); err != nil { // as pg_dump
		t.Fatal(err)
	}
	opened := make(chan error, 1)
	go func() {
		d, err := Open(context.Background(), url)
		if err == nil {
			err = d.Close()
		}
		opened <- err
	}()
	var longest time.Duration
	// Until the migration has waited for the table, and has tried again.
	for began := time.Now(); longest < tableWait/2 && time.Since(began) < time.Minute || time.Since(began) < tableWait+migrationPause+time.Second; {
		asked := time.Now()
		exec("SELECT FROM audit")
		longest = max(longest, time.Since(asked))
		time.Sleep(10 * time.Millisecond)
	}
	if longest < tableWait/2 || longest > tableWait+5*time.Second {
		t.Errorf("a read of the table took up to %v; a migration may wait %v for it", longest, tableWait)
	}
	select {
	case err := <-opened:
		t.Errorf("the migration ended before the reader: %v", err)
	default:
		if err := reader.Rollback(); err != nil {
			t.Fatal(err)
		}
		if err := <-opened; err != nil {
			t.Error(err)
		}
	}
	exec("SELECT method FROM audit")
}
