package forms

import "strings"

// rewrite copies text. At each special byte it calls write with the rest of text, which writes a replacement and returns
// the number of bytes it has replaced.
func rewrite(text string, special byteSet, write func(b *strings.Builder, rest string) int) string {
	var b strings.Builder
	copied := 0
	for i := 0; i < len(text); {
		if !special.has(text[i]) {
			i++
			continue
		}
		if copied == 0 {
			b.Grow(len(text) + len(text)/8)
		}
		b.WriteString(text[copied:i])
		i += write(&b, text[i:])
		copied = i
	}
	if copied == 0 {
		return text
	}
	b.WriteString(text[copied:])
	return b.String()
}

// byteSet is a set of bytes. It is much cheaper to make for each text than an array of 256 bools.
type byteSet [4]uint64

// Sets that styles use.
var (
	controls      = byteSet{1<<' ' - 1}
	lettersDigits = byteSet{(1<<10 - 1) << '0', (1<<26-1)<<('A'-64) | (1<<26-1)<<('a'-64)}
	beyondASCII   = byteSet{2: 1<<64 - 1, 3: 1<<64 - 1}
)

func (s *byteSet) has(c byte) bool { return s[c>>6]>>(c&63)&1 != 0 }

func (s byteSet) with(chars string) byteSet {
	for i := range len(chars) {
		s[chars[i]>>6] |= 1 << (chars[i] & 63)
	}
	return s
}

func (s byteSet) or(t byteSet) byteSet {
	for i := range s {
		s[i] |= t[i]
	}
	return s
}

func (s byteSet) not() byteSet {
	for i := range s {
		s[i] = ^s[i]
	}
	return s
}
