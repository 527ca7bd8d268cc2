package program

import (
	"errors"
	"os"
	"path/filepath"
	"strings"

	"github.com/Miosa-osa/miosa-env/agent/cache"
	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/internal/cli"
)

// CacheConfig returns the configuration of the cache for a resource.
func (s *Settings) CacheConfig(e Environment, key FoundKey, r api.Resource) (cache.Config, error) {
	dir := s.CacheDir
	if dir == "" {
		var err error
		if dir, err = stateDir(e); err != nil {
			return cache.Config{}, err
		}
	}
	conf := cache.Config{
		Path: filepath.Join(cli.AbsolutePath(dir), r.Type+"-"+r.ID+".cache"), Key: key.Key, Resource: r,
		MaxAge: s.CacheMaxAge,
	}
	if path := key.Path(); path != "" {
		conf.KeyFile = cli.AbsolutePath(path)
	}
	return conf, nil
}

// NewCache returns the cache for a resource. keyNow returns the present key, if that can change.
func (s *Settings) NewCache(e Environment, key FoundKey, r api.Resource, keyNow func() api.Key) (*cache.Cache, error) {
	conf, err := s.CacheConfig(e, key, r)
	if err != nil {
		return nil, err
	}
	conf.KeyNow = keyNow
	c, err := cache.New(conf)
	if err != nil {
		return nil, cli.WithHint(err, "name another directory with --cache-dir or MIOSA_CACHE_DIR")
	}
	return c, nil
}

// stateDir returns the directory for caches: StateDirectory= of systemd, or that of root or of the user.
func stateDir(e Environment) (string, error) {
	first, _, _ := strings.Cut(e.Get("STATE_DIRECTORY"), ":")
	state, home := e.Get("XDG_STATE_HOME"), e.Get("HOME")
	switch {
	case first != "":
		return first, nil
	case os.Geteuid() == 0:
		return "/var/lib/miosa-env", nil
	case filepath.IsAbs(state):
		return filepath.Join(state, "miosa-env"), nil
	case filepath.IsAbs(home):
		return filepath.Join(home, ".local/state/miosa-env"), nil
	}
	return "", cli.WithHint(errors.New("there is no place for the cache: neither XDG_STATE_HOME nor HOME is set"), "name one with --cache-dir, MIOSA_CACHE_DIR, or cache_dir of the agent's configuration")
}
