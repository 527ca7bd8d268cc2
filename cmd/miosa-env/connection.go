package main

import (
	"context"
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
	"github.com/Miosa-osa/miosa-env/inject"
	"github.com/Miosa-osa/miosa-env/internal/cause"
	"github.com/Miosa-osa/miosa-env/internal/cli"
	"github.com/Miosa-osa/miosa-env/internal/inherited"
	"github.com/Miosa-osa/miosa-env/internal/setting"
)

// credentialName is the systemd credential that may hold the key.
const credentialName = "miosa-api-key"

// maxKeyFile is more than any key is long, in bytes.
const maxKeyFile = 4 << 10

// connection is the vault, as one resource sees it.
type connection struct {
	*fetch.Client
	resource api.Resource
	key      foundKey
}

// connect reads the key, makes a client of the vault and begins to connect. While that is under way it
// takes the key out of this process's own arguments and environment.
func (p *program) connect() (connection, error) {
	inherited.EndByFaults()
	found, keyErr := p.settings.key()
	if found.exposed {
		p.log.Warn().Str("file", found.where).Msg("key file may be read or changed by everybody: chmod 600 it")
	}
	resource, err := p.settings.resource()
	if err := errors.Join(keyErr, err); err != nil {
		return connection{}, err
	}
	client, err := fetch.New(p.settings.config(p, found))
	if err == nil {
		client.Connect()
	}
	if err := inject.Scrub(found.Key); err != nil {
		p.log.Warn().Err(err).Msg("the key stays visible in this process's environment or arguments")
	}
	return connection{client, resource, found}, err
}

func (s *settings) config(p *program, key foundKey) fetch.Config {
	return fetch.Config{
		BaseURL: s.baseURL, Key: key.Key, Reread: s.reread(key), CAFile: s.caFile, Proxy: s.proxy,
		Timeout: time.Duration(s.timeout), Log: p.log, UserAgent: "miosa-env/" + version,
	}
}

// values gives the values of the resource that is meant, as they are now.
func (p *program) values(ctx context.Context) (api.Snapshot, error) {
	s, err := p.supply(ctx)
	if err != nil {
		return api.Snapshot{}, err
	}
	defer s.Close()
	return s.first(ctx)
}

// foundKey is a key and where it was.
type foundKey struct {
	api.Key
	where   string    // a variable or a path
	exposed bool      // the file may be read or changed by everybody
	changed time.Time // when a regular file was changed last; zero: it isn't one
}

// key finds the key: --key-file, MIOSA_API_KEY, MIOSA_API_KEY_FILE, the systemd credential, in this
// order.
func (s *settings) key() (foundKey, error) {
	switch {
	case s.apiKey != "":
		return parseKey(foundKey{where: "MIOSA_API_KEY"}, s.apiKey)
	case s.keyFile != "":
		return s.readKey(s.keyFile)
	case s.credentials != "":
		found, err := s.readKey(filepath.Join(s.credentials, credentialName))
		if !errors.Is(err, fs.ErrNotExist) {
			return found, err
		}
	}
	return foundKey{}, cli.WithHint(errors.New("there is no key: MIOSA_API_KEY isn't set"), "set it or MIOSA_API_KEY_FILE, or give --key-file FILE")
}

func (s *settings) readKey(path string) (foundKey, error) {
	found := foundKey{where: path}
	open := os.Open
	if s.rereads {
		open = config.Open
	}
	f, err := open(path)
	if err != nil {
		return found, keyFileError(path, err)
	}
	defer func() { _ = f.Close() }()
	if info, err := f.Stat(); err == nil && info.Mode().IsRegular() {
		found.exposed, found.changed = info.Mode().Perm()&0o006 != 0, info.ModTime()
	}
	text, err := io.ReadAll(io.LimitReader(f, maxKeyFile))
	defer clear(text)
	if err != nil {
		return found, keyFileError(path, err)
	}
	return parseKey(found, string(text))
}

// keyFileError says path once.
func keyFileError(path string, err error) error {
	return cli.WithHint(fmt.Errorf("key file %s: %w", path, cause.Of(err)), "check the path, and that this user may read it; a relative one starts at the working directory")
}

// parseKey takes the key that stands in a variable or file.
func parseKey(found foundKey, text string) (foundKey, error) {
	where := found.where
	if found.path() != "" {
		where = "key file " + where
	}
	if setting.Trim(text) == "" {
		return found, cli.WithHint(errors.New(where+" is empty"), "write the key to it, as it was shown when it was made")
	}
	key, err := api.ParseKey(text)
	if err != nil {
		return found, cli.WithHint(fmt.Errorf("%s: %w", where, err), "copy the whole key, as it was shown when it was made")
	}
	found.Key = key
	return found, nil
}
