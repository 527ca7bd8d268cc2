package inject

import "io"

// maskState is what a MaskWriter knows of its stream. A writer of an equal Masker goes on from it, in another process
// if need be.
type maskState struct {
	Text  []byte // the last bytes of the stream, from the first that may belong to an occurrence to come
	Given int    // how many of them were passed on already
	// An occurrence that was replaced, and may go on: from and to where, as offsets into Text, and by which label.
	Start, End, Label int
	Begun             bool
}

// held is how many bytes are held back.
func (w *MaskWriter) held() int { return int(w.end() - w.given) }

// saved returns what to go on from. The writer isn't used any more.
func (w *MaskWriter) saved() maskState {
	if w.masker.automaton == nil {
		return maskState{}
	}
	from := w.undecided()
	s := maskState{Text: w.text[from-w.base:], Given: int(w.given - from)}
	if w.first < len(w.hits) && w.hits[w.first].labelled {
		h := w.hits[w.first]
		s.Start, s.End, s.Label, s.Begun = int(h.start-from), int(h.end-from), h.label, true
	}
	return s
}

// resumeWriter returns a writer to w that goes on from s.
func (m *Masker) resumeWriter(w io.Writer, s maskState) *MaskWriter {
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
