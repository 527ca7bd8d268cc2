package command

import (
	"errors"
	"io/fs"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/Miosa-osa/miosa-env/inject/environ"
	"github.com/Miosa-osa/miosa-env/internal/cause"
)

// Errors of Lookup, wrapped in a *LookupError.
var (
	ErrNotFound      = errors.New("command not found")
	ErrNotExecutable = errors.New("command can't be executed")
)

// LookupError is the error if no file for a command can be executed.
type LookupError struct {
	Name   string // as given
	Reason string // may be empty
	Kind   error  // ErrNotFound or ErrNotExecutable
	hint   string
}

func (e *LookupError) Error() string {
	if e.Reason == "" {
		return environ.Quote(e.Name) + ": " + e.Kind.Error()
	}
	return environ.Quote(e.Name) + ": " + e.Kind.Error() + ": " + e.Reason
}

// Unwrap returns Kind.
func (e *LookupError) Unwrap() error { return e.Kind }

// ExitCode returns ExitNotFound or ExitNotExecutable.
func (e *LookupError) ExitCode() int {
	if errors.Is(e.Kind, ErrNotFound) {
		return ExitNotFound
	}
	return ExitNotExecutable
}

// Hint tells how to fix it; it may be empty.
func (e *LookupError) Hint() string { return e.hint }

// Lookup returns the file to execute, as execvp does. A name with a slash is a path. Other names are searched for in the
// directories of PATH, where an empty one means the working directory. Files that can't be executed are skipped, and the
// first is reported if none can. PATH is the one in env, else this process's, else /bin:/usr/bin. Unlike execvp, Lookup
// doesn't fall back to a shell for unknown formats.
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
		e.hint = "for the one in this directory, give ./" + environ.Quote(name)
	}
	return "", e
}

// searchPath returns the PATH to search.
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

// executable returns nil for a regular file that the effective user may execute.
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

// missing reports whether the search should go on without reporting err.
func missing(err error) bool {
	for _, e := range []error{unix.ENOENT, unix.ENOTDIR, unix.ENAMETOOLONG, unix.ELOOP, unix.ESTALE, unix.ENODEV, unix.ETIMEDOUT} {
		if errors.Is(err, e) {
			return true
		}
	}
	return errors.Is(err, os.ErrInvalid) || errors.Is(err, unix.EINVAL) // a NUL in the name
}

// lookupError returns the error for name if executable returned err for file.
func lookupError(name, file string, err error) *LookupError {
	e := &LookupError{Name: name, Kind: ErrNotExecutable}
	switch {
	case errors.Is(err, unix.ENOENT):
		e.Kind = ErrNotFound
		e.hint = "no such file; a relative path starts at the working directory"
	case errors.Is(err, unix.ELOOP), errors.Is(err, unix.ENOTDIR), errors.Is(err, unix.ENAMETOOLONG):
		e.Reason = cause.Of(err).Error() // 126, as in bash and env
	case missing(err):
		e.Kind, e.Reason = ErrNotFound, cause.Of(err).Error()
	case errors.Is(err, unix.EISDIR):
		e.Reason, e.hint = environ.Quote(file)+" is a directory", "give a file in it"
	case errors.Is(err, unix.EACCES):
		e.Reason, e.hint = accessReason(file)
	default:
		e.Reason = environ.Quote(file) + ": " + cause.Of(err).Error()
	}
	return e
}

// accessReason returns the cause of EACCES, and a hint.
func accessReason(file string) (reason, hint string) {
	info, err := os.Stat(file)
	switch {
	case err != nil:
		return "no access to " + environ.Quote(file), "check the permissions of the directories on the way to it"
	case !info.Mode().IsRegular():
		return environ.Quote(file) + " isn't a regular file", ""
	case info.Mode()&0o111 == 0:
		return environ.Quote(file) + " isn't marked executable", "chmod +x " + environ.Quote(file)
	case info.Mode()&fs.FileMode(0o111) == 0o111:
		return environ.Quote(file) + " may not be executed here", "its file system may be mounted with noexec"
	}
	return environ.Quote(file) + " is executable for others, not for this user", "check its owner and group"
}
