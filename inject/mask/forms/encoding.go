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

// addBase64OfRuby adds a text in base64 as Ruby's encode64 folds it.
func (s *formSet) addBase64OfRuby(text string) {
	s.addBroken(fold(base64.StdEncoding.EncodeToString([]byte(text)), 60))
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

// urlStyle describes a percent-encoder: keep lists what it leaves unchanged besides letters and digits, and plus is set if
// it writes a space as a plus sign.
type urlStyle struct {
	keep string
	plus bool
}

var urlStyles = []urlStyle{
	{"-._~", false},                 // RFC 3986: curl --data-urlencode, Python's quote(safe="")
	{"-._~", true},                  // Go's url.QueryEscape, Python's quote_plus
	{"-._~$&+=:@", false},           // Go's url.PathEscape
	{"-._~$&+,;=", false},           // Go's url.UserPassword
	{"-._~/", false},                // Python's quote
	{"-._~!*'()", false},            // JavaScript's encodeURIComponent
	{"-._~!*'();,/?:@&=+$#", false}, // JavaScript's encodeURI
	{"-._~!$&'()*+,%", false},       // JavaScript's URL, user and password
	{"-._*", true},                  // HTML forms: JavaScript's URLSearchParams, Java's URLEncoder
}

// moreURLStyles change few texts in another way than urlStyles.
var moreURLStyles = []urlStyle{
	{"-._", true},                   // PHP's urlencode and http_build_query
	{"-._~!*()", false},             // JavaScript's URL, of encodeURIComponent in the query
	{queryOfURL, false},             // JavaScript's URL, of text in the query
	{"-._~$&+,/:;=@", false},        // Go's url.URL, path
	{"-._~!$&'()*+,/:;=?@", false},  // Python's Requests and urllib3, path and query
	{"-._~!$&'()*+,/:;=?@%", false}, // the same, if all percent signs begin codes
	{grpcMessage, false},            // gRPC's status message
}

const (
	queryOfURL  = "-._~!$%&()*+,/:;=?@[\\]^`{|}"
	grpcMessage = " !\"#$&'()*+,-./:;<=>?@[\\]^_`{|}~"
)

func (s *formSet) addURL(text string)     { s.addURLs(text, urlStyles) }
func (s *formSet) addMoreURL(text string) { s.addURLs(text, moreURLStyles) }

func (s *formSet) addURLs(text string, styles []urlStyle) {
	for _, style := range styles {
		s.add(style.escape(text, upperHex))
		s.add(style.escape(text, lowerHex))
	}
}

func (u urlStyle) escape(value, digits string) string {
	return rewrite(value, lettersDigits.with(u.keep).not(), func(b *strings.Builder, rest string) int {
		if c := rest[0]; c == ' ' && u.plus {
			b.WriteByte('+')
		} else {
			b.Write([]byte{'%', digits[c>>4], digits[c&15]})
		}
		return 1
	})
}
