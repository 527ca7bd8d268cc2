package command

import (
	"errors"
	"io/fs"
	"os"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/Miosa-osa/miosa-env/inject/environ"
	"github.com/Miosa-osa/miosa-env/internal/cause"
)

// Lookup returns the file to execute, as execvp does. A name with a slash is a path. Other names are searched for in the
// directories of PATH, where an empty one means the working directory. Files that can't be executed are skipped, and the
// first is reported if none can. PATH is the one in env, else this process's, else /bin:/usr/bin. Unlike execvp, Lookup
// doesn't fall back to a shell for unknown formats.
//
// Errors have an ExitCode, ExitNotFound or ExitNotExecutable, and a Hint.
func Lookup(name string, env []string) (string, error) {
	if name == "" {
		return "", notFound(name, "", "the command is an empty word")
	}
	if strings.ContainsRune(name, '/') {
		if err := executable(name); err != nil {
			return "", unusable(name, name, err)
		}
		return name, nil
	}
	var refused error
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
			refused = unusable(name, file, err)
		}
	}
	if refused != nil {
		return "", refused
	}
	hint := "install it, or give its path"
	if strings.ContainsAny(name, " \t") {
		hint = "give the command and its arguments as words of their own, or as: sh -c '...'"
	} else if executable("./"+name) == nil {
		hint = "for the one in this directory, give ./" + environ.Quote(name)
	}
	return "", notFound(name, "", hint)
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

// missing reports whether the search should go on without reporting err. EINVAL means a NUL in the name.
func missing(err error) bool {
	reasons := []error{unix.ENOENT, unix.ENOTDIR, unix.ENAMETOOLONG, unix.ELOOP, unix.ESTALE, unix.ENODEV, unix.ETIMEDOUT, unix.EINVAL}
	return slices.ContainsFunc(reasons, func(reason error) bool { return errors.Is(err, reason) })
}

// notFound returns the error if there is no file for a command. detail completes its text and may be empty.
func notFound(name, detail, hint string) error {
	return &failure{text: environ.Quote(name) + ": command not found" + detail, hint: hint, code: ExitNotFound}
}

// unusable returns the error for name if executable returned err for file.
func unusable(name, file string, err error) error {
	reason, hint := cause.Of(err).Error(), ""
	switch {
	case errors.Is(err, unix.ENOENT):
		return notFound(name, "", "no such file; a relative path starts at the working directory")
	case errors.Is(err, unix.ELOOP), errors.Is(err, unix.ENOTDIR), errors.Is(err, unix.ENAMETOOLONG): // 126, as in bash and env
	case missing(err):
		return notFound(name, ": "+reason, "")
	case errors.Is(err, unix.EISDIR):
		reason, hint = environ.Quote(file)+" is a directory", "give a file in it"
	case errors.Is(err, unix.EACCES):
		reason, hint = accessReason(file)
	default:
		reason = environ.Quote(file) + ": " + reason
	}
	return &failure{text: environ.Quote(name) + ": command can't be executed: " + reason, hint: hint, code: ExitNotExecutable}
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
