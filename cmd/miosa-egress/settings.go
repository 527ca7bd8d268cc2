package main

import (
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"

	"github.com/spf13/pflag"

	"github.com/Miosa-osa/miosa-env/agent/cache"
	"github.com/Miosa-osa/miosa-env/agent/listener"
	"github.com/Miosa-osa/miosa-env/agent/watch"
	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/egress/config"
	"github.com/Miosa-osa/miosa-env/fetch"
	"github.com/Miosa-osa/miosa-env/internal/cli"
	"github.com/Miosa-osa/miosa-env/internal/keyfile"
	"github.com/Miosa-osa/miosa-env/internal/option"
)

// credentialName is the systemd credential that may hold the key.
const credentialName = "miosa-broker-key"

// settings are what a broker runs with. Flags override the file, and the file overrides the environment.
type settings struct {
	config.Config

	file      string // the configuration
	key       keyfile.Key
	files     map[string][sha256.Size]byte // hashes of the CA files
	roots     map[string]*x509.CertPool    // by upstream_ca_file
	resources []api.Resource               // of the listeners, each once, in their order
	problems  []error
}

// load reads and checks the configuration; with forService, for the service of the packages. It changes nothing, and reports all problems at once.
func (p *program) load(f *pflag.FlagSet, forService bool) (*settings, error) {
	s := &settings{file: p.given.Path, files: map[string][sha256.Size]byte{}, roots: map[string]*x509.CertPool{}}
	if s.file == "" {
		s.file = config.DefaultPath
	}
	if err := s.Read(s.file); errors.Is(err, fs.ErrNotExist) {
		return nil, cli.WithHint(cli.FileError("configuration", s.file, err), "docs/egress.md has an example; name another file with --config")
	} else if err != nil {
		return nil, cli.FileError("configuration", s.file, err)
	}
	if err := untrusted("configuration "+s.file, s.file, false); err != nil {
		return nil, err
	}
	f.Visit(func(flag *pflag.Flag) { s.Override(flag.Name, flag.Value.String()) })
	s.report(errors.Join(option.Variables(s.Options(), p.setting, func(o option.Option) bool {
		flag := f.Lookup(o.Flag)
		return o.Field != "" && !s.Sets(o.Field) && (flag == nil || !flag.Changed)
	})...))
	s.check(p)
	s.checkKeys(forService)
	s.checkWritten()
	option.SortByLine(s.problems)
	if err := errors.Join(s.problems...); err != nil {
		return nil, err
	}
	return s, nil
}

func (s *settings) report(err error) {
	if err != nil {
		s.problems = append(s.problems, cli.Problems(err)...)
	}
}

func (s *settings) blame(field string, err error) {
	if err != nil {
		s.report(s.Problem(field, err))
	}
}

func (s *settings) check(p *program) {
	var err error
	s.key, err = s.findKey(p)
	s.blame("key_file", err)
	s.checkVault()
	if s.Socket == "" {
		s.Socket, err = defaultSocket(p.getenv)
		s.report(err)
	}
	if s.Socket != "" {
		s.blame("socket", listener.ValidPath(s.Socket))
	}
	if s.CacheDir == "" {
		s.CacheDir, _, _ = strings.Cut(p.getenv("STATE_DIRECTORY"), ":")
	}
	if s.CacheDir == "" {
		s.CacheDir = "/var/lib/miosa-egress"
	}
	if len(s.Listeners) == 0 {
		s.report(cli.WithHint(fmt.Errorf("%s: there is no [[listener]]", s.file), "docs/egress.md has an example"))
	}
	for i := range s.Listeners {
		l := &s.Listeners[i]
		if r := l.Resource(); !slices.Contains(s.resources, r) {
			s.resources = append(s.resources, r)
		}
		if l.Upstream == "" {
			continue
		}
		text, err := s.read(l.Upstream)
		pool := x509.NewCertPool()
		if err == nil && !pool.AppendCertsFromPEM(text) {
			err = fmt.Errorf("%s has no certificate", l.Upstream)
		}
		if err != nil {
			s.report(l.Problem("upstream_ca_file", fmt.Errorf("upstream_ca_file: %w", err)))
			continue
		}
		s.roots[l.Upstream] = pool
	}
	if s.Cache && s.key.Len() > 0 {
		for _, r := range s.resources {
			if err := s.cacheConfig(r).Validate(); err != nil {
				s.blame("cache_dir", err)
				break
			}
		}
	}
}

// findKey reads the key from its file, or from the systemd credential.
func (s *settings) findKey(p *program) (keyfile.Key, error) {
	path, err := s.KeyFile, error(nil)
	if path == "" {
		if folder := p.getenv("CREDENTIALS_DIRECTORY"); folder != "" {
			path = filepath.Join(folder, credentialName)
		}
	}
	if path == "" {
		err = errors.New("there is no key_file, and no systemd credential " + credentialName)
		return keyfile.Key{}, cli.WithHint(err, "write the broker key to a file and name that with key_file or --key-file")
	}
	key, err := keyfile.Read(path, true, func(where string, key api.Key) error {
		if key.ForBroker() {
			return nil
		}
		return cli.WithHint(errors.New(where+" holds a key of another kind: the broker needs a broker key (msk_b_...)"),
			createKey("TYPE:ID"))
	})
	if errors.Is(err, api.ErrMalformedKey) {
		err = cli.WithHint(fmt.Errorf("key file %s: malformed key: want msk_b_... on one line", path), createKey("TYPE:ID")+", and copy it whole")
	}
	return key, err
}

// createKey is a hint about a key that doesn't work.
func createKey(resource string) string {
	return "create one with miosa-env keys create --broker --resource " + resource
}

// checkVault checks how the vault is reached, one field at a time, so that each problem gets the line of its field.
func (s *settings) checkVault() {
	vault := fetch.Config{BaseURL: s.BaseURL, Key: api.NewKey(api.BrokerKeyPrefix)} // any key will do
	if err := vault.Validate(); err != nil {
		s.blame("base_url", err)
		return
	}
	vault.Proxy = s.Proxy
	if err := vault.Validate(); err != nil {
		s.blame("proxy", err)
		vault.Proxy = ""
	}
	if s.CAFile != "" {
		if _, err := s.read(s.CAFile); err != nil {
			s.blame("ca_file", cli.FileError("CA file", s.CAFile, err))
			return
		}
	}
	vault.CAFile = s.CAFile
	client, err := fetch.New(vault)
	if err != nil {
		s.blame("ca_file", err)
		return
	}
	client.Close()
}

// read returns the content of a file that is watched.
func (s *settings) read(path string) ([]byte, error) {
	f, err := option.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	text, err := io.ReadAll(f)
	s.files[path] = sha256.Sum256(text)
	return text, err
}

// defaultSocket returns the path of the socket if none is given.
func defaultSocket(getenv func(string) string) (string, error) {
	const name = "egress.sock"
	if first, _, _ := strings.Cut(getenv("RUNTIME_DIRECTORY"), ":"); first != "" {
		return filepath.Join(first, name), nil
	}
	if os.Geteuid() == 0 {
		return filepath.Join("/run/miosa-egress", name), nil
	}
	if folder := getenv("XDG_RUNTIME_DIR"); folder != "" {
		return filepath.Join(folder, "miosa-egress", name), nil
	}
	return "", cli.WithHint(errors.New("there is no place for the socket: XDG_RUNTIME_DIR isn't set"), "name one with --socket or MIOSA_EGRESS_SOCKET")
}

// cacheConfig returns the configuration of the cache of a resource.
func (s *settings) cacheConfig(r api.Resource) cache.Config {
	return cache.Config{
		Path: filepath.Join(cli.AbsolutePath(s.CacheDir), r.Type+"-"+r.ID+".cache"), Key: s.key.Key, Resource: r,
		MaxAge: s.CacheMaxAge, KeyFile: cli.AbsolutePath(s.key.Path()),
	}
}

// cache returns the cache of a resource; nil: none. Its configuration is valid.
func (s *settings) cache(r api.Resource) *cache.Cache {
	if !s.Cache {
		return nil
	}
	c, err := cache.New(s.cacheConfig(r))
	if err != nil {
		panic(err) // check has validated it
	}
	return c
}

// sameVault reports whether both reach the same vault in the same way with the same key.
func (s *settings) sameVault(o *settings) bool {
	return s.BaseURL == o.BaseURL && s.Proxy == o.Proxy && s.CAFile == o.CAFile && s.files[s.CAFile] == o.files[o.CAFile] &&
		s.key.Equal(o.key.Value)
}

func (s *settings) sameCache(o *settings) bool {
	return s.Cache == o.Cache && s.CacheDir == o.CacheDir && s.CacheMaxAge == o.CacheMaxAge && s.key.Equal(o.key.Value) && s.key.Where == o.key.Where
}

// equal reports whether both have the same configuration, files and key.
func (s *settings) equal(o *settings) bool {
	return reflect.DeepEqual(s.Config, o.Config) && maps.Equal(s.files, o.files) && s.sameVault(o) && s.sameCache(o) && s.key.Exposed == o.key.Exposed
}

// listeners returns the listeners of a resource.
func (s *settings) listeners(r api.Resource) (list []*config.Listener) {
	for i := range s.Listeners {
		if l := &s.Listeners[i]; l.Resource() == r {
			list = append(list, l)
		}
	}
	return list
}

// watched returns the files to watch for changes.
func (s *settings) watched() []watch.Path {
	paths := append(slices.Sorted(maps.Keys(s.files)), s.file, s.key.Path())
	list := make([]watch.Path, len(paths))
	for i, path := range paths {
		list[i] = watch.Path{Path: cli.AbsolutePath(path)}
	}
	for i := range s.Listeners {
		if path, ok := strings.CutPrefix(s.Listeners[i].Address, "unix:"); ok {
			list = append(list, watch.Path{Path: path, Touched: true})
		}
	}
	return append(list, watch.Path{Path: s.Socket, Touched: true})
}

// summary describes the configuration in a line.
func (s *settings) summary() string {
	text := fmt.Sprintf("%d listeners, %d resources", len(s.Listeners), len(s.resources))
	if s.Cache {
		text += ", with a cache"
	}
	return text
}

// isSocket reports whether the broker listens on a path.
func (s *settings) isSocket(path string) bool {
	return path == s.Socket || slices.ContainsFunc(s.Listeners, func(l config.Listener) bool { return l.Address == "unix:"+path })
}
