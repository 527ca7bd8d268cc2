package main

import (
	"cmp"
	"errors"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/fetch"
	"github.com/Miosa-osa/miosa-env/inject"
	"github.com/Miosa-osa/miosa-env/internal/cli"
)

// hinted is an error with what to do about it.
type hinted struct {
	error
	hint string
}

func (h hinted) Hint() string  { return h.hint }
func (h hinted) Unwrap() error { return h.error }

// usageError is a wrong command line.
type usageError struct{ hinted }

func (usageError) ExitCode() int { return inject.ExitUsage }

// usageErrorOf turns what cobra or a check of arguments said into a usageError, with the help to
// look at where there is no better hint.
func usageErrorOf(c *cobra.Command, err error) error {
	if u, ok := errors.AsType[usageError](err); ok && u.hint != "" {
		return u
	}
	return usageError{hinted{err, cmp.Or(hintOf(err), cli.See(c))}}
}

// report prints an error as `miosa-env: error: ...`, one line a problem, each with its hint below it as
// `miosa-env: hint: ...` where it has one.
func report(w io.Writer, err error) {
	var out strings.Builder
	var hints []string
	for _, problem := range problems(err) {
		for line := range strings.Lines(problem.Error()) {
			out.WriteString("miosa-env: error: " + oneLine(line) + "\n")
		}
		if hint := hintOf(problem); hint != "" && !slices.Contains(hints, hint) {
			hints = append(hints, hint)
			out.WriteString("miosa-env: hint: " + oneLine(hint) + "\n")
		}
	}
	_, _ = io.WriteString(w, out.String()) // standard error is gone: nobody is left to tell
}

// problems takes joined errors apart. What has a hint stays whole, as that is about all of it.
func problems(err error) []error {
	if joined, ok := err.(interface{ Unwrap() []error }); ok && hintOf(err) == "" {
		var all []error
		for _, e := range joined.Unwrap() {
			all = append(all, problems(e)...)
		}
		return all
	}
	return []error{err}
}

// hintOf finds the first hint in what an error wraps. It doesn't look into joined errors: the hints of
// their parts are about these only.
func hintOf(err error) string {
	for err != nil {
		switch e := err.(type) { //nolint:errorlint // this loop is the unwrapping
		case *fetch.Problem:
			return e.Hint
		case interface{ Hint() string }:
			return e.Hint()
		}
		err = errors.Unwrap(err)
	}
	return ""
}

// exitCode is the error's own, else 125.
func exitCode(err error) int {
	var coded interface{ ExitCode() int }
	if errors.As(err, &coded) {
		return coded.ExitCode()
	}
	return inject.ExitFailed
}

// oneLine is cli.OneLine.
func oneLine(s string) string { return cli.OneLine(s) }

// quoted is a word as an error repeats it, short.
func quoted(s string) string {
	const most = 80
	if len(s) > most {
		s = s[:most] + "..."
	}
	return strconv.Quote(s)
}

// redacted is the last guard in front of standard error: whatever looks like a key is replaced. Each
// Write is a whole line or more.
type redacted struct{ to io.Writer }

func (r redacted) Write(b []byte) (int, error) {
	if _, err := io.WriteString(r.to, api.RedactKeys(string(b))); err != nil {
		return 0, err
	}
	return len(b), nil
}
