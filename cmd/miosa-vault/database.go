package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"

	"github.com/Miosa-osa/miosa-env/internal/cli"
	"github.com/Miosa-osa/miosa-env/internal/harden"
	"github.com/Miosa-osa/miosa-env/internal/setting"
)

// Where databaseURL looks, besides the flags.
const (
	databaseEnv        = "MIOSA_VAULT_DATABASE"
	databaseCredential = "miosa-vault-database" // a systemd credential
)

// withPassword matches a connection string that contains a password: as a URL's, a parameter or a keyword, or that of a client's key.
var withPassword = regexp.MustCompile(`^[a-z]+://[^/?@]*:[^/?@]*@|\b(ssl)?password\s*=`)

// databaseFlags are a pair of flags for a connection string.
type databaseFlags struct {
	name      string // of the flag; the one for a file has -file after it
	url       string
	file      string
	elsewhere bool // without them, the credential and the environment have it
}

// databaseURL returns the connection string of the PostgreSQL database; "": the database is in the data directory.
func (f *storeFlags) databaseURL(p *program) (string, error) {
	return databaseFlags{"database", f.database, f.databaseFile, true}.find(p)
}

// find returns the connection string; "": there is none.
func (f databaseFlags) find(p *program) (string, error) {
	if withPassword.MatchString(f.url) {
		return "", usage("--"+f.name+" contains a password, which everybody on this machine can read",
			"put the URL into "+databaseEnv+", or into a file for --"+f.name+"-file, or the password into ~/.pgpass")
	}
	if f.url != "" && f.file != "" {
		return "", usage("--"+f.name+" and --"+f.name+"-file don't go together", "give one of them")
	}
	for _, name := range []string{databaseEnv, "PGPASSWORD", "PGSSLPASSWORD"} {
		if err := harden.HideVariable(name); err != nil {
			return "", cli.WithHint(fmt.Errorf("erase %s from the environment: %w", name, err), "mount /proc, or name a file with --"+f.name+"-file")
		}
	}
	if f.url != "" {
		return f.url, nil
	}
	file := f.file
	if file == "" && !f.elsewhere {
		return "", nil
	}
	if dir := p.getenv("CREDENTIALS_DIRECTORY"); file == "" && dir != "" {
		path := filepath.Join(dir, databaseCredential)
		if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
			file = path
		}
	}
	if file == "" {
		return setting.Trim(p.getenv(databaseEnv)), nil
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return "", cli.WithHint(fmt.Errorf("read the database's URL: %w", err), "check --"+f.name+"-file")
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
