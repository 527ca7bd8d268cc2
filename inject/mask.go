package inject

import (
	"io"

	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/inject/forms"
)

// MinMasked is the length in bytes under which a value, or a form of it, is too common a text to be
// masked.
const MinMasked = forms.MinLength

// Named is a value and the name that stands for it in masked output.
type Named struct {
	Name  string
	Value api.Value
}

// A Masker knows secrets and replaces them in streams: each value, its lines, and the forms of them that
// package forms lists, by the value's name in brackets.
//
// Occurrences that overlap are one, so no byte of any is left; it gets the name of the one that
// starts first, the longest of those; where several values have that text, of the one that it is as a whole,
// then of the one given first.
// Occurrences that only touch are replaced one by one.
//
// A Masker doesn't change; its writers may be used side by side.
type Masker struct {
	labels    []string // "[NAME]"
	patterns  []pattern
	automaton *automaton // nil: nothing to mask
	sieve     *sieve
}

type pattern struct{ length, label int }

// NewMasker also returns the names whose values are too short to be masked: 1 to MinMasked-1 bytes.
func NewMasker(secrets []Named) (*Masker, []string) {
	m := &Masker{}
	var short, values []string
	for _, s := range secrets {
		switch n := s.Value.Len(); {
		case n == 0:
		case n < MinMasked:
			short = append(short, s.Name)
		default:
			values = append(values, s.Value.Reveal())
			m.labels = append(m.labels, "["+s.Name+"]")
		}
	}
	if len(values) == 0 {
		return m, short
	}
	list := forms.Of(values)
	texts := make([]string, len(list))
	m.patterns = make([]pattern, len(list))
	for i, f := range list {
		texts[i] = f.Text
		m.patterns[i] = pattern{len(f.Text), f.Value}
	}
	m.automaton = newAutomaton(texts)
	m.sieve = newSieve(texts)
	return m, short
}

// Writer returns a writer that gives w what is written to it, masked.
func (m *Masker) Writer(w io.Writer) *MaskWriter { return &MaskWriter{masker: m, to: w} }
