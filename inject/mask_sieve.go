package inject

import "encoding/binary"

// A sieve finds where a pattern may start, much faster than the automaton (Wu and Manber, 1994): it
// looks at the last 3 of MinMasked bytes, and where no pattern begins with MinMasked bytes that
// hold those 3, it knows how far to jump. Indexed by sieveHash, it holds the number of places that
// can be passed over; 0 where a pattern may start.
type sieve [1 << sieveBits]uint8

const sieveBits = 15

// newSieve takes patterns of at least MinMasked bytes.
func newSieve(patterns []string) *sieve {
	var s sieve
	for i := range s {
		s[i] = MinMasked - 2
	}
	for _, p := range patterns {
		for at := range MinMasked - 2 {
			h := sieveHash(uint32(p[at]) | uint32(p[at+1])<<8 | uint32(p[at+2])<<16)
			s[h] = min(s[h], uint8(MinMasked-3-at))
		}
	}
	return &s
}

// next returns the first place from which a pattern may start, or how far it could see.
func (s *sieve) next(text []byte, from int) int {
	i := from + MinMasked - 4
	for i+4 <= len(text) {
		skip := s[sieveHash(binary.LittleEndian.Uint32(text[i:])>>8)]
		if skip == 0 {
			break
		}
		i += int(skip)
	}
	return i - (MinMasked - 4)
}

func sieveHash(three uint32) uint32 { return three * 0x9e3779b1 >> (32 - sieveBits) }
