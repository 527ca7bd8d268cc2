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

// lookupError is the error if no file for a command can be executed.
type lookupError struct {
	name   string // as given
	reason string // may be empty
	code   int    // ExitNotFound or ExitNotExecutable
	hint   string // may be empty
}

func (e *lookupError) Error() string {
	text := environ.Quote(e.name) + ": command not found"
	if e.code == ExitNotExecutable {
		text = environ.Quote(e.name) + ": command can't be executed"
	}
	if e.reason != "" {
		text += ": " + e.reason
	}
	return text
}

// ExitCode returns ExitNotFound or ExitNotExecutable, as shells do.
func (e *lookupError) ExitCode() int { return e.code }

// Hint tells how to fix it; it may be empty.
func (e *lookupError) Hint() string { return e.hint }

// Lookup returns the file to execute, as execvp does. A name with a slash is a path. Other names are searched for in the
// directories of PATH, where an empty one means the working directory. Files that can't be executed are skipped, and the
// first is reported if none can. PATH is the one in env, else this process's, else /bin:/usr/bin. Unlike execvp, Lookup
// doesn't fall back to a shell for unknown formats.
//
// Errors have an ExitCode, ExitNotFound or ExitNotExecutable, and a Hint.
func Lookup(name string, env []string) (string, error) {
	if name == "" {
		return "", &lookupError{name: name, code: ExitNotFound, hint: "the command is an empty word"}
	}
	if strings.ContainsRune(name, '/') {
		if err := executable(name); err != nil {
			return "", unusable(name, name, err)
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
		return "", unusable(name, refusedAt, refused)
	}
	e := &lookupError{name: name, code: ExitNotFound, hint: "install it, or give its path"}
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

// unusable returns the error for name if executable returned err for file.
func unusable(name, file string, err error) *lookupError {
	e := &lookupError{name: name, code: ExitNotExecutable}
	switch {
	case errors.Is(err, unix.ENOENT):
		e.code = ExitNotFound
		e.hint = "no such file; a relative path starts at the working directory"
	case errors.Is(err, unix.ELOOP), errors.Is(err, unix.ENOTDIR), errors.Is(err, unix.ENAMETOOLONG):
		e.reason = cause.Of(err).Error() // 126, as in bash and env
	case missing(err):
		e.code, e.reason = ExitNotFound, cause.Of(err).Error()
	case errors.Is(err, unix.EISDIR):
		e.reason, e.hint = environ.Quote(file)+" is a directory", "give a file in it"
	case errors.Is(err, unix.EACCES):
		e.reason, e.hint = accessReason(file)
	default:
		e.reason = environ.Quote(file) + ": " + cause.Of(err).Error()
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
