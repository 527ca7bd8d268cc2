// Package mask replaces values in a stream by their names: each value as it is, its lines, and the encoded and quoted
// forms of both that package forms lists.
package mask

import (
	"io"
	"slices"

	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/inject/mask/forms"
)

// MinLength is the length in bytes below which a value, or a form of it, is too common to be masked.
const MinLength = forms.MinLength

// Masker replaces values in streams by their names in brackets.
//
// Overlapping occurrences are replaced as one, by the name of the occurrence that starts first, or of the longest of
// those. If several values have that text, a whole value precedes a line of a value, and then the order given to New
// counts. Occurrences that only touch are replaced one by one.
//
// A Masker is immutable, and its writers may be used concurrently.
type Masker struct {
	bound     []api.Bound
	labels    []string // "[NAME]"
	patterns  []pattern
	automaton *automaton
	sieve     *sieve
}

type pattern struct{ length, label int }

// New returns a masker for the values of bound, and the names whose values are too short to be masked.
func New(bound []api.Bound) (*Masker, []string) {
	m := &Masker{bound: slices.Clone(bound)}
	var short, values []string
	for _, b := range bound {
		switch n := b.Value.Len(); {
		case n == 0:
		case n < MinLength:
			short = append(short, b.ExposeAsEnv)
		default:
			values = append(values, b.Value.Reveal())
			m.labels = append(m.labels, "["+b.ExposeAsEnv+"]")
		}
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

// Bound returns what New was called with.
func (m *Masker) Bound() []api.Bound { return m.bound }

// Writer returns a writer that masks what is written to it and passes it to w.
func (m *Masker) Writer(w io.Writer) *Writer { return &Writer{masker: m, to: w} }

// sieveDepth is the depth below which asking the sieve for the next start of a pattern is faster than stepping the
// automaton.
const sieveDepth = 3

// scan runs the automaton over text[i:], and calls found with each occurrence's end in text and pattern. state and depth
// are those before text[i]; scan returns those after text. The last depth bytes before text[i] are in text, unless they
// precede it.
func (m *Masker) scan(text []byte, i int, state uint32, depth int, found func(end int, p pattern)) (uint32, int) {
	a, sieve := m.automaton, m.sieve
	start := -1 // offset at which a pattern may start according to the sieve
	for i < len(text) {
		if from := i - depth; depth < sieveDepth && from != start && from >= 0 && len(text)-from >= sieve.window {
			if next := sieve.next(text, from); next > from {
				i, state, depth = next, 0, 0
				continue
			}
			start = from
		}
		if next := state + 1; state != 0 && a.link[state]&lastBit == 0 && a.label[next] == text[i] {
			state, depth = next, depth+1 // the common case of step, inlined
		} else {
			state, depth = a.step(state, depth, text[i])
		}
		i++
		if a.link[state]&endBit == 0 {
			continue
		}
		found(i, m.patterns[a.longest[a.ends.rank(state)]])
		if a.leaf(state) {
			state = a.link[state] & nodeSet
			depth = a.depth(state)
		}
	}
	return state, depth
}
