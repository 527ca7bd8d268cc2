package inject

import (
	"encoding/base64"
	"encoding/hex"
	"strings"
	"unicode/utf8"
)

// maskForms returns the texts under which a value may show up in a program's output: itself, and
// itself in base64, hex, URL and JSON, as the common encoders write them. A value that ends in line
// breaks is also looked for without them, because a shell's $(...) drops them. No form is shorter than
// MinMasked bytes, or than the value with those line breaks dropped.
func maskForms(value string) []string {
	var s formSet
	s.addAll(value)
	if cut := strings.TrimRight(value, "\r\n"); len(cut) < len(value) {
		s.addAll(cut)
	}
	return s.forms
}

type formSet struct{ forms []string }

func (s *formSet) add(form string) {
	for _, f := range s.forms {
		if f == form {
			return
		}
	}
	s.forms = append(s.forms, form)
}

func (s *formSet) addAll(value string) {
	if len(value) < MinMasked {
		return // some of its forms are longer, but as common
	}
	s.addBroken(value)
	lower := hex.EncodeToString([]byte(value))
	s.add(lower)
	s.addBroken(fold(lower, 60)) // xxd -p
	s.add(strings.ToUpper(lower))
	s.addBase64(value)
	for _, style := range urlStyles {
		s.add(style.escape(value, upperHex))
		s.add(style.escape(value, lowerHex))
	}
	for _, style := range jsonStyles {
		s.add(style.escape(value))
	}
}

// addBroken adds a text of several lines as written, and as a terminal's line discipline shows it.
func (s *formSet) addBroken(text string) {
	s.add(text)
	s.add(strings.ReplaceAll(text, "\n", "\r\n"))
}

// addBase64 adds the value's base64 in both alphabets at all three alignments: the value may stand
// anywhere within what was encoded. A character that also holds bits of a neighbour is left out,
// except at the end of the text, where there is no neighbour. Where the value starts the text,
// the forms folded into lines are added too.
func (s *formSet) addBase64(value string) {
	for shift := range 3 {
		text := base64.RawStdEncoding.EncodeToString([]byte("\x00\x00"[:shift] + value))
		bits := 8 * (shift + len(value))
		text = text[(8*shift+5)/6:]
		whole := text[:len(text)-(bits+5)/6+bits/6]
		padded := text + "=="[:(3-(shift+len(value))%3)%3]
		for _, t := range []string{whole, text, padded} {
			s.add(t)
			s.add(base64Web.Replace(t))
			if shift == 0 {
				s.addBroken(fold(t, 76)) // base64, MIME
				s.addBroken(fold(t, 64)) // openssl base64, PEM
			}
		}
	}
}

var base64Web = strings.NewReplacer("+", "-", "/", "_")

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

// urlStyle says how an encoder percent-encodes: keep lists what it lets stand beside letters and
// digits, plus whether a space becomes a plus sign.
type urlStyle struct {
	keep string
	plus bool
}

var urlStyles = []urlStyle{
	{"-._~", false},                 // RFC 3986: curl --data-urlencode, Python's quote(safe="")
	{"-._~", true},                  // Go's url.QueryEscape, Python's quote_plus
	{"-._~$&+=:@", false},           // Go's url.PathEscape
	{"-._~/", false},                // Python's quote
	{"-._~!*'()", false},            // JavaScript's encodeURIComponent
	{"-._~!*'();,/?:@&=+$#", false}, // JavaScript's encodeURI
	{"-._*", true},                  // HTML forms: JavaScript's URLSearchParams, Java's URLEncoder
}

func (u urlStyle) escape(value, digits string) string {
	var b strings.Builder
	b.Grow(len(value))
	for _, c := range []byte(value) {
		switch {
		case '0' <= c && c <= '9' || 'A' <= c && c <= 'Z' || 'a' <= c && c <= 'z' || strings.IndexByte(u.keep, c) >= 0:
			b.WriteByte(c)
		case c == ' ' && u.plus:
			b.WriteByte('+')
		default:
			b.Write([]byte{'%', digits[c>>4], digits[c&15]})
		}
	}
	return b.String()
}

// jsonStyle says how an encoder writes the inside of a JSON string, beyond what JSON demands.
type jsonStyle struct {
	coded      string // ASCII characters written as \u00XX
	digits     string // of \uXXXX
	slash      bool   // "\/"
	ascii      bool   // everything that isn't printable ASCII as \uXXXX
	separators bool   // U+2028 and U+2029 as \uXXXX
}

var jsonStyles = []jsonStyle{
	{digits: lowerHex},                                   // JavaScript, Ruby, jq
	{digits: upperHex},                                   //
	{digits: lowerHex, separators: true},                 // Go without HTML escapes
	{digits: lowerHex, separators: true, coded: "<>&"},   // Go's json.Marshal
	{digits: upperHex, separators: true, coded: "<>&"},   //
	{digits: lowerHex, separators: true, coded: "<>&='"}, // Java's Gson
	{digits: lowerHex, ascii: true},                      // Python's json.dumps
	{digits: upperHex, ascii: true},                      //
	{digits: lowerHex, ascii: true, slash: true},         // PHP's json_encode
	{digits: lowerHex, slash: true},                      // PHP with JSON_UNESCAPED_UNICODE
	{digits: upperHex, ascii: true, coded: "<>&'+`\""},   // .NET's System.Text.Json
}

func (j jsonStyle) escape(value string) string {
	var b strings.Builder
	b.Grow(len(value))
	for i := 0; i < len(value); {
		r, size := utf8.DecodeRuneInString(value[i:])
		short := strings.IndexRune("\b\f\n\r\t", r)
		switch {
		case r < utf8.RuneSelf && strings.IndexByte(j.coded, byte(r)) >= 0:
			j.code(&b, r)
		case r == '"' || r == '\\' || r == '/' && j.slash:
			b.WriteByte('\\')
			b.WriteRune(r)
		case short >= 0:
			b.WriteByte('\\')
			b.WriteByte("bfnrt"[short])
		case r < ' ', r == utf8.RuneError && size == 1, j.ascii && r > '~',
			j.separators && (r == '\u2028' || r == '\u2029'):
			j.code(&b, r)
		default:
			b.WriteString(value[i : i+size])
		}
		i += size
	}
	return b.String()
}

// code writes \uXXXX, twice (a surrogate pair) where one doesn't hold r.
func (j jsonStyle) code(b *strings.Builder, r rune) {
	if r > 0xffff {
		r -= 0x10000
		j.code(b, 0xd800+r>>10)
		r = 0xdc00 + r&0x3ff
	}
	b.Write([]byte{'\\', 'u', j.digits[r>>12], j.digits[r>>8&15], j.digits[r>>4&15], j.digits[r&15]})
}
