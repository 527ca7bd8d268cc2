package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/rs/zerolog"
	"github.com/spf13/pflag"

	"github.com/Miosa-osa/miosa-env/internal/cli"
	"github.com/Miosa-osa/miosa-env/internal/harden"
	"github.com/Miosa-osa/miosa-env/internal/setting"
	"github.com/Miosa-osa/miosa-env/internal/trusted"
	"github.com/Miosa-osa/miosa-env/vault/keyring"
	"github.com/Miosa-osa/miosa-env/vault/store"
)

// storeFlags locate the store of a command.
type storeFlags struct {
	dataDir     string
	rootKeyFile string
	shared      bool
	revocations string

	database     string
	databaseFile string
}

// Parts of help texts: when a command creates a missing directory and database.
const (
	creates      = "; created, 0700, when it is missing"
	createsFirst = "; created, 0700, when it is missing, for a tenant key only"
	createsNone  = ""
)

func (f *storeFlags) add(flags *pflag.FlagSet, making string) {
	flags.StringVar(&f.dataDir, "data-dir", "", "`DIR` the directory of the SQLite database and of the list of revoked keys"+making+" (required)")
	flags.StringVar(&f.database, "database", "",
		"`URL` a PostgreSQL database, without a password, instead of one in the data directory; also "+databaseEnv+", or the systemd credential "+databaseCredential)
	flags.StringVar(&f.databaseFile, "database-file", "", "`FILE` contains the URL of the PostgreSQL database")
	addRootKey(flags, &f.rootKeyFile, &f.shared)
	flags.StringVar(&f.revocations, "revocations-file", "",
		"`FILE` the list of revoked keys, which a restored database needs; the same for all commands (default: revocations in the data directory)")
}

func addRootKey(flags *pflag.FlagSet, file *string, shared *bool) {
	flags.StringVar(file, "root-key-file", "",
		"`FILE` the root key; without it the systemd credential "+keyring.Credential+", then "+keyring.EnvName)
	flags.BoolVar(shared, "allow-shared", false, "accept a database, a root key or directories above them that other users can change")
}

const hintNoVault = "check --data-dir, or the URL of the database; keys create --tenant NAME, without --resource, creates a new vault, and so does serve"

const hintRootKey = "name the vault's own with --root-key-file; only for a new vault, create one with miosa-vault keys root --out FILE, outside the data directory"

// rootKey finds the root key, and erases it from the environment.
func (p *program) rootKey(file string) (keyring.Root, error) {
	root, err := keyring.FindRoot(file, p.getenv)
	if err != nil {
		return keyring.Root{}, cli.WithHint(err, hintRootKey)
	}
	if err := harden.Overwrite([]byte(setting.Trim(p.getenv(keyring.EnvName)))); err != nil {
		return keyring.Root{}, cli.WithHint(fmt.Errorf("erase %s from the environment: %w", keyring.EnvName, err),
			"mount /proc, or name a file with --root-key-file")
	}
	return root, nil
}

// config finds the root key. It never creates a missing one: an operator should know where the root key is.
func (f *storeFlags) config(p *program, log zerolog.Logger) (store.Config, error) {
	if f.dataDir == "" {
		return store.Config{}, usage("--data-dir is required", "name the directory of the database, such as --data-dir /var/lib/miosa-vault")
	}
	root, err := p.rootKey(f.rootKeyFile)
	if err != nil {
		return store.Config{}, err
	}
	database, err := f.databaseURL(p)
	if err != nil {
		return store.Config{}, err
	}
	return store.Config{DataDir: f.dataDir, Database: database, RootKey: root, Revocations: f.revocations, Shared: f.shared, Log: log}, nil
}

// withStoreHint adds a hint to an error of store.Open.
func withStoreHint(err error) error {
	var unsafe *trusted.Error
	var unreached *pgconn.ConnectError
	var notURL *pgconn.ParseConfigError
	switch {
	case errors.As(err, &unsafe) && unsafe.UID >= 0:
		return cli.WithHint(err, fmt.Sprintf("run miosa-vault as that user, or: %s; --allow-shared lets it through", unsafe.Fix()))
	case errors.As(err, &unsafe):
		return cli.WithHint(err, unsafe.Fix()+"; --allow-shared lets it through")
	case errors.As(err, &unreached), errors.As(err, &notURL):
		return cli.WithHint(err, "check that psql can connect with the same URL, such as postgres://vault@db.example.com/vault")
	case errors.Is(err, store.ErrNoVault):
		return cli.WithHint(err, hintNoVault)
	case errors.Is(err, fs.ErrNotExist):
		return cli.WithHint(err, hintRootKey)
	}
	return err
}

// with opens the store for do, and closes it. A server may use it at the same time.
func (f *storeFlags) with(ctx context.Context, p *program, do func(*store.Store) error) error {
	s, err := f.openOrCreate(ctx, p, false)
	if err != nil {
		return err
	}
	defer func() { _ = s.Close() }()
	return do(s)
}

// openOrCreate opens the store. With create it creates a missing one, and says so: the folder may be mistyped.
func (f *storeFlags) openOrCreate(ctx context.Context, p *program, create bool) (*store.Store, error) {
	c, err := f.config(p, zerolog.Nop())
	if err != nil {
		return nil, err
	}
	c.Existing = !create
	s, err := store.Open(ctx, c)
	if err != nil {
		return nil, withStoreHint(err)
	}
	switch {
	case s.Created() && c.Database != "":
		fmt.Fprintln(p.stderr, "created a new vault in the PostgreSQL database")
	case s.Created():
		fmt.Fprintln(p.stderr, "created a new vault in", f.dataDir)
	}
	return s, nil
}
