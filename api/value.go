package api

import (
	"crypto/subtle"
	"errors"
	"fmt"
	"io"
)

// Redacted is what a Value prints as, whatever the verb.
const Redacted = "[redacted]"

// ErrNotMarshalable is what every encoder gets that meets a Value.
var ErrNotMarshalable = errors.New("a secret value can't be marshaled")

// Value is one secret value in the clear. Its bytes hide behind a closure, so no fmt verb, logger,
// encoder or reflection walk reaches them: printing gives Redacted and encoding fails. Only Reveal
// and Use give the bytes, and a reader can grep for their callers.
//
// The zero Value is empty.
type Value struct{ lend func(use func(b []byte)) }

// NewValue wraps b, which it takes over: the caller doesn't touch b again.
func NewValue(b []byte) Value { return Value{func(use func([]byte)) { use(b) }} }

// NewLentValue is a Value over memory that isn't Go's, such as pages kept out of dumps. For every use
// of the value lend calls use once with its bytes, and sees to it that they stay in place until use
// returns. What lend refers to stays alive as long as any copy of the Value.
func NewLentValue(lend func(use func(b []byte))) Value { return Value{lend} }

// Reveal returns a copy of the value as text. Call it at the last moment, where the value leaves us.
func (v Value) Reveal() (text string) {
	v.Use(func(b []byte) { text = string(b) })
	return text
}

// Use lends the value's own bytes until use returns, without a copy: for writing them to where they go.
// They must not be changed or kept.
func (v Value) Use(use func(b []byte)) {
	if v.lend == nil {
		use(nil)
		return
	}
	v.lend(use)
}

// IsZero reports whether v is the zero Value: no value was given, not even an empty one.
func (v Value) IsZero() bool { return v.lend == nil }

// Len returns the value's length in bytes.
func (v Value) Len() (n int) {
	v.Use(func(b []byte) { n = len(b) })
	return n
}

// Equal tells whether both hold the same bytes, in time that depends on their lengths only.
func (v Value) Equal(w Value) (same bool) {
	v.Use(func(b []byte) {
		w.Use(func(c []byte) { same = subtle.ConstantTimeCompare(b, c) == 1 })
	})
	return same
}

// Wipe overwrites the value's bytes with zeros. Every copy of this Value is empty-handed after it.
func (v Value) Wipe() { v.Use(func(b []byte) { clear(b) }) }

// Format implements fmt.Formatter: every verb prints Redacted.
func (Value) Format(s fmt.State, _ rune) { _, _ = io.WriteString(s, Redacted) }

// String implements fmt.Stringer.
func (Value) String() string { return Redacted }

// MarshalText always fails with ErrNotMarshalable. It also stands for encoders of other formats.
func (Value) MarshalText() ([]byte, error) { return nil, ErrNotMarshalable }

// MarshalJSON always fails with ErrNotMarshalable.
func (Value) MarshalJSON() ([]byte, error) { return nil, ErrNotMarshalable }

// MarshalBinary always fails with ErrNotMarshalable.
func (Value) MarshalBinary() ([]byte, error) { return nil, ErrNotMarshalable }

// GobEncode always fails with ErrNotMarshalable.
func (Value) GobEncode() ([]byte, error) { return nil, ErrNotMarshalable }
