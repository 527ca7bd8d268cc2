package program

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/fetch"
	"github.com/Miosa-osa/miosa-env/inject/environ"
	"github.com/Miosa-osa/miosa-env/internal/cli"
	"github.com/Miosa-osa/miosa-env/internal/keyfile"
)

// credentialName is the systemd credential that may hold the key.
const credentialName = "miosa-api-key"

// ClientConfig returns the configuration of a client that uses key.
func (s *Settings) ClientConfig(p *Program, key FoundKey) fetch.Config {
	return fetch.Config{
		BaseURL: s.BaseURL, Key: key.Key, Reread: key.Reread(), CAFile: s.CAFile, Proxy: s.Proxy,
		Timeout: s.Timeout, Log: p.Log, UserAgent: "miosa-env/" + p.Version,
	}
}

// FoundKey is a key and its origin.
type FoundKey = keyfile.Key

// Key returns the key of a sandbox or computer. It refuses broker keys.
func (s *Settings) Key() (FoundKey, error) { return s.KeyOf(notForBroker) }

// KeyOf returns the key, if check accepts it, from the first of --key-file, MIOSA_API_KEY, MIOSA_API_KEY_FILE and the systemd
// credential.
func (s *Settings) KeyOf(check keyfile.Check) (FoundKey, error) {
	switch {
	case s.APIKey != "":
		return keyfile.Parse("MIOSA_API_KEY", s.APIKey, check)
	case s.KeyFile != "":
		return s.ReadKey(s.KeyFile, check)
	case s.credentials != "":
		found, err := s.ReadKey(filepath.Join(s.credentials, credentialName), check)
		if !errors.Is(err, fs.ErrNotExist) {
			return found, err
		}
	}
	return FoundKey{}, cli.WithHint(errors.New("there is no key: MIOSA_API_KEY isn't set"), "set it or MIOSA_API_KEY_FILE, or give --key-file FILE")
}

// ReadKey reads a key from a file.
func (s *Settings) ReadKey(path string, check keyfile.Check) (FoundKey, error) {
	return keyfile.Read(path, s.Rereads, check)
}

func notForBroker(where string, key api.Key) error {
	if key.ForBroker() {
		return cli.WithHint(errors.New(where+" holds a broker key (msk_b_...), which is for the broker outside of the sandbox"),
			"use a key made for the sandbox or computer, with miosa-env keys create")
	}
	return nil
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
