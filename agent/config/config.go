// Package config has the options of miosa-env: for each its flag, its environment variable and its field of agent.toml. It
// reads agent.toml, and reports all of its problems at once with their lines.
package config

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// DefaultPath is the path of the configuration if none is given.
const DefaultPath = "/etc/miosa-env/agent.toml"

// maxBytes limits the size of a configuration.
const maxBytes = 1 << 20

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
type origin struct {
	file  string
	table int            // line of the table's header; 0: the fields above all tables
	lines map[string]int // line of each field that the file sets
}

// Sets reports whether the value of a field comes from the file.
func (o *origin) Sets(field string) bool { return o.lines[field] > 0 }

// Problem adds to an error about the value of a field where the file sets it. The error is returned as it is if the
// file has nothing to do with it.
func (o *origin) Problem(field string, err error) error {
	line := o.lines[field]
	if line == 0 {
		line = o.table
	}
	if line == 0 {
		return err
	}
	return &Error{File: o.file, Line: line, Err: err}
}

// Override makes the values of flags count instead of those of the file. Fields that are set together are unset together.
func (c *Config) Override(flag, value string) {
	for _, o := range c.Options() {
		if o.Flag == flag {
			c.replace(o.Field)
			delete(c.lines, o.Field)
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

// Error is a problem in a configuration. It contains no value that may be a secret.
type Error struct {
	File string
	Line int // from 1; 0: not about one line
	Err  error
	Fix  string // or empty
}

func (e *Error) Error() string {
	if e.Line == 0 {
		return fmt.Sprintf("%s: %s", e.File, e.Err)
	}
	return fmt.Sprintf("%s line %d: %s", e.File, e.Line, e.Err)
}

// Unwrap returns the error without its place.
func (e *Error) Unwrap() error { return e.Err }

// Hint returns how to fix it, or "".
func (e *Error) Hint() string {
	if e.Fix != "" {
		return e.Fix
	}
	if h, ok := errors.AsType[interface {
		error
		Hint() string
	}](e.Err); ok {
		return h.Hint()
	}
	return ""
}

// Read reads a configuration file into c, where its fields override what c has.
// Errors: fs.ErrNotExist and others of the system, with the path, as Open returns them; those of Parse.
func (c *Config) Read(path string) error {
	f, err := Open(path)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	text, err := io.ReadAll(io.LimitReader(f, maxBytes+1))
	if err != nil {
		return err
	}
	return c.Parse(path, text)
}

// Open opens a file that is read again whenever it changes. It may be reached through symlinks, but must be a regular file:
// a pipe would block the agent.
// Errors: of the system, with the path.
func Open(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		kinds := map[fs.FileMode]string{fs.ModeDir: "directory", fs.ModeNamedPipe: "pipe", fs.ModeSocket: "socket"}
		kind := cmp.Or(kinds[info.Mode().Type()], "device")
		err = &fs.PathError{Op: "open", Path: path, Err: errors.New("want a regular file, not a " + kind)}
	}
	if err != nil {
		_ = f.Close()
		return nil, err
	}
	return f, nil
}
