package command

import (
	"slices"
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
// Its error has a Hint and the ExitCode ExitFailed.
func Preflight(path string, argv, env []string, bound []api.Bound) error {
	longest := environ.MaxEntry()
	total := len(path) + 1 + pointerBytes*(max(len(argv), 1)+len(env))
	if len(argv) == 0 {
		total++ // the kernel adds an empty argument
	}
	for i, arg := range argv {
		if len(arg) > longest {
			return tooLarge("argument "+strconv.Itoa(i)+" is too long", len(arg), longest, "pass it in a file")
		}
		total += len(arg) + 1
	}
	for _, entry := range env {
		if len(entry) > longest {
			name, _, _ := strings.Cut(entry, "=")
			what, hint := environ.Quote(name), "pass it in a file"
			for _, b := range bound {
				if b.ExposeAsEnv == name {
					what, hint = describe(b), "leave the binding out with --only, or store the value in parts"
				}
			}
			return tooLarge(what+" is too long", len(entry), longest, hint)
		}
		total += len(entry) + 1
	}
	limit := stringsLimit()
	if total <= limit {
		return nil
	}
	hint := "leave bindings out with --only"
	if limit < maxStrings {
		hint += ", or raise the stack limit (ulimit -s), a quarter of which this is"
	}
	e := tooLarge("arguments and environment are too large", total, limit, hint)
	if len(bound) > 0 {
		size := func(b api.Bound) int { return len(b.ExposeAsEnv) + 1 + b.Value.Len() }
		largest := slices.MaxFunc(bound, func(a, b api.Bound) int { return size(a) - size(b) })
		e.text += "; the largest bound value is " + describe(largest) + " with " + strconv.Itoa(size(largest))
	}
	return e
}

// tooLarge returns the error for sizes that the kernel doesn't accept (E2BIG), in bytes.
func tooLarge(what string, size, limit int, hint string) *failure {
	text := what + " for the kernel: " + strconv.Itoa(size) + " bytes, at most " + strconv.Itoa(limit)
	return &failure{text: text, hint: hint, code: ExitFailed}
}

func describe(b api.Bound) string {
	return "binding " + environ.Quote(b.ID) + ": " + environ.Quote(b.ExposeAsEnv)
}

// stringsLimit returns a quarter of the stack limit, within bounds.
func stringsLimit() int {
	var stack unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_STACK, &stack); err != nil {
		return minStrings
	}
	return int(min(max(stack.Cur/4, minStrings), maxStrings))
}
