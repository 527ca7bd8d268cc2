package cli

import (
	"cmp"
	"errors"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/Miosa-osa/miosa-env/api"
)

// ExitUsage is the exit code for a wrong command line.
const ExitUsage = 2

// usageError is a wrong command line.
type usageError struct{ error }

// ExitCode is ExitUsage.
func (usageError) ExitCode() int   { return ExitUsage }
func (u usageError) Unwrap() error { return u.error }

// Usage returns the error for a wrong command line, and what to do about it.
func Usage(err error, hint string) error { return usageError{WithHint(err, hint)} }

// UsageOf returns what cobra or a check of arguments has reported as the error for a wrong command line. Where it has no hint, the
// hint is to see the command's help.
func UsageOf(c *cobra.Command, err error) error {
	if u, ok := errors.AsType[usageError](err); ok {
		return u
	}
	return Usage(err, cmp.Or(Hint(err), See(c)))
}

// ExitCode returns the exit code that the first error in the chain or tree of err asks for; fallback: none does.
func ExitCode(err error, fallback int) int {
	var coded interface{ ExitCode() int }
	if errors.As(err, &coded) {
		return coded.ExitCode()
	}
	return fallback
}

// Problems splits joined errors. An error with a hint stays whole, since the hint is about all of it.
func Problems(err error) []error {
	if joined, ok := err.(interface{ Unwrap() []error }); ok && Hint(err) == "" {
		var all []error
		for _, e := range joined.Unwrap() {
			all = append(all, Problems(e)...)
		}
		return all
	}
	return []error{err}
}

// Report prints an error as `program: error: ...`, one line for each problem, each followed by its hint as `program: hint: ...`
// if it has one. A hint that several problems have is printed once.
func Report(w io.Writer, program string, err error) {
	var out strings.Builder
	var hints []string
	for _, problem := range Problems(err) {
		for line := range strings.Lines(problem.Error()) {
			out.WriteString(program + ": error: " + OneLine(line) + "\n")
		}
		if hint := Hint(problem); hint != "" && !slices.Contains(hints, hint) {
			hints = append(hints, hint)
			out.WriteString(program + ": hint: " + OneLine(hint) + "\n")
		}
	}
	_, _ = io.WriteString(w, out.String()) // standard error is gone: there is nowhere left to report to
}

// Redacted replaces in what is written to To all that looks like a key. Each Write is a whole line or more.
type Redacted struct{ To io.Writer }

func (r Redacted) Write(b []byte) (int, error) {
	if _, err := io.WriteString(r.To, api.RedactKeys(string(b))); err != nil {
		return 0, err
	}
	return len(b), nil
}
