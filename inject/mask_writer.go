package inject

import "io"

// A MaskWriter masks one stream. However the stream is cut into writes, the output is the same:
// what may still turn out to be the start of a secret is held back, and nothing else.
//
// It is for one goroutine at a time.
type MaskWriter struct {
	masker *Masker
	to     io.Writer
	err    error // what stopped to

	state uint32 // of the automaton, after all of text
	depth int    // of state: that many of the last bytes may belong to an occurrence to come

	// Offsets are in the stream as written to us.
	text  []byte
	base  int64 // offset of text[0]
	given int64 // what stands before was given away
	hits  []hit // from first on: what was found and isn't settled, in order, none overlapping
	first int

	out    []byte // made by one call of give, written at once
	pieces []piece
}

// hit is a stretch of the stream that a label replaces.
type hit struct {
	start, end int64
	label      int
	labelled   bool // the label was given; more of the stretch may follow
}

// piece is the part of out from the piece before to out: input up to an offset, copied or replaced.
type piece struct {
	out    int
	input  int64
	copied bool
}

// maskBlock is how many bytes are masked, at most, before they are written.
const maskBlock = 32 << 10

// sieveDepth is the depth under which it is quicker to ask the sieve where the next pattern may
// start than to go on from the automaton's state.
const sieveDepth = 3

// Write masks p and passes on what can't be the start of a secret, in one write to the underlying
// writer for every 32 KiB.
// Errors: those of the underlying writer, io.ErrShortWrite among them; n is then the number of bytes
// of p that it took, as they are or as a whole label. Every later call gives the same error.
func (w *MaskWriter) Write(p []byte) (int, error) {
	if w.err != nil {
		return 0, w.err
	}
	if w.masker.automaton == nil {
		return w.to.Write(p)
	}
	n := 0
	for n < len(p) {
		block := p[n:min(len(p), n+maskBlock)]
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

// Flush passes on all that is held back, and forgets it. What is written afterwards is another
// stream.
func (w *MaskWriter) Flush() error {
	if w.err != nil || w.masker.automaton == nil {
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

// maxReleased is how many bytes of a secret Release may show.
const maxReleased = 2

// Release passes on what is held back if that is at most two bytes, and forgets nothing: of a secret
// that follows all the same, those bytes were shown, and the rest is masked. It is for terminals, where
// somebody waits to see the letter just typed: call it when the stream pauses.
func (w *MaskWriter) Release() error {
	if w.err == nil && w.end()-w.given <= maxReleased && w.depth <= maxReleased {
		w.give(w.end())
	}
	return w.err
}

// become has w mask what m knows from here on, what it holds back included. The first secrets that m was
// made of are those of the masker before, in their order.
func (w *MaskWriter) become(m *Masker) {
	begun := w.hits[:0]
	if w.first < len(w.hits) && w.hits[w.first].labelled {
		begun = append(begun, w.hits[w.first]) // its label was given, and more of it may follow
	}
	pending := w.undecided()
	w.masker, w.hits, w.first, w.state, w.depth = m, begun, 0, 0, 0
	if m.automaton != nil {
		w.scan(int(pending - w.base))
	}
}

// end is the offset of the stream's end so far.
func (w *MaskWriter) end() int64 { return w.base + int64(len(w.text)) }

// undecided is the offset of the first byte that may belong to an occurrence to come.
func (w *MaskWriter) undecided() int64 { return w.end() - int64(w.depth) }

// append adds to text, dropping what was given away once that is half of it, which keeps the cost
// of moving the rest in proportion to what was written.
func (w *MaskWriter) append(block []byte) {
	done := int(min(w.given, w.undecided()) - w.base)
	if done >= len(w.text)-done {
		w.text = w.text[:copy(w.text, w.text[done:])]
		w.base += int64(done)
	}
	w.text = append(w.text, block...)
}

// scan takes the automaton over text[i:].
func (w *MaskWriter) scan(i int) {
	a, sieve := w.masker.automaton, w.masker.sieve
	text, state, depth := w.text, w.state, w.depth
	start := -1 // where a pattern may start, as the sieve has said
	for i < len(text) {
		if from := i - depth; depth < sieveDepth && from != start && len(text)-from >= sieve.window {
			if next := sieve.next(text, from); next > from {
				i, state, depth = next, 0, 0
				continue
			}
			start = from
		}
		if next := state + 1; state != 0 && a.link[state]&lastBit == 0 && a.label[next] == text[i] {
			state, depth = next, depth+1 // what step would do, where it matters most
		} else {
			state, depth = a.step(state, depth, text[i])
		}
		i++
		if a.link[state]&endBit == 0 {
			continue
		}
		p := w.masker.patterns[a.longest[a.ends.rank(state)]]
		end := w.base + int64(i)
		w.found(hit{start: end - int64(p.length), end: end, label: p.label})
		if a.leaf(state) {
			state = a.link[state] & nodeSet
			depth = a.depth(state)
		}
	}
	w.state, w.depth = state, depth
}

// found adds a hit, which ends no earlier than those before, merged with those it overlaps.
func (w *MaskWriter) found(h hit) {
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

// give passes on the stream up to an offset, and returns the offset up to which that was taken. A
// hit is settled, and gets its label, once no occurrence to come can start as early; its bytes and
// those of the hits that may still grow into it are passed over.
func (w *MaskWriter) give(upTo int64) int64 {
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

// copy adds the input between two offsets to out as it is, and returns the offset reached.
func (w *MaskWriter) copy(from, to int64) int64 {
	if from >= to {
		return from
	}
	w.out = append(w.out, w.text[from-w.base:to-w.base]...)
	w.pieces = append(w.pieces, piece{out: len(w.out), input: to, copied: true})
	return to
}

// taken returns the offset up to which the input was taken when n bytes of out were.
func (w *MaskWriter) taken(n int) int64 {
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
