package mask

import (
	"io"
)

// Writer masks one stream. The output doesn't depend on how the stream is split into writes: exactly the bytes that may
// be the start of an occurrence are held back. A Writer isn't safe for concurrent use.
type Writer struct {
	masker *Masker
	to     io.Writer
	err    error // of to: returned by every later call

	state uint32 // of the automaton, after all of text
	depth int    // of state: that many of the last bytes may belong to an incomplete occurrence

	// Offsets are in the stream as written to w.
	text  []byte
	base  int64 // offset of text[0]
	given int64 // everything before has been written
	hits  []hit // from first on: occurrences that aren't settled, in order, not overlapping
	first int

	out    []byte // what give writes at once
	pieces []piece
}

// hit is a range of the stream that is replaced by a label.
type hit struct {
	start, end int64
	label      int
	labelled   bool // the label has been written; the range may still grow
}

// piece is the part of out that ends at out: input up to an offset, copied or replaced.
type piece struct {
	out    int
	input  int64
	copied bool
}

// BlockSize is the maximum number of bytes that are masked before they are written.
const BlockSize = 32 << 10

// Write masks p and writes what can't be the start of an occurrence, with one write to the underlying writer for every
// BlockSize bytes.
// Errors: those of the underlying writer, and io.ErrShortWrite; n is then the number of bytes of p that it took, as they
// are or as a whole label. Every later call returns the same error.
func (w *Writer) Write(p []byte) (int, error) {
	if w.err != nil {
		return 0, w.err
	}
	n := 0
	for n < len(p) {
		block := p[n:min(len(p), n+BlockSize)]
		begin := w.end()
		w.append(block)
		w.scan(len(w.text) - len(block))
		if taken := w.give(w.undecided()); w.err != nil {
			return n + int(max(0, taken-begin)), w.err
		}
		n += len(block)
	}
	return n, nil
}

// Flush writes all that is held back and clears it from memory. What is written afterwards is a new stream.
func (w *Writer) Flush() error {
	if w.err != nil {
		return w.err
	}
	w.state, w.depth = 0, 0
	w.give(w.end())
	clear(w.text[:cap(w.text)])
	clear(w.out[:cap(w.out)])
	w.text = w.text[:0]
	w.base = w.given
	return w.err
}

// maxReleased is the maximum number of bytes of a value that Release may show.
const maxReleased = 2

// Release writes what is held back if that is at most two bytes, but doesn't forget it: if it was the start of a value
// after all, the rest is masked. Call it when output to a terminal pauses, so that the user sees each typed letter.
func (w *Writer) Release() error {
	if w.err == nil && w.end()-w.given <= maxReleased && w.depth <= maxReleased {
		w.give(w.end())
	}
	return w.err
}

// SetMasker makes w use m from now on, also for what it holds back. The first values given to New for m must be those of
// the previous masker, in the same order.
func (w *Writer) SetMasker(m *Masker) {
	begun := w.hits[:0]
	if w.first < len(w.hits) && w.hits[w.first].labelled {
		begun = append(begun, w.hits[w.first]) // its label has been written, and it may still grow
	}
	pending := w.undecided()
	w.masker, w.hits, w.first, w.state, w.depth = m, begun, 0, 0, 0
	w.scan(int(pending - w.base))
}

// end returns the offset of the stream's end so far.
func (w *Writer) end() int64 { return w.base + int64(len(w.text)) }

// undecided returns the offset of the first byte that may belong to an incomplete occurrence.
func (w *Writer) undecided() int64 { return w.end() - int64(w.depth) }

// append adds to text. It drops what has been written once that is half of text, so that moving the rest takes time
// proportional to what was written.
func (w *Writer) append(block []byte) {
	done := int(min(w.given, w.undecided()) - w.base)
	if done >= len(w.text)-done {
		w.text = w.text[:copy(w.text, w.text[done:])]
		w.base += int64(done)
	}
	w.text = append(w.text, block...)
}

// scan runs the automaton over text[i:].
func (w *Writer) scan(i int) {
	w.state, w.depth = w.masker.scan(w.text, i, w.state, w.depth, func(end int, p pattern) {
		at := w.base + int64(end)
		w.found(hit{start: at - int64(p.length), end: at, label: p.label})
	})
}

// found adds a hit, which ends no earlier than previous ones, and merges it with those it overlaps.
func (w *Writer) found(h hit) {
	for len(w.hits) > w.first {
		last := w.hits[len(w.hits)-1]
		if last.end <= h.start {
			break
		}
		if last.start < h.start {
			h.start, h.label, h.labelled = last.start, last.label, last.labelled
		}
		w.hits = w.hits[:len(w.hits)-1]
	}
	if w.first > 0 && w.first >= len(w.hits)-w.first {
		w.hits = w.hits[:copy(w.hits, w.hits[w.first:])]
		w.first = 0
	}
	w.hits = append(w.hits, h)
}

// give writes the stream up to an offset, and returns the offset up to which the underlying writer took it. A hit is
// settled, and its label written, once no later occurrence can start as early.
func (w *Writer) give(upTo int64) int64 {
	undecided, at := w.undecided(), w.given
	w.out, w.pieces = w.out[:0], w.pieces[:0]
	for w.first < len(w.hits) && w.hits[w.first].start < undecided {
		h := &w.hits[w.first]
		if !h.labelled {
			at = w.copy(at, h.start)
			w.out = append(w.out, w.masker.labels[h.label]...)
			h.labelled = true
		}
		at = max(at, min(h.end, upTo))
		w.pieces = append(w.pieces, piece{out: len(w.out), input: at})
		if h.end > undecided {
			break
		}
		w.first++
	}
	at = w.copy(at, upTo)
	taken := at
	if len(w.out) > 0 {
		n, err := w.to.Write(w.out)
		if err == nil && n < len(w.out) {
			err = io.ErrShortWrite
		}
		if err != nil {
			w.err, taken = err, w.taken(n)
		}
	}
	w.given = at
	return taken
}

// copy adds the input between two offsets to out, and returns the offset reached.
func (w *Writer) copy(from, to int64) int64 {
	if from >= to {
		return from
	}
	w.out = append(w.out, w.text[from-w.base:to-w.base]...)
	w.pieces = append(w.pieces, piece{out: len(w.out), input: to, copied: true})
	return to
}

// taken returns the offset up to which the input was taken if n bytes of out were written.
func (w *Writer) taken(n int) int64 {
	input, out := w.given, 0
	for _, p := range w.pieces {
		if p.out > n {
			if p.copied {
				input += int64(n - out)
			}
			break
		}
		input, out = p.input, p.out
	}
	return input
}

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
	mw.text, mw.given = append([]byte(nil), s.Text...), int64(s.Given)
	if s.Begun {
		mw.hits = []hit{{start: int64(s.Start), end: int64(s.End), label: s.Label, labelled: true}}
	}
	mw.scan(0)
	return mw
}
