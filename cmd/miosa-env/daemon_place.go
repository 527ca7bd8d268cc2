package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/Miosa-osa/miosa-env/agent"
	"github.com/Miosa-osa/miosa-env/agent/cache"
	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/inject"
	"github.com/Miosa-osa/miosa-env/internal/cli"
)

// judgeFile refuses a configuration that somebody else could change or exchange, since its hooks are run.
func judgeFile(path string) error {
	whole, err := filepath.EvalSymlinks(path)
	if err != nil {
		return fileError("configuration", path, err)
	}
	for _, dir := range slices.Compact([]string{filepath.Dir(absolutePath(path)), filepath.Dir(absolutePath(whole))}) {
		info, err := os.Stat(dir)
		switch {
		case err != nil:
			return fileError("configuration", path, err)
		case info.Mode().Perm()&0o022 != 0 && info.Mode()&fs.ModeSticky == 0:
			return cli.WithHint(fmt.Errorf("configuration %s: others may write to its directory %s, and have anything run by putting another in its place", path, dir), "chmod go-w "+dir)
		}
	}
	info, err := os.Stat(path)
	if err != nil {
		return fileError("configuration", path, err)
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	switch {
	case ok && st.Uid != 0 && int(st.Uid) != os.Geteuid():
		return cli.WithHint(fmt.Errorf("configuration %s: it belongs to uid %d, who could have anything run by it", path, st.Uid), fmt.Sprintf("chown %d %s", os.Geteuid(), path))
	case info.Mode().Perm()&0o022 != 0:
		return cli.WithHint(fmt.Errorf("configuration %s: others may write to it, and have anything run by it", path), "chmod go-w "+path)
	}
	return nil
}

// look tells of the places of socket and outputs what starting would find there.
func (l *loading) look() {
	if !l.lost {
		if err := agent.CheckSocketPath(l.socket); err != nil {
			l.blame("socket", "socket", l.file.Socket != "", err)
		}
	}
	for i, conf := range l.outputs {
		if conf.Validate() != nil {
			continue // of which was told
		}
		err := conf.Look()
		if errors.Is(err, fs.ErrNotExist) && filepath.Dir(conf.Path) == filepath.Dir(l.socket) {
			conf.Path = filepath.Dir(conf.Path) // which the agent makes for its socket
			conf.Format = inject.FormatFiles
			err = conf.Look()
		}
		if err != nil {
			l.problems = append(l.problems, l.file.Outputs[i].Problem(l.path, "path", fmt.Errorf("path: %w", placeless(err))))
		}
	}
}

// cacheConfig says where the sealed copy of r's values is, and what opens it.
func (s *settings) cacheConfig(e environment, key foundKey, r api.Resource) (cache.Config, error) {
	dir := s.cache.dir
	if dir == "" {
		var err error
		if dir, err = stateFolder(e); err != nil {
			return cache.Config{}, err
		}
	}
	conf := cache.Config{
		Path: filepath.Join(absolutePath(dir), r.Type+"-"+r.ID+".cache"), Key: key.Key, Resource: r,
		MaxAge: time.Duration(s.cache.maxAge),
	}
	if path := key.path(); path != "" {
		conf.KeyFile = absolutePath(path)
	}
	return conf, nil
}

// newCache makes the cache that cacheConfig describes.
func (s *settings) newCache(e environment, key foundKey, r api.Resource) (*cache.Cache, error) {
	conf, err := s.cacheConfig(e, key, r)
	if err != nil {
		return nil, err
	}
	return openCache(conf)
}

func openCache(conf cache.Config) (*cache.Cache, error) {
	cache, err := cache.New(conf)
	if err != nil {
		return nil, cli.WithHint(err, "name another directory with --cache-dir or MIOSA_CACHE_DIR")
	}
	return cache, nil
}

// stateFolder is where what outlives a restart belongs: systemd's StateDirectory=, root's, or a user's.
func stateFolder(e environment) (string, error) {
	if first, _, _ := strings.Cut(e.get("STATE_DIRECTORY"), ":"); first != "" {
		return first, nil
	}
	if os.Geteuid() == 0 {
		return "/var/lib/miosa-env", nil
	}
	if state := e.get("XDG_STATE_HOME"); filepath.IsAbs(state) {
		return filepath.Join(state, "miosa-env"), nil
	}
	if home := e.get("HOME"); filepath.IsAbs(home) {
		return filepath.Join(home, ".local/state/miosa-env"), nil
	}
	return "", cli.WithHint(errors.New("there is no place for the cache: neither XDG_STATE_HOME nor HOME is set"), "name one with --cache-dir, MIOSA_CACHE_DIR, or cache_dir of the agent's configuration")
}

// ownSocket is where a daemon listens that isn't told: in systemd's RuntimeDirectory=, root's, or a
// user's.
func ownSocket(e environment) (string, error) {
	if first, _, _ := strings.Cut(e.get("RUNTIME_DIRECTORY"), ":"); first != "" {
		return filepath.Join(first, filepath.Base(agent.DefaultSocket)), nil
	}
	return agent.SocketPath(os.Geteuid(), e.get("XDG_RUNTIME_DIR"))
}
