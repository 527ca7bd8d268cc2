package daemon

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"reflect"
	"sort"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"github.com/Miosa-osa/miosa-env/agent/config"
	"github.com/Miosa-osa/miosa-env/agent/credential"
	"github.com/Miosa-osa/miosa-env/agent/listener"
	"github.com/Miosa-osa/miosa-env/agent/peer"
	"github.com/Miosa-osa/miosa-env/agent/watch"
	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/cmd/miosa-env/internal/program"
	"github.com/Miosa-osa/miosa-env/fetch"
	"github.com/Miosa-osa/miosa-env/inject"
	"github.com/Miosa-osa/miosa-env/internal/cli"
)

// daemonConfig is all that a daemon runs on: flags, before its file, before the environment.
type daemonConfig struct {
	program.Settings // flags and environment, with what the file says between them
	file             config.File
	absent           bool // there is no file

	resource api.Resource
	key      program.FoundKey
	ca       [sha256.Size]byte // of the CA file's content
	outputs  []inject.OutputConfig
	peers    peer.List
	onRevoke string
}

// configFile is where a daemon's configuration is.
type configFile struct {
	path  string
	given bool // by a flag or variable: then it must be there
}

// loadDaemon reads everything, and returns every problem at once. Nothing is changed by it.
func loadDaemon(p *program.Program, at configFile, flags *pflag.FlagSet) (*daemonConfig, error) {
	return loadDaemonLooking(p, at, flags, false)
}

// loadDaemonLooking is loadDaemon which, if look, tells too what starting would find at the places of socket
// and outputs.
func loadDaemonLooking(p *program.Program, at configFile, flags *pflag.FlagSet, look bool) (*daemonConfig, error) {
	c := &daemonConfig{Settings: p.Settings}
	c.Rereads = true
	file, err := config.Read(at.path)
	switch {
	case errors.Is(err, fs.ErrNotExist) && !at.given:
		c.absent = true
	case err != nil:
		return nil, program.FileError("configuration", at.path, err)
	default:
		if err := judgeFile(at.path); err != nil {
			return nil, err
		}
	}
	c.file = file
	c.merge(flags, p.Environ)
	l := &loading{daemonConfig: c, path: at.path, flags: flags, environ: p.Environ}
	l.connection()
	l.locally()
	l.judgeOutputs()
	if look {
		l.look()
	}
	sort.SliceStable(l.problems, func(i, j int) bool { return lineOf(l.problems[i]) < lineOf(l.problems[j]) })
	if err := errors.Join(l.problems...); err != nil {
		return nil, err
	}
	return c, nil
}

// lineOf is where in the file a problem is, after all lines if it isn't about one.
func lineOf(err error) int {
	if at, ok := errors.AsType[*config.Error](err); ok && at.Line > 0 {
		return at.Line
	}
	return math.MaxInt32
}

// merge lets the file win over the environment, and flags over both.
func (c *daemonConfig) merge(flags *pflag.FlagSet, e program.Environment) {
	f := &c.file
	for _, s := range []struct {
		flag string
		from string
		to   *string
	}{
		{"base-url", f.BaseURL, &c.BaseURL}, {"ca-file", f.CAFile, &c.CAFile}, {"proxy", f.Proxy, &c.Proxy},
		{"socket", f.Socket, &c.Socket}, {"cache-dir", f.CacheDir, &c.Cache.Dir},
		{"log-level", f.LogLevel, &c.LogLevel.Value}, {"log-format", f.LogFormat, &c.LogFormat.Value},
	} {
		if s.from != "" && !flags.Changed(s.flag) {
			*s.to = s.from
		}
	}
	if f.KeyFile != "" && !flags.Changed("key-file") {
		c.KeyFile, c.APIKey, c.Credentials = f.KeyFile, "", ""
	}
	if (f.SandboxID != "" || f.ComputerID != "") && !flags.Changed("sandbox") && !flags.Changed("computer") {
		c.Sandbox, c.Computer = f.SandboxID, f.ComputerID
	}
	if f.Cache != nil && !flags.Changed("cache") {
		c.Cache.On = *f.Cache
	}
	if f.CacheMaxAge > 0 && !flags.Changed("cache-max-age") {
		c.Cache.MaxAge = program.Duration(f.CacheMaxAge)
	}
	if c.onRevoke = f.OnRevoke; c.onRevoke == "" {
		c.onRevoke = strings.ToLower(e.Setting("MIOSA_ON_REVOKE"))
	}
}

// loading collects what is wrong.
type loading struct {
	*daemonConfig
	path     string
	flags    *pflag.FlagSet
	environ  program.Environment
	lost     bool // the socket has no place that could be looked at
	problems []error
}

// blame notes an error about a field, with its line where it is the file's that counts.
func (l *loading) blame(field, flag string, inFile bool, err error) {
	for _, problem := range cli.Problems(err) {
		if problem == nil {
			continue
		}
		if inFile && !l.flags.Changed(flag) {
			problem = l.file.Problem(l.path, field, problem)
		}
		l.problems = append(l.problems, problem)
	}
}

// connection checks which vault is asked, as whom.
func (l *loading) connection() {
	var err error
	if l.resource, err = l.Settings.Resource(); err != nil {
		l.problems = append(l.problems, err)
	}
	if l.key, err = l.Settings.Key(); err != nil {
		l.blame("key_file", "key-file", l.file.KeyFile != "", err)
	}
	// One at a time, to tell whose each problem is; any key will do for that.
	vault := fetch.Config{BaseURL: l.BaseURL, Key: api.NewKey(api.ResourceKeyPrefix), Timeout: time.Duration(l.Timeout)}
	if err := vault.Validate(); err != nil {
		l.blame("base_url", "base-url", l.file.BaseURL != "", err)
		return
	}
	vault.Proxy = l.Proxy
	if err := vault.Validate(); err != nil {
		l.blame("proxy", "proxy", l.file.Proxy != "", err)
		vault.Proxy = ""
	}
	if l.CAFile != "" {
		if l.ca, err = sumOf(l.CAFile); err != nil {
			l.blame("ca_file", "ca-file", l.file.CAFile != "", program.FileError("CA file", l.CAFile, err))
			return
		}
	}
	vault.CAFile = l.CAFile
	client, err := fetch.New(vault)
	if err != nil {
		l.blame("ca_file", "ca-file", l.file.CAFile != "", err)
		return
	}
	client.Close()
}

// sumOf tells a file's contents apart.
func sumOf(path string) (sum [sha256.Size]byte, err error) {
	f, err := config.Open(path)
	if err != nil {
		return sum, err
	}
	defer func() { _ = f.Close() }()
	hash := sha256.New()
	_, err = io.Copy(hash, f)
	hash.Sum(sum[:0])
	return sum, err
}

// locally checks what stays on this machine.
func (l *loading) locally() {
	if l.Socket == "" {
		path, err := ownSocket(l.environ)
		if err != nil {
			l.problems = append(l.problems, cli.WithHint(err, "name one with socket in the configuration, or with --socket"))
			l.lost = true
		}
		l.Socket = path
	} else if err := listener.ValidPath(l.Socket); err != nil {
		l.blame("socket", "socket", l.file.Socket != "", err)
		l.lost = true
	}
	var err error
	if l.peers.UIDs, err = peer.Users(l.file.AllowUsers); err != nil {
		l.blame("allow_users", "", true, err)
	}
	if l.peers.GIDs, err = peer.Groups(l.file.AllowGroups); err != nil {
		l.blame("allow_groups", "", true, err)
	}
	switch l.onRevoke {
	case "":
		l.onRevoke = config.RevokeKeep
	case config.RevokeKeep, config.RevokeStop:
	default:
		l.problems = append(l.problems, fmt.Errorf("MIOSA_ON_REVOKE %s: want one of keep, stop", cli.Quote(l.onRevoke)))
	}
	if !l.Cache.On || l.key.Len() == 0 {
		return
	}
	conf, err := l.CacheConfig(l.environ, l.key, l.resource)
	if err == nil {
		err = conf.Validate()
	}
	if err != nil {
		l.blame("cache_dir", "cache-dir", l.file.CacheDir != "", err)
	}
}

// judgeOutputs checks each [[output]].
func (l *loading) judgeOutputs() {
	for i := range l.file.Outputs {
		o := &l.file.Outputs[i]
		conf := inject.OutputConfig{
			Path: o.Path, Format: strings.ToLower(o.Format), Mode: o.Mode, Owner: o.Owner, Group: o.Group,
			Only: o.Only, Prefix: o.Prefix, AllowNames: o.AllowNames, AllowDisk: o.AllowDisk, AllowShared: o.AllowShared, Keep: o.Keep,
			Hook: o.Hook, HookTimeout: o.HookTimeout, Inherited: l.environ,
		}
		for _, problem := range cli.Problems(conf.Validate()) {
			if problem != nil {
				field, _, _ := strings.Cut(problem.Error(), " ") // each begins with its field's name
				l.problems = append(l.problems, o.Problem(l.path, field, problem))
			}
		}
		l.outputs = append(l.outputs, conf)
	}
	for i, inner := range l.outputs {
		for _, outer := range l.outputs {
			if strings.HasPrefix(inner.Path, outer.Path+"/") {
				err := fmt.Errorf("path: it is inside of another output, %s", outer.Path)
				l.problems = append(l.problems, l.file.Outputs[i].Problem(l.path, "path", err))
			}
		}
	}
}

// sameVault tells whether the vault is asked in the same way, as the same.
func (c *daemonConfig) sameVault(d *daemonConfig) bool {
	return c.BaseURL == d.BaseURL && c.Proxy == d.Proxy && c.Timeout == d.Timeout && c.CAFile == d.CAFile && c.ca == d.ca &&
		c.key.Equal(d.key.Value)
}

func (c *daemonConfig) sameCache(d *daemonConfig) bool {
	return c.Cache == d.Cache && c.key.Equal(d.key.Value) && c.key.Where == d.key.Where
}

func (c *daemonConfig) sameOutputs(d *daemonConfig) bool {
	return reflect.DeepEqual(c.outputs, d.outputs)
}

// watched are the paths whose changes matter.
func (c *daemonConfig) watched(at configFile) []watch.Path {
	list := []watch.Path{{Path: program.AbsolutePath(at.path)}}
	for _, path := range []string{c.key.Path(), c.CAFile} {
		if path != "" {
			list = append(list, watch.Path{Path: program.AbsolutePath(path)})
		}
	}
	list = append(list, watch.Path{Path: c.Socket, Touched: true})
	if len(c.file.Units) > 0 {
		list = append(list, watch.Path{Path: credential.Path(c.Socket), Touched: true})
	}
	for _, o := range c.outputs {
		list = append(list, watch.Path{Path: o.Path, Touched: true})
	}
	return list
}

// summary says in a line what was configured.
func (c *daemonConfig) summary() string {
	var b bytes.Buffer
	b.WriteString(c.resource.Type + " " + c.resource.ID)
	switch n := len(c.outputs); n {
	case 0:
		b.WriteString(", no outputs")
	case 1:
		b.WriteString(", 1 output")
	default:
		b.WriteString(", " + strconv.Itoa(n) + " outputs")
	}
	if c.Cache.On {
		b.WriteString(", with a cache")
	}
	return b.String()
}
