package mask

import "io"

// State is the state of a Writer. A writer of an equal Masker, also in another process, can continue from it.
type State struct {
	Text  []byte // the end of the stream, from the first byte that may belong to an incomplete occurrence
	Given int    // how many bytes of Text have been written
	// An occurrence whose label has been written and which may go on: offsets in Text, and the label's index.
	Start, End, Label int
	Begun             bool
}

// Held returns the number of bytes held back.
func (w *Writer) Held() int { return int(w.end() - w.given) }

// State returns the state to continue from. It shares memory with w, which must not be used afterwards.
func (w *Writer) State() State {
	if w.masker.automaton == nil {
		return State{}
	}
	from := w.undecided()
	s := State{Text: w.text[from-w.base:], Given: int(w.given - from)}
	if w.first < len(w.hits) && w.hits[w.first].labelled {
		h := w.hits[w.first]
		s.Start, s.End, s.Label, s.Begun = int(h.start-from), int(h.end-from), h.label, true
	}
	return s
}

// Resume returns a writer to w that continues from s.
func (m *Masker) Resume(w io.Writer, s State) *Writer {
	mw := m.Writer(w)
	if m.automaton == nil {
		return mw
	}
	mw.text, mw.given = append([]byte(nil), s.Text...), int64(s.Given)
	if s.Begun {
		mw.hits = []hit{{start: int64(s.Start), end: int64(s.End), label: s.Label, labelled: true}}
	}
	mw.scan(0)
	return mw
}
