// Package output writes a set to an env file or a directory of files and keeps it there, for other programs to read.
package output

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os/user"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/rs/zerolog"

	"github.com/Miosa-osa/miosa-env/inject/envfile"
	"github.com/Miosa-osa/miosa-env/inject/environ"
	"github.com/Miosa-osa/miosa-env/internal/orphan"
)

// Files is the format of an output that is a directory with a file for each value.
const Files = "files"

// Formats lists the formats of outputs, each named after its reader.
var Formats = append(slices.Clone(envfile.Formats), Files)

// Config configures an Output.
type Config struct {
	// Path is the absolute and clean path of the file, or with Files of the directory.
	Path string
	// Format is one of Formats.
	Format string
	// Mode is the mode of each file. Only its owner and group may have access. 0 means 0600.
	Mode fs.FileMode
	// Owner is the name or number of the user who owns each file. Empty: this process's user.
	Owner string
	// Group is the name or number of the group of each file. Empty: the file system's choice.
	Group string

	// Only, Prefix, RequireOnly, AllowNames and Inherited are as in environ.Environment.
	Only        []string
	Prefix      string
	RequireOnly []string
	AllowNames  []string
	Inherited   []string

	// AllowDisk allows file systems that aren't in memory (tmpfs, ramfs).
	AllowDisk bool
	// AllowShared allows other users to write to the directory that contains Path, such as the emptyDir of a Kubernetes
	// pod. They can't read the values, but can replace them.
	AllowShared bool
	// Keep leaves the output in place when the daemon stops.
	Keep bool

	// Hook is run by sh -c after a change. Empty: none.
	Hook string
	// HookTimeout is the time after which the hook is killed. 0 means 30 s.
	HookTimeout time.Duration

	// Orphans doesn't reap the hooks. Nil: nothing reaps orphans.
	Orphans *orphan.Reaper
	// Log gets changes and the output of hooks.
	Log zerolog.Logger
}

// A temporary name consists of the final name, tempMark and random letters.
const (
	tempMark   = ".miosa-"
	tempRandom = 8
)

// longestName is the maximum length in bytes of the last element of a path, so that a temporary name is valid too.
const longestName = 255 - len(".") - len(tempMark) - tempRandom

func (c Config) mode() fs.FileMode { return cmp.Or(c.Mode, 0o600) }

func (c Config) hookTimeout() time.Duration { return cmp.Or(c.HookTimeout, 30*time.Second) }

// Validate returns all problems of c. It looks up Owner and Group, but doesn't access Path.
func (c Config) Validate() error {
	var problems []error
	problem := func(format string, args ...any) { problems = append(problems, fmt.Errorf(format, args...)) }
	switch base := path.Base(c.Path); {
	case c.Path == "":
		problem("path is missing")
	case !path.IsAbs(c.Path):
		problem("path %s: want an absolute one", environ.Quote(c.Path))
	case path.Clean(c.Path) != c.Path:
		problem("path %s: want %s", environ.Quote(c.Path), environ.Quote(path.Clean(c.Path)))
	case base == "/" || strings.IndexByte(c.Path, 0) >= 0:
		problem("path %s: not a file's", environ.Quote(c.Path))
	case len(base) > longestName:
		problem("path %s: its last part is longer than %d bytes", environ.Quote(c.Path), longestName)
	}
	if !slices.Contains(Formats, c.Format) {
		problem("format %s: want one of %s", environ.Quote(c.Format), strings.Join(Formats, ", "))
	}
	switch mode := c.mode(); {
	case mode&^0o777 != 0:
		problem("mode %#o: want permissions only", uint32(mode))
	case mode&0o007 != 0:
		problem("mode %#o lets everyone on this machine have the values: want an owner or a group instead", uint32(mode))
	case mode&0o111 != 0:
		problem("mode %#o: the file isn't a program", uint32(mode))
	case mode&0o400 == 0:
		problem("mode %#o: its owner couldn't read it", uint32(mode))
	}
	if _, err := idOf("user", c.Owner); err != nil {
		problem("owner %s: %w", environ.Quote(c.Owner), err)
	}
	if _, err := idOf("group", c.Group); err != nil {
		problem("group %s: %w", environ.Quote(c.Group), err)
	}
	for _, pattern := range c.Only {
		if _, err := path.Match(pattern, ""); err != nil {
			problem("only %s: not a pattern", environ.Quote(pattern))
		}
	}
	for _, pattern := range c.RequireOnly {
		if _, err := path.Match(pattern, ""); err != nil {
			problem("require_only %s: not a pattern", environ.Quote(pattern))
		}
	}
	if c.Prefix != "" && !environ.ValidName(c.Prefix) {
		problem("prefix %s: want letters, digits and _, no digit first", environ.Quote(c.Prefix))
	}
	for _, name := range c.AllowNames {
		if !environ.ValidName(name) {
			problem("allow_names %s: want letters, digits and _, no digit first", environ.Quote(name))
		}
	}
	switch {
	case c.HookTimeout < 0:
		problem("hook_timeout %s: want more than nothing", c.HookTimeout)
	case c.HookTimeout != 0 && c.Hook == "":
		problem("hook_timeout %s: there is no hook", c.HookTimeout)
	}
	return errors.Join(problems...)
}

// Unsafe is the error if values aren't written to a path.
type Unsafe struct {
	Path   string // the unsafe path; may be a parent
	Reason string // completes "PATH ..."
	Fix    string
	Allow  string // the configuration's field that allows it; may be empty
}

func (u *Unsafe) Error() string { return environ.Quote(u.Path) + " " + u.Reason }

// Hint tells how to fix it.
func (u *Unsafe) Hint() string {
	if u.Allow == "" {
		return u.Fix
	}
	return u.Fix + ", or set " + u.Allow + " = true"
}

// idOf returns the id of a user or a group by name or number, or -1 for "".
func idOf(kind, name string) (int, error) {
	if name == "" {
		return -1, nil
	}
	id := name
	if strings.Trim(name, "0123456789") != "" {
		var err error
		if kind == "user" {
			var u *user.User
			if u, err = user.Lookup(name); err == nil {
				id = u.Uid
			}
		} else {
			var g *user.Group
			if g, err = user.LookupGroup(name); err == nil {
				id = g.Gid
			}
		}
		if err != nil {
			return -1, errors.New("there is no such " + kind)
		}
	}
	n, err := strconv.ParseUint(id, 10, 32)
	if err != nil || n == 1<<32-1 { // the last one means "unchanged" to the kernel
		return -1, errors.New("not a number that an id can have")
	}
	return int(n), nil
}
