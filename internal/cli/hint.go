// Package cli is what the command lines of both programs have in common: how they say what is wrong with one, and what
// every program has, such as a version.
package cli

import (
	"errors"
	"strings"

	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/internal/nearest"
)

// hinted is an error with what to do about it.
type hinted struct {
	error
	hint string
}

// Hint is what to do about it.
func (h hinted) Hint() string  { return h.hint }
func (h hinted) Unwrap() error { return h.error }

// WithHint adds to an error what to do about it.
func WithHint(err error, hint string) error { return hinted{err, hint} }

// UnknownID adds to an error that says that nothing has an id (api.ErrNotFound), which one was probably meant and the
// command that lists them. Other errors are returned as they are. What list returns is used only for that.
func UnknownID[T any](err error, id, command string, list func() ([]T, error), idOf func(T) string) error {
	if !errors.Is(err, api.ErrNotFound) {
		return err
	}
	known, _ := list()
	ids := make([]string, len(known))
	for i, one := range known {
		ids[i] = idOf(one)
	}
	return WithHint(err, strings.TrimSpace(nearest.Hint(id, ids)+" "+command+" shows the ids"))
}

// Hint returns what the first error in the chain of err that has a hint says to do about it; empty: none has one. It doesn't
// look into joined errors: the hints of their parts are about these only.
func Hint(err error) string {
	for ; err != nil; err = errors.Unwrap(err) {
		switch e := err.(type) { //nolint:errorlint // this loop is the unwrapping
		case interface{ Hint() string }:
			return e.Hint()
		case interface{ Advice() string }: // of the package fetch
			return e.Advice()
		}
	}
	return ""
}
