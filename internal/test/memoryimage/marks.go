// Package memoryimage searches the memory of a process, as root can read it, for text that must not be in it.
package memoryimage

import (
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
)

// Marks are unique marks at both ends of a test's values, in the forms in which they could remain in memory. Any
// remaining piece of a value is found by them, including its last bytes, and the digits after the mark identify
// the value.
type Marks struct {
	Text  string
	forms map[string][]byte
}

// NewMarks returns marks that occur nowhere yet.
func NewMarks() Marks {
	text := rand.Text()[:14]
	wide := make([]byte, 0, 2*len(text))
	for i := range len(text) {
		wide = append(wide, text[i], 0)
	}
	m := Marks{text, map[string][]byte{"plain": []byte(text), "hex": []byte(hex.EncodeToString([]byte(text))), "wide": wide}}
	for shift := range 3 { // base64 in each alignment, without the edges
		encoded := base64.StdEncoding.EncodeToString([]byte(strings.Repeat("x", shift) + text))
		m.forms[fmt.Sprint("base64 at ", shift)] = []byte(encoded[4 : len(encoded)-4])
	}
	return m
}

// Value returns a value with two marks and more bytes between them; number has four digits.
func (m Marks) Value(number, more int, filler string) string {
	mark := fmt.Sprintf("%s%04d", m.Text, number)
	return mark + strings.Repeat(filler, more/len(filler)+1)[:more] + mark
}

// plainOf is the form of a value in plaintext, before its number.
const plainOf = "plain, of value "

// Find returns the forms that occur in b, with the number of the first value in plaintext.
func (m Marks) Find(b []byte) (found []string) {
	for name, form := range m.forms {
		at := bytes.Index(b, form)
		if at < 0 {
			continue
		}
		if digits := b[at+len(form):]; name == "plain" && len(digits) >= 4 {
			name = fmt.Sprintf(plainOf+"%.4s", digits)
		}
		found = append(found, name)
	}
	slices.Sort(found)
	return found
}

// Numbers returns the numbers of the values in plaintext in b.
func (m Marks) Numbers(b []byte) (found []string) {
	form := m.forms["plain"]
	for {
		at := bytes.Index(b, form)
		if at < 0 {
			slices.Sort(found)
			return slices.Compact(found)
		}
		b = b[at+len(form):]
		found = append(found, string(b[:min(4, len(b))]))
	}
}
