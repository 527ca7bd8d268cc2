package program

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/Miosa-osa/miosa-env/agent/config"
	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/fetch"
	"github.com/Miosa-osa/miosa-env/inject/environ"
	"github.com/Miosa-osa/miosa-env/internal/cli"
	"github.com/Miosa-osa/miosa-env/internal/setting"
)

// credentialName is the systemd credential that may hold the key.
const credentialName = "miosa-api-key"

// maxKeyFile is longer than any key, in bytes.
const maxKeyFile = 4 << 10

// ClientConfig returns the configuration of a client that uses key.
func (s *Settings) ClientConfig(p *Program, key FoundKey) fetch.Config {
	return fetch.Config{
		BaseURL: s.BaseURL, Key: key.Key, Reread: s.Reread(key), CAFile: s.CAFile, Proxy: s.Proxy,
		Timeout: s.Timeout, Log: p.Log, UserAgent: "miosa-env/" + p.Version,
	}
}

// FoundKey is a key and its origin.
type FoundKey struct {
	api.Key
	Where   string    // a variable or a path
	Exposed bool      // other users can read or change the file
	Changed time.Time // of a regular file; zero: it isn't one
}

// Key returns the key, from the first of --key-file, MIOSA_API_KEY, MIOSA_API_KEY_FILE and the systemd credential.
func (s *Settings) Key() (FoundKey, error) {
	switch {
	case s.APIKey != "":
		return ParseKey(FoundKey{Where: "MIOSA_API_KEY"}, s.APIKey)
	case s.KeyFile != "":
		return s.ReadKey(s.KeyFile)
	case s.credentials != "":
		found, err := s.ReadKey(filepath.Join(s.credentials, credentialName))
		if !errors.Is(err, fs.ErrNotExist) {
			return found, err
		}
	}
	return FoundKey{}, cli.WithHint(errors.New("there is no key: MIOSA_API_KEY isn't set"), "set it or MIOSA_API_KEY_FILE, or give --key-file FILE")
}

// ReadKey reads a key from a file.
func (s *Settings) ReadKey(path string) (FoundKey, error) {
	found := FoundKey{Where: path}
	open := os.Open
	if s.Rereads {
		open = config.Open
	}
	f, err := open(path)
	if err != nil {
		return found, Unreadable("key file", path, err)
	}
	defer func() { _ = f.Close() }()
	if info, err := f.Stat(); err == nil && info.Mode().IsRegular() {
		found.Exposed, found.Changed = info.Mode().Perm()&0o006 != 0, info.ModTime()
	}
	text, err := io.ReadAll(io.LimitReader(f, maxKeyFile))
	defer clear(text)
	if err != nil {
		return found, Unreadable("key file", path, err)
	}
	return ParseKey(found, string(text))
}

// ParseKey parses the text of a variable or file.
func ParseKey(found FoundKey, text string) (FoundKey, error) {
	where := found.Where
	if found.Path() != "" {
		where = "key file " + where
	}
	if setting.Trim(text) == "" {
		return found, cli.WithHint(errors.New(where+" is empty"), "write the key to it, as it was shown when it was created")
	}
	key, err := api.ParseKey(text)
	if err != nil {
		return found, cli.WithHint(fmt.Errorf("%s: %w", where, err), "copy the whole key, as it was shown when it was created")
	}
	if key.ForBroker() {
		return found, cli.WithHint(errors.New(where+" holds a broker key (msk_b_...), which is for the broker outside of the sandbox"),
			"use a key made for the sandbox or computer, with miosa-env keys create")
	}
	found.Key = key
	return found, nil
}

// WarnExposed warns if other users can read or change the file of a key.
func (p *Program) WarnExposed(key FoundKey) {
	if key.Exposed {
		p.Log.Warn().Str("file", key.Where).Msg("key file is accessible to other users: chmod 600 it")
	}
}

// Scrub removes a key from the arguments and environment of this process.
func (p *Program) Scrub(key api.Key) {
	if err := environ.Scrub(key); err != nil {
		p.Log.Warn().Err(err).Msg("key remains visible in this process's environment or arguments")
	}
}

// HasKey reports whether a key is given, valid or not.
func (s *Settings) HasKey() bool {
	if s.APIKey != "" || s.KeyFile != "" {
		return true
	}
	if s.credentials == "" {
		return false
	}
	_, err := os.Stat(filepath.Join(s.credentials, credentialName))
	return !errors.Is(err, fs.ErrNotExist)
}

// Path returns the key's file; "" if the key is from a variable.
func (k FoundKey) Path() string {
	if k.Where == "MIOSA_API_KEY" || k.Where == "MIOSA_TENANT_KEY" {
		return ""
	}
	return k.Where
}
