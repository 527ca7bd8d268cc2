// Package config has the options of miosa-egress: for each its flag, its environment variable and its field of egress.toml.
package config

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/internal/option"
)

// DefaultPath is the path of the configuration if none is given.
const DefaultPath = "/etc/miosa-egress/egress.toml"

// Modes of a listener.
const (
	ModeProxy       = "proxy"       // clients use an HTTP proxy
	ModeTransparent = "transparent" // the kernel redirects connections
)

// Config holds the values of options. The zero value of a field means that nothing has set it. Options describes the
// fields; their documentation is generated from it.
type Config struct {
	BaseURL     string
	KeyFile     string
	CAFile      string
	Proxy       string
	Cache       bool
	CacheDir    string
	CacheMaxAge time.Duration
	Socket      string
	MetricsAddr string
	LogLevel    string
	LogFormat   string
	Path        string // of egress.toml
	Listeners   []Listener

	origin
}

// Listener is one [[listener]] of a configuration.
type Listener struct {
	Address     string
	Sandbox     string
	Computer    string
	Mode        string
	CAFile      string // to which the CA's certificate is written
	CAKeyFile   string // in which the CA's key is kept
	Hosts       []string
	Upstream    string // a PEM file with certificates to trust for servers
	Connections string // a number

	origin
}

// origin is where a table of a file and its fields are.
type origin = option.Origin

// Resource is the resource whose traffic arrives at the listener.
func (l *Listener) Resource() api.Resource {
	if l.Computer != "" {
		return api.Resource{Type: api.Computer, ID: l.Computer}
	}
	return api.Resource{Type: api.Sandbox, ID: l.Sandbox}
}

// MaxConnections is how many connections of clients the resource may have; 0: the default.
func (l *Listener) MaxConnections() int {
	n, _ := strconv.Atoi(l.Connections) // checkConnections has accepted it
	return n
}

// Override sets the option of a flag, in place of the file's field.
func (c *Config) Override(flag, value string) {
	for _, o := range c.Options() {
		if o.Flag == flag {
			c.Unset(o.Field)
			_ = o.Value.Set(value) // the flag has accepted it
		}
	}
}

// Read reads a configuration file into c, where its fields override what c has.
// Errors: fs.ErrNotExist and others of the system, with the path; those of Parse.
func (c *Config) Read(path string) error {
	text, err := option.Load(path)
	if err != nil {
		return err
	}
	return c.Parse(path, text)
}

// Parse reads the text of a configuration into c, where its fields override what c has. Errors refer to it as file.
// Errors: *option.Error, all problems joined in the order of their lines; c is then of no use.
func (c *Config) Parse(file string, text []byte) error {
	c.Listeners = nil
	schema := option.Schema{
		Options: c.Options(),
		Tables: []option.Table{
			{Name: "listener", Article: "a", Options: new(Listener).options(), Add: func(at origin) ([]option.Option, *origin) {
				c.Listeners = append(c.Listeners, Listener{origin: at})
				last := &c.Listeners[len(c.Listeners)-1]
				return last.options(), &last.origin
			}},
		},
		Hint: func(name string) string {
			switch {
			case slices.Contains([]string{"api_key", "key", "token", "apikey"}, name):
				return "the key has a file of its own: name that with key_file"
			case slices.Contains([]string{"resource", "resource_id"}, name):
				return "write sandbox_id or computer_id in each [[listener]]"
			}
			return ""
		},
	}
	at, err := option.Parse(file, text, schema, func(*origin) []*option.Error { return c.checkListeners(file) })
	c.origin = at
	return err
}

// checkListeners returns the problems that are about several fields.
func (c *Config) checkListeners(file string) (problems []*option.Error) {
	first := map[api.Resource]*Listener{}
	for i := range c.Listeners {
		l := &c.Listeners[i]
		report := func(field, fix string, err error) {
			problems = append(problems, &option.Error{File: file, Line: l.Line(field), Err: err, Fix: fix})
		}
		switch {
		case l.Sets("sandbox_id") && l.Sets("computer_id"):
			report("computer_id", "leave one out", errors.New("sandbox_id and computer_id are both given"))
			continue
		case !l.Sets("sandbox_id") && !l.Sets("computer_id"):
			report("", "write sandbox_id or computer_id", errors.New("a [[listener]] needs a resource"))
			continue
		}
		if l.Mode == ModeTransparent && NetworkOf(l.Address) != "tcp" {
			report("mode", "redirect to a TCP address", errors.New("mode: only TCP connections can be redirected"))
		}
		other := first[l.Resource()]
		if other == nil {
			first[l.Resource()] = l
			continue
		}
		// One server has all listeners of a resource, and one certificate authority.
		for _, same := range []struct {
			field string
			set   bool
		}{
			{"ca_key_file", l.CAKeyFile != ""}, {"ca_hosts", len(l.Hosts) > 0},
			{"upstream_ca_file", l.Upstream != ""}, {"max_connections", l.Connections != ""},
		} {
			if same.set {
				report(same.field, "move it there", fmt.Errorf("%s: it belongs to the first [[listener]] of the resource, on line %d", same.field, other.Line("")))
			}
		}
	}
	return problems
}
