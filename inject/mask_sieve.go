package inject

import "encoding/binary"

// A sieve finds where a pattern may start, much faster than the automaton (Wu and Manber, 1994): it
// looks at the last 3 bytes of a window, and where no pattern begins with as many bytes as the window has, those 3
// among them, it knows how far to jump. Where one may, it looks whether a pattern begins with the first
// MinMasked bytes: lines and their forms are many, and 3 bytes of one of them are met everywhere.
type sieve struct {
	window int                          // as long as the shortest pattern, and maxWindow at most
	skips  [1 << sieveBits]uint8        // by sieveHash: how many places can be passed over; 0 where a pattern may start
	starts [1 << (startBits - 6)]uint64 // by startHash: a bit for each start of a pattern
}

const (
	sieveBits = 15
	startBits = 16
	maxWindow = 13
)

// newSieve takes patterns of at least MinMasked bytes.
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
		copy(start[:], p[:MinMasked])
		h := startHash(binary.LittleEndian.Uint64(start[:]))
		s.starts[h>>6] |= 1 << (h & 63)
	}
	return s
}

// next returns the first place from which a pattern may start, or how far it could see.
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

// startHash is of the first MinMasked of 8 bytes.
func startHash(eight uint64) uint64 {
	return eight << (64 - 8*MinMasked) * 0x9e3779b97f4a7c15 >> (64 - startBits)
}
