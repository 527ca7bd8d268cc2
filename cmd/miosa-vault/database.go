package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/Miosa-osa/miosa-env/internal/cli"
	"github.com/Miosa-osa/miosa-env/internal/harden"
	"github.com/Miosa-osa/miosa-env/internal/setting"
)

// Where databaseURL looks, besides the flags.
const (
	databaseEnv        = "MIOSA_VAULT_DATABASE"
	databaseCredential = "miosa-vault-database" // a systemd credential
)

// withPassword matches a connection string that contains a password: as a URL's, a parameter or a keyword.
var withPassword = regexp.MustCompile(`^[a-z]+://[^/?@]*:[^/?@]*@|\bpassword\s*=`)

// databaseURL returns the connection string of the PostgreSQL database; "": the database is in the data folder.
func (f *storeFlags) databaseURL(p *program) (string, error) {
	if withPassword.MatchString(f.database) {
		return "", usage("--database contains a password, which everybody on this machine can read",
			"put the URL into "+databaseEnv+", or into a file for --database-file, or the password into ~/.pgpass")
	}
	if f.database != "" && f.databaseFile != "" {
		return "", usage("--database and --database-file don't go together", "give one of them")
	}
	if f.database != "" {
		return f.database, nil
	}
	file := f.databaseFile
	if dir := p.getenv("CREDENTIALS_DIRECTORY"); file == "" && dir != "" {
		path := filepath.Join(dir, databaseCredential)
		if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
			file = path
		}
	}
	if file == "" {
		url := strings.Clone(setting.Trim(p.getenv(databaseEnv))) // Overwrite also changes the string that getenv returns
		if err := harden.Overwrite([]byte(url)); err != nil {
			return "", cli.WithHint(fmt.Errorf("erase %s from the environment: %w", databaseEnv, err), "mount /proc, or name a file with --database-file")
		}
		return url, nil
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return "", cli.WithHint(fmt.Errorf("read the database's URL: %w", err), "check --database-file")
	}
	url := setting.Trim(string(text))
	if info, err := os.Stat(file); err == nil && info.Mode().Perm()&0o077 != 0 && withPassword.MatchString(url) {
		return "", fmt.Errorf("%s contains a password and may be read by others (mode %04o): chmod 600 it", file, info.Mode().Perm())
	}
	if url == "" {
		return "", errors.New(file + " is empty: write the URL of the database into it, such as postgres://vault@db.example/vault")
	}
	return url, nil
}
