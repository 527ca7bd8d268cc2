package inject

import (
	"errors"
	"fmt"
	"syscall"
)

// Command is what to run, ready for execve.
type Command struct {
	Path string   // the file, as Lookup found it
	Args []string // argv, with argv[0]
	Env  []string // NAME=value, each name once
	Mask []Named  // what a masked command's output may not show
}

// The exit codes that are ours, as shells, env and timeout have them.
const (
	ExitUsage         = 2   // wrong usage of our command line
	ExitFailed        = 125 // we failed before the command ran
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
	if errors.Is(e.Errno, syscall.ENOENT) {
		return fmt.Sprintf("execute %s: it or its interpreter doesn't exist", e.Path)
	}
	return fmt.Sprintf("execute %s: %s", e.Path, e.Errno)
}

// Unwrap gives the kernel's reason.
func (e *StartError) Unwrap() error { return e.Errno }

// ExitCode is 127 where something wasn't found, else 126.
func (e *StartError) ExitCode() int {
	if errors.Is(e.Errno, syscall.ENOENT) {
		return ExitNotFound
	}
	return ExitNotExecutable
}

// Hint says how to mend it, or is empty.
func (e *StartError) Hint() string {
	switch {
	case errors.Is(e.Errno, syscall.ENOEXEC):
		return "a script needs a first line such as #!/bin/sh"
	case errors.Is(e.Errno, syscall.ENOENT):
		return "check the interpreter named in the file's first line"
	case errors.Is(e.Errno, syscall.EACCES):
		return "make it executable: chmod +x " + e.Path
	case errors.Is(e.Errno, syscall.E2BIG):
		return "arguments and environment together are too large for the kernel"
	}
	return ""
}

// startError wraps what execve or fork gave.
func startError(path string, err error) error {
	var errno syscall.Errno
	if errors.As(err, &errno) {
		return &StartError{Path: path, Errno: errno}
	}
	return fmt.Errorf("start %s: %w", path, err)
}
