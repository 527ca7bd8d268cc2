package daemon

import (
	"cmp"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"reflect"
	"strings"

	"github.com/spf13/pflag"

	"github.com/Miosa-osa/miosa-env/agent/config"
	"github.com/Miosa-osa/miosa-env/agent/credential"
	"github.com/Miosa-osa/miosa-env/agent/listener"
	"github.com/Miosa-osa/miosa-env/agent/peer"
	"github.com/Miosa-osa/miosa-env/agent/watch"
	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/cmd/miosa-env/internal/program"
	"github.com/Miosa-osa/miosa-env/fetch"
	"github.com/Miosa-osa/miosa-env/inject/output"
	"github.com/Miosa-osa/miosa-env/internal/cli"
	"github.com/Miosa-osa/miosa-env/internal/option"
)

// daemonConfig is what a daemon runs with. Flags override the file, and the file overrides the environment.
type daemonConfig struct {
	program.Settings
	absent bool // there is no file

	resource api.Resource
	key      program.FoundKey
	ca       [sha256.Size]byte // hash of the CA file
	outputs  []output.Config
	peers    peer.List
}

// configFile is the path of a configuration.
type configFile struct {
	path  string
	given bool // by a flag or variable: the file must exist
}

// loadDaemon reads and checks a configuration. It changes nothing, and reports all problems at once. With checkPaths, it also
// checks the paths of the socket and the outputs as starting would.
func loadDaemon(p *program.Program, at configFile, flags *pflag.FlagSet, checkPaths bool) (*daemonConfig, error) {
	c := &daemonConfig{Settings: p.Settings}
	c.Rereads = true
	err := c.Read(at.path)
	switch {
	case errors.Is(err, fs.ErrNotExist) && !at.given:
		c.absent = true
	case err != nil:
		return nil, cli.FileError("configuration", at.path, err)
	default:
		if err := checkFile(at.path); err != nil {
			return nil, err
		}
	}
	l := &loading{daemonConfig: c, environ: p.Environ}
	l.report(c.Override(flags, p.Environ))
	l.connection()
	l.locally()
	l.checkOutputs()
	if checkPaths {
		l.checkPaths()
	}
	option.SortByLine(l.problems)
	if err := errors.Join(l.problems...); err != nil {
		return nil, err
	}
	return c, nil
}

// loading collects the problems of a configuration.
type loading struct {
	*daemonConfig
	environ  program.Environment
	lost     bool // the socket has no path that could be checked
	problems []error
}

// report adds problems that are not about a field.
func (l *loading) report(err error) {
	if err != nil {
		l.problems = append(l.problems, cli.Problems(err)...)
	}
}

// blame adds the problems of a field, with its line if its value comes from the file.
func (l *loading) blame(field string, err error) {
	if err == nil {
		return
	}
	for _, problem := range cli.Problems(err) {
		l.problems = append(l.problems, l.Problem(field, problem))
	}
}

// connection checks the resource, the key and how the vault is reached.
func (l *loading) connection() {
	var err error
	l.resource, err = l.Settings.Resource()
	l.report(err)
	l.key, err = l.Settings.Key()
	l.blame("key_file", err)
	// One field at a time, so that each problem gets the line of its field. Any key will do.
	vault := fetch.Config{BaseURL: l.BaseURL, Key: api.NewKey(api.ResourceKeyPrefix), Timeout: l.Timeout}
	if err := vault.Validate(); err != nil {
		l.blame("base_url", err)
		return
	}
	vault.Proxy = l.Proxy
	if err := vault.Validate(); err != nil {
		l.blame("proxy", err)
		vault.Proxy = ""
	}
	if l.CAFile != "" {
		if l.ca, err = sumOf(l.CAFile); err != nil {
			l.blame("ca_file", cli.FileError("CA file", l.CAFile, err))
			return
		}
	}
	vault.CAFile = l.CAFile
	client, err := fetch.New(vault)
	if err != nil {
		l.blame("ca_file", err)
		return
	}
	client.Close()
}

// sumOf returns the hash of a file.
func sumOf(path string) (sum [sha256.Size]byte, err error) {
	f, err := option.Open(path)
	if err != nil {
		return sum, err
	}
	defer func() { _ = f.Close() }()
	hash := sha256.New()
	_, err = io.Copy(hash, f)
	hash.Sum(sum[:0])
	return sum, err
}

// locally checks the socket, who may use it, and the cache.
func (l *loading) locally() {
	if l.Socket == "" {
		path, err := ownSocket(l.environ)
		if err != nil {
			l.report(cli.WithHint(err, "name one with socket in the configuration, or with --socket"))
			l.lost = true
		}
		l.Socket = path
	} else if err := listener.ValidPath(l.Socket); err != nil {
		l.blame("socket", err)
		l.lost = true
	}
	var err error
	l.peers.UIDs, err = peer.Users(l.AllowUsers)
	l.blame("allow_users", err)
	l.peers.GIDs, err = peer.Groups(l.AllowGroups)
	l.blame("allow_groups", err)
	l.OnRevoke = cmp.Or(l.OnRevoke, config.RevokeKeep)
	if !l.Cache || l.key.Len() == 0 {
		return
	}
	conf, err := l.CacheConfig(l.environ, l.key, l.resource)
	if err == nil {
		err = conf.Validate()
	}
	l.blame("cache_dir", err)
}

// checkOutputs checks each [[output]].
func (l *loading) checkOutputs() {
	for i := range l.Outputs {
		o := &l.Outputs[i]
		conf := output.Config{
			Path: o.Path, Format: strings.ToLower(o.Format), Mode: o.Mode, Owner: o.Owner, Group: o.Group,
			Only: o.Only, Prefix: o.Prefix, RequireOnly: o.RequireOnly, AllowNames: o.AllowNames, AllowDisk: o.AllowDisk, AllowShared: o.AllowShared, Keep: o.Keep,
			Hook: o.Hook, HookTimeout: o.HookTimeout, Inherited: l.environ,
		}
		if err := conf.Validate(); err != nil {
			for _, problem := range cli.Problems(err) {
				field, _, _ := strings.Cut(problem.Error(), " ") // each begins with its field's name
				l.report(o.Problem(field, problem))
			}
		}
		l.outputs = append(l.outputs, conf)
	}
	for i, inner := range l.outputs {
		for _, outer := range l.outputs {
			if strings.HasPrefix(inner.Path, outer.Path+"/") {
				err := fmt.Errorf("path: it is inside of another output, %s", outer.Path)
				l.report(l.Outputs[i].Problem("path", err))
			}
		}
	}
}

// sameVault reports whether both reach the same vault in the same way with the same key.
func (c *daemonConfig) sameVault(d *daemonConfig) bool {
	return c.BaseURL == d.BaseURL && c.Proxy == d.Proxy && c.Timeout == d.Timeout && c.CAFile == d.CAFile && c.ca == d.ca &&
		c.key.Equal(d.key.Value)
}

func (c *daemonConfig) sameCache(d *daemonConfig) bool {
	return c.Cache == d.Cache && c.CacheDir == d.CacheDir && c.CacheMaxAge == d.CacheMaxAge && c.key.Equal(d.key.Value) && c.key.Where == d.key.Where
}

func (c *daemonConfig) sameOutputs(d *daemonConfig) bool {
	return reflect.DeepEqual(c.outputs, d.outputs)
}

// watched returns the paths to watch for changes.
func (c *daemonConfig) watched(at configFile) []watch.Path {
	list := []watch.Path{{Path: cli.AbsolutePath(at.path)}}
	for _, path := range []string{c.key.Path(), c.CAFile} {
		if path != "" {
			list = append(list, watch.Path{Path: cli.AbsolutePath(path)})
		}
	}
	list = append(list, watch.Path{Path: c.Socket, Touched: true})
	if len(c.Units) > 0 {
		list = append(list, watch.Path{Path: credential.Path(c.Socket), Touched: true})
	}
	for _, o := range c.outputs {
		list = append(list, watch.Path{Path: o.Path, Touched: true})
	}
	return list
}

// summary describes the configuration in a line.
func (c *daemonConfig) summary() string {
	text := c.resource.Type + " " + c.resource.ID + ", no outputs"
	if n := len(c.outputs); n > 0 {
		text = c.resource.Type + " " + c.resource.ID + ", " + program.Counted(n, "output")
	}
	if c.Cache {
		text += ", with a cache"
	}
	return text
}
