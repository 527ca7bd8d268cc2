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

// CacheConfig says where the sealed copy of r's values is, and what opens it.
func (s *Settings) CacheConfig(e Environment, key FoundKey, r api.Resource) (cache.Config, error) {
	dir := s.CacheDir
	if dir == "" {
		var err error
		if dir, err = stateFolder(e); err != nil {
			return cache.Config{}, err
		}
	}
	conf := cache.Config{
		Path: filepath.Join(AbsolutePath(dir), r.Type+"-"+r.ID+".cache"), Key: key.Key, Resource: r,
		MaxAge: s.CacheMaxAge,
	}
	if path := key.Path(); path != "" {
		conf.KeyFile = AbsolutePath(path)
	}
	return conf, nil
}

// NewCache makes the cache that cacheConfig describes.
func (s *Settings) NewCache(e Environment, key FoundKey, r api.Resource) (*cache.Cache, error) {
	conf, err := s.CacheConfig(e, key, r)
	if err != nil {
		return nil, err
	}
	return OpenCache(conf)
}

// OpenCache opens the cache that CacheConfig describes.
func OpenCache(conf cache.Config) (*cache.Cache, error) {
	cache, err := cache.New(conf)
	if err != nil {
		return nil, cli.WithHint(err, "name another directory with --cache-dir or MIOSA_CACHE_DIR")
	}
	return cache, nil
}

// stateFolder is where what outlives a restart belongs: systemd's StateDirectory=, root's, or a user's.
func stateFolder(e Environment) (string, error) {
	if first, _, _ := strings.Cut(e.Get("STATE_DIRECTORY"), ":"); first != "" {
		return first, nil
	}
	if os.Geteuid() == 0 {
		return "/var/lib/miosa-env", nil
	}
	if state := e.Get("XDG_STATE_HOME"); filepath.IsAbs(state) {
		return filepath.Join(state, "miosa-env"), nil
	}
	if home := e.Get("HOME"); filepath.IsAbs(home) {
		return filepath.Join(home, ".local/state/miosa-env"), nil
	}
	return "", cli.WithHint(errors.New("there is no place for the cache: neither XDG_STATE_HOME nor HOME is set"), "name one with --cache-dir, MIOSA_CACHE_DIR, or cache_dir of the agent's configuration")
}
