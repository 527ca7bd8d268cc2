// Package config has the options of miosa-env: for each its flag, its environment variable and its field of agent.toml. It
// reads agent.toml, and reports all of its problems at once with their lines.
package config

import (
	"errors"
	"io/fs"
	"time"

	"github.com/Miosa-osa/miosa-env/internal/option"
)

// DefaultPath is the path of the configuration if none is given.
const DefaultPath = "/etc/miosa-env/agent.toml"

// Values of OnRevoke.
const (
	RevokeKeep = "keep" // commands keep running
	RevokeStop = "stop" // commands that follow the agent are stopped
)

// Config holds the values of options. The zero value of a field means that nothing has set it. Options describes the
// fields; their documentation is generated from it.
type Config struct {
	BaseURL     string
	APIKey      string
	TenantKey   string
	KeyFile     string
	CAFile      string
	Proxy       string
	Sandbox     string
	Computer    string
	Cache       bool
	CacheDir    string
	CacheMaxAge time.Duration
	OnRevoke    string
	Socket      string
	NoAgent     bool
	Egress      string
	EgressCA    string
	AllowUsers  []string
	AllowGroups []string
	MetricsAddr string
	Timeout     time.Duration
	LogLevel    string
	LogFormat   string
	Path        string // of agent.toml
	Outputs     []Output
	Units       []Unit

	origin
}

// Output is one [[output]] of a configuration. The package that writes outputs checks formats, owners and directories.
type Output struct {
	Path        string
	Format      string
	Mode        fs.FileMode
	Owner       string
	Group       string
	Only        []string
	Prefix      string
	RequireOnly []string
	AllowNames  []string
	Hook        string
	HookTimeout time.Duration
	AllowDisk   bool
	AllowShared bool
	Keep        bool

	origin
}

// Unit is one [[unit]] of a configuration: a systemd unit that may load credentials.
type Unit struct {
	Name string
	Only []string // names, or patterns of path.Match

	origin
}

// origin is where a table of a file and its fields are.
type origin = option.Origin

// Override makes the values of flags count instead of those of the file. Fields that are set together are unset together.
func (c *Config) Override(flag, value string) {
	for _, o := range c.Options() {
		if o.Flag == flag {
			c.replace(o.Field)
			c.Unset(o.Field)
			_ = o.Value.Set(value) // which the flag has accepted
		}
	}
}

// replace unsets what does not count any more once a source of higher precedence sets a field.
func (c *Config) replace(field string) {
	switch field {
	case "sandbox_id", "computer_id":
		c.Sandbox, c.Computer = "", ""
	case "key_file":
		c.APIKey = ""
	}
}

// Read reads a configuration file into c, where its fields override what c has.
// Errors: fs.ErrNotExist and others of the system, with the path, as Open returns them; those of Parse.
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
	schema := option.Schema{
		Options: c.Options(),
		Tables: []option.Table{
			{Name: "output", Article: "an", Options: new(Output).options(), Add: func(at origin) ([]Option, *origin) {
				c.Outputs = append(c.Outputs, Output{origin: at})
				last := &c.Outputs[len(c.Outputs)-1]
				return last.options(), &last.origin
			}},
			{Name: "unit", Article: "a", Options: new(Unit).options(), Add: func(at origin) ([]Option, *origin) {
				c.Units = append(c.Units, Unit{origin: at})
				last := &c.Units[len(c.Units)-1]
				return last.options(), &last.origin
			}},
		},
		Replace: c.replace,
		Hint: func(name string) string {
			switch name {
			case "api_key", "key", "token", "apikey":
				return "the key has a file of its own: name that with key_file"
			case "resource_id":
				return "write sandbox_id or computer_id"
			}
			return ""
		},
	}
	at, err := option.Parse(file, text, schema, func(at *origin) []*option.Error {
		if !at.Sets("sandbox_id") || !at.Sets("computer_id") {
			return nil
		}
		return []*option.Error{{
			File: file, Line: max(at.Line("sandbox_id"), at.Line("computer_id")),
			Err: errors.New("sandbox_id and computer_id are both given"), Fix: "leave one out",
		}}
	})
	c.origin = at
	return err
}
