package command

import (
	"strconv"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/inject/environ"
)

// Limits of execve on Linux, in bytes.
// Source: fs/exec.c (bprm_stack_limits, copy_strings).
const (
	minStrings   = 128 << 10 // limit of everything with a small stack limit
	maxStrings   = 6 << 20   // limit of everything with a large stack limit
	pointerBytes = int(unsafe.Sizeof(uintptr(0)))
)

// Preflight reports whether the kernel accepts a command: each string, and all strings with the path and a pointer for
// each. It is exact except in two cases in which the kernel may still refuse: a script's interpreter line needs a little
// more, and with a stack limit below 144 KiB the stack itself becomes too small. bound are the bindings in env, so that
// the error can name one.
//
// Its error has a Hint.
func Preflight(path string, argv, env []string, bound []api.Bound) error {
	longest := environ.MaxEntry()
	total := len(path) + 1 + pointerBytes*(max(len(argv), 1)+len(env))
	if len(argv) == 0 {
		total++ // the kernel adds an empty argument
	}
	for i, arg := range argv {
		if len(arg) > longest {
			return &limitError{Argument: i, Size: len(arg), Limit: longest}
		}
		total += len(arg) + 1
	}
	for _, entry := range env {
		if len(entry) > longest {
			e := &limitError{Size: len(entry), Limit: longest}
			e.Name, _, _ = strings.Cut(entry, "=")
			for _, b := range bound {
				if b.ExposeAsEnv == e.Name {
					e.Binding = b.ID
				}
			}
			return e
		}
		total += len(entry) + 1
	}
	limit := stringsLimit()
	if total <= limit {
		return nil
	}
	e := &limitError{Size: total, Limit: limit, Whole: true}
	for _, b := range bound {
		if size := len(b.ExposeAsEnv) + 1 + b.Value.Len(); size > e.Part {
			e.Binding, e.Name, e.Part = b.ID, b.ExposeAsEnv, size
		}
	}
	return e
}

// stringsLimit returns a quarter of the stack limit, within bounds.
func stringsLimit() int {
	var stack unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_STACK, &stack); err != nil {
		return minStrings
	}
	return int(min(max(stack.Cur/4, minStrings), maxStrings))
}

// limitError is the error if a command's arguments and environment are too large for the kernel (E2BIG).
type limitError struct {
	Binding  string // id of the binding that is too large; empty: none
	Name     string // the variable that is too large; empty: an argument, or everything together
	Argument int    // index in argv of the argument that is too long
	Size     int    // bytes of one string without its NUL, or of everything
	Limit    int    // bytes
	Whole    bool   // Size and Limit are those of everything together
	Part     int    // with Whole: bytes of the largest bound variable, Name
}

func (e *limitError) Error() string {
	what := "argument " + strconv.Itoa(e.Argument)
	if e.Name != "" {
		what = environ.Quote(e.Name)
	}
	if e.Binding != "" {
		what = "binding " + environ.Quote(e.Binding) + ": " + what
	}
	sizes := " for the kernel: " + strconv.Itoa(e.Size) + " bytes, at most " + strconv.Itoa(e.Limit)
	if !e.Whole {
		return what + " is too long" + sizes
	}
	s := "arguments and environment are too large" + sizes
	if e.Part > 0 {
		s += "; the largest bound value is " + what + " with " + strconv.Itoa(e.Part)
	}
	return s
}

// Hint tells how to fix it.
func (e *limitError) Hint() string {
	switch {
	case e.Binding == "" && !e.Whole:
		return "pass it in a file"
	case e.Whole && e.Limit < 6<<20:
		return "leave bindings out with --only, or raise the stack limit (ulimit -s), a quarter of which this is"
	case e.Whole:
		return "leave bindings out with --only"
	}
	return "leave the binding out with --only, or store the value in parts"
}

// ExitCode returns ExitFailed.
func (e *limitError) ExitCode() int { return ExitFailed }
