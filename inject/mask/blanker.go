package mask

import (
	"slices"
	"unsafe"
)

// blank replaces each byte of a value.
const blank = '*'

// Blanker overwrites values in a stream in place with asterisks. The stream keeps its length. How it is split doesn't
// matter: exactly the bytes that may be the start of an occurrence are held back.
type Blanker struct {
	masker *Masker
	state  uint32 // of the automaton
	depth  int    // of state
	shown  int    // how many of these bytes have been released
	spans  []span // occurrences in the bytes held back: offsets from the first of these
}

type span struct{ start, end int }

// Blanker returns a blanker for one stream.
func (m *Masker) Blanker() *Blanker { return &Blanker{masker: m} }

// Blank continues the stream with text, which begins with the bytes that the previous call has held back. It overwrites
// the values in text and returns how many of its bytes are settled. The others are held back: the next call needs them,
// unchanged.
func (b *Blanker) Blank(text []byte) int {
	b.state, b.depth = b.masker.scan(text, b.depth-b.shown, b.state, b.depth, func(end int, p pattern) {
		b.spans = append(b.spans, span{max(0, end-p.length), end})
	})
	b.shown = max(0, b.depth-len(text)) // the start of an occurrence that has been released
	settled := len(text) - (b.depth - b.shown)
	pending := b.spans[:0]
	for _, s := range b.spans {
		fill(text[min(s.start, settled):min(s.end, settled)])
		if s.end > settled {
			pending = append(pending, span{max(0, s.start-settled), s.end - settled})
		}
	}
	b.spans = pending
	return settled
}

// Release reports whether held, the bytes that were held back, may be shown: because they are at most two, or all of a value, which
// is overwritten. They then don't belong to text any more, and if they were the start of a value after all, the rest is overwritten.
// Call it where the reader may wait for these bytes.
func (b *Blanker) Release(held []byte) bool {
	all := span{0, len(held)}
	if b.depth > maxReleased && !slices.Contains(b.spans, all) {
		return false
	}
	for _, s := range b.spans {
		fill(held[s.start:s.end])
	}
	b.shown, b.spans = b.depth, b.spans[:0]
	return true
}

// Flush ends the stream. held are the bytes that were held back: those of values are overwritten, and if partial is set,
// all that may be the start of one.
func (b *Blanker) Flush(held []byte, partial bool) {
	for _, s := range b.spans {
		fill(held[s.start:s.end])
	}
	if partial && b.depth >= MinLength {
		fill(held)
	}
	b.state, b.depth, b.shown, b.spans = 0, 0, 0, nil
}

func fill(text []byte) {
	for i := range text {
		text[i] = blank
	}
}

// Blank returns text with values overwritten by asterisks.
func (m *Masker) Blank(text string) string {
	var spans []span
	// scan only reads.
	m.scan(unsafe.Slice(unsafe.StringData(text), len(text)), 0, 0, 0, func(end int, p pattern) {
		spans = append(spans, span{end - p.length, end})
	})
	if len(spans) == 0 {
		return text
	}
	changed := []byte(text)
	for _, s := range spans {
		fill(changed[s.start:s.end])
	}
	return string(changed)
}
