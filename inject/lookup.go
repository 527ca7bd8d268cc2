package inject

import (
	"errors"
	"io/fs"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/Miosa-osa/miosa-env/internal/cause"
)

// What Lookup finds wrong. Both come as a *LookupError.
var (
	ErrNotFound      = errors.New("command not found")
	ErrNotExecutable = errors.New("command can't be executed")
)

// LookupError says why a command can't be run.
type LookupError struct {
	Name   string // as asked for
	Reason string // "" for a plain not found
	Kind   error  // ErrNotFound or ErrNotExecutable
	hint   string
}

func (e *LookupError) Error() string {
	if e.Reason == "" {
		return shown(e.Name) + ": " + e.Kind.Error()
	}
	return shown(e.Name) + ": " + e.Kind.Error() + ": " + e.Reason
}

// Unwrap makes errors.Is(err, ErrNotFound) work.
func (e *LookupError) Unwrap() error { return e.Kind }

// ExitCode is ExitNotFound or ExitNotExecutable.
func (e *LookupError) ExitCode() int {
	if errors.Is(e.Kind, ErrNotFound) {
		return ExitNotFound
	}
	return ExitNotExecutable
}

// Hint says how to mend it, or is empty.
func (e *LookupError) Hint() string { return e.hint }

// Lookup finds the file to execute, as execvp does. A name with a slash is a path. Any other is looked
// for in each directory of PATH, an empty one being the working directory; a file that can't be
// executed is passed over, and reported if nothing better comes. PATH is the command's own, from env;
// where that has none, ours; where we have none either, /bin:/usr/bin. Unlike execvp, nothing is run
// through a shell when the kernel doesn't know its format.
//
// Errors: *LookupError.
func Lookup(name string, env []string) (string, error) {
	if name == "" {
		return "", &LookupError{Name: name, Kind: ErrNotFound, hint: "the command is an empty word"}
	}
	if strings.ContainsRune(name, '/') {
		if err := executable(name); err != nil {
			return "", lookupError(name, name, err)
		}
		return name, nil
	}
	var refused error
	var refusedAt string
	for dir := range strings.SplitSeq(searchPath(env), ":") {
		if dir == "" {
			dir = "."
		}
		file := strings.TrimSuffix(dir, "/") + "/" + name
		err := executable(file)
		if err == nil {
			return file, nil
		}
		if refused == nil && !missing(err) {
			refused, refusedAt = err, file
		}
	}
	if refused != nil {
		return "", lookupError(name, refusedAt, refused)
	}
	e := &LookupError{Name: name, Kind: ErrNotFound, hint: "install it, or give its path"}
	if strings.ContainsAny(name, " \t") {
		e.hint = "give the command and its arguments as words of their own, or as: sh -c '...'"
	} else if executable("./"+name) == nil {
		e.hint = "for the one in this directory, give ./" + shown(name)
	}
	return "", e
}

// searchPath is the PATH to look in.
func searchPath(env []string) string {
	for _, entry := range env {
		if path, ok := strings.CutPrefix(entry, "PATH="); ok {
			return path
		}
	}
	if path, ok := os.LookupEnv("PATH"); ok {
		return path
	}
	return "/bin:/usr/bin"
}

// executable returns nil for a regular file that our effective user may execute.
func executable(file string) error {
	info, err := os.Stat(file)
	if err != nil {
		return err
	}
	if info.IsDir() {
		return unix.EISDIR
	}
	if !info.Mode().IsRegular() {
		return unix.EACCES
	}
	return unix.Faccessat(unix.AT_FDCWD, file, unix.X_OK, unix.AT_EACCESS)
}

// missing tells errors that mean "look further" from those worth remembering.
func missing(err error) bool {
	for _, e := range []error{unix.ENOENT, unix.ENOTDIR, unix.ENAMETOOLONG, unix.ELOOP, unix.ESTALE, unix.ENODEV, unix.ETIMEDOUT} {
		if errors.Is(err, e) {
			return true
		}
	}
	return errors.Is(err, os.ErrInvalid) || errors.Is(err, unix.EINVAL) // a NUL in the name
}

// lookupError turns what executable gave for file into an answer for name.
func lookupError(name, file string, err error) *LookupError {
	e := &LookupError{Name: name, Kind: ErrNotExecutable}
	switch {
	case errors.Is(err, unix.ENOENT):
		e.Kind = ErrNotFound
		e.hint = "no such file; a relative path starts at the working directory"
	case errors.Is(err, unix.ELOOP), errors.Is(err, unix.ENOTDIR), errors.Is(err, unix.ENAMETOOLONG):
		e.Reason = cause.Of(err).Error() // 126, as bash and env have it
	case missing(err):
		e.Kind, e.Reason = ErrNotFound, cause.Of(err).Error()
	case errors.Is(err, unix.EISDIR):
		e.Reason, e.hint = shown(file)+" is a directory", "give a file in it"
	case errors.Is(err, unix.EACCES):
		e.Reason, e.hint = accessReason(file)
	default:
		e.Reason = shown(file) + ": " + cause.Of(err).Error()
	}
	return e
}

// accessReason tells the causes of EACCES apart.
func accessReason(file string) (reason, hint string) {
	info, err := os.Stat(file)
	switch {
	case err != nil:
		return "no access to " + shown(file), "check the permissions of the directories on the way to it"
	case !info.Mode().IsRegular():
		return shown(file) + " isn't a regular file", ""
	case info.Mode()&0o111 == 0:
		return shown(file) + " isn't marked executable", "chmod +x " + shown(file)
	case info.Mode()&fs.FileMode(0o111) == 0o111:
		return shown(file) + " may not be executed here", "its file system may be mounted with noexec"
	}
	return shown(file) + " is executable for others, not for this user", "check its owner and group"
}
