package mask

import "encoding/binary"

// sieve finds where a pattern may start, much faster than the automaton (Wu and Manber, 1994). From the last 3 bytes of a
// window it knows how far to move the window. Where it can't be moved, the sieve checks whether any pattern starts with
// the window's first MinLength bytes, because with many patterns, any 3 bytes are common.
type sieve struct {
	window int                          // length of the shortest pattern, at most maxWindow
	skips  [1 << sieveBits]uint8        // by sieveHash: how far to move the window; 0: a pattern may start here
	starts [1 << (startBits - 6)]uint64 // bit set by startHash of the starts of patterns
}

const (
	sieveBits = 15
	startBits = 16
	maxWindow = 24
)

// newSieve returns a sieve for patterns of at least MinLength bytes.
func newSieve(patterns []string) *sieve {
	s := &sieve{window: maxWindow}
	for _, p := range patterns {
		s.window = min(s.window, len(p))
	}
	for i := range s.skips {
		s.skips[i] = uint8(s.window - 2)
	}
	for _, p := range patterns {
		for at := range s.window - 2 {
			h := sieveHash(uint32(p[at]) | uint32(p[at+1])<<8 | uint32(p[at+2])<<16)
			s.skips[h] = min(s.skips[h], uint8(s.window-3-at))
		}
		var start [8]byte
		copy(start[:], p[:MinLength])
		h := startHash(binary.LittleEndian.Uint64(start[:]))
		s.starts[h>>6] |= 1 << (h & 63)
	}
	return s
}

// next returns the first offset, starting at from, at which a pattern may start. Earlier offsets are ruled out.
func (s *sieve) next(text []byte, from int) int {
	ahead := s.window - 4
	i := from + ahead
	for i+4 <= len(text) {
		skip := s.skips[sieveHash(binary.LittleEndian.Uint32(text[i:])>>8)]
		if skip == 0 {
			at := i - ahead
			if at+8 > len(text) {
				break
			}
			h := startHash(binary.LittleEndian.Uint64(text[at:]))
			if s.starts[h>>6]>>(h&63)&1 != 0 {
				break
			}
			skip = 1
		}
		i += int(skip)
	}
	return i - ahead
}

func sieveHash(three uint32) uint32 { return three * 0x9e3779b1 >> (32 - sieveBits) }

// startHash hashes the first MinLength of 8 bytes.
func startHash(eight uint64) uint64 {
	return eight << (64 - 8*MinLength) * 0x9e3779b97f4a7c15 >> (64 - startBits)
}
