// Package api is the API between the agent (miosa-env), the vault (miosa-vault) and MIOSA's SDKs: the wire types, one
// table of errors and statuses, the sealing of values to one machine, and Value, the only form of a secret in these
// programs. It imports no other package of this module. docs/api.md describes the API.
package api

import (
	"crypto/subtle"
	"errors"
	"fmt"
	"io"
)

// Redacted is what a Value prints as.
const Redacted = "[redacted]"

// ErrNotMarshalable is the error of encoding a Value.
var ErrNotMarshalable = errors.New("a secret value can't be marshaled")

// Value is a secret value in plaintext. Its bytes are in a closure, so that printing, logging, encoding and reflection
// can't reach them: it prints as Redacted, and encoding fails. Only Reveal and Use return the bytes.
//
// The zero Value is empty.
type Value struct{ lend func(use func(b []byte)) }

// NewValue returns a Value with the bytes of b, which the caller must not use any more.
func NewValue(b []byte) Value { return Value{func(use func([]byte)) { use(b) }} }

// NewLentValue returns a Value in memory that isn't Go's, such as locked pages. For each use of the value lend calls use
// once with its bytes, which stay in place until use returns.
func NewLentValue(lend func(use func(b []byte))) Value { return Value{lend} }

// Reveal returns a copy of the value as text. Call it as late as possible.
func (v Value) Reveal() (text string) {
	v.Use(func(b []byte) { text = string(b) })
	return text
}

// Use calls use with the value's bytes, without a copy. use must not change or keep them.
func (v Value) Use(use func(b []byte)) {
	if v.lend == nil {
		use(nil)
		return
	}
	v.lend(use)
}

// IsZero reports whether v is the zero Value, as opposed to an empty one.
func (v Value) IsZero() bool { return v.lend == nil }

// Len returns the value's length in bytes.
func (v Value) Len() (n int) {
	v.Use(func(b []byte) { n = len(b) })
	return n
}

// Equal reports whether both have the same bytes, in time that depends on their lengths only.
func (v Value) Equal(w Value) (same bool) {
	v.Use(func(b []byte) {
		w.Use(func(c []byte) { same = subtle.ConstantTimeCompare(b, c) == 1 })
	})
	return same
}

// Wipe overwrites the value's bytes with zeros, for all copies of this Value.
func (v Value) Wipe() { v.Use(func(b []byte) { clear(b) }) }

// Format implements fmt.Formatter: every verb prints Redacted.
func (Value) Format(s fmt.State, _ rune) { _, _ = io.WriteString(s, Redacted) }

// String implements fmt.Stringer.
func (Value) String() string { return Redacted }

// MarshalText always fails with ErrNotMarshalable. Encoders of other formats use it too.
func (Value) MarshalText() ([]byte, error) { return nil, ErrNotMarshalable }

// MarshalJSON always fails with ErrNotMarshalable.
func (Value) MarshalJSON() ([]byte, error) { return nil, ErrNotMarshalable }

// MarshalBinary always fails with ErrNotMarshalable.
func (Value) MarshalBinary() ([]byte, error) { return nil, ErrNotMarshalable }

// GobEncode always fails with ErrNotMarshalable.
func (Value) GobEncode() ([]byte, error) { return nil, ErrNotMarshalable }
