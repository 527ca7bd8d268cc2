package inject

import (
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
)

// FormatFiles is the format of an output that is a directory with one file a value.
const FormatFiles = "files"

// OutputFormats lists what an output can be written as, each named after its reader.
var OutputFormats = append(slices.Clone(Formats), FormatFiles)

// OutputConfig says where bound values are kept as a file, in which format and for whom.
type OutputConfig struct {
	// Path is absolute and without "..": the file's, or with FormatFiles the directory's.
	Path string
	// Format is one of OutputFormats.
	Format string
	// Mode is of the file, or of each of the files. Nobody but its owner and group may have access.
	// 0 means 0600.
	Mode fs.FileMode
	// Owner is a user's name or number, of the file or each of the files. Empty: ourselves.
	Owner string
	// Group is a group's name or number. Empty: whichever the file system gives.
	Group string

	// Only keeps the bindings whose name (before Prefix) is here or matches a pattern of path.Match.
	// Empty: all of them.
	Only []string
	// Prefix is put before every bound name.
	Prefix string
	// AllowNames lists final names, exact, that a binding may set though they run code or move traffic.
	AllowNames []string

	// Inherited is our own environment, as os.Environ gives it: bindings of api.DeliverPlatform have
	// their values there.
	Inherited []string

	// AllowDisk lets the file be elsewhere than in memory (tmpfs, ramfs).
	AllowDisk bool
	// AllowShared lets the directory that Path is in be one that others may write to, as the emptyDir of a
	// Kubernetes pod is. They can't read the values, but put something else in their place.
	AllowShared bool
	// Keep leaves the file where it is when the daemon stops.
	Keep bool

	// Hook is given to sh -c after a change. Empty: there is none.
	Hook string
	// HookTimeout is how long the hook may take before it is killed. 0 means 30 s.
	HookTimeout time.Duration

	// Log tells of changes and of what hooks print.
	Log zerolog.Logger
}

// Temporary names are the final one, a mark and random letters.
const (
	tempMark   = ".miosa-"
	tempRandom = 8
)

// longestName is how long the last part of a path may be, in bytes, with a temporary name made of it.
const longestName = 255 - len(".") - len(tempMark) - tempRandom

func (c OutputConfig) mode() fs.FileMode {
	if c.Mode == 0 {
		return 0o600
	}
	return c.Mode
}

func (c OutputConfig) hookTimeout() time.Duration {
	if c.HookTimeout == 0 {
		return 30 * time.Second
	}
	return c.HookTimeout
}

// Validate tells everything that is wrong with c. It asks the system whether Owner and Group exist, and
// doesn't look at Path's file system.
func (c OutputConfig) Validate() error {
	var problems []error
	problem := func(format string, args ...any) { problems = append(problems, fmt.Errorf(format, args...)) }
	switch base := path.Base(c.Path); {
	case c.Path == "":
		problem("path is missing")
	case !path.IsAbs(c.Path):
		problem("path %s: want an absolute one", shown(c.Path))
	case path.Clean(c.Path) != c.Path:
		problem("path %s: want %s", shown(c.Path), shown(path.Clean(c.Path)))
	case base == "/" || strings.IndexByte(c.Path, 0) >= 0:
		problem("path %s: not a file's", shown(c.Path))
	case len(base) > longestName:
		problem("path %s: its last part is longer than %d bytes", shown(c.Path), longestName)
	}
	if !slices.Contains(OutputFormats, c.Format) {
		problem("format %s: want one of %s", shown(c.Format), strings.Join(OutputFormats, ", "))
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
	if _, err := userID(c.Owner); err != nil {
		problem("owner %s: %w", shown(c.Owner), err)
	}
	if _, err := groupID(c.Group); err != nil {
		problem("group %s: %w", shown(c.Group), err)
	}
	for _, pattern := range c.Only {
		if _, err := path.Match(pattern, ""); err != nil {
			problem("only %s: not a pattern", shown(pattern))
		}
	}
	if c.Prefix != "" && !validName(c.Prefix) {
		problem("prefix %s: want letters, digits and _, no digit first", shown(c.Prefix))
	}
	for _, name := range c.AllowNames {
		if !validName(name) {
			problem("allow_names %s: want letters, digits and _, no digit first", shown(name))
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

// Unsafe says why values aren't written to a path, and what would mend it.
type Unsafe struct {
	Path   string // the one to blame: a parent maybe
	Reason string // completes "PATH ..."
	Fix    string
	Allow  string // the field of a configuration that lets it be all the same, or empty
}

func (u *Unsafe) Error() string { return shown(u.Path) + " " + u.Reason }

// Hint says how to mend it.
func (u *Unsafe) Hint() string {
	if u.Allow == "" {
		return u.Fix
	}
	return u.Fix + ", or set " + u.Allow + " = true"
}

// userID returns a user's number, -1 for nobody in particular.
func userID(name string) (int, error) {
	if id, given, err := number(name); given {
		return id, err
	}
	u, err := user.Lookup(name)
	if err != nil {
		return -1, errors.New("there is no such user")
	}
	return strconv.Atoi(u.Uid)
}

// groupID returns a group's number, -1 for none in particular.
func groupID(name string) (int, error) {
	if id, given, err := number(name); given {
		return id, err
	}
	g, err := user.LookupGroup(name)
	if err != nil {
		return -1, errors.New("there is no such group")
	}
	return strconv.Atoi(g.Gid)
}

// number reads an id that is given as one. The last of 32 bits means "as it is" to the kernel.
func number(name string) (id int, given bool, err error) {
	if name == "" {
		return -1, true, nil
	}
	if strings.Trim(name, "0123456789") != "" {
		return -1, false, nil
	}
	n, err := strconv.ParseUint(name, 10, 32)
	if err != nil || n == 1<<32-1 {
		return -1, true, errors.New("not a number that an id can have")
	}
	return int(n), true, nil
}
