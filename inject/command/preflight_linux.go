package command

import (
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
// Errors: *LimitError.
func Preflight(path string, argv, env []string, bound []api.Bound) error {
	longest := environ.MaxEntry()
	total := len(path) + 1 + pointerBytes*(max(len(argv), 1)+len(env))
	if len(argv) == 0 {
		total++ // the kernel adds an empty argument
	}
	for i, arg := range argv {
		if len(arg) > longest {
			return &LimitError{Argument: i, Size: len(arg), Limit: longest}
		}
		total += len(arg) + 1
	}
	for _, entry := range env {
		if len(entry) > longest {
			e := &LimitError{Size: len(entry), Limit: longest}
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
	e := &LimitError{Size: total, Limit: limit, Whole: true}
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
