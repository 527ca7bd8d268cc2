package inject

import (
	"io"
	"slices"
	"sort"

	"github.com/Miosa-osa/miosa-env/api"
)

// MinMasked is the length in bytes under which a value, or a form of it, is too common a text to be
// masked.
const MinMasked = 6

// Named is a value and the name that stands for it in masked output.
type Named struct {
	Name  string
	Value api.Value
}

// A Masker knows secrets and replaces them in streams: each value, and the forms of it that
// maskForms lists, by its name in brackets.
//
// Occurrences that overlap are one, so no byte of any is left; it gets the name of the one that
// starts first, the longest of those, the one given first where several names have that text.
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
	type form struct {
		text  string
		label int
	}
	m := &Masker{}
	var forms []form
	var short []string
	for _, s := range secrets {
		switch n := s.Value.Len(); {
		case n == 0:
		case n < MinMasked:
			short = append(short, s.Name)
		default:
			for _, text := range maskForms(s.Value.Reveal()) {
				forms = append(forms, form{text, len(m.labels)})
			}
			m.labels = append(m.labels, "["+s.Name+"]")
		}
	}
	if len(forms) == 0 {
		return m, short
	}
	sort.SliceStable(forms, func(i, j int) bool { return forms[i].text < forms[j].text })
	forms = slices.CompactFunc(forms, func(a, b form) bool { return a.text == b.text })
	texts := make([]string, len(forms))
	m.patterns = make([]pattern, len(forms))
	for i, f := range forms {
		texts[i] = f.text
		m.patterns[i] = pattern{len(f.text), f.label}
	}
	m.automaton = newAutomaton(texts)
	m.sieve = newSieve(texts)
	return m, short
}

// Writer returns a writer that gives w what is written to it, masked.
func (m *Masker) Writer(w io.Writer) *MaskWriter { return &MaskWriter{masker: m, to: w} }
