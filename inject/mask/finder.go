package mask

import (
	"cmp"
	"slices"
	"unsafe"
)

// Finder finds texts in other texts, in time that doesn't depend on their number. It is immutable.
type Finder struct {
	texts     []string // sorted
	index     []int    // of texts, as given to NewFinder
	automaton *automaton
	sieve     *sieve
}

// NewFinder returns a finder of distinct texts of at least MinLength bytes.
func NewFinder(texts []string) *Finder {
	f := &Finder{index: make([]int, len(texts)), texts: make([]string, len(texts))}
	for i := range texts {
		f.index[i] = i
	}
	slices.SortFunc(f.index, func(i, j int) int { return cmp.Compare(texts[i], texts[j]) })
	for i, at := range f.index {
		f.texts[i] = texts[at]
	}
	f.automaton, f.sieve = newAutomaton(f.texts), newSieve(f.texts)
	return f
}

// Find returns the first occurrence in text that starts at from or later, and the index of the longest text that occurs
// there; start is -1 if there is none.
func (f *Finder) Find(text string, from int) (start, end, index int) {
	b := unsafe.Slice(unsafe.StringData(text), len(text)) // which is only read
	a := f.automaton
	for i := from; len(b)-i >= f.sieve.window; i++ {
		i = f.sieve.next(b, i)
		node, longest := uint32(0), -1
		for at := i; at < len(b); at++ {
			if node = a.child(node, b[at]); node == 0 {
				break
			}
			// A shorter text may end at the node too.
			if a.link[node]&endBit != 0 {
				if p := int(a.longest[a.ends.rank(node)]); len(f.texts[p]) == at+1-i {
					longest = p
				}
			}
		}
		if longest >= 0 {
			return i, i + len(f.texts[longest]), f.index[longest]
		}
	}
	return -1, -1, -1
}
