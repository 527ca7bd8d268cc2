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

// Exit codes of miosa-env itself, as in shells, env(1) and timeout(1).
const (
	ExitFailed        = 125 // miosa-env failed before the command ran, or lost its output
	ExitNotExecutable = 126 // the command can't be executed
	ExitNotFound      = 127 // the command wasn't found
)

// failure is the error if a command can't be found or started.
type failure struct {
	text  string
	hint  string
	code  int
	cause error // the kernel's; may be nil
}

func (f *failure) Error() string { return f.text }

// Unwrap returns the kernel's error.
func (f *failure) Unwrap() error { return f.cause }

// Hint tells how to fix it; it may be empty.
func (f *failure) Hint() string { return f.hint }

// ExitCode returns one of the exit codes above.
func (f *failure) ExitCode() int { return f.code }

// StartError returns the error for err of execve or fork. If it is the kernel's, it has a Hint, and as in shells an
// ExitCode of ExitNotFound if a file doesn't exist and otherwise ExitNotExecutable.
func StartError(path string, err error) error {
	errno, ok := errors.AsType[syscall.Errno](err)
	if !ok {
		return fmt.Errorf("start %s: %w", path, err)
	}
	reason, hint, code := errno.Error(), "", ExitNotExecutable
	if errno == syscall.ENOENT {
		code = ExitNotFound
	}
	switch interpreter := interpreterOf(path); {
	case errno == syscall.ENOEXEC:
		reason = "exec format error"
		hint = "a script needs a first line such as #!/bin/sh, and a program must be for this processor"
	case interpreter != "":
		hint = "check the interpreter named in the file's first line"
		if strings.HasSuffix(interpreter, "\r") {
			hint = "the first line ends in CRLF: save the script with LF line ends"
		}
		if errno == syscall.ENOENT {
			reason = "its interpreter " + strconv.Quote(interpreter) + " doesn't exist"
		} else if errno == syscall.EACCES {
			reason = "its interpreter " + strconv.Quote(interpreter) + " can't be executed"
		}
	case errno == syscall.ENOENT:
		reason = "it or its dynamic loader doesn't exist"
		hint = "a program that is linked dynamically needs the C library it was built for"
	case errno == syscall.EACCES:
		hint = "its file system may be mounted with noexec"
	case errno == syscall.ETXTBSY:
		hint = "something has the file open for writing"
	case errno == syscall.E2BIG:
		hint = "arguments and environment together are too large for the kernel"
	}
	return &failure{"execute " + path + ": " + reason, hint, code, errno}
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
