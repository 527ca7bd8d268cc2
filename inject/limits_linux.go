package inject

import (
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/Miosa-osa/miosa-env/api"
)

// What execve takes on Linux, in bytes.
// Source: fs/exec.c (bprm_stack_limits, copy_strings).
const (
	minStrings   = 128 << 10 // everything, however small the stack limit
	maxStrings   = 6 << 20   // everything, however large the stack limit
	pointerBytes = int(unsafe.Sizeof(uintptr(0)))
)

// Preflight tells whether the kernel will take a command: every string, and all of them together with
// the path and a pointer for each. The answer is exact, but for two cases in which the kernel may still
// refuse: a script's interpreter line needs a little more, and under a stack limit of less than 144 KiB
// the stack itself gets too small. bound are the bindings in env, to say which one doesn't fit.
//
// Errors: *LimitError.
func Preflight(path string, argv, env []string, bound []api.Bound) error {
	longest := maxVariable()
	total := len(path) + 1 + pointerBytes*(max(len(argv), 1)+len(env))
	if len(argv) == 0 {
		total++ // the kernel makes it one empty argument
	}
	for i, arg := range argv {
		if len(arg) > longest {
			return &LimitError{Argument: i, Size: len(arg), Limit: longest}
		}
		total += len(arg) + 1
	}
	for _, entry := range env {
		if len(entry) > longest {
			name, _, _ := strings.Cut(entry, "=")
			return &LimitError{Binding: bindingOf(name, bound), Name: name, Size: len(entry), Limit: longest}
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

// stringsLimit is a quarter of the stack limit, within bounds.
func stringsLimit() int {
	var stack unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_STACK, &stack); err != nil {
		return minStrings
	}
	return int(min(max(stack.Cur/4, minStrings), maxStrings))
}
