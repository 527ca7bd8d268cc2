// Package transfer copies a vault's database to another one: between SQLite and PostgreSQL, or two of the same kind. It copies
// all or nothing, and verifies the copy before it is committed.
package transfer

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"

	"github.com/Miosa-osa/miosa-env/internal/trusted"
	"github.com/Miosa-osa/miosa-env/vault/database"
	"github.com/Miosa-osa/miosa-env/vault/database/postgres"
	"github.com/Miosa-osa/miosa-env/vault/database/sqlite"
	"github.com/Miosa-osa/miosa-env/vault/keyring"
	"github.com/Miosa-osa/miosa-env/vault/store"
)

// End is one of the two databases.
type End struct {
	Dir string // folder of a SQLite database
	URL string // of a PostgreSQL database; "": SQLite
}

func (e End) String() string {
	if e.URL != "" {
		return "the PostgreSQL database" // a URL may contain a password
	}
	return e.Dir
}

// Config configures Run.
type Config struct {
	From, To    End
	RootKey     keyring.Root // verifies the copy
	Shared      bool         // accept files and folders that other users can change
	KeepAltered bool         // copy also what was altered outside of the vault

	Progress func(Progress)           // nil: none
	Altered  func(a store.Alteration) // called for each alteration that is copied; nil: none
}

// Progress is how far Run is.
type Progress struct {
	Step       string // copied, compared or verified
	Table      string
	Done, Rows int64 // how many of all Rows; Rows 0: unknown
	Ended      bool  // the step of this table
}

// Run copies the database From to To, verifies it, and commits it. While it runs, no vault can open either.
// Errors: database.ErrInUse, database.ErrMissing, database.ErrNotEmpty, *store.Alteration.
func Run(ctx context.Context, c Config) (err error) {
	if c.Progress == nil {
		c.Progress = func(Progress) {}
	}
	for _, e := range []End{c.From, c.To} {
		if err := c.checkFiles(e); err != nil {
			return err
		}
	}
	from, err := c.From.source(ctx)
	if err != nil {
		return fmt.Errorf("from %s: %w", c.From, err)
	}
	defer func() { err = errors.Join(err, from.Close()) }()
	// Before anything is created: a wrong root key couldn't verify the copy.
	if err := store.CheckRoot(from, c.RootKey); err != nil {
		return fmt.Errorf("from %s: %w", c.From, err)
	}
	to, err := c.To.target(ctx)
	if err != nil {
		return fmt.Errorf("to %s: %w", c.To, err)
	}
	defer func() { err = errors.Join(err, to.Close()) }()
	if err := c.copyAll(ctx, from, to); err != nil {
		return err
	}
	if err := c.verify(ctx, to); err != nil {
		return fmt.Errorf("verify the copy: %w", err)
	}
	if err := to.Commit(); err != nil {
		return fmt.Errorf("to %s: commit: %w", c.To, err)
	}
	return nil
}

func (c Config) checkFiles(e End) error {
	if c.Shared || e.URL != "" {
		return nil
	}
	for _, path := range sqlite.Files(e.Dir) {
		if err := trusted.Check(path); err != nil {
			return fmt.Errorf("folder %s: %w", filepath.Clean(e.Dir), err)
		}
	}
	return nil
}

func (e End) source(ctx context.Context) (database.Source, error) {
	if e.URL != "" {
		return postgres.OpenSource(ctx, e.URL)
	}
	return sqlite.OpenSource(e.Dir)
}

func (e End) target(ctx context.Context) (database.Target, error) {
	if e.URL != "" {
		return postgres.OpenTarget(ctx, e.URL)
	}
	return sqlite.OpenTarget(e.Dir)
}

// verify checks that the vault accepts the copy as its own.
func (c Config) verify(ctx context.Context, to database.Target) error {
	return store.Verify(ctx, to, c.RootKey, func(table string, rows int64, all bool) {
		c.Progress(Progress{Step: "verified", Table: table, Done: rows, Ended: all})
	}, func(a *store.Alteration) error {
		if !c.KeepAltered {
			return a
		}
		if c.Altered != nil {
			c.Altered(*a)
		}
		return nil
	})
}
