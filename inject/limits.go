package inject

import (
	"os"
	"strconv"

	"github.com/Miosa-osa/miosa-env/api"
)

// maxVariable is the longest argument or NAME=value in bytes that Linux's execve takes: 32 pages, less
// its NUL. Source: include/uapi/linux/binfmts.h.
func maxVariable() int { return 32*os.Getpagesize() - 1 }

// LimitError says that the kernel wouldn't take a command's arguments and environment (E2BIG).
type LimitError struct {
	Binding  string // id of the binding to blame; empty: none is
	Name     string // its variable, or one that no binding sets; empty: an argument, or nothing to blame
	Argument int    // place in argv of the argument that is too long
	Size     int    // bytes: of the one string, its NUL left out, or of everything
	Limit    int    // bytes
	Whole    bool   // Size and Limit are those of everything together
	Part     int    // Whole: bytes of Name's entry
}

func (e *LimitError) Error() string {
	who := "argument " + strconv.Itoa(e.Argument)
	if e.Name != "" {
		who = shown(e.Name)
	}
	if e.Binding != "" {
		who = "binding " + shown(e.Binding) + ": " + who
	}
	if !e.Whole {
		return who + " is too long for the kernel: " + strconv.Itoa(e.Size) + " bytes, at most " + strconv.Itoa(e.Limit)
	}
	s := "arguments and environment are too large for the kernel: " + strconv.Itoa(e.Size) + " bytes, at most " + strconv.Itoa(e.Limit)
	if e.Part > 0 {
		s += "; the largest bound value is " + who + " with " + strconv.Itoa(e.Part)
	}
	return s
}

// Hint says how to mend it.
func (e *LimitError) Hint() string {
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

// ExitCode is ours: nothing was run.
func (e *LimitError) ExitCode() int { return ExitFailed }

// bindingOf finds the binding that sets a variable.
func bindingOf(name string, bound []api.Bound) string {
	for _, b := range bound {
		if b.ExposeAsEnv == name {
			return b.ID
		}
	}
	return ""
}
