package command

import (
	"strconv"

	"github.com/Miosa-osa/miosa-env/inject/environ"
)

// LimitError is the error if a command's arguments and environment are too large for the kernel (E2BIG).
type LimitError struct {
	Binding  string // id of the binding that is too large; empty: none
	Name     string // the variable that is too large; empty: an argument, or everything together
	Argument int    // index in argv of the argument that is too long
	Size     int    // bytes of one string without its NUL, or of everything
	Limit    int    // bytes
	Whole    bool   // Size and Limit are those of everything together
	Part     int    // with Whole: bytes of the largest bound variable, Name
}

func (e *LimitError) Error() string {
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

// ExitCode returns ExitFailed.
func (e *LimitError) ExitCode() int { return ExitFailed }
