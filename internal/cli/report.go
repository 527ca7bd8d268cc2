package cli

import (
	"errors"
	"io"
	"slices"
	"strings"

	"github.com/Miosa-osa/miosa-env/api"
)

// ExitCode returns the exit code of the first error in the tree of err that has one, or fallback.
func ExitCode(err error, fallback int) int {
	var coded interface{ ExitCode() int }
	if errors.As(err, &coded) {
		return coded.ExitCode()
	}
	return fallback
}

// Problems splits joined errors, except an error with a hint, which is for all of it.
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

// Report prints each problem of err as `program: error: ...`, followed by its hint as `program: hint: ...`. It prints a hint
// that several problems share once.
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
	_, _ = io.WriteString(w, out.String()) // there is nowhere to report an error of standard error
}

// Redacted is a writer to To that replaces keys. Each Write must contain whole lines.
type Redacted struct{ To io.Writer }

func (r Redacted) Write(b []byte) (int, error) {
	if _, err := io.WriteString(r.To, api.RedactKeys(string(b))); err != nil {
		return 0, err
	}
	return len(b), nil
}
