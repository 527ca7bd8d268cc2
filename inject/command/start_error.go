package command

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"syscall"
)

// StartError is the error if the kernel doesn't execute a command.
type StartError struct {
	Path  string
	Errno syscall.Errno
}

func (e *StartError) Error() string {
	interpreter := interpreterOf(e.Path)
	switch {
	case e.Errno == syscall.ENOENT && interpreter != "":
		return fmt.Sprintf("execute %s: its interpreter %s doesn't exist", e.Path, strconv.Quote(interpreter))
	case e.Errno == syscall.ENOENT:
		return fmt.Sprintf("execute %s: it or its dynamic loader doesn't exist", e.Path)
	case interpreter != "" && e.Errno == syscall.EACCES:
		return fmt.Sprintf("execute %s: its interpreter %s can't be executed", e.Path, strconv.Quote(interpreter))
	case e.Errno == syscall.ENOEXEC:
		return fmt.Sprintf("execute %s: exec format error", e.Path)
	}
	return fmt.Sprintf("execute %s: %s", e.Path, e.Errno)
}

// Unwrap returns the kernel's error.
func (e *StartError) Unwrap() error { return e.Errno }

// ExitCode returns 127 if a file doesn't exist and otherwise 126, as shells do.
func (e *StartError) ExitCode() int {
	if e.Errno == syscall.ENOENT {
		return ExitNotFound
	}
	return ExitNotExecutable
}

// Hint tells how to fix it; it may be empty.
func (e *StartError) Hint() string {
	interpreter := interpreterOf(e.Path)
	switch {
	case e.Errno == syscall.ENOEXEC:
		return "a script needs a first line such as #!/bin/sh, and a program must be for this processor"
	case strings.HasSuffix(interpreter, "\r"):
		return "the first line ends in CRLF: save the script with LF line ends"
	case e.Errno == syscall.ENOENT && interpreter == "":
		return "a program that is linked dynamically needs the C library it was built for"
	case interpreter != "":
		return "check the interpreter named in the file's first line"
	case e.Errno == syscall.EACCES:
		return "its file system may be mounted with noexec"
	case e.Errno == syscall.ETXTBSY:
		return "something has the file open for writing"
	case e.Errno == syscall.E2BIG:
		return "arguments and environment together are too large for the kernel"
	}
	return ""
}

// interpreterOf returns the interpreter in the first line of a script, or "". As for the kernel, a carriage return is
// part of it.
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

// startError wraps an error of execve or fork.
func startError(path string, err error) error {
	if errno, ok := errors.AsType[syscall.Errno](err); ok {
		return &StartError{Path: path, Errno: errno}
	}
	return fmt.Errorf("start %s: %w", path, err)
}
