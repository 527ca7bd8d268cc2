package database

import (
	"errors"
	"fmt"
	"strings"
)

// Source is a database that is copied: a snapshot of it, while no vault has it open. It is never changed.
type Source interface {
	Tx
	Close() error
}

// Target is a new database with the current schema, in one transaction: nobody sees it before Commit, and without Commit nothing
// of it stays.
type Target interface {
	Tx

	// Load adds rows to a table. next returns the values of the columns of each row, and nil after the last row.
	Load(table string, columns []string, next func() ([]any, error)) error

	// Loaded prepares the database for its use, after all tables were loaded.
	Loaded() error

	// Commit returns when the database is on the disk.
	Commit() error

	Close() error
}

// Errors of opening a Source or a Target.
var (
	ErrInUse    = errors.New("the database is in use")
	ErrNotEmpty = errors.New("there is a database already")
	ErrMissing  = errors.New("there is no database")
)

// CheckSchema returns an error unless the database has the schema of this program.
func CheckSchema(tx Tx) error {
	newest, err := newestSchema()
	if err != nil {
		return err
	}
	have, err := currentSchema(tx)
	if err != nil {
		return err
	}
	switch {
	case have > newest:
		return newerSchema(have, newest)
	case have < newest:
		return fmt.Errorf("the database has schema %d, this program writes %d: run miosa-vault keys list on it first, which updates it", have, newest)
	}
	return nil
}

// InsertStatement is the statement that adds a row to a table.
func InsertStatement(table string, columns []string) string {
	parameters := make([]string, len(columns))
	for i := range parameters {
		parameters[i] = fmt.Sprintf("$%d", i+1)
	}
	return `INSERT INTO ` + table + ` (` + strings.Join(columns, ", ") + `) VALUES (` + strings.Join(parameters, ", ") + `)`
}
