// Package config reads the agent's configuration, agent.toml. It checks what can be checked without looking at the
// machine, and reports all problems at once with their lines.
package config

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"sort"
	"time"

	"golang.org/x/sys/unix"

	"github.com/Miosa-osa/miosa-env/api"
)

// DefaultPath is where a daemon's configuration is looked for.
const DefaultPath = "/etc/miosa-env/agent.toml"

// maxBytes is more than any configuration is long, in bytes.
const maxBytes = 1 << 20

// What OnRevoke can be.
const (
	RevokeKeep = "keep" // commands run on with what they have
	RevokeStop = "stop" // commands that follow the daemon are stopped
)

// File is what a configuration file says. What it leaves out has its zero value.
// Source: docs/operations.md, "Configuration".
type File struct {
	BaseURL     string        // base_url
	KeyFile     string        // key_file, absolute
	CAFile      string        // ca_file, absolute
	Proxy       string        // proxy
	SandboxID   string        // sandbox_id; at most one of this and ComputerID
	ComputerID  string        // computer_id
	Cache       *bool         // cache
	CacheDir    string        // cache_dir, absolute
	CacheMaxAge time.Duration // cache_max_age
	OnRevoke    string        // on_revoke: RevokeKeep, RevokeStop or empty
	Socket      string        // socket, absolute
	AllowUsers  []string      // allow_users, names or numbers
	AllowGroups []string      // allow_groups
	MetricsAddr string        // metrics_addr, HOST:PORT on loopback
	LogLevel    string        // log_level
	LogFormat   string        // log_format
	Outputs     []Output
	Units       []Unit

	lines lines
}

// Output is one [[output]] of a configuration file. It is plain: what writes outputs judges
// formats, owners and places.
type Output struct {
	Path        string // absolute
	Format      string
	Mode        fs.FileMode // 0: not said
	Owner       string
	Group       string
	Only        []string
	Prefix      string
	AllowNames  []string // allow_names
	Hook        string
	HookTimeout time.Duration // hook_timeout; 0: not said
	AllowDisk   bool          // allow_disk
	AllowShared bool          // allow_shared
	Keep        bool

	lines lines
}

// Unit is one [[unit]] of a configuration file: a unit of systemd's that may load credentials.
type Unit struct {
	Name string   // such as app.service; app@.service is each of its instances
	Only []string // names or patterns of path.Match, of the bindings it may have

	lines lines
}

// lines is where fields stand, by name; under "" the table itself.
type lines map[string]int

// Problem is an error with the line of a field that was taken and turned out to be wrong. Fields that
// the file leaves out have the line of their table, or none.
func (s *File) Problem(file, field string, err error) *Error {
	return &Error{File: file, Line: s.lines.of(field), Err: err}
}

// Problem is File.Problem for a field of an output.
func (o *Output) Problem(file, field string, err error) *Error {
	return &Error{File: file, Line: o.lines.of(field), Err: err}
}

func (l lines) of(field string) int {
	if line, ok := l[field]; ok {
		return line
	}
	return l[""]
}

// Error is one thing that is wrong with a configuration file. It never repeats a value that
// may be a secret.
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

// Unwrap gives what is wrong.
func (e *Error) Unwrap() error { return e.Err }

// Hint says how to mend it, or is empty.
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

// Read reads a configuration file.
// Errors: fs.ErrNotExist and others of the system, with the path, also for what Open refuses;
// Errors, all at once, joined in the order of their lines.
func Read(path string) (File, error) {
	f, err := Open(path)
	if err != nil {
		return File{}, err
	}
	defer func() { _ = f.Close() }()
	text, err := io.ReadAll(io.LimitReader(f, maxBytes+1))
	if err != nil {
		return File{}, err
	}
	return Parse(path, text)
}

// Open opens a file that is read again whenever it changes, for reading. It may be reached through
// symlinks, and must be a regular one: a pipe would keep a daemon waiting that has other things to do.
// Errors: of the system, with the path.
func Open(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = &fs.PathError{Op: "open", Path: path, Err: fmt.Errorf("want a regular file, not a %s", kindOfFile(info.Mode()))}
	}
	if err != nil {
		_ = f.Close()
		return nil, err
	}
	return f, nil
}

func kindOfFile(mode fs.FileMode) string {
	switch {
	case mode.IsDir():
		return "directory"
	case mode&fs.ModeNamedPipe != 0:
		return "pipe"
	case mode&fs.ModeSocket != 0:
		return "socket"
	}
	return "device"
}

// Parse reads the text of a configuration file, which it calls file in errors.
func Parse(file string, text []byte) (File, error) {
	if len(text) > maxBytes {
		return File{}, &Error{File: file, Err: errors.New("longer than 1 MiB")}
	}
	s := File{lines: lines{}}
	r := &reader{file: file, into: &s, fields: s.fields()}
	r.read(text)
	r.finish()
	if len(r.problems) == 0 {
		return s, nil
	}
	sort.SliceStable(r.problems, func(i, j int) bool { return r.problems[i].Line < r.problems[j].Line })
	joined := make([]error, len(r.problems))
	for i, p := range r.problems {
		joined[i] = p
	}
	return File{}, errors.Join(joined...)
}

// field is one field of a table: its name, where its value goes, and what else is asked of it.
type field struct {
	name  string
	to    any // *string, *bool, **bool, *[]string, *time.Duration or *fs.FileMode
	check func(string) error
	among []string // the words that a text can be, in any case; nil: every text
}

func (s *File) fields() []field {
	return []field{
		{"base_url", &s.BaseURL, nil, nil},
		{"key_file", &s.KeyFile, absolute, nil},
		{"ca_file", &s.CAFile, absolute, nil},
		{"proxy", &s.Proxy, nil, nil},
		{"sandbox_id", &s.SandboxID, resourceID, nil},
		{"computer_id", &s.ComputerID, resourceID, nil},
		{"cache", &s.Cache, nil, nil},
		{"cache_dir", &s.CacheDir, absolute, nil},
		{"cache_max_age", &s.CacheMaxAge, nil, nil},
		{"on_revoke", &s.OnRevoke, nil, []string{RevokeKeep, RevokeStop}},
		{"socket", &s.Socket, absolute, nil},
		{"allow_users", &s.AllowUsers, nil, nil},
		{"allow_groups", &s.AllowGroups, nil, nil},
		{"metrics_addr", &s.MetricsAddr, loopback, nil},
		{"log_level", &s.LogLevel, nil, []string{"trace", "debug", "info", "warn", "error", "off"}},
		{"log_format", &s.LogFormat, nil, []string{"text", "json"}},
	}
}

func (o *Output) fields() []field {
	return []field{
		{"path", &o.Path, absolute, nil},
		{"format", &o.Format, nil, nil},
		{"mode", &o.Mode, nil, nil},
		{"owner", &o.Owner, nil, nil},
		{"group", &o.Group, nil, nil},
		{"only", &o.Only, nil, nil},
		{"prefix", &o.Prefix, nil, nil},
		{"allow_names", &o.AllowNames, nil, nil},
		{"hook", &o.Hook, nil, nil},
		{"hook_timeout", &o.HookTimeout, nil, nil},
		{"allow_disk", &o.AllowDisk, nil, nil},
		{"allow_shared", &o.AllowShared, nil, nil},
		{"keep", &o.Keep, nil, nil},
	}
}

func (u *Unit) fields() []field {
	return []field{
		{"name", &u.Name, unitName, nil},
		{"only", &u.Only, nil, nil},
	}
}

func names(fields []field) []string {
	list := make([]string, len(fields))
	for i, f := range fields {
		list[i] = f.name
	}
	return list
}

// resourceID takes what can be an id of either type.
func resourceID(id string) error {
	return api.Resource{Type: api.Sandbox, ID: id}.Validate()
}
