package database

import (
	"fmt"
	"io/fs"
	"strconv"
	"strings"
	"time"

	"github.com/Miosa-osa/miosa-env/vault/database/migrations"
)

// Migrate runs the migrations that schema_version doesn't list, all in the one transaction tx, so processes that start
// together don't interfere. dialect translates them. Errors: a schema of a newer program is refused.
func Migrate(tx Tx, dialect *strings.Replacer) error {
	if err := tx.Exec(`CREATE TABLE IF NOT EXISTS schema_version (
		version BIGINT PRIMARY KEY, applied_at BIGINT NOT NULL)`); err != nil {
		return fmt.Errorf("read schema version: %w", err)
	}
	have, err := currentSchema(tx)
	if err != nil {
		return err
	}
	var newest int64
	entries, err := migrations.Files.ReadDir(".") // sorted by name
	if err != nil {
		return err
	}
	for _, e := range entries {
		if newest, err = schemaOf(e); err != nil {
			return err
		}
		if newest <= have {
			continue
		}
		text, err := migrations.Files.ReadFile(e.Name())
		if err == nil {
			err = tx.Exec(dialect.Replace(string(text)))
		}
		if err == nil {
			err = tx.Exec(`INSERT INTO schema_version (version, applied_at) VALUES ($1, $2)`, newest, time.Now().UnixMicro())
		}
		if err != nil {
			return fmt.Errorf("migration %s: %w", e.Name(), err)
		}
	}
	if have > newest {
		return newerSchema(have, newest)
	}
	return nil
}

// currentSchema is the number of the newest migration that the database has; 0: none.
func currentSchema(tx Tx) (version int64, err error) {
	if err := tx.QueryRow(`SELECT COALESCE(MAX(version), 0) FROM schema_version`).Scan(&version); err != nil {
		return 0, fmt.Errorf("read schema version: %w", err)
	}
	return version, nil
}

func newerSchema(have, newest int64) error {
	return fmt.Errorf("the database has schema %d, this program knows up to %d: run a newer one", have, newest)
}

// schemaOf is the number of a migration.
func schemaOf(migration fs.DirEntry) (int64, error) {
	number, _, _ := strings.Cut(migration.Name(), "_")
	n, err := strconv.ParseInt(number, 10, 64)
	if err != nil {
		return 0, fmt.Errorf("migration %s: name must start with its number", migration.Name())
	}
	return n, nil
}

// newestSchema is the number of the newest migration.
func newestSchema() (int64, error) {
	entries, err := migrations.Files.ReadDir(".")
	if err != nil {
		return 0, err
	}
	return schemaOf(entries[len(entries)-1])
}
