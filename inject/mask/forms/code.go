package forms

import (
	"strings"
	"unicode/utf8"
)

// digitsOf writes r as n hexadecimal digits.
func digitsOf(b *strings.Builder, r rune, n int, digits string) {
	for n--; n >= 0; n-- {
		b.WriteByte(digits[r>>(4*n)&15])
	}
}

// shortDigitsOf writes r without leading zeros.
func shortDigitsOf(b *strings.Builder, r rune) {
	n := 1
	for r>>(4*n) != 0 {
		n++
	}
	digitsOf(b, r, n, lowerHex)
}

func hex2(b *strings.Builder, r rune) {
	b.WriteString(`\x`)
	digitsOf(b, r, 2, lowerHex)
}

func upperHex2(b *strings.Builder, r rune) {
	b.WriteString(`\x`)
	digitsOf(b, r, 2, upperHex)
}

func octal(b *strings.Builder, r rune) {
	b.Write([]byte{'\\', byte('0' + r>>6), byte('0' + r>>3&7), byte('0' + r&7)})
}

// c1Octal leaves bytes after the C1 control characters unchanged.
func c1Octal(b *strings.Builder, r rune) {
	if r < 0xa0 {
		octal(b, r)
	} else {
		b.WriteByte(byte(r))
	}
}

// u4 and upperU4 write \uXXXX, or two of them (a surrogate pair).
func u4(b *strings.Builder, r rune)      { utf16(b, r, lowerHex) }
func upperU4(b *strings.Builder, r rune) { utf16(b, r, upperHex) }

func utf16(b *strings.Builder, r rune, digits string) {
	if r > 0xffff {
		r -= 0x10000
		utf16(b, 0xd800+r>>10, digits)
		r = 0xdc00 + r&0x3ff
	}
	b.WriteString(`\u`)
	digitsOf(b, r, 4, digits)
}

// replaced and upperReplaced write the replacement character, as JSON encoders do for a byte that isn't UTF-8.
func replaced(b *strings.Builder, _ rune)      { u4(b, utf8.RuneError) }
func upperReplaced(b *strings.Builder, _ rune) { upperU4(b, utf8.RuneError) }

// pythonCode writes the shortest of \xXX, \uXXXX and \UXXXXXXXX.
func pythonCode(b *strings.Builder, r rune) {
	if r <= 0xff {
		hex2(b, r)
		return
	}
	goCode(b, r)
}

// surrogateCode writes a byte that isn't UTF-8 as Python does.
func surrogateCode(b *strings.Builder, r rune) { goCode(b, 0xdc00+r) }

// goCode writes \uXXXX or \UXXXXXXXX.
func goCode(b *strings.Builder, r rune) {
	if r > 0xffff {
		b.WriteString(`\U`)
		digitsOf(b, r, 8, lowerHex)
		return
	}
	b.WriteString(`\u`)
	digitsOf(b, r, 4, lowerHex)
}

// braceCode writes \u{X}.
func braceCode(b *strings.Builder, r rune) {
	b.WriteString(`\u{`)
	shortDigitsOf(b, r)
	b.WriteByte('}')
}

// bracketCode writes \u[X], as ksh does.
func bracketCode(b *strings.Builder, r rune) {
	b.WriteString(`\u[`)
	shortDigitsOf(b, r)
	b.WriteByte(']')
}

// controlCode writes \C-X, as zsh does.
func controlCode(b *strings.Builder, r rune) {
	b.WriteString(`\C-`)
	b.WriteByte(byte(r) ^ 0x40)
}

// metaCode writes \M-X for a byte above 127, as zsh does.
func metaCode(b *strings.Builder, r rune) {
	b.WriteString(`\M-`)
	if c := byte(r) & 0x7f; c < ' ' || c == 0x7f {
		controlCode(b, rune(c))
	} else {
		b.WriteByte(c)
	}
}
