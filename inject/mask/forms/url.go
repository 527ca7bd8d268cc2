package forms

import "strings"

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

func (s *formSet) addURL(text string) {
	for _, style := range urlStyles {
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
