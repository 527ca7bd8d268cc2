// Package cli has the parts of the command line that both programs share: errors and hints, flags, help, completion, version.
package cli

import (
	"errors"

	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/internal/nearest"
)

// hinted is an error with a hint.
type hinted struct {
	error
	hint string
}

func (h hinted) Hint() string  { return h.hint }
func (h hinted) Unwrap() error { return h.error }

// WithHint adds to an error how to fix it.
func WithHint(err error, hint string) error { return hinted{err, hint} }

// UnknownID adds a hint to api.ErrNotFound: an id similar to the given one, and the command that lists ids. It returns other
// errors unchanged, and ignores an error of list.
func UnknownID[T any](err error, id, command string, list func() ([]T, error), idOf func(*T) string) error {
	if !errors.Is(err, api.ErrNotFound) {
		return err
	}
	known, _ := list()
	return WithHint(err, Meant(id, Texts(known, idOf))+command+" shows the ids")
}

// Meant begins a hint about an unknown name with the known one that was probably meant, if there is one.
func Meant(name string, known []string) string {
	if hint := nearest.Hint(name, known); hint != "" {
		return hint + " "
	}
	return ""
}

// Texts returns a text for each item of a list.
func Texts[T any](list []T, text func(*T) string) []string {
	texts := make([]string, len(list))
	for i := range list {
		texts[i] = text(&list[i])
	}
	return texts
}

// Hint returns the hint of the first error in the chain of err that has one, or "". It ignores joined errors, whose hints
// are for one part only.
func Hint(err error) string {
	for ; err != nil; err = errors.Unwrap(err) {
		if e, ok := err.(interface{ Hint() string }); ok {
			return e.Hint()
		}
	}
	return ""
}
