package inject

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"syscall"

	"github.com/Miosa-osa/miosa-env/api"
)

// Command is what to run, ready for execve.
type Command struct {
	Path  string      // the file, as Lookup found it
	Args  []string    // argv, with argv[0]
	Env   []string    // NAME=value, each name once
	Bound []api.Label // the variables of Env that are bound, under their final names: for logs of changes
	Mask  []api.Bound // what a masked command's output may not show

	// asks: it gets the terminal once the kernel has stopped it for wanting that, so it isn't to ignore TTIN and TTOU.
	asks bool
}

// since says what is different in the environment of c.
func (c Command) since(before Command) api.Changes {
	versions := make(map[string]int64, len(c.Bound))
	for _, l := range c.Bound {
		versions[l.ExposeAsEnv] = l.Version
	}
	return api.Compare(variables(before.Env), variables(c.Env),
		func(a, b string) bool { return a == b },
		func(name string) int64 { return versions[name] })
}

// variables gives the values of an environment by name.
func variables(env []string) map[string]string {
	m := make(map[string]string, len(env))
	for _, entry := range env {
		name, value, _ := strings.Cut(entry, "=")
		m[name] = value
	}
	return m
}

// The exit codes that are ours, as shells, env and timeout have them.
const (
	ExitFailed        = 125 // we failed before the command ran, or lost its output
	ExitNotExecutable = 126 // the command was found and can't be executed
	ExitNotFound      = 127 // the command wasn't found
	exitSignal        = 128 // plus n: the command died of signal n
)

// StartError says that the kernel refused to execute a command.
type StartError struct {
	Path  string
	Errno syscall.Errno
}

func (e *StartError) Error() string {
	interpreter := interpreterOf(e.Path)
	switch {
	case errors.Is(e.Errno, syscall.ENOENT) && interpreter != "":
		return fmt.Sprintf("execute %s: its interpreter %s doesn't exist", e.Path, strconv.Quote(interpreter))
	case errors.Is(e.Errno, syscall.ENOENT):
		return fmt.Sprintf("execute %s: it or its dynamic loader doesn't exist", e.Path)
	case interpreter != "" && errors.Is(e.Errno, syscall.EACCES):
		return fmt.Sprintf("execute %s: its interpreter %s can't be executed", e.Path, strconv.Quote(interpreter))
	case errors.Is(e.Errno, syscall.ENOEXEC):
		return fmt.Sprintf("execute %s: exec format error", e.Path)
	}
	return fmt.Sprintf("execute %s: %s", e.Path, e.Errno)
}

// Unwrap gives the kernel's reason.
func (e *StartError) Unwrap() error { return e.Errno }

// ExitCode is 127 where something doesn't exist, else 126, as in shells.
func (e *StartError) ExitCode() int {
	if errors.Is(e.Errno, syscall.ENOENT) {
		return ExitNotFound
	}
	return ExitNotExecutable
}

// Hint says how to fix it, or is empty.
func (e *StartError) Hint() string {
	interpreter := interpreterOf(e.Path)
	switch {
	case errors.Is(e.Errno, syscall.ENOEXEC):
		return "a script needs a first line such as #!/bin/sh, and a program must be for this processor"
	case strings.HasSuffix(interpreter, "\r"):
		return "the first line ends in CRLF: save the script with LF line ends"
	case errors.Is(e.Errno, syscall.ENOENT) && interpreter == "":
		return "a program that is linked dynamically needs the C library it was built for"
	case interpreter != "":
		return "check the interpreter named in the file's first line"
	case errors.Is(e.Errno, syscall.EACCES):
		return "its file system may be mounted with noexec"
	case errors.Is(e.Errno, syscall.ETXTBSY):
		return "something has the file open for writing"
	case errors.Is(e.Errno, syscall.E2BIG):
		return "arguments and environment together are too large for the kernel"
	}
	return ""
}

// interpreterOf is what the first line of a script names, or empty. A carriage return is part of it, as
// it is for the kernel.
func interpreterOf(path string) string {
	f, err := os.Open(path)
	if err != nil {
		return ""
	}
	defer func() { _ = f.Close() }()
	start := make([]byte, 256)
	n, _ := io.ReadFull(f, start)
	line, ok := bytes.CutPrefix(start[:n], []byte("#!"))
	if !ok {
		return ""
	}
	line, _, _ = bytes.Cut(line, []byte("\n"))
	line, _, _ = bytes.Cut(bytes.Trim(line, " \t"), []byte(" "))
	line, _, _ = bytes.Cut(line, []byte("\t"))
	return string(line)
}

// startError wraps what execve or fork gave.
func startError(path string, err error) error {
	var errno syscall.Errno
	if errors.As(err, &errno) {
		return &StartError{Path: path, Errno: errno}
	}
	return fmt.Errorf("start %s: %w", path, err)
}
