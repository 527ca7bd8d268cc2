package forms

import (
	"strconv"
	"strings"
	"unicode/utf8"
)

// markupStyle describes how an encoder of HTML or XML writes text, besides &amp; &lt; and &gt;.
type markupStyle struct {
	chars string   // characters that have a code
	codes []string // their codes
	wide  string   // start of the code of a character above 127, "&#" or "&#x"; "" is the character itself
}

var markupStyles = []markupStyle{
	{},                                      // the text of an element
	{chars: `"`, codes: []string{"&quot;"}}, // browsers' attributes
	{chars: `"'`, codes: []string{"&#34;", "&#39;"}},                                   // Go's html, Python's markupsafe
	{chars: `"'`, codes: []string{"&quot;", "&#39;"}},                                  // JavaScript's lodash, Ruby, .NET, Spring
	{chars: `"'`, codes: []string{"&quot;", "&#x27;"}},                                 // Python's html.escape
	{chars: `"'`, codes: []string{"&quot;", "&#039;"}},                                 // PHP's htmlspecialchars
	{chars: `"'`, codes: []string{"&quot;", "&apos;"}},                                 // XML, and PHP with ENT_XML1
	{chars: "\"'\t\n\r", codes: []string{"&#34;", "&#39;", "&#x9;", "&#xA;", "&#xD;"}}, // Go's encoding/xml
	{chars: "\r", codes: []string{"&#13;"}},                                            // libxml2, Java: text
	{chars: "\"\t\n\r", codes: []string{"&quot;", "&#9;", "&#10;", "&#13;"}},           // and attributes
	{chars: "\"\t\n\r", codes: []string{"&quot;", "&#09;", "&#10;", "&#13;"}},          // Python's ElementTree
	{chars: "\t\n\r", codes: []string{"&#9;", "&#10;", "&#13;"}},                       // Python's quoteattr, in single quotes
	{chars: `"'+`, codes: []string{"&#34;", "&#39;", "&#43;"}},                         // Go's html/template
	{chars: "\"'+`=\t\n\v\f\r ", codes: []string{"&#34;", "&#39;", "&#43;", "&#96;", "&#61;", "&#9;", "&#10;", "&#11;", "&#12;", "&#13;", "&#32;"}}, // and attributes without quotes
	{chars: "\"'/`=", codes: []string{"&quot;", "&#39;", "&#x2F;", "&#x60;", "&#x3D;"}},                                                             // mustache.js
	{chars: "\"'`=", codes: []string{"&quot;", "&#x27;", "&#x60;", "&#x3D;"}},                                                                       // handlebars.js
	{chars: `"'/`, codes: []string{"&quot;", "&#x27;", "&#x2F;"}},                                                                                   // the OWASP's rules
	{wide: "&#"}, {wide: "&#", chars: `"`, codes: []string{"&quot;"}}, // in ASCII: Python's xmlcharrefreplace
	{wide: "&#", chars: "\"\t\n\r", codes: []string{"&quot;", "&#09;", "&#10;", "&#13;"}}, // and attributes of its ElementTree
	{wide: "&#x"}, {wide: "&#x", chars: `"`, codes: []string{"&quot;"}}, // libxml2
}

func (s *formSet) addMarkup(text string) {
	for i := range markupStyles {
		s.addBroken(markupStyles[i].escape(text))
	}
}

func (m *markupStyle) escape(value string) string {
	return rewrite(value, m.special(), func(b *strings.Builder, rest string) int {
		r, size := utf8.DecodeRuneInString(rest)
		if code := m.code(r); code != "" {
			b.WriteString(code)
		} else {
			b.WriteString(rest[:size])
		}
		return size
	})
}

// special returns the bytes that may be changed.
func (m *markupStyle) special() byteSet {
	s := byteSet{}.with("&<>").with(m.chars)
	if m.wide != "" {
		s = s.or(beyondASCII)
	}
	return s
}

// code returns the code of a character; "": the character itself.
func (m *markupStyle) code(r rune) string {
	switch r {
	case '&':
		return "&amp;"
	case '<':
		return "&lt;"
	case '>':
		return "&gt;"
	case utf8.RuneError:
		return ""
	}
	if at := strings.IndexRune(m.chars, r); at >= 0 {
		return m.codes[at]
	}
	digits := strconv.Itoa(int(r))
	if m.wide == "&#x" {
		digits = strings.ToUpper(strconv.FormatInt(int64(r), 16))
	}
	return m.wide + digits + ";"
}
