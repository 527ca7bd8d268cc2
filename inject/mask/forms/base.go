package forms

import (
	"encoding/base64"
	"encoding/hex"
	"strings"
)

// addBase adds a text in hex and base64.
func (s *formSet) addBase(text string) {
	lower := hex.EncodeToString([]byte(text))
	s.add(lower)
	s.addBroken(fold(lower, 60)) // xxd -p
	s.add(strings.ToUpper(lower))
	s.addBase64(text)
}

// addBase64 adds the value's base64 in both alphabets and at all three alignments, since the value may be anywhere in the
// encoded text. Characters that also encode neighboring bytes are left out, except at the end of the text. For a value
// at the start of the text, forms folded into lines are added too.
func (s *formSet) addBase64(value string) {
	for shift := range 3 {
		text := base64.RawStdEncoding.EncodeToString([]byte("\x00\x00"[:shift] + value))
		bits := 8 * (shift + len(value))
		text = text[(8*shift+5)/6:]
		whole := text[:len(text)-(bits+5)/6+bits/6]
		padded := text + "=="[:(3-(shift+len(value))%3)%3]
		for _, t := range []string{whole, text, padded} {
			s.add(t)
			s.add(base64Web(t))
			if shift == 0 {
				s.addBroken(fold(t, 76)) // base64, MIME
				s.addBroken(fold(t, 64)) // openssl base64, PEM
			}
		}
	}
}

// base64Web converts base64 to the alphabet for URLs.
func base64Web(text string) string {
	return strings.ReplaceAll(strings.ReplaceAll(text, "+", "-"), "/", "_")
}

// fold breaks text into lines of width characters.
func fold(text string, width int) string {
	var b strings.Builder
	for len(text) > width {
		b.WriteString(text[:width])
		b.WriteByte('\n')
		text = text[width:]
	}
	b.WriteString(text)
	return b.String()
}

const (
	upperHex = "0123456789ABCDEF"
	lowerHex = "0123456789abcdef"
)
